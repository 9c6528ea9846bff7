"""What is known of jobs, in SQLite: their names at the provider, and which requests are in them."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from typedllm.engines.job_service import Job
from typedllm.errors import EngineError, UsageError

__all__ = ["JobStore"]

_KEPT_S: Final = 30 * 24 * 3600  # providers delete the answers after 29 or 30 days
_APPLICATION: Final = (
    0x74_6A_6F_62  # in the file's header, at 68: https://sqlite.org/fileformat.html
)
_FORMAT: Final = 1
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS jobs (
    key TEXT PRIMARY KEY, service TEXT, endpoint TEXT, requests INTEGER, made REAL, id TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests (
    job TEXT, place INTEGER, digest BLOB, taken INTEGER DEFAULT 0, PRIMARY KEY (job, place)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS free ON requests (digest, job, place) WHERE taken = 0;
CREATE INDEX IF NOT EXISTS held ON requests (taken) WHERE taken = 1;
UPDATE requests SET taken = 0 WHERE taken = 1;
"""
_TAKE: Final = """
UPDATE requests SET taken = 1 WHERE (job, place) = (
    SELECT job, place FROM requests WHERE digest = ? AND taken = 0 ORDER BY job, place LIMIT 1
) RETURNING job, place
"""
_JOB: Final = "SELECT key, endpoint, requests, made, id FROM jobs WHERE key = ?"


class JobStore:
    """Jobs and their requests; usable from several threads, by one process at a time.

    A request is taken by who waits for its answer, until the process ends. Jobs are written through
    to the disk at once, the rest when it is saved; a process that was killed loses little by it.
    """

    def __init__(self, path: str | os.PathLike[str] | None, service: str) -> None:
        """Open a file, or make it.

        Args:
            path: of the file; None for a temporary one.
            service: who runs the jobs, for people who look into the file.

        Raises:
            UsageError: when it is another kind of file, cannot be opened, or is in use.
        """
        self._path = None if path is None else Path(path)
        self._service = service
        self._lock = threading.Lock()
        self._process = os.getpid()
        try:
            self._database = sqlite3.connect(
                self._path or "", timeout=1, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        try:
            self._prepare()
        except (sqlite3.Error, UsageError) as error:
            self._database.close()
            raise self._unusable(error) if isinstance(error, sqlite3.Error) else error from None

    def take(self, digest: bytes) -> tuple[Job, int] | None:
        """Take the first request that nobody waits for.

        Args:
            digest: of its text.

        Returns:
            Its job, and its place there; None where there is none.
        """
        with self._writing() as database:
            taken = database.execute(_TAKE, (digest,)).fetchone()
            if taken is None:
                return None
            key, endpoint, requests, made, id = database.execute(_JOB, taken[:1]).fetchone()
        return Job(key=key, endpoint=endpoint, requests=requests, made=made, id=id), taken[1]

    def give_back(self, key: str, place: int) -> None:
        """Let others have what was taken.

        Args:
            key: of the job.
            place: of the request.
        """
        with self._writing() as database:
            sql = "UPDATE requests SET taken = 0 WHERE job = ? AND place = ?"
            database.execute(sql, (key, place))

    def drop(self, key: str, place: int) -> None:
        """Forget a request whose answer is of no use, so that it is asked anew.

        Args:
            key: of the job.
            place: of the request.
        """
        with self._writing() as database:
            database.execute("DELETE FROM requests WHERE job = ? AND place = ?", (key, place))

    def add(self, job: Job, digests: Iterable[bytes]) -> None:
        """Write down a job that is to be handed in; all its requests are taken.

        Args:
            job: the job.
            digests: of its requests, by their places.
        """
        rows = ((job.key, place, digest) for place, digest in enumerate(digests))
        values = (job.key, self._service, job.endpoint, job.requests, job.made, job.id)
        with self._writing(durable=True) as database:
            database.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?)", values)
            database.executemany("INSERT INTO requests VALUES (?, ?, ?, 1)", rows)

    def name(self, key: str, id: str) -> None:
        """Write down the provider's name for a job.

        Args:
            key: of the job.
            id: its name.
        """
        with self._writing(durable=True) as database:
            database.execute("UPDATE jobs SET id = ? WHERE key = ?", (id, key))

    def forget(self, key: str) -> None:
        """Forget a job and its requests.

        Args:
            key: of the job.
        """
        with self._writing(durable=True) as database:
            database.execute("DELETE FROM requests WHERE job = ?", (key,))
            database.execute("DELETE FROM jobs WHERE key = ?", (key,))

    def save(self) -> None:
        """Write to the disk what was taken, dropped and given back by now."""
        with self._writing(durable=True):
            pass

    def close(self) -> None:
        """Close the file."""
        if self._process != os.getpid():  # another one's is not to be touched
            return
        with suppress(EngineError):
            self.save()
        with self._lock:
            self._database.close()

    def _prepare(self) -> None:
        database = self._database
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        application, version, tables = (
            database.execute(sql).fetchone()[0]
            for sql in (
                "PRAGMA application_id",
                "PRAGMA user_version",
                "SELECT count(*) FROM sqlite_master",
            )
        )
        if tables and (application, version) != (_APPLICATION, _FORMAT):
            told = "one of a newer typedllm" if application == _APPLICATION else "no file of jobs"
            raise UsageError(f"jobs={str(self._path)!r}: the file is {told}; give another one")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA fullfsync = ON")  # without it, macOS leaves it to the disk
        database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA}")
        database.execute(f"PRAGMA application_id = {_APPLICATION}")
        database.execute(f"PRAGMA user_version = {_FORMAT}")
        old = "SELECT key FROM jobs WHERE made < ?"
        before = (time.time() - _KEPT_S,)
        database.execute(f"DELETE FROM requests WHERE job IN ({old})", before)
        database.execute("DELETE FROM jobs WHERE made < ?", before)
        database.execute("COMMIT")

    @contextmanager
    def _writing(self, *, durable: bool = False) -> Generator[Any]:
        """Have the database, in a transaction that goes on until something has to be durable."""
        if self._process != os.getpid():
            raise UsageError("the engine was made before a fork of the process; make a new one")
        with self._lock:
            try:
                if not self._database.in_transaction:
                    self._database.execute("BEGIN IMMEDIATE")
                yield self._database
                if durable:
                    self._database.execute("COMMIT")
            except sqlite3.Error as error:
                raise EngineError(
                    f"jobs={str(self._path)!r} cannot be written: {error}; the jobs that it names"
                    " run on, and the same call finds them again once it can"
                ) from error

    def _unusable(self, error: sqlite3.Error) -> UsageError:
        told = f"{error}; give another one"
        if "locked" in str(error):
            told = "another engine has it open; close that, or give another file"
        return UsageError(f"jobs={str(self._path)!r} cannot be used: {told}")
