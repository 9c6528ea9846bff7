"""Turns a JSON Schema into the tree of rules, and notes what becomes of every keyword."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from typedllm.constraints.algebra import Algebra
from typedllm.constraints.combined import (
    assertions,
    combines,
    enumerated,
    note_the_rest,
    transfer,
)
from typedllm.constraints.containers import array
from typedllm.constraints.identifiers import localized
from typedllm.constraints.objects import object_node
from typedllm.constraints.plan import Notes
from typedllm.constraints.references import References
from typedllm.constraints.scalars import facets, number, string
from typedllm.grammar.tree import Array, Literals, Member, Node, Object, OneOf, Text
from typedllm.records import Limits
from typedllm.spec.dialects import dialect_of
from typedllm.spec.keywords import BY_TYPE, TYPED, implied

Schema = Mapping[str, Any]

_DEEPEST = 12  # entries into a recursion of many references at a time
_json = json.JSONEncoder(ensure_ascii=False).encode
_NULL_AND_BOOL = Literals(("null", "true", "false"))


def lower(schema: Mapping[str, Any], limits: Limits, notes: Notes) -> Node | None:
    """The tree of a schema.

    Args:
        schema: JSON Schema, with typedllm's notes where it was made from a type.
        limits: bounds for what the schema leaves open.
        notes: takes what becomes of each keyword.

    Returns:
        The tree, or None when nothing satisfies the schema.
    """
    draft = dialect_of(schema)
    root = localized(schema, draft)
    found = _Lowering(root, draft, limits, notes).node(root, "#", 0)
    note_the_rest(schema, notes)
    return found


class _Lowering:
    """One schema on its way to a tree. `depth` counts entries into the recursion one is in."""

    def __init__(self, root: Schema, draft: int, limits: Limits, notes: Notes) -> None:
        self._draft = draft
        self._limits = limits
        self._original = notes
        self._notes = notes
        self._references = References(root)
        self._algebra = Algebra(self._references, draft, limits)
        self._known: dict[tuple[str, int], Node | None] = {}
        self._any: dict[int, Node] = {}
        self._inside: Counter[str] = Counter()

    def node(self, schema: object, pointer: str, depth: int) -> Node | None:
        """The node of the schema at a pointer."""
        if schema is False:
            self._notes.rule_out(pointer, "the schema false")
            return None
        if not isinstance(schema, Mapping):
            return self.any_value()
        found = cast(Schema, schema)
        for reason in found.get("x-typedllm", {}).get("checked", ()):
            self._notes.checked(pointer, "x-typedllm", reason)
        words = assertions(found)
        if "$ref" in words and self._draft <= 7:  # these drafts ignore what stands beside
            found, words = {"$ref": found["$ref"]}, ["$ref"]
        if self._rewrites(found, words):
            return self._combined(found, [(pointer, found)], pointer, depth)
        return self._plain(found, words, pointer, depth)

    def conjunction(self, parts: Sequence[tuple[object, str]], depth: int) -> Node | None:
        """The node of all of several schemas at once, each with its pointer."""
        (first, pointer), *rest = parts
        if not rest or first is True:
            return self.conjunction(rest, depth) if rest else self.node(first, pointer, depth)
        places = [(place, schema) for schema, place in parts]
        return self._combined({"allOf": [part for part, _ in parts]}, places, pointer, depth)

    def _rewrites(self, schema: Schema, words: Sequence[str]) -> bool:
        if self._notes is self._original:
            return combines(schema, words, self._references) and "x-typedllm" not in str(schema)
        # What has been rewritten is done again where a reference or a choice stood in the way.
        parts = schema.get("allOf", ())
        return (
            "oneOf" in schema
            or ("$ref" in schema and len(words) > 1)
            or any("$ref" in part or "oneOf" in part for part in parts)
        )

    def _combined(
        self, schema: Schema, places: Sequence[tuple[str, object]], pointer: str, depth: int
    ) -> Node | None:
        """The node of a schema by its rewritten form."""
        key = json.dumps(schema, sort_keys=True)
        if self._inside[key] > self._limits.recursion:
            self._notes.rule_out(pointer, "the recursion has no end")
            return None
        rewritten = self._algebra.rewritten(schema, places)
        if rewritten is None or rewritten.form == schema:
            return self._plain(schema, assertions(schema), pointer, depth)
        notes = Notes()
        self._inside[key] += 1
        with self._noting(notes):
            node = self.node(rewritten.form, pointer, depth)
        self._inside[key] -= 1
        transfer(notes, self._notes, rewritten.keywords)
        return node

    @contextmanager
    def _noting(self, notes: Notes) -> Generator[None]:
        before, self._notes = self._notes, notes
        yield
        self._notes = before

    def _plain(self, schema: Schema, words: Sequence[str], pointer: str, depth: int) -> Node | None:
        """The node of a schema keyword by keyword; what does not fit in is checked after."""
        for base in ("enum", "const", "$ref", "anyOf", "oneOf", "allOf"):
            if base in words and not (base == "allOf" and "type" in words):
                return self._based(schema, words, base, pointer, depth)
        return self._typed(schema, words, pointer, depth)

    def _based(
        self, schema: Schema, words: Sequence[str], base: str, pointer: str, depth: int
    ) -> Node | None:
        self._notes.held(pointer, [base])
        if base in ("enum", "const"):
            return self._values(schema, base, pointer)
        for word in words:
            if word != base:
                self._notes.checked(pointer, word, f"stands beside {base}")
        if base == "$ref":
            return self._referred(schema["$ref"], pointer, depth)
        branches: Sequence[object] = schema[base]
        if base == "allOf" and len(branches) > 1:
            self._notes.checked(pointer, base, "only the first branch guides")
            branches = branches[:1]
        if base == "oneOf" and self._overlap(schema):
            self._notes.checked(pointer, base, "more than one branch may match")
        nodes = [
            self.node(branch, f"{pointer}/{base}/{index}", depth)
            for index, branch in enumerate(branches)
        ]
        return either([node for node in nodes if node is not None])

    def _overlap(self, schema: Schema) -> bool:
        if "discriminator" in schema and "x-typedllm" in str(schema):
            return False  # a union that Pydantic tells apart
        return combines({"oneOf": schema["oneOf"]}, ["oneOf"], self._references)

    def _referred(self, reference: str, pointer: str, depth: int) -> Node | None:
        if not self._references.resolves(reference):
            self._notes.checked(pointer, "$ref", f"{reference} is no pointer into the schema")
            return self.any_value()
        inside = self._references.cycle(reference)
        if inside:
            # Coming from outside of this recursion, the count begins anew.
            depth = depth + 1 if self._references.within(pointer, reference) else 1
            most = self._limits.recursion + 1
            self._notes.limit(f"recursion of {reference} to {self._limits.recursion} levels")
            if depth > max(min((self._limits.recursion + 1) * inside, _DEEPEST), most):
                self._notes.rule_out(pointer, f"the recursion of {reference} has no end")
                return None
        key = (reference, depth)
        if key not in self._known:
            target = self._references.target(reference)
            with self._noting(self._original):
                self._known[key] = self.node(target, reference, depth)
        return self._known[key]

    def _values(self, schema: Schema, base: str, pointer: str) -> Node | None:
        values = enumerated(schema, base, pointer, self._draft, self._notes)
        if not values:
            self._notes.rule_out(pointer, f"no value of {base} is valid")
        plain = tuple(_json(value) for value in values if not isinstance(value, list | dict))
        nested = [_value(cast(object, v)) for v in values if isinstance(v, list | dict)]
        return either([Literals(plain), *nested] if plain else nested)

    def _typed(self, schema: Schema, words: Sequence[str], pointer: str, depth: int) -> Node | None:
        given = schema.get("type")
        kinds: Sequence[str] = [given] if isinstance(given, str) else (given or implied(schema))
        if given is None and self._limits.extra_properties:
            kinds = [] if not kinds else list(BY_TYPE)
        about = frozenset[str]().union(*(BY_TYPE.get(kind, frozenset()) for kind in kinds))
        for word in words:
            if word in ("type", "then", "else") or (word in TYPED and word not in about):
                self._notes.held(pointer, [word])  # says nothing about values of this type
            elif word not in TYPED and not self._in_strings(schema, word, kinds):
                self._notes.checked(pointer, word, "not in the grammar")
        if not kinds:
            return self.any_value()
        if given is None and not self._limits.extra_properties:
            self._notes.limit("of types left open, only those that the keywords are about")
        if "number" in kinds and "integer" in kinds:
            kinds = [kind for kind in kinds if kind != "integer"]
        nodes: list[Node] = []
        for kind in kinds:  # no comprehension: each would be one more frame a level
            node = self._of_type(schema, kind, pointer, depth)
            if node is not None:
                nodes.append(node)
        return either(nodes)

    @staticmethod
    def _in_strings(schema: Schema, word: str, kinds: Sequence[str]) -> bool:
        """Whether a keyword of a rewritten form is one of the facets of a string."""
        return word in ("allOf", "not") and kinds == ["string"] and facets(schema) is not None

    def _of_type(self, schema: Schema, kind: str, pointer: str, depth: int) -> Node | None:
        note: str | None = schema.get("x-typedllm", {}).get("kind")
        match kind:
            case "string":
                return string(schema, note, pointer, self._notes, self._limits)
            case "number" | "integer":
                one_kind = {**schema, "type": kind}
                return number(one_kind, note, pointer, self._notes, self._limits)
            case "boolean":
                return Literals(("true", "false"))
            case "null":
                return Literals(("null",))
            case "array":
                return array(schema, pointer, depth, self)
            case _:  # object, the last of JSON Schema's types
                return object_node(schema, pointer, depth, self)

    @property
    def notes(self) -> Notes:
        """Where to note what becomes of a keyword."""
        return self._notes

    @property
    def limits(self) -> Limits:
        """Bounds for what the schema leaves open."""
        return self._limits

    def any_value(self) -> Node:
        """Any JSON value, nested to the limit of recursion."""
        self._notes.limit(f"values of any type: nested to {self._limits.recursion} levels")
        return self._any_value(self._limits.recursion)

    def _any_value(self, levels: int) -> Node:
        if levels not in self._any:
            numbers = number({"type": "number"}, None, "#", self._notes, self._limits)
            text = string({}, None, "#", self._notes, self._limits)
            branches: list[Node] = [_NULL_AND_BOOL, *(n for n in (numbers, text) if n is not None)]
            if levels > 0:
                inner = self._any_value(levels - 1)
                most = self._limits.items
                branches.append(Array(item=inner, max_items=most))
                branches.append(Object(entries=((Text(), inner),), max_entries=most))
            self._any[levels] = OneOf(tuple(branches))
        return self._any[levels]


def either(nodes: Sequence[Node]) -> Node | None:
    """Any one of some nodes, sets of texts merged; None for none."""
    flat: dict[int, Node] = {}
    texts: dict[str, None] = {}
    for node in nodes:
        for branch in node.branches if isinstance(node, OneOf) else (node,):
            if isinstance(branch, Literals):
                texts.update(dict.fromkeys(branch.texts))
            else:
                flat[id(branch)] = branch
    found: list[Node] = [*flat.values()]
    if texts:
        found.insert(0, Literals(tuple(texts)))
    if not found:
        return None
    return found[0] if len(found) == 1 else OneOf(tuple(found))


def _value(value: object) -> Node:
    """The node of one JSON value; the parts of a list or object stay tokens of their own."""
    if isinstance(value, list):
        items = tuple(map(_value, cast(list[object], value)))
        return Array(prefix=items, min_items=len(items), max_items=len(items))
    if isinstance(value, Mapping):
        pairs = cast(Mapping[str, object], value).items()
        return Object(members=tuple(Member(name, _value(inner)) for name, inner in pairs))
    return Literals((_json(value),))
