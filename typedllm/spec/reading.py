"""Readers: from the text of an answer to a value that is valid for its spec."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

import pydantic
from pydantic_core import from_json

from typedllm.errors import Issue, SpecError
from typedllm.paths import ROOT
from typedllm.spec.issues import invalid, of_pydantic, of_schema
from typedllm.spec.validators import validator_of

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
    """Make a reader of text that matches a pattern as a whole.

    It takes linear time, or with look-around or back-references a limited number of steps, beyond
    which a text does not match.

    Args:
        pattern: as in JSON Schema.

    Raises:
        SpecError: when the pattern cannot be understood.
    """
    anchored = f"^(?:{pattern})$"
    try:
        validator = validator_of({"type": "string", "pattern": anchored})
    except SpecError as error:
        raise SpecError(f"Regex({pattern!r}) is no regular expression of ECMA-262") from error

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
        schema: of the draft that `dialect_of` tells. References outside it are never fetched.

    Raises:
        SpecError: naming the place, when the schema is not valid or refers to what is not in it.
    """
    validator = validator_of(schema)

    def read(text: str, context: Any = None) -> Any:
        value = _json(text)
        if not validator.is_valid(value):
            raise invalid(text, of_schema(validator.iter_errors(value)), value)
        return value

    return read


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
