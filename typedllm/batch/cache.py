"""A cache of answers across runs: the table of a journal, with a limit to its size.

No answer is lost by it: once it is open, what cannot be read from it or written to it is logged.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Final

from typedllm._checks import check_number
from typedllm.batch.keys import Key
from typedllm.batch.saved import Saved
from typedllm.batch.store import Store
from typedllm.batch.writer import Write
from typedllm.errors import JournalError
from typedllm.observers.observed import LOGGER

__all__ = ["Cache"]

_USE: Final = "UPDATE rows SET used_at = ? WHERE request = ? AND engine = ? AND occurrence = ?"
_SIZE: Final = """
    SELECT (page_count - freelist_count) * page_size
    FROM pragma_page_count, pragma_freelist_count, pragma_page_size
"""
_EVICT: Final = """
    DELETE FROM rows WHERE rowid IN (
        SELECT rowid FROM rows ORDER BY used_at LIMIT (SELECT count(*) / 10 + 1 FROM rows)
    )
"""  # a tenth at once, so that few of the saves have to sort


class Cache(Store):
    """Answers that were given before; the least recently used go first.

    Several processes may use one at a time. A power cut may take the last of them.
    """

    def __init__(self, path: str | Path, *, max_bytes: int) -> None:
        """Open a cache, and make it where there is none.

        Args:
            path: of the file.
            max_bytes: most bytes of the answers that are kept.

        Raises:
            JournalError: when the file cannot be used, naming the mend.
            UsageError: when the limit is no size.
        """
        check_number("max_bytes", max_bytes, least=1, whole=True)
        self._max_bytes = max_bytes
        self._told = False
        super().__init__(path, synchronous="NORMAL")

    def find(self, key: Key, *, retry_failed: bool = False) -> Saved | None:
        """Look up an answer, which is then the last to go; as `Store.find`."""
        found = None
        try:
            found = super().find(key, retry_failed=retry_failed)
            if found is not None:
                values = (time.time(), key.request, key.engine, key.occurrence)
                self._writer.put(Write(statement=_USE, values=values))
        except JournalError as error:
            self._tell(error)
        return found

    async def save(self, key: Key, row_id: str, kept: Saved) -> None:
        """Keep an answer, where that can be done; as `Store.save`."""
        try:
            await super().save(key, row_id, kept)
        except JournalError as error:
            self._tell(error)

    def _tell(self, error: JournalError) -> None:
        if not self._told:
            self._told = True
            LOGGER.warning("the cache is left out; that is not logged again: %s", error)

    def _committed(self, connection: sqlite3.Connection) -> None:
        while connection.execute(_SIZE).fetchone()[0] > self._max_bytes:
            if not connection.execute(_EVICT).rowcount:
                return
