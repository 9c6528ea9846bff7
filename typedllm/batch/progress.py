"""Progress: what a running batch tells of itself, on standard error or to a function."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol, TypeAlias, cast

from typedllm.batch.tally import Snapshot, Tally, ended
from typedllm.errors import UsageError
from typedllm.records import Result

__all__ = ["Progress", "Reporter", "reporting"]

Progress: TypeAlias = bool | Callable[[Snapshot], None]
"""True shows on standard error how far a batch has come: a bar in a terminal, else a line every few
seconds. A function is called after each row with a `Snapshot`."""

_BETWEEN_LINES_S: Final = 5.0
_DRAWN_PER_S: Final = 8
_BAR_WIDTH: Final = 24


class Reporter(Protocol):
    """Is told of the results of a batch."""

    def add(self, result: Result[Any]) -> None:
        """Count one more result, and show it if it is time to.

        Args:
            result: of a row.
        """
        ...


@contextmanager
def reporting(
    progress: Progress, total: int | None, *, clock: Callable[[], float] = time.monotonic
) -> Generator[Reporter]:
    """Tell how far a batch comes, until the end of the `with` block, however it ends.

    Several may be at work at once, in any threads. What cannot be written to standard error is lost
    without harm to the batch; nothing is ever written to standard output.

    Args:
        progress: see `Progress`.
        total: rows in all; None where that is not known.
        clock: tells the time in seconds.

    Raises:
        UsageError: when `progress` is of another kind.
    """
    if callable(progress):
        yield _Told(Tally(total, clock=clock), progress)
    elif not isinstance(cast(object, progress), bool):
        raise UsageError(f"progress: expected True, False or a function, got {progress!r:.40}")
    elif not progress:
        yield _Silent()
    else:
        with _shown(Tally(total, clock=clock), clock) as reporter:
            yield reporter


class _Silent:
    def add(self, result: Result[Any]) -> None:
        pass


class _Told:
    """Calls a function of the caller's, whose errors are the caller's too."""

    def __init__(self, tally: Tally, tell: Callable[[Snapshot], None]) -> None:
        self._tally = tally
        self._tell = tell

    def add(self, result: Result[Any]) -> None:
        self._tally.add(result)
        self._tell(self._tally.snapshot())


class _Lines:
    """A line from time to time, for logs: no control codes, nothing that moves."""

    def __init__(self, tally: Tally, clock: Callable[[], float]) -> None:
        self._tally = tally
        self._clock = clock
        self._next = clock() + _BETWEEN_LINES_S

    def add(self, result: Result[Any]) -> None:
        self._tally.add(result)
        now = self._clock()
        if now >= self._next:
            self._next = now + _BETWEEN_LINES_S
            _say(str(self._tally.snapshot()))


@contextmanager
def _shown(tally: Tally, clock: Callable[[], float]) -> Generator[Reporter]:
    console = _terminal()
    if console is not None:
        _DISPLAY.begin(tally, console)
    stopped = "stopped after "
    try:
        yield _Lines(tally, clock) if console is None else tally
        stopped = ""
    finally:
        line = stopped + ended(tally.snapshot())
        if console is None:
            _say(line)
        else:
            _DISPLAY.end(tally, line)


class _Display:
    """The bars of all running batches, which share one place in the terminal.

    A thread of rich's looks at their tallies a few times a second; a row costs no more than its
    count.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tallies: tuple[Tally, ...] = ()
        self._live: Any = None

    def begin(self, tally: Tally, console: Any) -> None:
        """Draw a bar."""
        from rich.live import Live

        with self._lock:
            self._tallies = (*self._tallies, tally)
            if self._live is None:
                self._live = Live(
                    console=console,
                    get_renderable=self._drawn,
                    refresh_per_second=_DRAWN_PER_S,
                    transient=True,
                    # These would put another object in the place of sys.stdout for everybody, and
                    # send what is printed to a file to the terminal.
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                with suppress(OSError, ValueError):
                    self._live.start()

    def end(self, tally: Tally, line: str) -> None:
        """Put a line in the place of a bar, above those that there still are."""
        with self._lock, suppress(OSError, ValueError):
            live, self._tallies = self._live, tuple(t for t in self._tallies if t is not tally)
            if self._tallies:
                live.console.print(line, markup=False, highlight=False)
                return
            self._live = None
            live.stop()
            _say(line)

    def _drawn(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 1))
        for tally in self._tallies:
            now = tally.snapshot()
            bar = ProgressBar(
                total=now.total or None,  # one of no rows has no share
                completed=now.done,
                width=_BAR_WIDTH,
                pulse=now.total is None,
            )
            grid.add_row(bar, Text(str(now)))
        return grid


_DISPLAY: Final = _Display()


def _terminal() -> Any:
    """The console that bars are drawn on; None where standard error is no terminal for that."""
    stream: Any = sys.stderr
    try:
        if not stream.isatty():
            return None
    except (AttributeError, ValueError):  # there is none, or it is closed
        return None
    from rich.console import Console

    console = Console(file=stream)
    return console if console.is_terminal and not console.is_dumb_terminal else None


def _say(line: str) -> None:
    stream: Any = sys.stderr
    with suppress(AttributeError, OSError, ValueError):  # there is none, or it is closed
        stream.write(line + "\n")
        stream.flush()
