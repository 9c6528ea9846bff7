"""The drafts of JSON Schema, by the numbers that jsonschema-rs has for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import jsonschema_rs

from typedllm.spec.keywords import walk

__all__ = ["LATEST", "URIS", "declared_dialect", "dialect_of"]

LATEST: Final = 20
URIS: Final = {
    4: "http://json-schema.org/draft-04/schema#",
    6: "http://json-schema.org/draft-06/schema#",
    7: "http://json-schema.org/draft-07/schema#",
    19: "https://json-schema.org/draft/2019-09/schema",
    20: "https://json-schema.org/draft/2020-12/schema",
}
_SINCE_2019 = frozenset(
    {"prefixItems", "dependentRequired", "dependentSchemas", "minContains", "maxContains"}
    | {"unevaluatedItems", "unevaluatedProperties", "$anchor", "$dynamicRef", "$recursiveRef"}
)
_SINCE_7 = _SINCE_2019 | {"if", "then", "else"}
_SINCE_6 = _SINCE_7 | {"const", "contains", "propertyNames"}
# The rules that each draft does not know, and would ignore.
_UNKNOWN: Final[dict[int, frozenset[str]]] = {
    LATEST: frozenset(),
    7: _SINCE_2019,
    6: _SINCE_7,
    4: _SINCE_6,
}


def declared_dialect(uri: object) -> int | None:
    """The draft that a `$schema` names; None when it names none that is known.

    Args:
        uri: the value of `$schema`.
    """
    named = _name(uri) if isinstance(uri, str) else ""
    return next((draft for draft, known in URIS.items() if _name(known) == named), None)


def dialect_of(schema: Mapping[str, Any]) -> int:
    """The draft of a schema.

    `$schema` decides. Where it names none that is known, the draft is 2020-12, unless its
    metaschema refuses the schema, that of draft 7, 6 or 4 takes it, and that draft knows all the
    rules in it.

    Args:
        schema: a JSON Schema.

    Returns:
        4, 6, 7, 19 (2019-09) or 20 (2020-12), as jsonschema-rs numbers them.
    """
    declared = declared_dialect(schema.get("$schema"))
    if declared is not None:
        return declared
    for draft, unknown in _UNKNOWN.items():
        if _takes(draft, schema) and not any(unknown & part.keys() for _, part in walk(schema)):
            return draft
    return LATEST


def _name(uri: str) -> str:
    return uri.partition("://")[2].removesuffix("#")


def _takes(draft: int, schema: Mapping[str, Any]) -> bool:
    try:
        return jsonschema_rs.meta.is_valid({**schema, "$schema": URIS[draft]})
    except ValueError:  # what is no JSON is no schema of any draft
        return False
