"""The schema of a place inside an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

__all__ = ["resolved", "schema_at"]

_REFERENCES = 20  # in a row


def schema_at(root: Mapping[str, Any], keys: Sequence[str | int]) -> Mapping[str, Any] | None:
    """Find the schema of a place, where there is one that holds for it whatever else is there.

    Args:
        root: the schema of the whole answer.
        keys: what leads to the place, as `typedllm.paths.steps` gives them.

    Returns:
        The schema, whose references are those of `root`; None where no keyword is about the place,
        or several branches of a union are.
    """
    found: Any = root
    for key in keys:
        inside = [each for each in _inside(resolved(found, root), key, root) if each is not None]
        if len(inside) != 1:
            return None
        found = inside[0]
    return resolved(found, root) if isinstance(found, Mapping) else None


def resolved(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a schema refers to, if it does.

    Args:
        schema: part of `root`.
        root: the whole schema.
    """
    found = _keywords(schema)
    for _ in range(_REFERENCES):
        reference: Any = found.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            break
        target: Any = root
        for step in reference[1:].split("/")[1:]:
            target = _keywords(target).get(step.replace("~1", "/").replace("~0", "~"))
        found = _keywords(target)
    return found


def _keywords(schema: Any) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], schema) if isinstance(schema, Mapping) else {}


def _inside(schema: Mapping[str, Any], key: str | int, root: Mapping[str, Any]) -> list[Any]:
    """The schemas of an item or member, by each branch that has it."""
    branches: Sequence[Any] = schema.get("anyOf", ())
    if branches:
        return [each for branch in branches for each in _inside(resolved(branch, root), key, root)]
    if isinstance(key, str):
        named = _keywords(schema.get("properties"))
        return [named[key] if key in named else schema.get("additionalProperties")]
    first: Sequence[Any] = schema.get("prefixItems", ())
    return [first[key] if key < len(first) else schema.get("items")]
