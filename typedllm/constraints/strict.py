"""A JSON Schema brought to the few forms that strict subsets know: its normal form.

Those are references to definitions, `anyOf`, `enum`, and one type at a time, objects closed.
Keywords that combine schemas are rewritten by the same algebra as for grammars.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

from typedllm.constraints.algebra import Algebra
from typedllm.constraints.combined import assertions, combines, enumerated, transfer
from typedllm.constraints.identifiers import localized
from typedllm.constraints.plan import Notes
from typedllm.constraints.references import References
from typedllm.constraints.strict_facets import SchemaRules, facets, note_enumeration
from typedllm.records import Limits
from typedllm.spec.dialects import dialect_of
from typedllm.spec.keywords import BY_TYPE, TYPED, escape, implied, walk

__all__ = ["Normal", "Unsaid", "normal_form"]

Schema = Mapping[str, Any]

_NOT_SAID: Final = "no strict schema says it"


@dataclass(frozen=True, slots=True)
class Normal:
    """A schema in its normal form.

    Attributes:
        root: the schema; references are `#/$defs/name`.
        definitions: what they refer to, by name.
    """

    root: dict[str, Any]
    definitions: dict[str, dict[str, Any]]

    def target(self, schema: Schema) -> Schema:
        """Follow a schema's reference, if it is one.

        Args:
            schema: of the normal form.
        """
        while "$ref" in schema:
            schema = self.definitions[schema["$ref"].removeprefix("#/$defs/")]
        return schema


class Unsaid(Exception):
    """A schema that allows what no closed schema says, such as keys of any name."""

    def __init__(self, pointer: str, keyword: str, reason: str) -> None:
        super().__init__(f"{pointer} {keyword}: {reason}")
        self.pointer = pointer
        self.keyword = keyword
        self.reason = reason


def normal_form(schema: Schema, limits: Limits, notes: Notes, rules: SchemaRules) -> Normal:
    """Bring a schema to its normal form.

    Args:
        schema: JSON Schema, with typedllm's notes where it was made from a type.
        limits: say whether what is left open is to be written.
        notes: takes what becomes of each keyword.
        rules: of the dialect.

    Raises:
        Unsaid: when it allows what the subset has no words for.
    """
    draft = dialect_of(schema)
    return _Normalizing(localized(schema, draft), draft, limits, notes, rules).made()


class _Normalizing:
    """One schema on its way to its normal form."""

    def __init__(
        self, root: Schema, draft: int, limits: Limits, notes: Notes, rules: SchemaRules
    ) -> None:
        self._root = root
        self._draft = draft
        self._limits = limits
        self._original = notes
        self._notes = notes
        self._rules = rules
        self._references = References(root)
        self._algebra = Algebra(self._references, draft, limits)
        self._names: dict[str, str] = {}  # of definitions, by reference
        self._definitions: dict[str, dict[str, Any]] = {}
        self._inside: list[str] = []

    def made(self) -> Normal:
        """The whole."""
        root = self.node(self._root, "#")
        for reference, name in self._names.items():
            if name in self._reached(name, _alternatives):
                raise Unsaid(reference, "$ref", "it refers to itself at once")
            if not self._rules.recursion and name in self._reached(name, _parts):
                raise Unsaid(reference, "$ref", f"the dialect {self._rules.name} has no recursion")
        return Normal(root, self._definitions)

    def _reached(self, name: str, near: Callable[[Schema], Iterable[Schema]]) -> set[str]:
        """The definitions that those parts of a definition refer to which are near to it."""
        found, waiting = set[str](), [self._definitions[name]]
        while waiting:
            for part in near(waiting.pop()):
                target = part.get("$ref", "").removeprefix("#/$defs/")
                if target and target not in found:
                    found.add(target)
                    waiting.append(self._definitions[target])
        return found

    def node(self, schema: object, pointer: str) -> dict[str, Any]:
        """The normal form of the schema at a pointer."""
        if not isinstance(schema, Mapping):
            raise Unsaid(pointer, "schema", f"{str(schema).lower()}, which is no type")
        found = cast(Schema, schema)
        for reason in found.get("x-typedllm", {}).get("checked", ()):
            self._notes.checked(pointer, "x-typedllm", reason)
        words = assertions(found)
        if "$ref" in words and self._draft <= 7:  # these drafts ignore what stands beside
            found, words = {"$ref": found["$ref"]}, ["$ref"]
        if self._rewrites(found, words):
            return self._combined(found, words, pointer)
        made = self._plain(found, words, pointer)
        described = isinstance(found.get("description"), str) and "$ref" not in made
        return {**made, "description": found["description"]} if described else made

    def _rewrites(self, schema: Schema, words: Sequence[str]) -> bool:
        if self._notes is self._original:
            return combines(schema, words, self._references) and "x-typedllm" not in str(schema)
        return "$ref" in schema and len(words) > 1

    def _combined(self, schema: Schema, words: Sequence[str], pointer: str) -> dict[str, Any]:
        key = json.dumps(schema, sort_keys=True)
        rewritten = self._algebra.rewritten(schema, [(pointer, schema)])
        if rewritten is None or rewritten.form == schema or key in self._inside:
            return self._plain(schema, words, pointer)
        notes = Notes()
        self._inside.append(key)
        try:
            with self._noting(notes):
                made = self.node(rewritten.form, pointer)
        except Unsaid as unsaid:  # of a form that the caller has not seen
            raise Unsaid(pointer, words[0], f"{unsaid.keyword}: {unsaid.reason}") from unsaid
        self._inside.pop()
        transfer(notes, self._notes, rewritten.keywords)
        return made

    @contextmanager
    def _noting(self, notes: Notes) -> Generator[None]:
        before, self._notes = self._notes, notes
        try:
            yield
        finally:
            self._notes = before

    def _plain(self, schema: Schema, words: Sequence[str], pointer: str) -> dict[str, Any]:
        for base in ("enum", "const", "$ref", "anyOf", "oneOf", "allOf"):
            if base in words and not (base == "allOf" and "type" in words):
                return self._based(schema, words, base, pointer)
        return self._typed(schema, words, pointer)

    def _based(
        self, schema: Schema, words: Sequence[str], base: str, pointer: str
    ) -> dict[str, Any]:
        self._notes.held(pointer, [base])
        if base in ("enum", "const"):
            return self._values(schema, base, pointer)
        for word in words:
            if word != base:
                self._notes.checked(pointer, word, f"stands beside {base}")
        if base == "$ref":
            return self._referred(schema["$ref"], pointer)
        branches: Sequence[object] = schema[base]
        if base == "allOf":
            if len(branches) > 1:
                self._notes.checked(pointer, base, "only the first branch is sent")
            return self.node(branches[0], f"{pointer}/allOf/0")
        if base == "oneOf":
            told_apart = "discriminator" in schema and "x-typedllm" in str(schema)
            if not told_apart and combines({base: branches}, [base], self._references):
                self._notes.checked(pointer, base, "more than one branch may match")
            else:
                self._notes.rewritten(pointer, base, "as anyOf, whose branches differ")
        places = enumerate(branches)
        made = [self.node(each, f"{pointer}/{base}/{i}") for i, each in places if each is not False]
        return _either(made, pointer, base)

    def _values(self, schema: Schema, base: str, pointer: str) -> dict[str, Any]:
        values = enumerated(schema, base, pointer, self._draft, self._notes)
        if not values or any(isinstance(value, list | dict) for value in values):
            raise Unsaid(pointer, base, "its values are lists or objects")
        note_enumeration(values, base, pointer, self._notes, self._rules)
        return {"enum": values}

    def _referred(self, reference: str, pointer: str) -> dict[str, Any]:
        if not self._references.resolves(reference):
            raise Unsaid(pointer, "$ref", f"{reference} is no pointer into the schema")
        name = self._names.get(reference)
        if name is None:
            last = reference.rpartition("/")[2]
            plain = last.replace("_", "").replace("-", "").isalnum() and last.isascii()
            name = last if plain and last not in self._names.values() else f"d{len(self._names)}"
            self._names[reference] = name
            self._definitions[name] = {}  # its place in the order
            with self._noting(self._original):
                made = self.node(self._references.target(reference), reference)
            self._definitions[name] = made
        return {"$ref": f"#/$defs/{name}"}

    def _typed(self, schema: Schema, words: Sequence[str], pointer: str) -> dict[str, Any]:
        given = schema.get("type")
        kinds: Sequence[str] = [given] if isinstance(given, str) else (given or implied(schema))
        if not kinds or (given is None and self._limits.extra_properties):
            raise Unsaid(pointer, next(iter(words), "type"), "it leaves the type open")
        if given is None:
            self._notes.limit("of types left open, only those that the keywords are about")
        about = frozenset[str]().union(*(BY_TYPE.get(kind, frozenset()) for kind in kinds))
        for word in words:
            if word in ("type", "then", "else") or (word in TYPED and word not in about):
                self._notes.held(pointer, [word])  # says nothing about values of this type
            elif word not in TYPED:
                self._notes.checked(pointer, word, _NOT_SAID)
        if "number" in kinds:
            kinds = [kind for kind in kinds if kind != "integer"]
        return _either([self._of_type(schema, kind, pointer) for kind in kinds], pointer, "type")

    def _of_type(self, schema: Schema, kind: str, pointer: str) -> dict[str, Any]:
        found = facets(schema, kind, pointer, self._notes, self._rules)
        match kind:
            case "array":
                return {"type": kind, **found, **self._items(schema, pointer)}
            case "object":
                return {"type": kind, **found, **self._properties(schema, pointer)}
            case _:
                return {"type": kind, **found}

    def _items(self, schema: Schema, pointer: str) -> dict[str, Any]:
        older = isinstance(schema.get("items"), list)
        firsts, others = ("items", "additionalItems") if older else ("prefixItems", "items")
        prefix: Sequence[object] = schema.get(firsts, ())
        most = schema.get("maxItems")
        rest = schema.get(others)
        closed = rest is False or (prefix and (most is not None and most <= len(prefix)))
        if not prefix and (rest in (None, True, {}) or rest is False):
            raise Unsaid(pointer, others, "it leaves the type of the items open")
        if prefix and rest in (None, True, {}) and not closed:
            if self._limits.extra_properties:
                raise Unsaid(pointer, firsts, "it leaves the type of further items open")
            self._notes.limit("no items beyond those that are named")
            closed = True
        places = [self.node(each, f"{pointer}/{firsts}/{i}") for i, each in enumerate(prefix)]
        self._notes.held(pointer, [others] if others in schema else [])
        if not prefix:
            return {"items": self.node(rest, f"{pointer}/{others}")}
        alike = closed and all(place == places[0] for place in places)
        if alike:
            self._notes.rewritten(pointer, firsts, "as items, since all are alike")
        else:
            self._notes.checked(pointer, firsts, "places of an array are not told apart")
        further = False if closed else self.node(rest, f"{pointer}/{others}")
        made: dict[str, Any] = {"prefixItems": places, "items": further}
        return {**made, "maxItems": min(len(prefix), most or len(prefix))} if closed else made

    def _properties(self, schema: Schema, pointer: str) -> dict[str, Any]:
        further = schema.get("additionalProperties")
        named: Mapping[str, object] = schema.get("properties", {})
        required = dict.fromkeys(cast(Sequence[str], schema.get("required", ())))
        fields = schema.get("x-typedllm", {}).get("kind") == "fields"
        if schema.get("patternProperties"):
            raise Unsaid(pointer, "patternProperties", "its keys are open")
        if further is not False:
            if further not in (None, True, {}):
                raise Unsaid(pointer, "additionalProperties", "its keys are open")
            if not (named or fields) or self._limits.extra_properties:
                word = "type" if further is None else "additionalProperties"
                raise Unsaid(pointer, word, "its keys are open")
            self._notes.limit("no properties beyond those that are named")
        if missing := [name for name in required if name not in named]:
            raise Unsaid(pointer, "required", f"nothing is said of the property {missing[0]}")
        words = ("required", "additionalProperties")
        self._notes.held(pointer, [word for word in words if word in schema])
        made = {
            name: self.node(inner, f"{pointer}/properties/{escape(name)}")
            for name, inner in named.items()
            if inner is not False or name in required
        }
        if not made and not self._rules.empty_objects:
            raise Unsaid(pointer, "properties", "it has none")
        if optional := [name for name in made if name not in required]:
            told = f"what may be left out is null instead: {', '.join(optional[:5])}"
            more = f" and {len(optional) - 5} more" if len(optional) > 5 else ""
            self._notes.rewritten(pointer, "properties", f"{told}{more}")
        elif "properties" in schema:
            self._notes.held(pointer, ["properties"])
        return {"properties": made, "required": list(required), "additionalProperties": False}


def _alternatives(schema: Schema) -> Iterator[Schema]:
    """A normal form and those that it stands for: itself, or its branches."""
    yield schema
    for branch in schema.get("anyOf", ()):
        yield from _alternatives(branch)


def _parts(schema: Schema) -> Iterator[Schema]:
    """A normal form and all that is in it."""
    return (part for _, part in walk(schema))


def _either(nodes: Sequence[dict[str, Any]], pointer: str, keyword: str) -> dict[str, Any]:
    """Any one of some normal forms, each once."""
    found: dict[str, dict[str, Any]] = {}
    for node in nodes:
        alone = len(node) == 1 and "anyOf" in node
        for branch in node["anyOf"] if alone else [node]:
            found.setdefault(json.dumps(branch), branch)
    if not found:
        raise Unsaid(pointer, keyword, "nothing is valid there")
    branches = list(found.values())
    return branches[0] if len(branches) == 1 else {"anyOf": branches}
