"""Spec: what the caller asked for, as a JSON Schema and a reader of answers."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast, overload

import pydantic
from typing_extensions import TypeForm

from typedllm.errors import MissingDependency, SpecError
from typedllm.records import JsonSchema, Lark
from typedllm.spec.json_schema import json_schema_of
from typedllm.spec.keywords import WORDS
from typedllm.spec.kinds import Choice, Regex
from typedllm.spec.language import type_of
from typedllm.spec.reading import (
    Reader,
    choice_reader,
    regex_reader,
    schema_reader,
    text_reader,
    type_reader,
)

__all__ = ["Reader", "Spec", "spec_of"]

T = TypeVar("T")

_CACHED_SPECS = 256
_SCHEMA_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_BESIDE_ENUM = frozenset({"enum", "description", "default", "examples", "$comment"})
_LARGEST = 100_000  # keywords, properties, and items of lists by the ten
_DEEPEST = 10_000  # levels
_LONGEST = 10_000_000  # characters of a JSON Schema
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_ACCEPTED = (
    "an output type is a type that Pydantic takes (a model, a dataclass, int, list[str], Literal,"
    " ...), a dict of field names and type words, a type word such as 'int | None', a JSON Schema,"
    " Regex, Choice or Lark"
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Spec(Generic[T]):
    """What the caller asked for.

    Attributes:
        source: the output type as it was given.
        schema: its JSON Schema in validation mode, with `x-typedllm` annotations where a Python
            type says more than JSON Schema can, of draft 2020-12 unless the caller's own schema
            names another in `$schema`; None for plain text.
        read: turns an answer's text into a value.
        key: a hash of the spec's content, the same in every process.
    """

    source: object
    schema: Mapping[str, Any] | None
    read: Reader[T]
    key: str


@overload
def spec_of(output_type: Regex | Choice | Lark | None) -> Spec[str]: ...
@overload
def spec_of(output_type: JsonSchema) -> Spec[Any]: ...
@overload
def spec_of(output_type: Mapping[str, Any]) -> Spec[dict[str, Any]]: ...
@overload
def spec_of(output_type: TypeForm[T]) -> Spec[T]: ...
@overload
def spec_of(output_type: str | list[Any]) -> Spec[Any]: ...
def spec_of(output_type: object) -> Spec[Any]:
    """Understand an output type.

    Specs are kept, so that asking again for the same type, or for an equal dict, costs little.

    Args:
        output_type: a type that a Pydantic `TypeAdapter` takes; a dict, list or type word of the
            spec language; a JSON Schema (a dict with `$schema` or `$ref`, or whose `type` is a JSON
            type name such as `object`, or a `JsonSchema`); `Regex`, `Choice` or `Lark` for text of
            a form; `str` or None for any text.

    Raises:
        SpecError: when it is none of these, naming the place and the mend.
        MissingDependency: when the type needs a package that is not installed.
    """
    try:
        return _kept(_Key(output_type))
    except RecursionError as error:
        raise SpecError("the output type is nested too deep, or holds itself") from error


class _Key:
    """An output type as a key: equal, and written alike.

    Equality alone would take `int | str` for `str | int`, `{"a": 1}` for `{"a": True}` and one
    order of fields for another; writing alone would confuse classes of one name. Types that cannot
    be hashed are kept too.
    """

    __slots__ = ("_content", "_text", "source")

    def __init__(self, source: object) -> None:
        self.source = source
        _check_size(source)
        self._content = source.schema if isinstance(source, JsonSchema) else source
        try:
            self._text = repr(source)
        except ValueError as error:  # as of an integer of more digits than Python writes
            raise SpecError(f"the output type cannot be written: {error}") from error

    def __hash__(self) -> int:
        return hash(self._text)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Key)
            and self._text == other._text
            and bool(self._content == other._content)
        )


def _check_size(source: object) -> None:
    """Refuse what is too large to be worked on, before it is written; plain lists cost little."""
    size, waiting = 0, [(source.schema if isinstance(source, JsonSchema) else source, 0)]
    while waiting:
        part, depth = waiting.pop()
        if depth > _DEEPEST:  # which is an error of its own
            return
        if isinstance(part, Mapping):
            inner = list(cast(Mapping[object, object], part).values())
            size += len(inner)
        elif isinstance(part, list):
            inner = cast(list[object], part)
            size += 1 + len(inner) // 10
        else:
            continue
        if size > _LARGEST:
            raise SpecError(
                f"the output type is too large: more than {_LARGEST:,} keywords and properties;"
                ' take the part that you need, such as schema("file.json#/$defs/Order")'
            )
        waiting += [(value, depth + 1) for value in inner]


@lru_cache(maxsize=_CACHED_SPECS)
def _kept(key: _Key) -> Spec[Any]:
    source = key.source
    match source:
        case None:
            return _of_text(source, text_reader(), "")
        case Regex():
            return _of_text(source, regex_reader(source.pattern), source.pattern)
        case Choice():
            return _of_text(source, choice_reader(source.options), json.dumps(source.options))
        case Lark():
            return _of_text(source, text_reader(), source.text)
        case JsonSchema():
            return _of_schema(JsonSchema(_plain(source.schema)))
        case Mapping() if _is_schema(cast(Mapping[object, object], source)):
            return _of_schema(JsonSchema(_plain(cast(Mapping[str, Any], source))))
        case str() | list() | Mapping():
            return _of_type(cast(object, source), _read(cast(object, source)))
        case _:
            return _of_type(source, source)


def _read(source: object) -> Any:
    try:
        return type_of(source)
    except SpecError as error:
        if isinstance(source, Mapping) and cast(Mapping[object, object], source).keys() <= WORDS:
            mend = 'write JsonSchema(...), or "$schema" into it'
            raise SpecError(f"{error}; if this is meant as a JSON Schema, {mend}") from error
        raise


def _is_schema(spec: Mapping[object, object]) -> bool:
    if "$schema" in spec or "$ref" in spec:
        return True
    kind = spec.get("type")
    if isinstance(kind, str):
        return kind in _SCHEMA_TYPES
    if isinstance(kind, list) and kind:
        return all(each in _SCHEMA_TYPES for each in cast(list[object], kind))
    return spec.keys() <= WORDS and _has_schemas(spec)


def _has_schemas(spec: Mapping[object, object]) -> bool:
    """Whether words of JSON Schema hold what they hold there, and no type of the spec language."""
    if isinstance(spec.get("enum"), list) and spec.keys() <= _BESIDE_ENUM:
        return True
    for word in ("anyOf", "oneOf", "allOf"):
        parts = spec.get(word)
        if isinstance(parts, list) and parts:
            return all(isinstance(part, Mapping | bool) for part in cast(list[object], parts))
    fields = spec.get("properties")
    if not isinstance(fields, Mapping) or not fields:
        return False
    return all(
        isinstance(field, Mapping) and _is_schema(cast(Mapping[object, object], field))
        for field in cast(Mapping[object, object], fields).values()
    )


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a schema as plain JSON."""
    try:
        text = json.dumps(dict(schema), allow_nan=False)
        if len(text) > _LONGEST:
            raise SpecError(f"the JSON Schema has more than {_LONGEST:,} characters")
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise SpecError(f"the JSON Schema is not JSON: {error}") from error


