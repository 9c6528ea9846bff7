"""Readers: from the text of an answer to a value that is valid for its spec."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

import jsonschema_rs
import pydantic
from pydantic_core import from_json

from typedllm.errors import Issue, SpecError
from typedllm.paths import ROOT
from typedllm.spec.issues import cut, invalid, of_pydantic, of_schema

__all__ = [
    "Reader",
    "choice_reader",
    "regex_reader",
    "schema_reader",
    "text_reader",
    "type_reader",
]

T_co = TypeVar("T_co", covariant=True)


class Reader(Protocol[T_co]):
    """Turns the text of an answer into a value."""

    def __call__(self, text: str, context: Any = None) -> T_co:
        """Read one answer.

        Args:
            text: the answer; JSON for specs with a schema, else plain text.
            context: passed to Pydantic validators as `info.context`.

        Raises:
            Invalid: with the issues by path, when the text is not valid for the spec.
        """
        ...


def text_reader() -> Reader[str]:
    """Make a reader of plain text, which takes it as it is."""

    def read(text: str, context: Any = None) -> str:
        return text

    return read


def choice_reader(options: Iterable[str]) -> Reader[str]:
    """Make a reader of one of several texts.

    Args:
        options: the texts.
    """
    known = dict.fromkeys(options)
    listed = ", ".join(f'"{option}"' for option in list(known)[:10])
    more = f" and {len(known) - 10} more" if len(known) > 10 else ""

    def read(text: str, context: Any = None) -> str:
        if text not in known:
            raise invalid(text, [Issue(ROOT, f"expected one of {listed}{more}")], text)
        return text

    return read


def regex_reader(pattern: str) -> Reader[str]:
    """Make a reader of text that matches a pattern as a whole, in linear time.

    Args:
        pattern: as in JSON Schema.

    Raises:
        SpecError: when the pattern cannot be understood.
    """
    anchored = f"^(?:{pattern})$"
    try:
        validator = _validator({"type": "string", "pattern": anchored})
    except SpecError as error:
        raise SpecError(
            f"Regex({pattern!r}) is no regular expression of the linear-time kind; it takes no"
            " look-around and no back-references"
        ) from error

    def read(text: str, context: Any = None) -> str:
        try:
            matches = validator.is_valid(text)
        except UnicodeEncodeError:  # a lone surrogate is no character that a pattern can match
            matches = False
        if not matches:
            raise invalid(text, [Issue(ROOT, f"expected text that matches {pattern}")], text)
        return text

    return read


def type_reader(adapter: pydantic.TypeAdapter[Any]) -> Reader[Any]:
    """Make a reader of JSON that Pydantic validates.

    Args:
        adapter: of the type.
    """

    def read(text: str, context: Any = None) -> Any:
        try:
            return adapter.validate_json(text, context=context)
        except pydantic.ValidationError as error:
            value = _json(text)
            raise invalid(text, of_pydantic(error, value), value) from error
        except Exception as error:  # a validator of the caller's type that fails on this answer
            issue = Issue(ROOT, f"its validator raised {type(error).__name__}: {error}")
            raise invalid(text, [issue]) from error

    return read


def schema_reader(schema: Mapping[str, Any]) -> Reader[Any]:
    """Make a reader of JSON that is checked by a JSON Schema, formats included.

    Args:
        schema: of the dialect that its `$schema` names, else of draft 2020-12. References outside
            the schema are never fetched.

    Raises:
        SpecError: naming the place, when the schema is not valid or refers to what is not in it.
    """
    validator = _validator(schema)

    def read(text: str, context: Any = None) -> Any:
        value = _json(text)
        if not validator.is_valid(value):
            raise invalid(text, of_schema(validator.iter_errors(value)), value)
        return value

    return read


def _validator(schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
    try:
        return jsonschema_rs.validator_for(
            dict(schema),
            validate_formats=True,
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(),
        )
    except jsonschema_rs.ValidationError as error:
        place = "".join(f"/{step}" for step in error.instance_path)
        raise SpecError(f"the JSON Schema is not valid at #{place}: {_reason(error)}") from error
    except ValueError as error:
        raise SpecError(f"the JSON Schema cannot be read: {error}") from error


def _reason(error: jsonschema_rs.ValidationError) -> str:
    found = cut(error.message)
    match error.kind:
        case jsonschema_rs.ValidationErrorKind.Referencing():
            return f"{found}; only what the schema itself holds can be referred to"
        case jsonschema_rs.ValidationErrorKind.Format(format="regex"):
            return f"{found}; patterns run in linear time, without look-around and back-references"
        case _:
            return found


def _json(text: str) -> Any:
    """Parse JSON; of equal keys the last one counts.

    Raises:
        Invalid: naming line and column, when the text is no JSON, nests too deep for the parser, or
            holds a number that has no finite value.
    """
    try:
        value = from_json(text.encode(), allow_inf_nan=False)
        json.dumps(value, allow_nan=False)  # refuses the infinity that 1e999 was read as
    except (ValueError, RecursionError) as error:
        raise invalid(text, [Issue(ROOT, f"not JSON: {error}")]) from error
    return value
