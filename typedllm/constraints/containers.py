"""Arrays and objects of a JSON Schema as nodes of the tree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import jsonschema_rs

from typedllm.constraints.formats import excluding
from typedllm.constraints.lark import UNIQUE_LIMIT
from typedllm.constraints.plan import Notes
from typedllm.constraints.references import escape
from typedllm.grammar.closing import TooComplex
from typedllm.grammar.escapes import quoted
from typedllm.grammar.pattern import NotRegular, parse_pattern
from typedllm.grammar.regular import ANY, Chars, Expr, both, matches
from typedllm.grammar.tree import Array, Literals, Member, Node, Object, OneOf, Scalar, Text
from typedllm.records import Limits

Schema = Mapping[str, Any]

_MOST_OPTIONAL = 2_000  # llguidance numbers a grammar's symbols with 16 bits


class Lowering(Protocol):
    """What containers need of the schema around them."""

    @property
    def notes(self) -> Notes:
        """Where to note what becomes of a keyword."""
        ...

    @property
    def limits(self) -> Limits:
        """Bounds for what the schema leaves open."""
        ...

    def node(self, schema: object, pointer: str, depth: int) -> Node | None:
        """The node of a schema inside."""
        ...

    def any_value(self) -> Node:
        """Any JSON value."""
        ...


def _note_of(schema: Schema) -> Mapping[str, Any]:
    return schema.get("x-typedllm", {})


def array(schema: Schema, pointer: str, depth: int, lowering: Lowering) -> Node | None:
    """The node of an array schema, or None when nothing satisfies it."""
    notes, limits = lowering.notes, lowering.limits
    names = ("items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems")
    notes.held(pointer, [word for word in names if word in schema])
    least, most = int(schema.get("minItems", 0)), schema.get("maxItems")
    if most is None and limits.items is not None:
        most = max(limits.items, least)
        notes.limit(f"arrays of at most {most} items")
    firsts, others = "prefixItems", "items"
    if isinstance(schema.get("items"), list):  # as drafts before 2020-12 have it
        firsts, others = "items", "additionalItems"
    prefix: list[Node] = []
    for index, inner in enumerate(schema.get(firsts, ())):
        if most is not None and index >= most:
            break
        node = lowering.node(inner, f"{pointer}/{firsts}/{index}", depth)
        if node is None:
            most = index
            break
        prefix.append(node)
    item = None
    if most is None or most > len(prefix):
        item = lowering.node(schema.get(others, True), f"{pointer}/{others}", depth)
        if item is None:
            most = len(prefix)
    if most is not None and most < least:
        notes.rule_out(pointer, f"an array of at least {least} and at most {most} valid items")
        return None
    unique = _unique(schema, item, prefix, least, most, pointer, notes)
    if unique and isinstance(item, Literals):
        most = len(item.texts) if most is None else min(most, len(item.texts))
        if most < least:
            notes.rule_out(pointer, f"{least} different items of {len(item.texts)} values")
            return None
    return Array(prefix=tuple(prefix), item=item, min_items=least, max_items=most, unique=unique)


def _unique(
    schema: Schema,
    item: Node | None,
    prefix: Sequence[Node],
    least: int,
    most: int | None,
    pointer: str,
    notes: Notes,
) -> bool:
    """Whether the grammar keeps the items apart."""
    if not schema.get("uniqueItems") or (most is not None and most <= 1):
        return False
    if isinstance(item, Literals) and not prefix and len(item.texts) <= UNIQUE_LIMIT:
        return True
    if _note_of(schema).get("kind") != "set":
        notes.checked(pointer, "uniqueItems", "items may repeat")
    elif least > 1:
        notes.checked(pointer, "minItems", "repeated items of a set are merged")
    else:
        notes.rewritten(pointer, "uniqueItems", "repeated items of a set are merged")
    return False


def object_node(schema: Schema, pointer: str, depth: int, lowering: Lowering) -> Node | None:
    """The node of an object schema, or None when nothing satisfies it."""
    members = Members(schema, pointer, depth, lowering)
    if not members.read():
        return None
    return members.build()


class Members:
    """An object schema on its way to a node."""

    def __init__(self, schema: Schema, pointer: str, depth: int, lowering: Lowering) -> None:
        """Take an object schema.

        Args:
            schema: the schema.
            pointer: where it stands.
            depth: how deep in the recursion.
            lowering: the schema around it.
        """
        self._schema = schema
        self._pointer = pointer
        self._depth = depth
        self._lowering = lowering
        self._notes = lowering.notes
        self._members: list[Member] = []
        self._entries: list[tuple[Text | Literals, Node]] = []

    def read(self) -> bool:
        """Read properties and entries; False when a required one is impossible."""
        names = ("properties", "required", "additionalProperties", "patternProperties")
        self._notes.held(self._pointer, [word for word in names if word in self._schema])
        return self._read_properties() and self._read_entries()

    def _inner(self, schema: object, *steps: str) -> Node | None:
        pointer = "/".join((self._pointer, *map(escape, steps)))
        return self._lowering.node(schema, pointer, self._depth)

    def _read_properties(self) -> bool:
        properties: Schema = self._schema.get("properties", {})
        required = dict.fromkeys(self._schema.get("required", ()))
        if len(properties.keys() - required.keys()) > _MOST_OPTIONAL:
            raise TooComplex(
                f"{self._pointer} has more than {_MOST_OPTIONAL:,} optional properties"
            )
        for name, inner in properties.items():
            node = self._inner(inner, "properties", name)
            if node is not None:
                self._members.append(Member(name, node, required=name in required))
            elif name in required:
                self._notes.rule_out(self._pointer, f"the required property {name!r} has no value")
                return False
        for name in required:
            if name not in properties:
                node = self._unlisted(name)
                if node is None:
                    self._notes.rule_out(self._pointer, f"{name!r} is required and not allowed")
                    return False
                self._members.append(Member(name, node))
        return True

    def _unlisted(self, name: str) -> Node | None:
        """The node of a property that is required and not among the properties."""
        patterns: Schema = self._schema.get("patternProperties", {})
        for pattern, inner in patterns.items():
            if jsonschema_rs.is_valid({"pattern": pattern}, name):
                return self._inner(inner, "patternProperties", pattern)
        return self._inner(self._schema.get("additionalProperties", True), "additionalProperties")

    def _read_entries(self) -> bool:
        schema, note = self._schema, _note_of(self._schema)
        patterns: Schema = schema.get("patternProperties", {})
        further: object = schema.get("additionalProperties", not self._members and not patterns)
        if "keys" in note:
            # A dict has one type of values; Pydantic writes it beside the pattern of the keys.
            for pattern, value in patterns.items():
                self._add_keyed(note["keys"], value, "patternProperties", pattern)
            if not patterns:
                self._add_keyed(note["keys"], further)
        elif "propertyNames" in schema and not patterns:
            self._add_named(schema["propertyNames"], further)
        else:
            if "propertyNames" in schema:
                self._notes.checked(self._pointer, "propertyNames", "stands beside patterns")
            self._add_patterns(patterns, further)
        return True

    def _add_keyed(self, keys: object, value: object, *place: str) -> None:
        """Entries of a dict whose keys have a type; the values have theirs at a place."""
        key = self._inner(keys, "propertyNames")
        if "propertyNames" in self._schema:
            self._notes.held(self._pointer, ["propertyNames"])
        for branch in key.branches if isinstance(key, OneOf) else [key]:
            if isinstance(branch, Literals):
                names = [json_key(text) for text in branch.texts]
                if any(text[0] not in '"tf' for text in branch.texts):
                    self._notes.checked(self._pointer, "propertyNames", "some names are numbers")
                if branch is key:
                    self._add_choices(names, value)
                else:
                    self._add_entry(Literals(tuple(map(quoted, names))), value, *place)
            elif isinstance(branch, Scalar):  # a number as a key is a number in quotes
                self._add_entry(Text(pattern=branch.expr), value, *place)
            elif isinstance(branch, Text):
                self._add_entry(branch, value, *place)

    def _add_named(self, names: object, value: object) -> None:
        """Entries whose names have a schema, beside properties that may not fit it."""
        referring = "$ref" in str(names)
        keywords: Schema = cast(Schema, names) if isinstance(names, Mapping) else {}
        # A name is a string: `in` finds the word both in a list of types and as the one type.
        possible = names is not False and "string" in keywords.get("type", "string")
        closed = value is False or not possible
        validator = jsonschema_rs.validator_for(cast(Any, names), validate_formats=True)
        fit = not referring and all(validator.is_valid(m.name) for m in self._members)
        if not fit or (not closed and self._other_names()):
            self._notes.checked(self._pointer, "propertyNames", "not all names are known to fit")
        elif closed:
            self._notes.held(self._pointer, ["propertyNames"])
        else:
            self._add_keyed({**keywords, "type": "string"}, value)

    def _add_choices(self, names: Sequence[str], value: object) -> None:
        """A dict with a few possible keys: properties that may be left out, in their order."""
        known = {member.name for member in self._members}
        node = self._inner(value, "additionalProperties")
        if node is not None:
            self._members += [Member(n, node, required=False) for n in names if n not in known]

    def _add_patterns(self, patterns: Schema, further: object) -> None:
        if len(patterns) > 1:
            self._notes.checked(self._pointer, "patternProperties", "a name may match two patterns")
        for pattern, inner in patterns.items():
            try:
                expr = parse_pattern(pattern)
            except NotRegular as error:
                self._notes.checked(self._pointer, "patternProperties", str(error))
                continue
            if any(matches(expr, member.name) for member in self._members):
                self._notes.checked(
                    self._pointer, "patternProperties", "a property matches one too"
                )
            others = self._other_names()
            key = Text(pattern=expr if others is None else both(expr, others))
            self._add_entry(key, inner, "patternProperties", pattern)
        if further is False:
            return
        if not patterns:
            self._add_entry(Text(pattern=self._other_names()), further)
        else:
            self._notes.rewritten(
                self._pointer, "additionalProperties", "only names of patternProperties are written"
            )

    def _other_names(self) -> Expr | None:
        """The names that no property has; None where there are no properties."""
        names = {*self._schema.get("properties", {}), *(member.name for member in self._members)}
        return excluding(tuple(sorted(names)), cast(Chars, ANY).ranges, 0, None) if names else None

    def _add_entry(self, key: Text | Literals, value: object, *place: str) -> None:
        if value is False:
            return
        node = self._inner(value, *(place or ("additionalProperties",)))
        if node is not None:
            self._entries.append((key, node))

    def build(self) -> Node | None:
        """The object, with its count of entries."""
        schema, notes = self._schema, self._notes
        least, most = int(schema.get("minProperties", 0)), schema.get("maxProperties")
        notes.held(self._pointer, [w for w in ("minProperties", "maxProperties") if w in schema])
        needed = sum(member.required for member in self._members)
        if not self._entries:
            return self._without_entries(least, most, needed)
        limit = self._lowering.limits.items
        if most is None and limit is not None:
            most = max(limit, least)
            notes.limit(f"dicts of at most {most} entries")
        min_entries = max(least - needed, 0)
        max_entries = None
        if min_entries > 1:
            notes.checked(
                self._pointer, "minProperties", "of entries with one name the last counts"
            )
        if most is not None:
            if most < least or most < needed:
                notes.rule_out(self._pointer, f"{max(least, needed)} to {most} properties")
                return None
            max_entries = max(most - len(self._members), min_entries)
            if max_entries > most - len(self._members):
                notes.checked(self._pointer, "maxProperties", "properties may be left out or not")
        return Object(
            members=tuple(self._members),
            entries=tuple(self._entries),
            min_entries=min_entries,
            max_entries=max_entries,
        )

    def _without_entries(self, least: int, most: int | None, needed: int) -> Node | None:
        count = len(self._members)
        if least > count or (most is not None and most < needed):
            self._notes.rule_out(self._pointer, f"{needed} to {count} of the properties there are")
            return None
        if least == count:
            members = tuple(Member(member.name, member.node) for member in self._members)
            return Object(members=members)
        if least > needed:
            self._notes.checked(self._pointer, "minProperties", "properties may be left out")
        if most is not None and most < count:
            self._notes.checked(self._pointer, "maxProperties", "all properties may be written")
        return Object(members=tuple(self._members))


def json_key(text: str) -> str:
    """The name that a JSON scalar has as a key of an object."""
    return json.loads(text) if text.startswith('"') else text
