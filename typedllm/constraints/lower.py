"""Turns a JSON Schema into the tree of rules, and notes what becomes of every keyword."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import jsonschema_rs

from typedllm.constraints.containers import array, object_node
from typedllm.constraints.plan import Notes
from typedllm.constraints.references import References
from typedllm.constraints.scalars import number, string
from typedllm.grammar.tree import Array, Literals, Member, Node, Object, OneOf, Text
from typedllm.records import Limits

Schema = Mapping[str, Any]

_STRING = frozenset({"minLength", "maxLength", "pattern", "format"})
_NUMBER = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_ARRAY = frozenset(
    {"items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems"}
)
_OBJECT = frozenset(
    {"properties", "required", "additionalProperties", "patternProperties", "propertyNames"}
    | {"minProperties", "maxProperties"}
)
_BY_TYPE: dict[str, frozenset[str]] = {
    "string": _STRING,
    "number": _NUMBER,
    "integer": _NUMBER,
    "array": _ARRAY,
    "object": _OBJECT,
    "boolean": frozenset(),
    "null": frozenset(),
}
_TYPED = _STRING | _NUMBER | _ARRAY | _OBJECT
# Words that say nothing about which values are valid, and the homes of other schemas.
ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}
    | {"$comment", "$schema", "$id", "$defs", "definitions", "discriminator", "x-typedllm"}
    | {"contentEncoding", "contentMediaType", "contentSchema"}
)
_json = json.JSONEncoder(ensure_ascii=False).encode
_NULL_AND_BOOL = Literals(("null", "true", "false"))


def lower(schema: object, limits: Limits, notes: Notes) -> Node | None:
    """The tree of a schema.

    Args:
        schema: JSON Schema 2020-12, with typedllm's notes where it was made from a type.
        limits: bounds for what the schema leaves open.
        notes: takes what becomes of each keyword.

    Returns:
        The tree, or None when nothing satisfies the schema.
    """
    return _Lowering(schema, limits, notes).node(schema, "#", 0)


class _Lowering:
    """One schema on its way to a tree. `depth` counts entries into the recursion one is in."""

    def __init__(self, root: object, limits: Limits, notes: Notes) -> None:
        self._limits = limits
        self._notes = notes
        self._references = References(root)
        self._known: dict[tuple[str, int], Node | None] = {}
        self._any: dict[int, Node] = {}

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
        for base in ("enum", "const", "$ref", "anyOf", "oneOf", "allOf"):
            if base in found:
                return self._based(found, base, pointer, depth)
        return self._typed(found, pointer, depth)

    def _based(self, schema: Schema, base: str, pointer: str, depth: int) -> Node | None:
        self._notes.held(pointer, [base])
        if base in ("enum", "const"):
            return self._values(schema, base, pointer)
        for keyword in schema:
            if keyword != base and keyword not in ANNOTATIONS:
                self._notes.checked(pointer, keyword, f"stands beside {base}")
        if base == "$ref":
            return self._referred(schema["$ref"], pointer, depth)
        branches: Sequence[object] = schema[base]
        if base == "allOf" and len(branches) > 1:
            self._notes.checked(pointer, base, "only the first branch guides")
            branches = branches[:1]
        if base == "oneOf" and "discriminator" not in schema and len(branches) > 1:
            self._notes.checked(pointer, base, "more than one branch may match")
        nodes = [
            self.node(branch, f"{pointer}/{base}/{index}", depth)
            for index, branch in enumerate(branches)
        ]
        return either([node for node in nodes if node is not None])

    def _referred(self, reference: str, pointer: str, depth: int) -> Node | None:
        if not self._references.resolves(reference):
            self._notes.checked(pointer, "$ref", f"{reference} is no pointer into the schema")
            return self.any_value()
        inside = self._references.cycle(reference)
        if inside:
            # Coming from outside of this recursion, the count begins anew.
            depth = depth + 1 if self._references.within(pointer, reference) else 1
            self._notes.limit(f"recursion of {reference} to {self._limits.recursion} levels")
            if depth > (self._limits.recursion + 1) * inside:
                self._notes.rule_out(pointer, f"the recursion of {reference} has no end")
                return None
        key = (reference, depth)
        if key not in self._known:
            target = self._references.target(reference)
            self._known[key] = self.node(target, reference, depth)
        return self._known[key]

    def _values(self, schema: Schema, base: str, pointer: str) -> Node | None:
        values: Sequence[object] = schema["enum"] if base == "enum" else [schema["const"]]
        rest = {k: v for k, v in schema.items() if k not in ANNOTATIONS and k != base}
        if '"$ref"' in json.dumps(rest):  # which only the whole schema can resolve
            for keyword in rest:
                self._notes.checked(pointer, keyword, f"stands beside {base}")
        elif rest:
            validator = jsonschema_rs.validator_for(
                rest, validate_formats=True, pattern_options=jsonschema_rs.RegexOptions()
            )
            values = [value for value in values if validator.is_valid(value)]
            self._notes.held(pointer, rest)
        if not values:
            self._notes.rule_out(pointer, f"no value of {base} is valid")
        plain = tuple(_json(value) for value in values if not isinstance(value, list | dict))
        nested = [_value(cast(object, v)) for v in values if isinstance(v, list | dict)]
        return either([Literals(plain), *nested] if plain else nested)

    def _typed(self, schema: Schema, pointer: str, depth: int) -> Node | None:
        given = schema.get("type")
        kinds: Sequence[str] = [given] if isinstance(given, str) else (given or _implied(schema))
        about = frozenset[str]().union(*(_BY_TYPE.get(kind, frozenset()) for kind in kinds))
        for keyword in schema:
            if keyword == "type":
                self._notes.held(pointer, ["type"])
            elif keyword not in ANNOTATIONS and keyword not in _TYPED:
                self._notes.checked(pointer, keyword, "not in the grammar")
            elif keyword in _TYPED and keyword not in about:
                self._notes.held(pointer, [keyword])  # says nothing about values of this type
        if not kinds:
            return self.any_value()
        if given is None:
            self._notes.rewritten(pointer, "type", f"left open, taken as {', '.join(kinds)}")
        if "number" in kinds and "integer" in kinds:
            kinds = [kind for kind in kinds if kind != "integer"]
        nodes = [self._of_type(schema, kind, pointer, depth) for kind in kinds]
        return either([node for node in nodes if node is not None])

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


def _implied(schema: Schema) -> list[str]:
    """The types that the keywords of a schema without `type` are about."""
    found = [
        kind
        for kind in ("object", "array", "string", "number")
        if any(keyword in _BY_TYPE[kind] for keyword in schema)
    ]
    return found


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
