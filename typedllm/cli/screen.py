"""Answers as tables for people, on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typedllm.cli.answers import Answers, cell
from typedllm.cli.tables import Row

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from typedllm.records import Result

__all__ = ["Rows", "Sheet"]


class Rows:
    """A table with a line for each row, drawn line by line."""

    def __init__(self, column: str, answers: Answers) -> None:
        """Draw the head.

        Args:
            column: what each row begins with.
            answers: how they are laid out.
        """
        from rich.console import Console

        self._console: Console = Console()
        self._column = column
        self._answers = answers
        head = self._grid()
        head.add_row(*(_styled(name, "bold") for name in (column, *answers.fields)))
        self._console.print(head)
        self._console.rule(characters="─", style="dim")

    def write(self, row: Row, result: Result[Any]) -> None:
        """Draw a row and what came of it."""
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


class Sheet:
    """A line for each field of the one answer."""

    def __init__(self, answers: Answers) -> None:
        """Take how the answer is laid out."""
        self._answers = answers

    def write(self, row: Row, result: Result[Any]) -> None:
        """Draw a row and what came of it."""
        from rich.console import Console
        from rich.table import Table

        if result.error is not None:
            Console().print(_styled(str(result.error), "red"))
            return
        sheet = Table.grid(padding=(0, 2, 0, 0))
        for field, answer in zip(self._answers.fields, _texts(self._answers, result), strict=True):
            sheet.add_row(_styled(field, "bold"), answer)
        Console().print(sheet)


def _texts(answers: Answers, result: Result[Any]) -> list[Text]:
    """The value of each field, and how sure the model was of it."""
    values = answers.values(result)
    texts = [_styled(cell(values.get(field, "")) or "null", "") for field in answers.fields]
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