def _of_text(source: object, read: Reader[str], content: str) -> Spec[str]:
    kind = "text" if source is None or source is str else type(source).__name__
    return Spec(source=source, schema=None, read=read, key=_hash(kind, content))


def _of_schema(source: JsonSchema) -> Spec[Any]:
    read = schema_reader(source.schema)
    key = _hash("JsonSchema", json.dumps(source.schema))
    return Spec(source=source, schema=source.schema, read=read, key=key)


def _of_type(source: object, form: Any) -> Spec[Any]:
    if form is str:
        return _of_text(source, text_reader(), "")
    if inspect.isroutine(form):
        raise SpecError(f"{form!r} is a function; {_ACCEPTED}")
    try:
        adapter = pydantic.TypeAdapter[Any](form)
        schema = json_schema_of(adapter)
    except RecursionError:
        raise
    except ImportError as error:
        mend = str(error).replace("pydantic[email]", "typedllm[email]")
        raise MissingDependency(mend) from error
    except Exception as error:  # Pydantic raises of many kinds, and runs the caller's own code
        reason = str(error).strip().split("\n")[0].split(". ")[0]
        raise SpecError(f"{repr(source)[:200]} cannot be used ({reason}); {_ACCEPTED}") from error
    key = _hash("type", _name(form), json.dumps(schema))
    return Spec(source=source, schema=schema, read=type_reader(adapter), key=key)


def _name(form: Any) -> str:
    """The name of a type, the same in every process."""
    if inspect.isclass(form):
        return f"{form.__module__}.{form.__qualname__}"
    return _ADDRESS.sub("", repr(form))


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
