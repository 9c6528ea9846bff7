"""The few values that a place of an answer can have, so that a model may score each of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import reduce
from typing import Any, Final, cast

from typedllm.errors import UsageError
from typedllm.paths import ROOT, child, steps
from typedllm.records import Labels
from typedllm.spec.kinds import Choice
from typedllm.spec.places import resolved, schema_at
from typedllm.spec.spec import Spec

__all__ = ["labels_at"]

_MOST: Final = 1_000  # labels of a place
_WRITE: Final = json.JSONEncoder(ensure_ascii=False).encode


def labels_at(spec: Spec[Any], path: str) -> Labels:
    """Find the labels of a place of an output type.

    Args:
        spec: what is asked for.
        path: such as `$.topic`, or `$` for the whole answer.

    Returns:
        The values of a `Literal`, enumeration, bool or small range of integers there, with the text
        of each in an answer.

    Raises:
        UsageError: when there is no such place, or it has more than 1,000 values.
    """
    if isinstance(spec.source, Choice):
        if path != ROOT:
            raise UsageError(f"distribution: a Choice has no {path}; its only place is $")
        return Labels(path=path, values=spec.source.options, texts=spec.source.options)
    keys = steps(path)
    if keys is None:
        raise UsageError(f"distribution: {path!r} is no path; write one such as $.topic")
    root = spec.schema or {}
    schema = schema_at(root, keys)
    values = None if schema is None else _values(schema, root)
    if values is None:
        raise UsageError(
            f"distribution: {path} is no place with a few values: expected that of a Literal, an"
            " enumeration, a bool, or an int with bounds close together"
        )
    if len(values) > _MOST:
        raise UsageError(f"distribution: {path} has {len(values):,} values, of {_MOST:,} at most")
    return Labels(
        path=reduce(child, keys, ROOT), values=tuple(values), texts=tuple(map(_WRITE, values))
    )


def _values(schema: Mapping[str, Any], root: Mapping[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    if "enum" in schema:
        values = cast(list[Any], schema["enum"])
        return None if any(isinstance(value, list | dict) for value in values) else values
    if "anyOf" in schema:
        parts = [_values(resolved(part, root), root) for part in schema["anyOf"]]
        found = [value for part in parts if part is not None for value in part]
        return None if None in parts else found
    low, high = schema.get("minimum"), schema.get("maximum")
    match schema.get("type"):
        case "boolean":
            return [False, True]
        case "null":
            return [None]
        case "integer" if isinstance(low, int) and isinstance(high, int) and high - low < _MOST:
            return [*range(low, high + 1)]
        case _:
            return None
