"""The file of a journal: an SQLite database with one table of rows.

It is in write-ahead mode, so that it can be read while it is written
(https://www.sqlite.org/wal.html). A second file beside it, `<name>-lock`, is locked by whoever
writes; such a lock ends with its process, however that ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from typedllm.errors import JournalError

__all__ = ["COLUMNS", "failure", "lock", "open_to_read", "open_to_write", "reading"]

COLUMNS: Final = (
    "status, error, input_tokens, output_tokens, cached_tokens, cost, rest"  # those of a `Saved`
)
_APPLICATION: Final = 0x54594C4A  # which SQLite keeps in the file's header, and `file` tells
_FORMAT: Final = 1
_PATIENCE_S: Final = 5.0  # for another program that looks into the file, such as a backup
_TABLES: Final = f"""
    PRAGMA application_id = {_APPLICATION};
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE rows (
        request TEXT NOT NULL,
        engine TEXT NOT NULL,
        occurrence INTEGER NOT NULL,
        row_id TEXT NOT NULL,
        saved_at REAL NOT NULL,
        used_at REAL NOT NULL,
        status TEXT NOT NULL,
        error TEXT,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        cost REAL,
        rest TEXT NOT NULL,
        UNIQUE (request, engine, occurrence)
    );
"""

_SAFE: Final = "; what was saved before is safe"
_MENDS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full: make room, and run the same again",
    sqlite3.SQLITE_BUSY: "another program holds it locked: end that, and run the same again",
    sqlite3.SQLITE_LOCKED: "another program holds it locked: end that, and run the same again",
    sqlite3.SQLITE_READONLY: "it may not be written: allow it, or name another file",
    sqlite3.SQLITE_PERM: "it may not be written: allow it, or name another file",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: see that its folder is there and may be written",
    sqlite3.SQLITE_CORRUPT: "it is damaged: keep a copy, take out what can be read with"
    " `sqlite3 FILE .recover`, and name another file",
    sqlite3.SQLITE_NOTADB: "it is no journal, and was left as it is: name another file",
    sqlite3.SQLITE_IOERR: "its disk does not do what it should: mend that, and run the same again",
}


def failure(path: Path, error: Exception) -> JournalError:
    """Say what could not be done with a journal, and the mend.

    Args:
        path: the journal's.
        error: what SQLite raised, or what keeping one row did.
    """
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the primary one
        mend, told = _MENDS.get(code, "it cannot be used"), f"SQLite: {error}"
    else:
        mend, told = "a row has what it cannot keep", repr(error)
    made = JournalError(f"journal {path}: {mend}{_SAFE} ({told})")
    made.__cause__ = error
    return made


@contextmanager
def reading(path: Path) -> Generator[None, None, None]:
    """Give an error of SQLite in the words of `failure`.

    Args:
        path: the journal's.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise failure(path, error) from error


def lock(path: Path) -> sqlite3.Connection:
    """Become the one that writes a journal, until the connection is closed or the process ends.

    Args:
        path: the journal's.

    Raises:
        JournalError: when another one writes it.
    """
    beside = path.with_name(f"{path.name}-lock")
    connection = _connected(beside, 0.0)
    try:
        connection.execute("PRAGMA journal_mode = MEMORY")  # nothing is ever written to it
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise failure(path, error) from error
        raise JournalError(
            f"journal {path}: another run writes it: wait for its end, or close its iterator, or"
            " name another file; its status can be read, and its rows exported, meanwhile"
        ) from None
    return connection


def open_to_write(path: Path, *, synchronous: str) -> sqlite3.Connection:
    """Open a journal, and make it where there is none.

    Args:
        path: the file.
        synchronous: FULL, for which what is committed survives a power cut; NORMAL, for which it
            survives the end of the process.

    Raises:
        JournalError: when it is no journal, of a newer format, or cannot be opened.
    """
    with reading(path):
        connection = _connected(path, _PATIENCE_S)
        try:
            if _is_empty(connection):
                connection.execute("PRAGMA journal_mode = WAL")
                _make(connection)
            _check(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("PRAGMA fullfsync = ON")  # without it, macOS leaves it to the disk
        except BaseException:
            connection.close()
            raise
    return connection


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a journal for reading, which another process may be writing.

    Args:
        path: the file.

    Raises:
        JournalError: when there is none, or it cannot be read.
    """
    if not path.is_file():
        raise JournalError(f"journal {path}: there is no such file")
    with reading(path):
        connection = _connected(path, _PATIENCE_S)
        try:
            connection.execute("PRAGMA query_only = ON")
            _check(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _connected(path: Path, timeout: float) -> sqlite3.Connection:
    try:
        return sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise failure(path, error) from error


def _is_empty(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)


def _make(connection: sqlite3.Connection) -> None:
    written_by = f"typedllm {version('typedllm')}"
    connection.execute("BEGIN IMMEDIATE")
    if _is_empty(connection):  # nobody else was faster
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        meta: list[Any] = [("format", str(_FORMAT)), ("written by", written_by)]
        connection.executemany("INSERT INTO meta VALUES (?, ?)", meta)
    connection.execute("COMMIT")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("PRAGMA application_id").fetchone() != (_APPLICATION,):
        raise JournalError(f"journal {path}: {_MENDS[sqlite3.SQLITE_NOTADB]}")
    meta = dict(connection.execute("SELECT name, value FROM meta"))
    if int(meta["format"]) > _FORMAT:
        raise JournalError(
            f"journal {path}: its format is {meta['format']}, by {meta['written by']}, and this"
            f" typedllm knows {_FORMAT}: update typedllm, or name another file{_SAFE}"
        )
