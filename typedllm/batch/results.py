"""Results: what came of each row of a batch, in the order of the inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import TypeVar, overload

from typedllm.batch.summary import summary_of
from typedllm.errors import TypedLLMError
from typedllm.records import Result, Usage

__all__ = ["Results"]

T = TypeVar("T")


class Results(Sequence[Result[T]]):
    """The results of a batch: one for each input, in its position."""

    __slots__ = ("_rows", "_system", "_wall_s")

    def __init__(
        self, rows: Iterable[Result[T]], *, wall_s: float, system: str | None = None
    ) -> None:
        """Keep the results.

        Args:
            rows: one for each input, in their order.
            wall_s: seconds that the whole batch took.
            system: the system text of the call, for the summary.
        """
        self._system = system
        self._rows = tuple(rows)
        self._wall_s = wall_s

    @overload
    def __getitem__(self, index: int) -> Result[T]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Result[T]]: ...
    def __getitem__(self, index: int | slice) -> Result[T] | Sequence[Result[T]]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def values(self) -> list[T | None]:
        """Return the value of each row, in position; None where there is an error."""
        return [row.value for row in self._rows]

    def errors(self) -> dict[int, TypedLLMError]:
        """Return the errors by position."""
        return {at: row.error for at, row in enumerate(self._rows) if row.error is not None}

    @property
    def ok(self) -> int:
        """How many rows have a value."""
        return sum(row.ok for row in self._rows)

    @property
    def usage(self) -> Usage:
        """Tokens over all attempts of all rows."""
        return reduce(add, (row.usage for row in self._rows), Usage())

    @property
    def wall_s(self) -> float:
        """Seconds that the whole batch took."""
        return self._wall_s

    def print_summary(self) -> None:
        """Print each response with its prompt, context, metadata, ids and processing time."""
        print(summary_of(self._rows, system=self._system))

    def __repr__(self) -> str:
        usage = self.usage
        return (
            f"Results({self.ok:,} of {len(self):,} valid; {usage.input_tokens:,} tokens in, "
            f"{usage.output_tokens:,} out; {self._wall_s:.2f} s)"
        )
