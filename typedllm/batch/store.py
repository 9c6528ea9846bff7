"""A durable table of what came of requests, by their keys."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from typedllm._checks import check_text
from typedllm.batch.journal_file import COLUMNS, open_to_read, open_to_write, reading
from typedllm.batch.keys import Key
from typedllm.batch.saved import Saved
from typedllm.batch.writer import Write, Writer
from typedllm.errors import JournalError
from typedllm.records import Usage

__all__ = ["FINISHED", "Store", "text_of", "usage_of"]

FINISHED: Final = "status IN ('valid', 'invalid')"
"""Of rows that are not asked again, in SQL: a failure of the service is kept for the record."""

_FIND: Final = f"""
    SELECT {COLUMNS} FROM rows WHERE request = ? AND engine = ? AND occurrence = ? AND {FINISHED}
"""
_REPLACE: Final = f"""
    INSERT INTO rows (request, engine, occurrence, row_id, saved_at, used_at, {COLUMNS})
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (request, engine, occurrence) DO UPDATE SET
        (row_id, saved_at, used_at, {COLUMNS}) = (
            excluded.row_id, excluded.saved_at, excluded.used_at,
            {", ".join(f"excluded.{column}" for column in COLUMNS.split(", "))}
        )
"""
_SAVE: Final = f"{_REPLACE} WHERE rows.status != 'valid' OR excluded.status = 'valid'"
_MOST_TOKENS: Final = 1 << 40


class Store:
    """Keeps what came of requests, in a file; to be used from any thread of its process."""

    def __init__(self, path: str | Path, *, synchronous: str) -> None:
        """Open the file, and make it where there is none.

        Args:
            path: of the file.
            synchronous: as in `open_to_write`.

        Raises:
            JournalError: when it cannot be used, naming the mend.
        """
        self.path = Path(path)
        self._process = os.getpid()
        self._turn = threading.Lock()
        writing = open_to_write(self.path, synchronous=synchronous)
        self._reader = open_to_read(self.path)
        self._writer = Writer(writing, self.path, self._committed)

    def find(self, key: Key, *, retry_failed: bool = False) -> Saved | None:
        """Look up what came of a request, if that is finished: not where the service failed.

        Args:
            key: of the request.
            retry_failed: whether only a value counts as finished.

        Raises:
            JournalError: when the file cannot be read.
        """
        return self._found(_FIND, (key.request, key.engine, key.occurrence), retry_failed)

    async def save(self, key: Key, row_id: str, kept: Saved) -> None:
        """Keep what came of a request; done when it is durable.

        A value that is there is kept where an error comes after it.

        Args:
            key: of the request.
            row_id: the caller's id of the row.
            kept: what came of it.

        Raises:
            JournalError: when it cannot be written, naming the mend.
            UsageError: when the id is no text.
        """
        await self._written(_SAVE, key, row_id, kept)

    async def replace(self, key: Key, row_id: str, kept: Saved) -> None:
        """As `save`, in the place of whatever is there, as of a value that is none any more."""
        await self._written(_REPLACE, key, row_id, kept)

    async def _written(self, statement: str, key: Key, row_id: str, kept: Saved) -> None:
        check_text("id", row_id)
        self._check_process()
        waiter = asyncio.get_running_loop().create_future()
        now, usage = time.time(), kept.usage
        values = (
            *(key.request, key.engine, key.occurrence, row_id, now, now, kept.status, kept.error),
            *map(_count, (usage.input_tokens, usage.output_tokens, usage.cached_tokens)),
            *(usage.cost, _text_or_bytes(kept.rest)),
        )
        self._writer.put(Write(statement=statement, values=values, waiter=waiter))
        await waiter

    def close(self) -> None:
        """Write what waits, and close the file; in a process forked off, nothing."""
        if os.getpid() == self._process:
            self._writer.close()
            self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _found(self, query: str, values: Sequence[Any], retry_failed: bool) -> Saved | None:
        self._check_process()
        with reading(self.path), self._turn:
            row = self._reader.execute(query, values).fetchone()
        if row is None or (retry_failed and row[0] != "valid"):
            return None
        status, error, *used, rest = row
        return Saved(status=status, error=error, usage=usage_of(*used), rest=text_of(rest))

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise JournalError(
                f"journal {self.path}: it was opened before this process was forked off: open one"
                " after the fork, in another file"
            )

    def _committed(self, connection: sqlite3.Connection) -> None:
        """What else is done after a commit, in the thread that writes."""


def usage_of(
    input_tokens: int, output_tokens: int, cached_tokens: int, cost: float | None
) -> Usage:
    """The usage that was saved; the arguments are its attributes."""
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=cached_tokens,
        cost=cost,
    )


def text_of(rest: str | bytes) -> str:
    """The text that was saved.

    Args:
        rest: as the database has it.
    """
    return rest if isinstance(rest, str) else rest.decode("utf-8", "surrogatepass")


def _count(tokens: int) -> int:
    """Tokens as SQLite counts and sums them, whatever a service tells."""
    return min(max(tokens, 0), _MOST_TOKENS)


def _text_or_bytes(text: str) -> str | bytes:
    """A text as SQLite takes it, which is UTF-8; one with lone surrogates as its bytes."""
    encoded = text.encode("utf-8", "surrogatepass")
    try:
        encoded.decode()
    except UnicodeDecodeError:
        return encoded
    return text
