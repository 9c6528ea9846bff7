"""What rows and their answers are written to: JSONL, CSV, Parquet, or a table for people."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO, TypeAlias, cast

from typedllm._require import require
from typedllm.cli.answers import Answers, cell, short, unlike
from typedllm.cli.inputs import Row, Source
from typedllm.cli.screen import Rows, Sheet
from typedllm.errors import UsageError
from typedllm.paths import ROOT

if TYPE_CHECKING:
    from typedllm.client.options import AnyType
    from typedllm.records import Result

__all__ = ["Format", "Writer", "check_out", "open_whole", "open_writer", "part_of"]

Format: TypeAlias = Literal["table", "jsonl", "csv"]


class Writer(Protocol):
    """Writes rows."""

    def write(self, row: Row, result: Result[Any]) -> None:
        """Write a row and what came of it."""
        ...


@contextmanager
def open_writer(
    form: Format | None, out: Path | None, source: Source, output_type: AnyType
) -> Generator[Writer]:
    """Open what rows are written to as they come.

    Args:
        form: how; None for the ending of the file, a table on a terminal, and JSONL in a pipe.
        out: the file; None for standard output.
        source: where the rows come from.
        output_type: what the answers are.

    Raises:
        UsageError: when the file has another ending, is the input itself or cannot be written.
        MissingDependency: when it is Parquet, and pyarrow is not installed.
    """
    if out is not None:
        check_out(form, out, source)
        with _opened(out, source, output_type) as writer:
            yield writer
        return
    answers = Answers(output_type)
    form = form or ("table" if sys.stdout.isatty() else "jsonl")
    if form == "table":
        column = source.column or source.columns[0]
        yield Sheet(answers) if source.path is None else Rows(column, answers)
    else:
        # In a pipe it is UTF-8 on every system; JSON has an escape for lone surrogates.
        cast(Any, sys.stdout).reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
        yield (_Csv if form == "csv" else _Jsonl)(sys.stdout, source, answers)


@contextmanager
def open_whole(out: Path | None, source: Source, output_type: AnyType) -> Generator[Writer]:
    """Open a file that has its name only when it is whole; see `part_of` for that up to then.

    The part stays where it is when the `with` block ends by an exception.

    Args:
        out: the file, which `check_out` has passed; None for standard output, as `open_writer`.
        source: where the rows come from.
        output_type: what the answers are.

    Raises:
        UsageError: when it cannot be written.
    """
    if out is None:
        with open_writer(None, None, source, output_type) as writer:
            yield writer
        return
    part = part_of(out)
    with _opened(part, source, output_type) as writer:
        yield writer
    with part.open("rb+") as file:
        os.fsync(file.fileno())  # else a power cut may leave the name and nothing in it
    part.replace(out.resolve())


def part_of(out: Path) -> Path:
    """Name the file that holds what is written of another so far, in its folder.

    Args:
        out: the file, such as `answers.csv`; its part is `answers.part.csv`.
    """
    out = out.resolve()
    return out.with_name(f"{out.stem}.part{out.suffix}")


def check_out(form: Format | None, out: Path, source: Source) -> None:
    """Check what rows are to be written to, before there are any.

    Args:
        form: how; None for the ending of the file.
        out: the file.
        source: where the rows come from.

    Raises:
        UsageError: when its ending is another, it is the input itself, or its folder is not there.
        MissingDependency: when it is Parquet, and pyarrow is not installed.
    """
    ending = out.suffix.lower().removeprefix(".")
    if ending not in ("parquet", "jsonl", "csv"):
        raise UsageError(f"--out: {out} has to end with .parquet, .jsonl or .csv")
    if form not in (None, ending):
        raise UsageError(f"--format {form} does not go with --out {out}; leave --format out")
    if not out.resolve().parent.is_dir():
        raise UsageError(f"--out: {out} cannot be written: there is no folder {out.parent}")
    for path in (out, part_of(out)):
        if source.path is not None and path.exists() and path.samefile(source.path):
            raise UsageError(f"--out: {out} would write over the input; name another file")
    if ending == "parquet":
        require("pyarrow", "tables")


@contextmanager
def _opened(out: Path, source: Source, output_type: AnyType) -> Generator[Writer]:
    """What writes to a file, which can be read however the `with` block ends."""
    ending = out.suffix.lower()
    try:
        raw = out.open("wb")
    except OSError as error:
        raise UsageError(f"--out: {out} cannot be written: {error.strerror}") from error
    with raw:
        if ending == ".parquet":
            from typedllm.cli.parquet import ParquetRows

            with closing(ParquetRows(raw, source, output_type)) as rows:
                yield rows
        else:
            with TextIOWrapper(raw, "utf-8", errors="backslashreplace", newline="") as file:
                kind = _Csv if ending == ".csv" else _Jsonl
                yield kind(file, source, Answers(output_type))


class _Jsonl:
    """One JSON object a line; absent keys stand for what is not known."""

    def __init__(self, file: TextIO, source: Source, answers: Answers) -> None:
        self._file = file
        self._columns = source.columns
        self._answers = answers

    def write(self, row: Row, result: Result[Any]) -> None:
        line = dict(row.columns)
        values = self._answers.values(result)
        fields = list(dict.fromkeys((*self._answers.fields, *values)))
        *names, confidence, clipped, error = _names(self._columns, fields)
        for field, name in zip(fields, names, strict=True):
            if field in values:
                line[name] = values[field]
        if result.ok and result.confidence is not None:
            line[confidence] = {path: short(p) for path, p in result.confidence.items()}
        if result.clipped:
            line[clipped] = list(result.clipped)
        if result.error is not None:
            line[error] = str(result.error)
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()


class _Csv:
    """A header, and a line for each row; what is no text is written as JSON."""

    def __init__(self, file: TextIO, source: Source, answers: Answers) -> None:
        self._file = file
        self._columns = source.columns
        self._answers = answers
        # Its line ends are those of RFC 4180, so that a lone \r in a text is quoted.
        self._write = csv.writer(file).writerow
        self._write([*source.columns, *_names(source.columns, answers.fields)])

    def write(self, row: Row, result: Result[Any]) -> None:
        values = self._answers.values(result)
        for name in values:
            if name not in self._answers.fields:
                raise UsageError(
                    f"an answer has a field {name!r} that the output type does not name, so the"
                    " CSV file has no column for it; write JSONL"
                )
        sure = result.confidence[ROOT] if result.ok and result.confidence else None
        cells = [
            *(row.columns.get(name) for name in self._columns),
            *(values.get(name) for name in self._answers.fields),
            None if sure is None else short(sure),
            list(result.clipped) or None,
            None if result.error is None else str(result.error),
        ]
        self._write([cell(value) for value in cells])
        self._file.flush()


def _names(columns: tuple[str, ...], fields: list[str] | tuple[str, ...]) -> list[str]:
    """The names of the fields and of what is said about them beside the input's columns."""
    return unlike(columns, [*fields, "confidence", "clipped", "error"])
