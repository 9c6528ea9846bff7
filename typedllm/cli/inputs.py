"""What is asked about: one text, or each row of a file by a column or by a template."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from typedllm._checks import nearest
from typedllm._terminal import readable
from typedllm.cli.answers import cell
from typedllm.cli.tables import ENDINGS, Row, Table, open_table
from typedllm.errors import UsageError

__all__ = ["Row", "Source", "open_rows", "open_source"]

_TEXTS: Final = (".txt", ".md")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where rows come from.

    Attributes:
        columns: the names of all columns that any row has.
        column: the one that holds the text; None where a template takes the columns.
        rows: reads the rows from the start.
        path: the file of rows; None for one text.
        schema: the Arrow schema of a Parquet file; None for any other.
    """

    columns: tuple[str, ...]
    column: str | None
    rows: Callable[[], Iterable[Row]]
    path: Path | None = None
    schema: Any = None


def open_source(given: str, column: str | None) -> Source:
    """Find out what is to be read: one text, or rows.

    Args:
        given: a text; `-` for standard input; or the path of a file.
        column: the column that holds the text, of a file of rows.

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
    table = open_table(path)
    if column is None:
        raise UsageError(f"--column: which column holds the text? {_there(path, table)}")
    _check_column("--column", column, path, table)
    return _source(path, table, column, partial(_with_text, column))


def open_rows(
    path: Path, *, column: str | None, variables: Sequence[str] | None, id_column: str | None
) -> Source:
    """Find out what the rows of a file are asked about.

    Args:
        path: a file that ends with one of `ENDINGS`.
        column: the column that holds the text; None for the only one that can, or a template.
        variables: the columns that a template needs; None where there is none.
        id_column: the column that holds the id of each row; None for their positions.

    Raises:
        UsageError: when there is no such file or column, or the file is of another kind.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"{path}: a file of rows ends with {', '.join(ENDINGS)}")
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    table = open_table(path)
    if id_column is not None:
        _check_column("--id", id_column, path, table)
    if variables is None:
        column = _text_column(path, table, id_column) if column is None else column
        _check_column("--column", column, path, table)
        asked: Callable[[Row], Row] = partial(_with_some_text, column)
    else:
        for name in variables:
            _check_column("--template", name, path, table)
        asked = partial(_with_values, variables)
    if id_column is None:
        return _source(path, table, column, asked)
    return _source(path, table, column, lambda row: asked(_with_id(id_column, row)))


def _source(path: Path, table: Table, column: str | None, asked: Callable[[Row], Row]) -> Source:
    def rows() -> Iterator[Row]:
        return (row if row.problem is not None else asked(row) for row in table.rows())

    return Source(columns=table.columns, column=column, rows=rows, path=path, schema=table.schema)


def _path(given: str) -> Path | None:
    """The file that is meant, or None for a text."""
    path = Path(given)
    try:
        exists = path.is_file()
    except (OSError, ValueError):  # too long for a path
        return None
    endings = (*_TEXTS, *ENDINGS)
    known = path.suffix.lower() in endings
    if exists and not known:
        raise UsageError(
            f"{path}: the ending of a file says what it holds: {', '.join(endings)};"
            " for one text of another kind: typedllm extract - < FILE"
        )
    if known and not exists and not re.search(r"\s", given):
        raise UsageError(f"there is no file {path}")
    return path if exists else None


def _one(text: str, column: str | None) -> Source:
    if column is not None:
        raise UsageError("--column goes with a file of rows, such as CSV; this is one text")
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


def _there(path: Path, table: Table) -> str:
    return f"{path} has the columns {', '.join(table.columns)}"


def _check_column(option: str, column: str, path: Path, table: Table) -> None:
    if column not in table.columns:
        meant = nearest(column, table.columns)
        raise UsageError(f"{option}: there is no {column!r}{meant}; {_there(path, table)}")


def _text_column(path: Path, table: Table, id_column: str | None) -> str:
    texts = [name for name in table.texts if name != id_column]
    if len(texts) != 1:
        raise UsageError(
            f"--column: which column holds the text? {_there(path, table)}; or give a --template"
        )
    return texts[0]


def _with_text(column: str, row: Row) -> Row:
    """The row with the text of a column, or with the problem that there is none."""
    if column not in row.columns:
        has = ", ".join(row.columns) or "nothing"
        return _broken(row, f"no {column!r} in it; it has {has}")
    value = row.columns[column]
    if not isinstance(value, str):
        kind = "null" if value is None else type(value).__name__
        return _broken(row, f"{column!r} is no text but {kind}")
    return replace(row, text=value)


def _with_some_text(column: str, row: Row) -> Row:
    row = _with_text(column, row)
    if row.text is not None and not row.text.strip():
        return _broken(row, f"{column!r} is empty")
    return row


def _with_values(variables: Sequence[str], row: Row) -> Row:
    for name in variables:
        if row.columns.get(name) is None:
            what = "is null" if name in row.columns else "is not in it"
            return _broken(row, f"{name!r}, which the template needs, {what}")
    return row


def _with_id(column: str, row: Row) -> Row:
    value = row.columns.get(column)
    return row if value is None else replace(row, id=readable(cell(value)))


def _broken(row: Row, problem: str) -> Row:
    return replace(row, text=None, problem=f"{row.place}: {problem}")
