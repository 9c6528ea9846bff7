"""Objects of a JSON Schema as nodes of the tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from typedllm.constraints.containers import Lowering, Schema, note_of
from typedllm.constraints.names import (
    NamePattern,
    Names,
    Region,
    is_possible,
    json_key,
    name_pattern,
    names_of,
    regions,
    without,
)
from typedllm.grammar.complexity import TooComplex
from typedllm.grammar.escapes import quoted
from typedllm.grammar.expression import states
from typedllm.grammar.pattern import NotRegular
from typedllm.grammar.tree import Literals, Member, Node, Object, OneOf, Scalar, Text
from typedllm.spec.keywords import escape
from typedllm.spec.validators import validator_of

_MOST_OPTIONAL = 2_000  # llguidance numbers a grammar's symbols with 16 bits
_MOST_PATTERNS = 1_000  # of names; the mask library has its own bound not far above
_MOST_COUNTED = 500  # members whose number counts: llguidance has a bound on rules side by side
_MOST_STATES = 2_000  # of an object whose members are counted


def object_node(schema: Schema, pointer: str, depth: int, lowering: Lowering) -> Node | None:
    """The node of an object schema, or None when nothing satisfies it."""
    members = _Members(schema, pointer, depth, lowering)
    if not members.read():
        return None
    return members.build()


class _Members:
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
        self._properties: Schema = schema.get("properties", {})
        self._patterns: Schema = schema.get("patternProperties", {})
        if len(self._patterns) > _MOST_PATTERNS:
            raise TooComplex(f"{pointer} has more than {_MOST_PATTERNS:,} patterns of names")
        self._matchers = {pattern: validator_of({"pattern": pattern}) for pattern in self._patterns}
        self._names = Names(others=Text())
        self._may_be_named: Callable[[str], bool] = lambda name: True
        self._members: list[Member] = []
        self._entries: list[tuple[Text | Literals, Node]] = []

    def read(self) -> bool:
        """Read properties and entries; False when a required one is impossible."""
        names = ("properties", "required", "additionalProperties", "patternProperties")
        self._notes.held(self._pointer, [word for word in names if word in self._schema])
        keys: object = note_of(self._schema).get("keys")
        if keys is None and "propertyNames" in self._schema:
            self._read_names(self._schema["propertyNames"])
        if not self._read_properties():
            return False
        if keys is None:
            self._read_listed()
            self._read_entries()
        else:
            self._read_typed(keys)
        return True

    def _at(self, *steps: str) -> str:
        return "/".join((self._pointer, *map(escape, steps)))

    def _read_names(self, names: object) -> None:
        self._notes.held(self._pointer, ["propertyNames"])
        keywords: Schema = cast(Schema, names) if isinstance(names, Mapping) else {}
        # A name is a string: `in` finds the word both in a list of types and as the one type.
        possible = names is not False and "string" in keywords.get("type", "string")
        if not possible:
            self._names = Names(complete=True)
        elif keywords:
            strings = {**keywords, "type": "string"}
            pointer = self._at("propertyNames")
            self._names = names_of(self._lowering.node(strings, pointer, self._depth))
        if not possible or "$ref" in str(keywords):  # which only the whole schema can resolve
            self._may_be_named = self._names.has
        else:
            self._may_be_named = validator_of(keywords).is_valid

    def _value_of(self, name: str) -> Node | None:
        """What a property of this name may be; None when it may not be."""
        if not self._may_be_named(name):
            return None
        parts: list[tuple[object, str]] = []
        if name in self._properties:
            parts.append((self._properties[name], self._at("properties", name)))
        for pattern, inner in self._patterns.items():
            if self._matchers[pattern].is_valid(name):
                parts.append((inner, self._at("patternProperties", pattern)))
        if not parts:
            further = self._schema.get("additionalProperties", True)
            parts.append((further, self._at("additionalProperties")))
        if len(parts) == 1:
            return self._lowering.node(*parts[0], self._depth)
        return self._lowering.conjunction(parts, self._depth)

    def _read_properties(self) -> bool:
        required = dict.fromkeys(self._schema.get("required", ()))
        self._check_optional(len(self._properties.keys() - required.keys()))
        for name in (*self._properties, *(n for n in required if n not in self._properties)):
            node = self._value_of(name)
            if node is not None:
                self._members.append(Member(name, node, required=name in required))
            elif name in required:
                listed = f"the required property {name!r} has no value"
                unlisted = f"{name!r} is required and not allowed"
                reason = listed if name in self._properties else unlisted
                self._notes.rule_out(self._pointer, reason)
                return False
        return True

    def _check_optional(self, count: int) -> None:
        if count > _MOST_OPTIONAL:
            raise TooComplex(
                f"{self._pointer} has more than {_MOST_OPTIONAL:,} optional properties"
            )

    def _read_listed(self) -> None:
        """Read the names of an enumeration: properties that may be left out."""
        known = self._known_names()
        listed = [name for name in self._names.listed if name not in known]
        self._check_optional(len(listed))
        for name in listed:
            node = self._value_of(name)
            if node is not None:
                self._members.append(Member(name, node, required=False))

    def _known_names(self) -> set[str]:
        return {*self._properties, *(member.name for member in self._members)}

    def _read_entries(self) -> None:
        if self._names.others is None:
            return
        patterns: list[NamePattern] = []
        values: list[tuple[object, str]] = []
        for pattern, inner in self._patterns.items():
            try:
                patterns.append(name_pattern(pattern))
            except NotRegular as error:
                self._notes.checked(self._pointer, "patternProperties", str(error))
            else:
                values.append((inner, self._at("patternProperties", pattern)))
        further = (self._further(), self._at("additionalProperties"))
        for region in self._regions(patterns, self._names.others):
            parts = [values[index] for index in region.inside] or [further]
            key = None if any(part is False for part, _ in parts) else self._key(region.names)
            if key is not None:
                self._add_entry(key, self._lowering.conjunction(parts, self._depth))

    def _further(self) -> object:
        """The schema of properties that nothing else names; False where they are not written."""
        further = self._schema.get("additionalProperties", True)
        named = self._members or self._patterns
        is_open = further is True or further == {}
        if not (is_open and named) or self._names.complete:
            return further
        if self._lowering.limits.extra_properties:
            return True
        if note_of(self._schema).get("kind") != "fields":  # a Python type takes no notice of others
            self._notes.limit("no properties beyond those that are named")
        return False

    def _regions(self, patterns: Sequence[NamePattern], allowed: Text) -> list[Region]:
        try:
            return regions(patterns, allowed)
        except TooComplex as error:
            reason = f"a name may match two patterns: {error}"
            self._notes.checked(self._pointer, "patternProperties", reason)
            alone = [Region((i,), Text(pattern=p.narrow)) for i, p in enumerate(patterns)]
            return [*alone, Region((), allowed)]

    def _key(self, names: Text) -> Text | None:
        """Names that are none of a property, or None when there are no others."""
        key = without(names, self._known_names())
        try:
            return key if is_possible(key) else None
        except TooComplex as error:
            keyword = "patternProperties" if self._patterns else "propertyNames"
            self._notes.checked(self._pointer, keyword, f"beside properties: {error}")
            return names

    def _read_typed(self, keys: object) -> None:
        """Read the entries of a dict whose keys have a type."""
        if "propertyNames" in self._schema:
            self._notes.held(self._pointer, ["propertyNames"])
        # A dict has one type of values; Pydantic writes it beside the pattern of the keys.
        for pattern, value in self._patterns.items():
            self._add_typed(keys, value, self._at("patternProperties", pattern))
        if not self._patterns:
            further = self._schema.get("additionalProperties", not self._members)
            self._add_typed(keys, further, self._at("additionalProperties"))

    def _add_typed(self, keys: object, schema: object, pointer: str) -> None:
        key = self._lowering.node(keys, self._at("propertyNames"), self._depth)
        value = self._lowering.node(schema, pointer, self._depth)
        for branch in key.branches if isinstance(key, OneOf) else [key]:
            if isinstance(branch, Literals):
                names = dict.fromkeys(json_key(text) for text in branch.texts)
                if any(text[0] not in '"tf' for text in branch.texts):
                    self._notes.checked(self._pointer, "propertyNames", "some names are numbers")
                if branch is key:
                    self._add_choices(names, value)
                else:
                    self._add_entry(Literals(tuple(map(quoted, names))), value)
            elif isinstance(branch, Scalar):  # a number as a key is a number in quotes
                self._add_entry(Text(pattern=branch.expr), value)
            elif isinstance(branch, Text):
                self._add_entry(branch, value)

    def _add_choices(self, names: Iterable[str], value: Node | None) -> None:
        """A dict with a few possible keys: properties that may be left out, in their order."""
        known = self._known_names()
        if value is not None:
            new = (name for name in names if name not in known)
            self._members += [Member(name, value, required=False) for name in new]

    def _add_entry(self, key: Text | Literals, value: Node | None) -> None:
        if value is not None:
            self._entries.append((key, value))

    def build(self) -> Node | None:
        """The object, with its count of properties."""
        schema, notes = self._schema, self._notes
        words = [word for word in ("minProperties", "maxProperties") if word in schema]
        notes.held(self._pointer, words)
        least = int(schema.get("minProperties", 0))
        most = int(schema["maxProperties"]) if "maxProperties" in schema else None
        needed, count = sum(member.required for member in self._members), len(self._members)
        if most is not None and most < max(least, needed):
            notes.rule_out(self._pointer, f"{max(least, needed)} to {most} properties")
            return None
        if not self._entries and least > count:
            notes.rule_out(self._pointer, f"{needed} to {count} of the properties there are")
            return None
        if most == needed:  # nothing else may be written
            members = tuple(member for member in self._members if member.required)
            return Object(members=members)
        if least == count and not self._entries:
            return Object(members=tuple(replace(m, required=True) for m in self._members))
        if self._entries and least - needed > 1:
            reason = "of entries with one name the last counts"
            notes.checked(self._pointer, "minProperties", reason)
        return self._counted(
            Object(
                members=tuple(self._members),
                entries=tuple(self._entries),
                min_properties=least,
                max_properties=most,
                max_entries=self._most_entries(least - needed, most),
            )
        )

    def _most_entries(self, least: int, most: int | None) -> int | None:
        limit = self._lowering.limits.items
        if most is not None or limit is None or not self._entries:
            return None
        bound = max(limit, least)
        self._notes.limit(f"dicts of at most {bound} entries")
        return bound

    def _counted(self, node: Object) -> Object:
        """The object without those counts for which it has too many states."""
        reason = "there are too many properties to count those that are written"
        if node.max_properties is not None and _is_too_large(node):
            self._notes.checked(self._pointer, "maxProperties", reason)
            node = replace(node, max_properties=None)
        if _is_too_large(node):
            self._notes.checked(self._pointer, "minProperties", reason)
            node = replace(node, min_properties=0)
        return node


def _is_too_large(node: Object) -> bool:
    if node.entry_bounds is not None:
        return False
    return len(node.members) > _MOST_COUNTED or states(node) > _MOST_STATES
