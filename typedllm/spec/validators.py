"""Validators of JSON Schemas, whose patterns cannot hang."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import jsonschema_rs

from typedllm.errors import SpecError
from typedllm.spec.dialects import dialect_of
from typedllm.spec.issues import cut

__all__ = ["validator_of"]

_BACKTRACKS = 100_000  # a few milliseconds of a pattern on one string
_CLASSES: Final[dict[int, type[jsonschema_rs.Validator]]] = {
    4: jsonschema_rs.Draft4Validator,
    6: jsonschema_rs.Draft6Validator,
    7: jsonschema_rs.Draft7Validator,
    19: jsonschema_rs.Draft201909Validator,
    20: jsonschema_rs.Draft202012Validator,
}


def validator_of(schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
    """Make the validator of a schema, formats included.

    Patterns run in linear time. Where one needs look-around or back-references, they run with a
    limit on backtracking: a value that would take more is not valid, whatever rule it is for.

    Args:
        schema: of the draft that `dialect_of` tells. References outside it are never fetched.

    Raises:
        SpecError: naming the place, when the schema is not valid or refers to what is not in it.
    """
    draft = _CLASSES[dialect_of(schema)]
    try:
        try:
            return _made(draft, schema, jsonschema_rs.RegexOptions())
        except jsonschema_rs.ValidationError:
            limited = jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACKS)
            return _made(draft, schema, limited)
    except jsonschema_rs.ValidationError as error:
        place = "".join(f"/{step}" for step in error.instance_path)
        raise SpecError(f"the JSON Schema is not valid at #{place}: {_reason(error)}") from error
    except ValueError as error:
        raise SpecError(f"the JSON Schema cannot be read: {error}") from error


def _made(
    draft: type[jsonschema_rs.Validator],
    schema: Mapping[str, Any],
    patterns: jsonschema_rs.RegexOptions | jsonschema_rs.FancyRegexOptions,
) -> jsonschema_rs.Validator:
    return draft(dict(schema), validate_formats=True, offline=True, pattern_options=patterns)


def _reason(error: jsonschema_rs.ValidationError) -> str:
    found = cut(error.message)
    match error.kind:
        case jsonschema_rs.ValidationErrorKind.Referencing():
            return f"{found}; only what the schema itself holds can be referred to"
        case jsonschema_rs.ValidationErrorKind.Format(format="regex"):
            return f"{found}; patterns are regular expressions of ECMA-262, of no astronomic size"
        case _:
            return found
