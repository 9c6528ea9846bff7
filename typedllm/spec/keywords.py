"""The keywords of JSON Schema: which hold schemas, which only annotate, and a walk over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

__all__ = [
    "ANNOTATIONS",
    "BY_TYPE",
    "HOMES",
    "TYPED",
    "WORDS",
    "escape",
    "implied",
    "mapped",
    "subschemas",
    "walk",
]

Schema = Mapping[str, Any]

_ONE = frozenset(
    {"additionalProperties", "additionalItems", "items", "contains", "not", "if", "then", "else"}
    | {"propertyNames", "unevaluatedProperties", "unevaluatedItems"}
)
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems", "items"})
HOMES = frozenset({"$defs", "definitions"})
_MAPS = HOMES | {"properties", "patternProperties", "dependentSchemas", "dependencies"}

_STRING = frozenset({"minLength", "maxLength", "pattern", "format"})
_NUMBER = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_ARRAY = frozenset(
    {"items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems"}
)
_OBJECT = frozenset(
    {"properties", "required", "additionalProperties", "patternProperties", "propertyNames"}
    | {"minProperties", "maxProperties"}
)
BY_TYPE: dict[str, frozenset[str]] = {
    "string": _STRING,
    "number": _NUMBER,
    "integer": _NUMBER,
    "array": _ARRAY,
    "object": _OBJECT,
    "boolean": frozenset(),
    "null": frozenset(),
}
TYPED = _STRING | _NUMBER | _ARRAY | _OBJECT

# Words that say nothing about which values are valid.
ANNOTATIONS = HOMES | frozenset(
    {"title", "description", "default", "example", "examples", "deprecated", "readOnly"}
    | {"writeOnly", "$comment", "$schema", "$id", "id", "$anchor", "$vocabulary", "discriminator"}
    | {"$dynamicAnchor", "$recursiveAnchor", "x-typedllm", "xml", "externalDocs"}
    | {"contentEncoding", "contentMediaType", "contentSchema"}
)


WORDS = (
    TYPED
    | ANNOTATIONS
    | {"type", "enum", "const", "allOf", "anyOf", "oneOf", "not", "if", "then", "else"}
    | {"contains", "minContains", "maxContains", "dependencies", "dependentRequired"}
    | {"dependentSchemas", "unevaluatedProperties", "unevaluatedItems"}
    | {"$ref", "$dynamicRef", "$recursiveRef"}
)


def escape(name: str) -> str:
    """A name as a step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def subschemas(schema: Schema) -> Iterator[tuple[str, str, object]]:
    """The schemas right inside a schema.

    Args:
        schema: an object.

    Yields:
        The keyword that holds one, its steps from here as part of a pointer, and the schema.
    """
    for keyword, value in schema.items():
        if keyword in _ONE and isinstance(value, Mapping | bool):
            yield keyword, f"/{keyword}", cast(object, value)
        elif keyword in _LISTS and isinstance(value, list):
            for index, inner in enumerate(cast(list[object], value)):
                yield keyword, f"/{keyword}/{index}", inner
        elif keyword in _MAPS and isinstance(value, Mapping):
            for name, inner in cast(Schema, value).items():
                if isinstance(inner, Mapping | bool):  # a dependency may be a list of names
                    yield keyword, f"/{keyword}/{escape(name)}", inner


def mapped(schema: Schema, change: Callable[[object, str], object]) -> dict[str, Any]:
    """A copy of a schema whose direct subschemas are changed.

    Args:
        schema: an object.
        change: takes a subschema and its steps from here, and gives what stands in its place.
    """
    changed = {steps: change(inner, steps) for _, steps, inner in subschemas(schema)}
    out = dict(schema)
    for keyword, value in schema.items():
        if f"/{keyword}" in changed:
            out[keyword] = changed[f"/{keyword}"]
        elif keyword in _LISTS and isinstance(value, list):
            parts = enumerate(cast(list[object], value))
            out[keyword] = [changed[f"/{keyword}/{index}"] for index, _ in parts]
        elif keyword in _MAPS and isinstance(value, Mapping):
            pairs = cast(Schema, value).items()
            out[keyword] = {n: changed.get(f"/{keyword}/{escape(n)}", v) for n, v in pairs}
    return out


def walk(schema: object, pointer: str = "#") -> Iterator[tuple[str, Schema]]:
    """Every schema in a schema that is an object, itself first, with its pointer.

    Args:
        schema: the schema.
        pointer: where it stands.
    """
    waiting = [(pointer, schema)]
    while waiting:
        place, part = waiting.pop()
        if isinstance(part, Mapping):
            found = cast(Schema, part)
            yield place, found
            inner = [(place + steps, value) for _, steps, value in subschemas(found)]
            waiting.extend(reversed(inner))


def implied(schema: Schema) -> list[str]:
    """The types that the keywords of a schema without `type` are about.

    Args:
        schema: the schema.
    """
    found = [
        kind
        for kind in ("object", "array", "string", "number")
        if any(keyword in BY_TYPE[kind] for keyword in schema)
    ]
    return found
