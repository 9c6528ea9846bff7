"""What `typedllm extract` writes: JSONL, CSV, or a table for people, one row at a time."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TextIO, TypeAlias, cast

from typedllm.cli.inputs import Row, Source
from typedllm.errors import UsageError
from typedllm.paths import ROOT, child

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from typedllm.records import Result

__all__ = ["Format", "Writer", "open_writer"]

Format: TypeAlias = Literal["table", "jsonl", "csv"]
_TAKEN: Final = "answer."  # goes before a name of ours that the input has too


class Writer(Protocol):
    """Writes rows."""

    def write(self, row: Row, result: Result[Any]) -> None:
        """Write a row and what came of it."""
        ...


@contextmanager
def open_writer(
    form: Format | None, out: Path | None, source: Source, fields: Sequence[str] | None
) -> Generator[Writer]:
    """Open what rows are written to.

    Args:
        form: how; None for the ending of the file, a table on a terminal, and JSONL in a pipe.
        out: the file; None for standard output.
        source: where the rows come from.
        fields: the names of the answers' fields; None when the answers are no objects.

    Raises:
        UsageError: when the file has another ending, is the input itself or cannot be written.
    """
    answers = _Answers(fields)
    if out is None:
        form = form or ("table" if sys.stdout.isatty() else "jsonl")
        if form == "table":
            yield _Sheet(answers) if source.path is None else _Rows(source.column, answers)
        else:
            # In a pipe it is UTF-8 on every system; JSON has an escape for lone surrogates.
            cast(Any, sys.stdout).reconfigure(
                encoding="utf-8", errors="backslashreplace", newline=""
            )
            yield _lines(form, sys.stdout, source, answers)
        return
    form = _form_of(form, out, source)
    try:
        file = out.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise UsageError(f"--out: {out} cannot be written: {error.strerror}") from error
    with file:
        yield _lines(form, file, source, answers)


def _form_of(form: Format | None, out: Path, source: Source) -> Format:
    ending = out.suffix.lower().removeprefix(".")
    if ending not in ("jsonl", "csv"):
        raise UsageError(f"--out: {out} has to end with .jsonl or .csv")
    if form not in (None, ending):
        raise UsageError(f"--format {form} does not go with --out {out}; leave --format out")
    if source.path is not None and out.exists() and out.samefile(source.path):
        raise UsageError(f"--out: {out} is the input itself; name another file")
    return cast(Format, ending)


def _lines(form: Format, file: TextIO, source: Source, answers: _Answers) -> Writer:
    return (_Csv if form == "csv" else _Jsonl)(file, source, answers)


class _Answers:
    """How values are laid out in fields: an object by its own, any other value in one."""

    def __init__(self, fields: Sequence[str] | None) -> None:
        self.fields = ("value",) if fields is None else tuple(fields)
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


def _names(columns: Iterable[str], fields: Iterable[str]) -> list[str]:
    """The names of the fields and of what is said about them beside the input's columns."""
    taken, names = set(columns), list[str]()
    for name in (*fields, "confidence", "clipped", "error"):
        while name in taken:
            name = _TAKEN + name
        taken.add(name)
        names.append(name)
    return names


class _Jsonl:
    """One JSON object a line; absent keys stand for what is not known."""

    def __init__(self, file: TextIO, source: Source, answers: _Answers) -> None:
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
            line[confidence] = {path: _short(p) for path, p in result.confidence.items()}
        if result.clipped:
            line[clipped] = list(result.clipped)
        if result.error is not None:
            line[error] = str(result.error)
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()


class _Csv:
    """A header, and a line for each row; what is no text is written as JSON."""

    def __init__(self, file: TextIO, source: Source, answers: _Answers) -> None:
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
            None if sure is None else _short(sure),
            list(result.clipped) or None,
            None if result.error is None else str(result.error),
        ]
        self._write([_cell(cell) for cell in cells])
        self._file.flush()


class _Rows:
    """A table with a line for each row, drawn line by line."""

    def __init__(self, column: str, answers: _Answers) -> None:
        from rich.console import Console

        self._console: Console = Console()
        self._column = column
        self._answers = answers
        head = self._grid()
        head.add_row(*(_styled(name, "bold") for name in (column, *answers.fields)))
        self._console.print(head)
        self._console.rule(characters="─", style="dim")

    def write(self, row: Row, result: Result[Any]) -> None:
        grid = self._grid()
        text = _styled(str(row.columns.get(self._column, "")), "")
        if result.error is None:
            grid.add_row(text, *_texts(self._answers, result))
        elif text:
            grid.add_row(text)
        self._console.print(grid)
        if result.error is not None:
            self._console.print(_styled(f"  {result.error}", "red"))

    def _grid(self) -> Table:
        # Its widths depend on the ratios alone, so tables of one row each stand as one.
        from rich.table import Table

        grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
        grid.add_column(ratio=max(2, len(self._answers.fields)), no_wrap=True, overflow="ellipsis")
        for _ in self._answers.fields:
            grid.add_column(ratio=1, overflow="fold")
        return grid


class _Sheet:
    """A line for each field of the one answer."""

    def __init__(self, answers: _Answers) -> None:
        self._answers = answers

    def write(self, row: Row, result: Result[Any]) -> None:
        from rich.console import Console
        from rich.table import Table

        if result.error is not None:
            Console().print(_styled(str(result.error), "red"))
            return
        sheet = Table.grid(padding=(0, 2, 0, 0))
        for field, answer in zip(self._answers.fields, _texts(self._answers, result), strict=True):
            sheet.add_row(_styled(field, "bold"), answer)
        Console().print(sheet)


def _texts(answers: _Answers, result: Result[Any]) -> list[Text]:
    """The value of each field, and how sure the model was of it."""
    values = answers.values(result)
    texts = [_styled(_cell(values.get(field, "")) or "null", "") for field in answers.fields]
    for field, text in zip(answers.fields, texts, strict=True):
        sure = answers.sure(result, field)
        if sure is not None:
            colour = "green" if sure >= 0.9 else "yellow" if sure >= 0.5 else "red"
            text.append(f" {sure:.0%}", style=colour)
        if answers.path(field) in result.clipped:
            text.append(" cut", style="yellow")
    return texts


def _styled(text: str, style: str) -> Text:
    # Text from a file or a model may hold what steers a terminal, or looks like rich's markup.
    from rich.text import Text

    plain = "".join(character if character.isprintable() else " " for character in text)
    return Text(plain, style=style)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _short(probability: float) -> float:
    return float(f"{probability:.4g}")
