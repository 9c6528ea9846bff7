"""The spec of the items of a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, cast, get_args, get_origin

from typedllm.errors import SpecError
from typedllm.records import JsonSchema
from typedllm.spec.language import type_of
from typedllm.spec.spec import Spec, spec_of

__all__ = ["items_of"]

_DEFINITIONS: Final = ("$defs", "definitions", "$schema")


def items_of(spec: Spec[Any]) -> Spec[Any] | None:
    """Find what each item of an answer is, where the answer is a list of one kind of item.

    Args:
        spec: of the answer.

    Returns:
        The spec of an item, which reads it as it stands in the list; None for any other answer.
    """
    source = spec.source
    try:
        if isinstance(source, JsonSchema):
            return _of_schema(source.schema)
        written = isinstance(source, str | list)
        form: Any = type_of(cast(object, source)) if written else source
    except SpecError:  # a reference that only the whole schema resolves
        return None
    while get_origin(form) is Annotated:
        form = get_args(form)[0]
    origin, inner = get_origin(form), get_args(form)
    one_kind = origin in (list, Sequence) or (origin is tuple and inner[1:] == (...,))
    if not one_kind:
        return None
    # `str` by itself is plain text, without the quotes that it has in a list
    return spec_of(JsonSchema({"type": "string"}) if inner[0] is str else inner[0])


def _of_schema(schema: Mapping[str, Any]) -> Spec[Any] | None:
    items: Any = schema.get("items")
    if schema.get("type") != "array" or "prefixItems" in schema or not isinstance(items, Mapping):
        return None
    shared = {word: schema[word] for word in _DEFINITIONS if word in schema}
    whole: dict[str, Any] = {**cast(Mapping[str, Any], items), **shared}
    return spec_of(JsonSchema(whole))
