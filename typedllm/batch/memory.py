"""Answers to equal requests: those that are there already, and those that are under way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeAlias, TypeVar

from typedllm.attempts import Task
from typedllm.batch.cache import Cache
from typedllm.batch.journal import Journal
from typedllm.batch.keys import Key, Keys
from typedllm.batch.saved import Saved, restored, saved
from typedllm.prompts.templates import Rendered
from typedllm.records import Result, Usage

__all__ = ["Memory", "Recorded", "Seen"]

T = TypeVar("T")

Seen: TypeAlias = Counter[str]
"""How often each request was asked, by its hash."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """The journal of a batch, and how it is gone on with.

    Attributes:
        journal: the journal.
        retry_failed: whether every row with an error is asked again, and not only those whose
            service failed.
        any_engine: whether what another engine or model has answered counts too.
    """

    journal: Journal
    retry_failed: bool = False
    any_engine: bool = False

    def find(self, key: Key) -> Saved | None:
        """Look up what came of a request.

        Args:
            key: of the request.

        Raises:
            JournalError: when the file cannot be read.
        """
        found = self.journal.find(key, retry_failed=self.retry_failed)
        if found is None and self.any_engine:
            return self.journal.find_elsewhere(
                key.request, key.occurrence, retry_failed=self.retry_failed
            )
        return found


@dataclass(kw_only=True, slots=True)
class Memory(Generic[T]):
    """Knows the requests of a call, so that none is asked twice without need.

    Attributes:
        task: what is asked.
        keys: tell requests from each other.
        recorded: the journal of a batch, if it has one.
        cache: answers of earlier calls, if they are kept.
        cached: how often each request was asked with this cache, for those that are sampled.
    """

    task: Task[T]
    keys: Keys
    recorded: Recorded | None = None
    cache: Cache | None = None
    cached: Seen = field(default_factory=Counter[str])
    _seen: Seen = field(default_factory=Counter[str])
    _under_way: dict[Key, asyncio.Future[Result[T] | None]] = field(
        default_factory=dict[Key, "asyncio.Future[Result[Any] | None]"]
    )

    async def result(
        self, prompt: Rendered, row_id: str, ask: Callable[[], Awaitable[Result[T]]]
    ) -> Result[T]:
        """Find the result of a request, or ask, and keep it before it is returned.

        Args:
            prompt: what is asked, in words; of a batch in the order of its rows.
            row_id: the caller's id of the row.
            ask: asks.

        Raises:
            JournalError: when the journal or the cache cannot be read or written.
        """
        request = self.keys.of(prompt)
        key, cache_key = self._numbered(request, self._seen), request
        if self.cache is not None:
            cache_key = self._numbered(request, self.cached)
        if found := self._there(key):
            return found
        if (waiting := self._under_way.get(key)) and (shared := await asyncio.shield(waiting)):
            return replace(shared, origin="shared", usage=Usage(), attempts=0, latency_s=0.0)
        future = self._under_way[key] = asyncio.get_running_loop().create_future()
        result: Result[T] | None = None
        try:
            result = await self._asked(key, cache_key, row_id, ask)
            return result
        finally:  # whoever waits asks himself where this was given up
            if self._under_way.get(key) is future:
                del self._under_way[key]
            if not future.done():
                future.set_result(result)

    def _numbered(self, key: Key, seen: Seen) -> Key:
        """The key of one more request; where answers are sampled, equal requests are samples."""
        if self.keys.repeatable:
            return key
        occurrence = seen[key.request]
        seen[key.request] = occurrence + 1
        return replace(key, occurrence=occurrence)

    def _there(self, key: Key) -> Result[T] | None:
        if self.recorded is None or (kept := self.recorded.find(key)) is None:
            return None
        found = restored(kept, self.task)
        return None if found is None else replace(found, origin="journal")

    async def _asked(
        self, key: Key, cache_key: Key, row_id: str, ask: Callable[[], Awaitable[Result[T]]]
    ) -> Result[T]:
        kept = None if self.cache is None else self.cache.find(cache_key)
        result = None if kept is None else restored(kept, self.task)
        if result is not None:
            result = replace(result, origin="cache")
        else:
            result = await ask()
            if self.cache is not None and result.ok:
                await self.cache.save(cache_key, row_id, saved(result, self.task))
        if self.recorded is not None:
            await self.recorded.journal.save(key, row_id, saved(result, self.task))
        return result
