"""Parquet files of rows, in and out, some thousand rows in memory.

What comes out has the columns of the input, of their own types where that is Parquet and else of
text; then the columns of `typedllm.batch.tables` but for `id` and `metadata`, and `confidence`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from pydantic_core import to_jsonable_python

from typedllm._require import require
from typedllm._terminal import readable
from typedllm.batch.columns import pyarrow
from typedllm.batch.tables import Rows
from typedllm.cli.answers import cell, short, unlike
from typedllm.cli.inputs import Source
from typedllm.cli.tables import Row
from typedllm.client.options import AnyType
from typedllm.errors import UsageError
from typedllm.paths import ROOT
from typedllm.records import Result
from typedllm.spec.spec import spec_of

__all__ = ["ParquetRows", "parquet_rows", "parquet_schema"]

_READ: Final = 1_024  # rows at once
_GROUP: Final = 8_192  # rows of a group that is written
_GROUP_CHARACTERS: Final = 16_000_000  # of texts and answers, so that long ones are bounded too
_OF_THE_INPUT: Final = ("id", "metadata")


def parquet_schema(path: Path) -> Any:
    """Return the Arrow schema of a Parquet file.

    Args:
        path: of the file.

    Raises:
        MissingDependency: when pyarrow is not installed.
        UsageError: when it is no Parquet file.
    """
    with _opened(path) as file:
        return file.schema_arrow


def parquet_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a Parquet file, counted from 1.

    Args:
        path: of the file.

    Raises:
        UsageError: when it is damaged.
    """
    number = 0
    with _opened(path) as file:
        for batch in _batches(file, path):
            for at, found in enumerate(_cells(batch)):
                number += 1
                place, arrow = f"{path}, row {number}", batch.slice(at, 1)
                if isinstance(found, str):
                    yield Row(place=place, problem=f"{place}: {found}", arrow=arrow)
                else:
                    yield Row(place=place, columns=found, arrow=arrow)


def _opened(path: Path) -> Any:
    pa = pyarrow()
    try:
        return require("pyarrow.parquet", "tables").ParquetFile(path)
    except pa.ArrowException as error:
        raise UsageError(f"{path} is no Parquet file: {error}") from error


def _batches(file: Any, path: Path) -> Iterator[Any]:
    try:
        yield from file.iter_batches(batch_size=_READ)
    except (OSError, pyarrow().ArrowException) as error:
        raise UsageError(f"{path} is damaged: {error}") from error


def _cells(batch: Any) -> list[dict[str, Any] | str]:
    """Each row as plain JSON, or what is wrong with it."""
    try:
        return [_plain(row) for row in batch.to_pylist()]
    except (ValueError, ArithmeticError):  # text that is no UTF-8, a time that Python has not
        return [_row(batch.slice(at, 1)) for at in range(batch.num_rows)]


def _row(one: Any) -> dict[str, Any] | str:
    cells = dict[str, Any]()
    for name, column in zip(one.schema.names, one.columns, strict=True):
        try:
            cells[name] = _value(column[0])
        except (ValueError, ArithmeticError) as error:
            return f"{name!r} cannot be read: {error}"
    return _plain(cells)


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, ArithmeticError):
        return scalar.cast(pyarrow().string()).as_py()  # every time and decimal can be written


def _plain(cells: dict[str, Any]) -> dict[str, Any]:
    return to_jsonable_python(cells, fallback=str, bytes_mode="base64")


class ParquetRows:
    """Writes rows and what came of them."""

    def __init__(self, file: IO[bytes], source: Source, output_type: AnyType) -> None:
        """Fix the columns.

        Args:
            file: to write to.
            source: where the rows come from.
            output_type: what the answers are.

        Raises:
            MissingDependency: when pyarrow is not installed.
        """
        pa = pyarrow()
        self._source = source
        self._answers = Rows(spec_of(output_type))
        ours = [each for each in self._answers.schema if each.name not in _OF_THE_INPUT]
        self._kept = [each.name for each in ours]
        ours.append(pa.field("confidence", pa.float64()))
        theirs = [pa.field(readable(name), pa.string()) for name in source.columns]
        names = unlike(source.columns, [each.name for each in ours])
        renamed = [each.with_name(name) for each, name in zip(ours, names, strict=True)]
        self._schema = pa.schema([*(source.schema or theirs), *renamed])
        writer = require("pyarrow.parquet", "tables").ParquetWriter
        self._writer: Any = writer(file, self._schema)
        self._rows: list[Row] = []
        self._results: list[dict[str, Any]] = []
        self._sure: list[float | None] = []
        self._characters = 0

    def write(self, row: Row, result: Result[Any]) -> None:
        """Write a row and what came of it, with others together."""
        self._rows.append(row)
        self._results.append(self._answers.row(result))
        sure = result.confidence[ROOT] if result.ok and result.confidence else None
        self._sure.append(None if sure is None else short(sure))
        self._characters += len(row.text or "") + len(result.raw or "")
        if len(self._rows) >= _GROUP or self._characters >= _GROUP_CHARACTERS:
            self._write()

    def close(self) -> None:
        """Write what waits, and the end of the file; without it no part can be read."""
        try:
            if self._rows:
                self._write()
        finally:
            self._writer.close()

    def _write(self) -> None:
        pa = pyarrow()
        answers = pa.Table.from_pylist(self._results, self._answers.schema)
        arrays = [
            *self._inputs(pa),
            *(answers.column(name) for name in self._kept),
            pa.array(self._sure, pa.float64()),
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows.clear()
        self._results.clear()
        self._sure.clear()
        self._characters = 0

    def _inputs(self, pa: Any) -> list[Any]:
        if self._source.schema is not None:
            rows = [row.arrow for row in self._rows]
            found = pa.Table.from_batches(rows, self._source.schema)
            return found.combine_chunks().columns
        return [
            pa.array([_text(row.columns.get(name)) for row in self._rows], pa.string())
            for name in self._source.columns
        ]


def _text(value: object) -> str | None:
    return None if value is None else readable(cell(value))
