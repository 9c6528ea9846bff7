"""How answers are laid out beside the columns of their rows, in every kind of file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, cast

from typedllm.cli.output_types import field_names
from typedllm.paths import ROOT, child

if TYPE_CHECKING:
    from typedllm.client.options import AnyType
    from typedllm.records import Result

__all__ = ["Answers", "cell", "short", "unlike"]

_TAKEN: Final = "answer."  # goes before a name of ours that the input has too


class Answers:
    """How values are laid out in fields: an object by its own, any other value in one.

    Attributes:
        fields: the names that the output type has.
    """

    def __init__(self, output_type: AnyType) -> None:
        fields = field_names(output_type)
        self.fields = ("value",) if fields is None else fields
        self._whole = fields is None

    def values(self, result: Result[Any]) -> dict[str, Any]:
        """The value by fields, as JSON has it; nothing of a failed result."""
        from pydantic_core import to_jsonable_python

        if not result.ok:
            return {}
        value = to_jsonable_python(result.value)
        if self._whole or not isinstance(value, dict):
            return {"value": value}
        return cast(dict[str, Any], value)

    def sure(self, result: Result[Any], field: str) -> float | None:
        """How sure the model was of a field."""
        return (result.confidence or {}).get(self.path(field))

    def path(self, field: str) -> str:
        """The path of a field in the answer."""
        return ROOT if self._whole else child(ROOT, field)


def unlike(columns: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return names of ours, each unlike the input's columns and the others.

    Args:
        columns: the input's.
        names: as they would be.
    """
    taken, found = set(columns), list[str]()
    for name in names:
        while name in taken:
            name = _TAKEN + name
        taken.add(name)
        found.append(name)
    return found


def cell(value: Any) -> str:
    """A value as the text of a cell: what is no text as JSON, None as nothing."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def short(probability: float) -> float:
    """A probability in four digits."""
    return float(f"{probability:.4g}")
