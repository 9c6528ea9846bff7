"""What came of the rows of a command: counted, said at its end, and its exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from typedllm.records import Result

__all__ = ["Outcome"]


class Outcome:
    """Counts results.

    Attributes:
        written: how many there are.
    """

    def __init__(self) -> None:
        self.written = 0
        self._failed = 0
        self._cut = 0

    def add(self, result: Result[Any]) -> None:
        """Count one more result."""
        self.written += 1
        self._failed += not result.ok
        self._cut += bool(result.clipped)

    def tell(self) -> None:
        """Say on standard error what is to be known of them.

        Raises:
            Exit: with status 1 when some failed.
        """
        if self._cut:
            line = f"{self._cut} of {self.written} answers were cut short to fit max_tokens"
            typer.echo(line, err=True)
        if self._failed:
            line = f"{self._failed} of {self.written} rows failed; their error says why"
            typer.echo(line, err=True)
            raise typer.Exit(1)
