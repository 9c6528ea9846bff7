"""What is wrong with an answer, in short words with paths: `$.items[1].sku: expected int`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from typing import Any, cast

import jsonschema_rs
import pydantic
from jsonschema_rs import ValidationErrorKind as Kind

from typedllm.errors import Invalid, Issue
from typedllm.paths import ROOT, child

__all__ = ["cut", "invalid", "of_pydantic", "of_schema"]

_MOST_ISSUES = 50
_MOST_CHARACTERS = 200
_SHOWN_ISSUES = 3
_SHOWN_VALUE = 40

# The names of the spec language for the types of Pydantic's errors.
_PYDANTIC_TYPES = {
    "bool": "bool",
    "bytes": "bytes",
    "dataclass": "object",
    "date": "date",
    "datetime": "datetime",
    "decimal": "Decimal",
    "dict": "object",
    "float": "float",
    "frozen_set": "list",
    "int": "int",
    "list": "list",
    "model": "object",
    "model_attributes": "object",
    "none": "null",
    "set": "list",
    "string": "str",
    "time": "time",
    "time_delta": "timedelta",
    "tuple": "list",
    "url": "URL",
    "uuid": "UUID",
}
_PYDANTIC_ENDINGS = ("_type", "_parsing", "_from_float", "_required")

_SCHEMA_TYPES = {
    "array": "list",
    "boolean": "bool",
    "integer": "int",
    "null": "null",
    "number": "float",
    "object": "object",
    "string": "str",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Finding:
    """One error of a validator.

    Attributes:
        path: where.
        expected: the name of the type that was expected there, or empty.
        message: what is wrong, where `expected` is empty.
        got: what was there instead.
    """

    path: str
    expected: str = ""
    message: str = ""
    got: str = ""


def invalid(raw: str, issues: Sequence[Issue], partial: object = None) -> Invalid:
    """Make the error of an answer that does not fit its spec.

    Args:
        raw: the text of the answer.
        issues: what is wrong with it, at least one.
        partial: the JSON value it holds, if any.
    """
    shown = "; ".join(str(issue) for issue in issues[:_SHOWN_ISSUES])
    more = len(issues) - _SHOWN_ISSUES
    message = f"{shown}; and {more} more" if more > 0 else shown
    return Invalid(message, raw=raw, partial=partial, issues=issues)


def of_pydantic(error: pydantic.ValidationError, value: object) -> list[Issue]:
    """Word the errors that Pydantic found.

    Args:
        error: Pydantic's error.
        value: the JSON value it was raised for, which tells keys from the tags of union members
            that Pydantic puts into its locations.
    """
    details = islice(error.errors(include_url=False), _MOST_ISSUES)
    return _merged(_of_detail(cast(dict[str, Any], detail), value) for detail in details)


def of_schema(errors: Iterable[jsonschema_rs.ValidationError]) -> list[Issue]:
    """Word the errors that a JSON Schema validator found.

    Args:
        errors: as `iter_errors` gives them.
    """
    return _merged(islice(_of_errors(errors), _MOST_ISSUES))


def _merged(findings: Iterable[_Finding]) -> list[Issue]:
    """One issue a place and message; the types of a union's members in one sentence."""
    found = list(findings)
    expected: dict[str, list[str]] = {}
    for finding in found:
        names = expected.setdefault(finding.path, [])
        if finding.expected and finding.expected not in names:
            names.append(finding.expected)
    issues: dict[Issue, None] = {}
    for finding in found:
        message = finding.message
        if finding.expected:
            message = f"expected {' or '.join(expected[finding.path])}"
        got = f", got {finding.got}" if finding.got else ""
        issues[Issue(finding.path, cut(message, _MOST_CHARACTERS) + got)] = None
    return list(issues)


def _of_detail(detail: dict[str, Any], value: object) -> _Finding:
    kind: str = detail["type"]
    path = _path(detail["loc"], value, missing=kind == "missing")
    if kind == "missing":
        return _Finding(path=path, message="field required")
    got = _got(detail["input"])
    for ending in _PYDANTIC_ENDINGS:
        name = _PYDANTIC_TYPES.get(kind.removesuffix(ending)) if kind.endswith(ending) else None
        if name:
            return _Finding(path=path, expected=name, got=got)
    if kind in ("literal_error", "enum"):
        return _Finding(path=path, expected=cut(detail["ctx"]["expected"]), got=got)
    message: str = detail["msg"]
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return _Finding(path=path, message=message.replace("Input should be", "expected", 1), got=got)


def _path(location: Sequence[str | int], value: Any, *, missing: bool) -> str:
    """The JSONPath of a Pydantic location; names that the value does not have are tags."""
    path = ROOT
    for position, step in enumerate(location):
        absent = missing and position == len(location) - 1
        if absent or _holds(value, step):
            path = child(path, step)
            value = None if absent else value[step]
    return path


def _holds(value: Any, step: str | int) -> bool:
    if isinstance(value, dict):
        return step in value
    return isinstance(value, list) and isinstance(step, int) and step < len(cast(Any, value))


def _of_errors(errors: Iterable[jsonschema_rs.ValidationError]) -> Iterator[_Finding]:
    for error in errors:
        match error.kind:
            case Kind.AnyOf(context=context) | Kind.OneOfNotValid(context=context):
                for branch in context:
                    yield from _of_errors(branch)
            case (
                Kind.AdditionalProperties(unexpected=names)
                | Kind.UnevaluatedProperties(unexpected=names)
            ):
                path = _path_of(error)
                for name in names:
                    yield _Finding(path=child(path, name), message="no such field")
            case _:
                yield _of_error(error)


def _of_error(error: jsonschema_rs.ValidationError) -> _Finding:
    path = _path_of(error)
    got = _got(error.instance)
    match error.kind:
        case Kind.Required(property=name):
            return _Finding(path=child(path, name), message="field required")
        case Kind.Type(types=types):
            names = " or ".join(_SCHEMA_TYPES[name] for name in types)
            return _Finding(path=path, expected=names, got=got)
        case Kind.Enum(options=options):
            listed = " or ".join(_got(option) for option in options[:_SHOWN_VALUE])
            return _Finding(path=path, expected=cut(listed), got=got)
        case Kind.Constant(expected_value=option):
            return _Finding(path=path, expected=_got(option), got=got)
        case Kind.Format(format=name):
            return _Finding(path=path, expected=name, got=got)
        case _:
            return _Finding(path=path, message=error.message)


def _path_of(error: jsonschema_rs.ValidationError) -> str:
    return reduce(child, error.instance_path, ROOT)


def _got(value: object) -> str:
    """A JSON value in few characters."""
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case _:
            return cut(json.dumps(value, ensure_ascii=False, default=repr), _SHOWN_VALUE)


def cut(text: str, most: int = _MOST_CHARACTERS) -> str:
    """Shorten a text for a message.

    Args:
        text: any text.
        most: characters that are kept.
    """
    return text if len(text) <= most else f"{text[: most - 3]}..."
