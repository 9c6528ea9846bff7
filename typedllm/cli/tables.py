"""Files of rows, read one row at a time: CSV and JSONL here, Parquet in `parquet.py`.

What is wrong with one row is its own problem, with its place; the others are read all the same.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO, cast

from typedllm.errors import UsageError

__all__ = ["ENDINGS", "Row", "Table", "open_table"]

ENDINGS: Final = (".csv", ".jsonl", ".ndjson", ".parquet")
"""Those of files of rows."""

_LONGEST: Final = 1 << 24  # characters of a cell of CSV; an open quote takes no more than that
_ESCAPED = re.compile("[\udc80-\udcff]")  # what `surrogateescape` makes of a byte that is no UTF-8


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One input.

    Attributes:
        columns: what the row holds, as plain JSON, as far as it could be read.
        text: what is asked about; None where the columns are the values of a template.
        problem: why the row cannot be asked, with its place; None when it can.
        place: the file and the line or row.
        id: of the result; None for its position.
        arrow: the row as Arrow has it, in a record batch of one row; None but for Parquet.
    """

    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])
    text: str | None = None
    problem: str | None = None
    place: str = ""
    id: str | None = None
    arrow: Any = None

    @property
    def prompt(self) -> Any:
        """What is given to an `LLM`: the text, the values, or the problem as an error."""
        if self.problem is not None:
            return UsageError(self.problem)
        return self.columns if self.text is None else self.text


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A file of rows.

    Attributes:
        columns: the names of all columns that any row has.
        texts: those of them that may hold text.
        rows: reads the rows from the start.
        schema: the Arrow schema; None but for Parquet.
    """

    columns: tuple[str, ...]
    texts: tuple[str, ...]
    rows: Callable[[], Iterable[Row]]
    schema: Any = None


def open_table(path: Path) -> Table:
    """Find out what columns a file of rows has.

    Args:
        path: of a file that ends with one of `ENDINGS`.

    Raises:
        UsageError: when it has no columns, or two of one name.
        MissingDependency: when it is Parquet, and pyarrow is not installed.
    """
    ending = path.suffix.lower()
    if ending == ".parquet":
        from typedllm.cli.parquet import parquet_rows, parquet_schema

        schema = parquet_schema(path)
        texts = tuple(each.name for each in schema if str(each.type) in _ARROW_TEXTS)
        columns = _unlike(tuple(schema.names), str(path))
        return Table(columns=columns, texts=texts, rows=partial(parquet_rows, path), schema=schema)
    columns = _csv_columns(path) if ending == ".csv" else _jsonl_columns(path)
    rows = partial(_csv_rows if ending == ".csv" else _jsonl_rows, path)
    return Table(columns=columns, texts=columns, rows=rows)


_ARROW_TEXTS: Final = ("string", "large_string", "string_view")


def _unlike(columns: tuple[str, ...], place: str) -> tuple[str, ...]:
    for name in columns:
        if columns.count(name) > 1:
            raise UsageError(f"{place}: two columns are called {name!r}; rename one")
    return columns


def _open(path: Path) -> TextIO:
    # Bytes that are no UTF-8 survive reading as lone surrogates, and are an error of their row.
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _foreign(text: str) -> str | None:
    """What is wrong with the bytes of a text, if anything."""
    match = _ESCAPED.search(text)
    return f"byte 0x{ord(match[0]) - 0xDC00:02x} is no UTF-8" if match else None


def _shown(text: str) -> str:
    return _ESCAPED.sub("\ufffd", text)


def _csv_columns(path: Path) -> tuple[str, ...]:
    with _open(path) as file:
        try:
            columns = next(csv.reader(file, strict=True), list[str]())
        except csv.Error as error:
            raise UsageError(f"{path}, line 1: {error}") from error
    if problem := _foreign("".join(columns)):
        raise UsageError(f"{path}, line 1: {problem}; save the file as UTF-8")
    if not columns:
        raise UsageError(f"{path}: its first line has to name the columns, and is empty")
    return _unlike(tuple(columns), f"{path}, line 1")


def _csv_rows(path: Path) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST)
    with _open(path) as file:
        reader = csv.reader(file, strict=True)
        names = next(reader)
        while True:
            place = f"{path}, line {reader.line_num + 1}"
            try:
                values = next(reader, None)
            except csv.Error as error:
                yield Row(place=place, problem=f"{place}: {error}")
                continue
            if values is None:
                return
            if values:
                yield _csv_row(names, values, place)


def _csv_row(names: list[str], values: list[str], place: str) -> Row:
    cells = dict(zip(names, map(_shown, values), strict=False))
    if len(values) != len(names):
        problem = f"{len(values)} values for {len(names)} columns"
    else:
        problem = _foreign("".join(values))
    return Row(columns=cells, place=place, problem=problem and f"{place}: {problem}")


def _jsonl_columns(path: Path) -> tuple[str, ...]:
    columns: dict[str, None] = {}  # a set that keeps the order
    for row in _jsonl_rows(path):
        columns.update(dict.fromkeys(row.columns))
    if not columns:
        raise UsageError(f"{path}: no line of it is a JSON object")
    return tuple(columns)


def _jsonl_rows(path: Path) -> Iterator[Row]:
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                place, found = f"{path}, line {number}", _jsonl_object(line)
                if isinstance(found, str):
                    yield Row(place=place, problem=f"{place}: {found}")
                else:
                    yield Row(place=place, columns=found)


def _jsonl_object(line: str) -> dict[str, Any] | str:
    """The object of a line, or what is wrong with it."""
    if problem := _foreign(line):
        return problem
    try:
        row: object = json.loads(line)
    except json.JSONDecodeError as error:
        return f"no JSON: {error.msg} at column {error.colno}"
    except (ValueError, RecursionError) as error:
        return f"no JSON: {error}"
    if not isinstance(row, dict):
        return f"a JSON {type(row).__name__}, not an object"
    return cast(dict[str, Any], row)
