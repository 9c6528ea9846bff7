"""What `typedllm extract` reads: one text, or the rows of a CSV or JSONL file, one at a time."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO, cast

from typedllm.errors import UsageError

__all__ = ["Row", "Source", "open_source"]

_TEXTS: Final = (".txt", ".md")
_TABLES: Final = (".csv", ".jsonl")
_ESCAPED = re.compile("[\udc80-\udcff]")  # what `surrogateescape` makes of a byte that is no UTF-8


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One input.

    Attributes:
        columns: what the row holds, as far as it could be read.
        text: what is asked about.
        problem: why the row cannot be read, with its place; None when it can.
    """

    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])
    text: str = ""
    problem: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where rows come from.

    Attributes:
        columns: the names of all columns that any row has.
        column: the one that holds the text.
        rows: reads the rows from the start.
        path: the file of rows; None for one text.
    """

    columns: tuple[str, ...]
    column: str
    rows: Callable[[], Iterable[Row]]
    path: Path | None = None


def open_source(given: str, column: str | None) -> Source:
    """Find out what is to be read.

    Args:
        given: a text; `-` for standard input; or the path of a file.
        column: the column that holds the text, of a CSV or JSONL file.

    Raises:
        UsageError: when there is no such file or column, or the file is of another kind.
    """
    if given == "-":
        return _one(_decoded(sys.stdin.buffer.read(), "standard input"), column)
    path = _path(given)
    if path is None:
        return _one(given, column)
    if path.suffix.lower() in _TEXTS:
        return _one(_decoded(path.read_bytes(), str(path)), column)
    is_csv = path.suffix.lower() == ".csv"
    columns = _csv_columns(path) if is_csv else _jsonl_columns(path)
    column = _checked(column, columns, path)
    rows = _csv_rows if is_csv else _jsonl_rows
    return Source(columns=columns, column=column, rows=partial(rows, path, column), path=path)


def _path(given: str) -> Path | None:
    """The file that is meant, or None for a text."""
    path = Path(given)
    try:
        exists = path.is_file()
    except (OSError, ValueError):  # too long for a path
        return None
    known = path.suffix.lower() in (*_TEXTS, *_TABLES)
    if exists and not known:
        raise UsageError(
            f"{path}: the ending of a file says what it holds: {', '.join((*_TEXTS, *_TABLES))};"
            " for one text of another kind: typedllm extract - < FILE"
        )
    if known and not exists and not re.search(r"\s", given):
        raise UsageError(f"there is no file {path}")
    return path if exists else None


def _one(text: str, column: str | None) -> Source:
    if column is not None:
        raise UsageError("--column goes with a CSV or JSONL file; this is one text")
    if not text.strip():
        raise UsageError("the text is empty")
    return Source(
        columns=("text",), column="text", rows=lambda: [Row(columns={"text": text}, text=text)]
    )


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{name}, line {line}: byte 0x{content[error.start]:02x} is no UTF-8;"
            " save the text as UTF-8"
        ) from error


def _checked(column: str | None, columns: tuple[str, ...], path: Path) -> str:
    there = f"{path} has the columns {', '.join(columns)}"
    if column is None:
        raise UsageError(f"--column: which column holds the text? {there}")
    if column not in columns:
        close = get_close_matches(column, columns, n=1)
        meant = f" (did you mean {close[0]!r}?)" if close else ""
        raise UsageError(f"--column: there is no {column!r}{meant}; {there}")
    return column


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
    for name in columns:
        if columns.count(name) > 1:
            raise UsageError(f"{path}, line 1: two columns are called {name!r}; rename one")
    return tuple(columns)


def _csv_rows(path: Path, column: str) -> Iterator[Row]:
    with _open(path) as file:
        reader = csv.reader(file, strict=True)
        names = next(reader)
        while True:
            place = f"{path}, line {reader.line_num + 1}"
            try:
                values = next(reader, None)
            except csv.Error as error:
                yield Row(problem=f"{place}: {error}")
                continue
            if values is None:
                return
            if values:
                yield _csv_row(names, values, column, place)


def _csv_row(names: list[str], values: list[str], column: str, place: str) -> Row:
    cells = dict(zip(names, map(_shown, values), strict=False))
    if len(values) != len(names):
        problem = f"{len(values)} values for {len(names)} columns"
    else:
        problem = _foreign("".join(values))
    if problem:
        return Row(columns=cells, problem=f"{place}: {problem}")
    return Row(columns=cells, text=cells[column])


def _jsonl_columns(path: Path) -> tuple[str, ...]:
    columns: dict[str, None] = {}  # a set that keeps the order
    for _, row in _jsonl_objects(path):
        if isinstance(row, dict):
            columns.update(dict.fromkeys(row))
    if not columns:
        raise UsageError(f"{path}: no line of it is a JSON object")
    return tuple(columns)


def _jsonl_rows(path: Path, column: str) -> Iterator[Row]:
    for place, row in _jsonl_objects(path):
        if isinstance(row, str):
            yield Row(problem=f"{place}: {row}")
        elif column not in row:
            has = ", ".join(row) or "nothing"
            yield Row(columns=row, problem=f"{place}: no {column!r} in it; it has {has}")
        elif not isinstance(row[column], str):
            kind = type(row[column]).__name__
            yield Row(columns=row, problem=f"{place}: {column!r} is no text but {kind}")
        else:
            yield Row(columns=row, text=row[column])


def _jsonl_objects(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Yield the place of each line, and its object, or what is wrong with it."""
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"{path}, line {number}", _jsonl_object(line)


def _jsonl_object(line: str) -> dict[str, Any] | str:
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
