"""A normal form written as a strict schema, and whether an API takes one of that size."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from typedllm.constraints.strict import Normal
from typedllm.constraints.strict_facets import SchemaRules, kind_of
from typedllm.errors import SpecError
from typedllm.spec.keywords import mapped, subschemas, walk

__all__ = ["check_size", "hinted", "nullable", "strict_schema", "unions"]

Schema = Mapping[str, Any]

_NULL: Final = {"type": "null"}
_DROPPED: Final = ("$schema", "$id", "id", "x-typedllm")
_LARGE: Final = 250  # values of an enumeration
_HOMES: Final = ("$defs", "definitions")


def nullable(schema: Schema, normal: Normal) -> bool:
    """Whether null is valid for a normal form.

    Args:
        schema: a part of the whole.
        normal: the whole.
    """
    waiting, known = [schema], list[Schema]()
    while waiting:
        part = waiting.pop()
        if any(part is other for other in known):
            continue
        known.append(part)
        if "$ref" in part:
            waiting.append(normal.target(part))
        elif part.get("type") == "null" or None in part.get("enum", ()):
            return True
        waiting += part.get("anyOf", ())
    return False


def strict_schema(normal: Normal, rules: SchemaRules) -> dict[str, Any]:
    """Write a normal form as a strict schema.

    Args:
        normal: the form.
        rules: of the dialect; bounds that it does not know are left out.

    Returns:
        The schema; every property in it is required, and those that were not may be null.
    """
    writing = _Writing(normal, rules)
    made = writing.schema(normal.root)
    definitions = {name: writing.schema(part) for name, part in normal.definitions.items()}
    if "$ref" in made and definitions:  # the root has to be an object itself
        target = definitions[made["$ref"].removeprefix("#/$defs/")]
        if target.get("type") == "object":
            made = target
    return {**made, "$defs": definitions} if definitions else made


class _Writing:
    def __init__(self, normal: Normal, rules: SchemaRules) -> None:
        self._normal = normal
        self._rules = rules

    def schema(self, part: Schema) -> dict[str, Any]:
        """A part of the form as it is sent."""
        if "$ref" in part:
            return {"$ref": part["$ref"]}
        if "anyOf" in part:
            made: dict[str, Any] = {"anyOf": [self.schema(branch) for branch in part["anyOf"]]}
        elif "enum" in part:
            made = self._enumeration(part["enum"])
        elif part["type"] == "object":
            made = self._object(part)
        elif part["type"] == "array":
            made = {"type": "array", "items": self._items(part), **self._bounds(part)}
        else:
            made = {"type": part["type"], **self._bounds(part)}
        return {**made, "description": part["description"]} if "description" in part else made

    def _object(self, part: Schema) -> dict[str, Any]:
        made: dict[str, Any] = {}
        required = set(part["required"])
        for name, inner in part["properties"].items():
            made[name] = self.schema(inner)
            if name not in required and not nullable(inner, self._normal):
                alone = made[name].keys() == {"anyOf"}
                made[name] = {"anyOf": [*(made[name]["anyOf"] if alone else [made[name]]), _NULL]}
        return {
            "type": "object",
            "properties": made,
            "required": list(made),
            "additionalProperties": False,
        }

    def _items(self, part: Schema) -> dict[str, Any]:
        places: list[Schema] = [*part.get("prefixItems", ())]
        if part["items"] is not False:
            places.append(part["items"])
        found: list[dict[str, Any]] = []
        for place in places:
            made = self.schema(place)
            if made not in found:
                found.append(made)
        return found[0] if len(found) == 1 else {"anyOf": found}

    def _bounds(self, part: Schema) -> dict[str, Any]:
        return {word: value for word, value in part.items() if self._rules.takes(word, value)}

    def _enumeration(self, values: list[Any]) -> dict[str, Any]:
        kinds = dict.fromkeys(map(kind_of, values))
        if kinds.keys() <= self._rules.enum_kinds:
            return {"type": next(iter(kinds)) if len(kinds) == 1 else list(kinds), "enum": values}
        branches: list[dict[str, Any]] = []
        for kind in kinds:
            own = [value for value in values if kind_of(value) == kind]
            listed = {"enum": own} if kind in self._rules.enum_kinds else {}
            branches.append({"type": kind, **listed})
        return branches[0] if len(branches) == 1 else {"anyOf": branches}


def unions(schema: Schema) -> int:
    """Count the places of a strict schema that may be of several types.

    Args:
        schema: what is to be sent.
    """
    return sum("anyOf" in part or isinstance(part.get("type"), list) for _, part in walk(schema))


def check_size(schema: Schema, rules: SchemaRules) -> None:
    """Check that a strict schema is within the documented limits.

    Args:
        schema: what is to be sent.
        rules: of the dialect.

    Raises:
        SpecError: naming the limit and the place where it is passed.
    """
    properties = values = characters = 0
    for pointer, part in walk(schema):
        names: list[str] = [*part.get("properties", ()), *part.get("$defs", ())]
        enum: list[Any] = part.get("enum", [])
        properties += len(part.get("properties", ()))
        values += len(enum)
        own = sum(len(value) for value in enum if isinstance(value, str))
        characters += own + sum(map(len, names))
        _check(properties, rules.properties, "properties in all", pointer, rules)
        _check(values, rules.enum_values, "values of enumerations in all", pointer, rules)
        told = "characters of names and of values of enumerations in all"
        _check(characters, rules.characters, told, pointer, rules)
        if len(enum) > _LARGE:
            told = f"characters in an enumeration of more than {_LARGE} values"
            _check(own, rules.large_enum_characters, told, pointer, rules)
    if rules.depth is not None:
        for pointer, depth in _depths(schema, rules.depth):
            _check(depth, rules.depth, "objects inside each other", pointer, rules)


def _check(count: int, most: int | None, what: str, pointer: str, rules: SchemaRules) -> None:
    if most is not None and count > most:
        raise SpecError(
            f"the output type is too large for the dialect {rules.name}: more than {most:,} {what},"
            f" at {pointer} of the schema that would be sent"
        )


def _depths(schema: Schema, most: int) -> Iterator[tuple[str, int]]:
    """How deep in objects each object lies, a recursion entered once."""
    definitions: Mapping[str, Schema] = schema.get("$defs", {})
    waiting: list[tuple[str, Schema, int, frozenset[str]]] = [("#", schema, 0, frozenset())]
    deepest: dict[str, int] = {}
    while waiting:
        pointer, part, depth, entered = waiting.pop()
        reference: str | None = part.get("$ref")
        if reference is not None:
            if reference in entered or deepest.get(reference, -1) >= depth:
                continue
            deepest[reference] = depth
            target = definitions[reference.removeprefix("#/$defs/")]
            waiting.append((reference, target, depth, entered | {reference}))
            continue
        if part.get("type") == "object":
            depth += 1
            yield pointer, depth
        for keyword, steps, inner in subschemas(part):
            if keyword != "$defs" and isinstance(inner, Mapping) and depth <= most:
                waiting.append((pointer + steps, cast(Schema, inner), depth, entered))


def hinted(schema: Schema) -> tuple[dict[str, Any], bool]:
    """A schema as it is, without what is typedllm's, for a server that takes it as a hint.

    Args:
        schema: the spec's.

    Returns:
        The schema of an object, and whether the spec's own is its property `value`.
    """
    bare = _bare(schema)
    if bare.get("type") == "object":
        return bare, False
    homes = {word: bare.pop(word) for word in _HOMES if word in bare}
    text = json.dumps(bare)
    inside = text.count('"$ref": "#') != sum(text.count(f'"$ref": "#/{h}/') for h in _HOMES)
    if inside or '"$ref": "#"' in json.dumps(homes):
        bare, homes = _moved({**bare, **homes}), {}
    return {"type": "object", "properties": {"value": bare}, "required": ["value"], **homes}, True


def _bare(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    found = {k: v for k, v in cast(Schema, schema).items() if k not in _DROPPED}
    return mapped(found, lambda inner, steps: _bare(inner))


def _moved(schema: Any) -> Any:
    """A copy whose references are to where it is put."""
    if not isinstance(schema, Mapping):
        return schema
    found = mapped(cast(Schema, schema), lambda inner, steps: _moved(inner))
    reference = found.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        found["$ref"] = f"#/properties/value{reference[1:]}"
    return found
