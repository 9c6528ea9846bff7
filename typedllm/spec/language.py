"""The spec language: a dict of field names and types, as a type that Pydantic takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from typing_extensions import TypedDict

from typedllm.errors import SpecError
from typedllm.paths import ROOT, child
from typedllm.spec.words import enumeration, type_of_word

__all__ = ["type_of"]

_MOST_DEPTH = 40  # each level takes Pydantic several frames of Python's stack


def type_of(spec: object) -> Any:
    """Translate a spec into a type that a Pydantic `TypeAdapter` takes.

    A dict becomes a `TypedDict` with the same keys in the same order, so that a dict comes back.

    Args:
        spec: a dict of field names and specs, a type word such as `int | None`, a list of the
            values of an enumeration, or a list of one dict, which is a list of such objects.

    Raises:
        SpecError: naming the place of the field (`$.items[*].sku`), what is wrong and the mend.
    """
    return _type_of(spec, ROOT, "Answer", 0)


def _type_of(spec: object, path: str, name: str, depth: int) -> Any:
    if depth > _MOST_DEPTH:
        raise SpecError(f"{path[:60]}...: nested more than {_MOST_DEPTH} deep")
    match spec:
        case str():
            return type_of_word(spec, path)
        case Mapping():
            return _object(cast(Mapping[object, object], spec), path, name, depth)
        case list():
            return _list(cast(list[object], spec), path, name, depth)
        case type():
            raise SpecError(f'{path}: inside a dict a type is written in quotes: "{spec.__name__}"')
        case _:
            raise SpecError(
                f'{path}: {repr(spec)[:60]} is no type; write a type word such as "int", a dict,'
                " or a list of values"
            )


def _object(spec: Mapping[object, object], path: str, name: str, depth: int) -> Any:
    if not spec:
        raise SpecError(f'{path}: a dict without fields; write "dict[str, Any]" for any object')
    fields: dict[str, Any] = {}
    for key, value in spec.items():
        if not isinstance(key, str):
            raise SpecError(f"{path}: the name of a field is a text, not {key!r}")
        inner = key if depth == 0 else f"{name}_{key}"
        fields[key] = _type_of(value, child(path, key), inner, depth + 1)
    # A call through the name would be read by type checkers as a declaration of their own.
    return cast(Any, TypedDict)(name, fields)


def _list(spec: Sequence[object], path: str, name: str, depth: int) -> Any:
    match spec:
        case [Mapping()]:
            return list[_type_of(spec[0], f"{path}[*]", name, depth + 1)]
        case [str() as word] if _is_type(word, path):
            raise SpecError(
                f'{path}: ["{word}"] would be an enumeration of one text; for a list write'
                f' "list[{word}]"'
            )
        case _:
            pass
    if any(isinstance(value, Mapping | list) for value in spec):
        raise SpecError(
            f"{path}: a list holds either one dict (a list of such objects) or the values of an"
            " enumeration"
        )
    try:
        return enumeration(spec)
    except ValueError as error:
        raise SpecError(f"{path}: {error}") from error


def _is_type(word: str, path: str) -> bool:
    try:
        type_of_word(word, path)
    except SpecError:
        return False
    return True
