"""Closing an `LLM` closes all that it holds, whatever one part of it raises."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from typedllm import LLM, Scripted


class Closing(Scripted):
    """Says when it is closed, and may raise then."""

    def __init__(self, closed: list[str], name: str, error: BaseException | None = None) -> None:
        super().__init__(["1"])
        self.closed, self.name, self.error = closed, name, error

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.closed.append(self.name)
        if self.error is not None:
            raise self.error


def test_one_that_cannot_be_closed_leaves_no_other_open(tmp_path: Path):
    closed: list[str] = []
    engines = [
        Closing(closed, "a"),
        Closing(closed, "b", LookupError("the first")),
        Closing(closed, "c", ValueError("another")),
        Closing(closed, "d"),
    ]
    cache = tmp_path / "cache.db"
    llm = LLM(engines[0], fallback=engines[1:], cache=cache)
    assert llm.call("Hi", int) == 1
    with pytest.raises(LookupError, match="the first"):
        llm.close()
    assert sorted(closed) == ["a", "b", "c", "d"]
    llm.close()  # again does no harm
    assert sorted(closed) == ["a", "b", "c", "d"]
    with sqlite3.connect(cache) as database:  # which nobody holds any more
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("BEGIN EXCLUSIVE")


def test_what_a_block_raises_is_told_when_closing_fails_too():
    engine = Closing([], "a", LookupError("closing"))
    with pytest.raises(LookupError, match="closing") as found, LLM(engine):
        raise KeyError("within")
    assert isinstance(found.value.__context__, KeyError)
