"""Results: what came of each row of a batch, in the order of the inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, TypeVar, cast, overload

from typing_extensions import TypeForm

from typedllm._require import require
from typedllm.batch.summary import summary_of
from typedllm.batch.tables import ParquetWriter, arrow_table
from typedllm.batch.tally import Summary, summarized
from typedllm.errors import TypedLLMError
from typedllm.records import Result, Usage
from typedllm.spec.spec import Spec, spec_of

__all__ = ["Results"]

T = TypeVar("T")


class Results(Sequence[Result[T]]):
    """The results of a batch: one for each input, in its position."""

    __slots__ = ("_output_types", "_rows", "_system", "_wall_s")

    def __init__(
        self,
        rows: Iterable[Result[T]],
        *,
        wall_s: float,
        system: str | None = None,
        spec: Spec[Any] | None = None,
    ) -> None:
        """Keep the results.

        Args:
            rows: one for each input, in their order.
            wall_s: seconds that the whole batch took.
            system: the system text of the call, for `print_summary`.
            spec: of the values, for the columns of tables.
        """
        self._system = system
        # Of which the spec is made again, which cannot be pickled; one at most, as it may be None.
        self._output_types = () if spec is None else (spec.source,)
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
        """Tokens over all attempts of all rows, those included that were not asked this time."""
        return reduce(add, (row.usage for row in self._rows), Usage())

    @property
    def wall_s(self) -> float:
        """Seconds that the whole batch took."""
        return self._wall_s

    def print_summary(self) -> None:
        """Print each response with its prompt, context, metadata, ids and processing time."""
        print(summary_of(self._rows, system=self._system))

    def summary(self) -> Summary:
        """Sum the batch up; printed, it is a few lines to read."""
        return summarized(self._rows, wall_s=self._wall_s)

    def to_parquet(self, path: str | Path) -> None:
        """Write a Parquet file of a row a result, in order, errors in their place.

        The columns and their types come from the output type, and are told in
        `typedllm.batch.tables`; they are the same whatever the results are.

        Args:
            path: of the file; one that is there is replaced when the new one is whole.

        Raises:
            MissingDependency: when pyarrow is not installed.
            UsageError: when the file cannot be written.
        """
        with ParquetWriter(path, self._spec()) as writer:
            for row in self._rows:
                writer.add(row)

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` of a row a result, in order, errors in their place.

        The columns are those of `to_parquet`, and keep their Arrow types, so that a null does not
        turn integers into floats.

        Raises:
            MissingDependency: when pandas or pyarrow is not installed.
        """
        pandas = require("pandas", "tables")
        return arrow_table(self._rows, self._spec()).to_pandas(types_mapper=pandas.ArrowDtype)

    def _spec(self) -> Spec[Any] | None:
        for output_type in self._output_types:
            return spec_of(cast(TypeForm[Any], output_type))
        return None

    def __repr__(self) -> str:
        usage = self.usage
        return (
            f"Results({self.ok:,} of {len(self):,} valid; {usage.input_tokens:,} tokens in, "
            f"{usage.output_tokens:,} out; {self._wall_s:.2f} s)"
        )
