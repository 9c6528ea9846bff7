"""The journal of a batch: what came of each row, durable before it is reported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from typedllm.batch.journal_file import COLUMNS, lock
from typedllm.batch.saved import Saved
from typedllm.batch.store import FINISHED, Store

__all__ = ["Journal"]

_FIND_ELSEWHERE: Final = f"""
    SELECT {COLUMNS} FROM rows WHERE request = ? AND occurrence = ? AND {FINISHED}
    ORDER BY status = 'valid' DESC, saved_at DESC, rowid DESC LIMIT 1
"""


class Journal(Store):
    """What came of each row of a batch, in a file that one run at a time writes.

    What `save` has returned from is on the disk, whatever happens to the process or the machine.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a journal, and make it where there is none.

        Args:
            path: of the file, such as `run.db`.

        Raises:
            JournalError: when another run writes it, or it cannot be used, naming the mend.
        """
        super().__init__(path, synchronous="FULL")
        try:
            self._lock = lock(self.path)
        except BaseException:
            super().close()
            raise

    def find_elsewhere(
        self, request: str, occurrence: int = 0, *, retry_failed: bool = False
    ) -> Saved | None:
        """Look up what came of a request, of whatever engine it was asked.

        A value goes before an error, and of several the last one.

        Args:
            request: as in its `Key`.
            occurrence: as in its `Key`.
            retry_failed: whether only a value counts as finished.

        Raises:
            JournalError: when the file cannot be read.
        """
        return self._found(_FIND_ELSEWHERE, (request, occurrence), retry_failed)

    def close(self) -> None:
        """Write what waits, close the file, and let another run write it."""
        super().close()
        if os.getpid() == self._process:
            self._lock.close()
