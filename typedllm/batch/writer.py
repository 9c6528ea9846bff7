"""One thread that writes to a database: whatever waits is committed together."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from typedllm.batch.journal_file import failure
from typedllm.errors import JournalError

__all__ = ["Write", "Writer"]

_MOST: Final = 1_000  # writes of a commit

Waiter: TypeAlias = asyncio.Future[None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """One thing to write.

    Attributes:
        statement: in SQL.
        values: for its parameters.
        waiter: told when it is committed, on its own event loop; None where nobody waits.
    """

    statement: str
    values: Sequence[Any]
    waiter: Waiter | None = None


class Writer:
    """Commits what it is given, in order.

    What the file refuses is told to all that were to be committed together; what one of them is to
    blame for, such as a value that SQLite does not take, to that one.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        committed: Callable[[sqlite3.Connection], None],
    ) -> None:
        """Start the thread.

        Args:
            connection: used and closed by the thread.
            path: the file's, for errors.
            committed: called in the thread after each commit.
        """
        self._connection = connection
        self._path = path
        self._committed = committed
        self._closed = False
        self._putting = threading.Lock()
        self._waiting: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="typedllm-journal", daemon=True)
        self._thread.start()

    def put(self, write: Write) -> None:
        """Have something written.

        Args:
            write: what.

        Raises:
            JournalError: after `close`.
        """
        with self._putting:  # so that nothing comes after the end
            if self._closed:
                raise JournalError(f"journal {self._path}: it is closed: open it again")
            self._waiting.put(write)

    def close(self) -> None:
        """Write what waits, and end."""
        with self._putting:
            if not self._closed:
                self._closed = True
                self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        going_on = True
        while going_on:
            group: list[Write] = []
            item = self._waiting.get()
            with suppress(queue.Empty):
                while item is not None:
                    group.append(item)
                    if len(group) == _MOST:
                        break
                    item = self._waiting.get_nowait()
            going_on = item is not None
            self._write(group)
        self._connection.close()

    def _write(self, group: Sequence[Write]) -> None:
        error = self._commit(group)
        if error is None or isinstance(error, sqlite3.Error):
            self._settle(group, error)
            return
        for write in group:
            self._settle([write], self._commit([write]))

    def _commit(self, group: Sequence[Write]) -> Exception | None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for write in group:
                connection.execute(write.statement, write.values)
            connection.execute("COMMIT")
            self._committed(connection)
        except Exception as error:  # whoever waits is told of any, and the thread goes on
            with suppress(sqlite3.Error):
                connection.rollback()
            return error
        return None

    def _settle(self, group: Sequence[Write], error: Exception | None) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[Waiter]] = {}
        for write in group:
            if write.waiter is not None:
                by_loop.setdefault(write.waiter.get_loop(), []).append(write.waiter)
        for loop, waiters in by_loop.items():
            with suppress(RuntimeError):  # the loop is closed, and nobody waits
                loop.call_soon_threadsafe(self._tell, waiters, error)

    def _tell(self, waiters: Sequence[Waiter], error: Exception | None) -> None:
        for waiter in waiters:
            if waiter.done():  # given up
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(failure(self._path, error))
