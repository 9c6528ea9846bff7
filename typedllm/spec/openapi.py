"""Schemas of OpenAPI 3.0 and Swagger 2 files, as JSON Schema says the same.

Source: OpenAPI 3.0.3, "Schema Object". OpenAPI 3.1 is JSON Schema 2020-12 as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

__all__ = ["is_api", "is_older_api", "modern"]

_ABOUT = frozenset(
    {"title", "description", "default", "example", "deprecated", "readOnly", "writeOnly", "xml"}
    | {"externalDocs"}
)
_COMBINED = ("$ref", "allOf", "anyOf", "oneOf", "not")
_EXCLUSIVE = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}


def is_api(document: object) -> bool:
    """Whether a document describes an API, and is not itself a schema.

    Args:
        document: the whole document.
    """
    return _version(document, "openapi") != "" or _version(document, "swagger") != ""


def is_older_api(document: object) -> bool:
    """Whether a document is of OpenAPI 3.0 or Swagger 2, whose schemas are no JSON Schema.

    Args:
        document: the whole document.
    """
    return _version(document, "openapi").startswith("3.0") or _version(document, "swagger") != ""


def modern(schema: Mapping[str, Any]) -> dict[str, Any]:
    """One schema of OpenAPI 3.0, not what is inside it, in the words of JSON Schema 2020-12.

    Args:
        schema: a Schema Object; beside `$ref` only `nullable` counts.
    """
    found = dict(schema)
    nullable = found.pop("nullable", False) is True
    if isinstance(found.get("$ref"), str):
        found = {"$ref": found["$ref"]}
    for keyword, bound in _EXCLUSIVE.items():
        if isinstance(found.get(keyword), bool):
            if found[keyword] and bound in found:
                found[keyword] = found.pop(bound)
            else:
                del found[keyword]
    return _or_null(found) if nullable else found


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    if any(keyword in schema for keyword in _COMBINED):
        about = {name: value for name, value in schema.items() if name in _ABOUT}
        rest = {name: value for name, value in schema.items() if name not in _ABOUT}
        return {**about, "anyOf": [rest, {"type": "null"}]}
    found = dict(schema)
    if isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    options: object = found.get("enum")
    if isinstance(options, list) and None not in options:
        found["enum"] = [*cast(list[object], options), None]
    return found


def _version(document: object, word: str) -> str:
    if not isinstance(document, Mapping):
        return ""
    found = cast(Mapping[str, object], document).get(word)
    # An unquoted `swagger: 2.0` is a number.
    return str(found) if isinstance(found, str | float) else ""
