"""Answers to equal requests: those that are there already, and those that are under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeAlias, TypeVar

from typedllm.attempts import Task
from typedllm.batch.cache import Cache
from typedllm.batch.journal import Journal
from typedllm.batch.keys import Counted, Key, Keys
from typedllm.batch.saved import Saved, restored, saved
from typedllm.engines.base import model_name
from typedllm.prompts.templates import Rendered
from typedllm.records import Origin, Result, Usage

__all__ = ["Memory", "Recorded"]

T = TypeVar("T")

_Ask: TypeAlias = Callable[[], Awaitable[Result[T]]]


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

    def find(self, key: Key, *, again: bool) -> Saved | None:
        """Look up what came of a request.

        Args:
            key: of the request.
            again: whether this run had an equal request before, which is not asked once more.

        Raises:
            JournalError: when the file cannot be read.
        """
        retry_failed = self.retry_failed and not again
        found = self.journal.find(key, retry_failed=retry_failed)
        if found is None and self.any_engine:
            return self.journal.find_elsewhere(
                key.request, key.occurrence, retry_failed=retry_failed
            )
        return found


@dataclass(kw_only=True, slots=True)
class Memory(Generic[T]):
    """Knows the requests of a call, so that none is asked twice without need.

    Of equal requests whose answers are the same, one is asked at a time. Where there is a journal
    or a cache, what came of it is there for all later ones; else it is forgotten when it is there.

    Attributes:
        task: what is asked.
        keys: tell requests from each other.
        repeatable: whether all answers to a request are the same; else equal requests are samples.
        recorded: the journal of a batch, if it has one.
        cache: answers of earlier calls, if they are kept.
        cached: counts the requests that were asked with this cache, for those that are sampled.
    """

    task: Task[T]
    keys: Keys
    repeatable: bool
    recorded: Recorded | None = None
    cache: Cache | None = None
    cached: Counted = field(default_factory=Counted)
    _seen: Counted = field(default_factory=Counted)
    _under_way: dict[Key, asyncio.Future[Result[T] | None]] = field(
        default_factory=dict[Key, "asyncio.Future[Result[Any] | None]"]
    )

    async def result(self, prompt: Rendered, row_id: str, ask: _Ask[T]) -> Result[T]:
        """Find the result of a request, or ask, and keep it before it is returned.

        What an equal request of the same call has brought is `shared`, and costs nothing more.

        Args:
            prompt: what is asked, in words; of a batch in the order of its rows.
            row_id: the caller's id of the row.
            ask: asks.

        Raises:
            JournalError: when the journal cannot be read or written.
        """
        request = self.keys.of(prompt)
        keeps = self.recorded is not None or self.cache is not None
        earlier = self._seen.earlier(request) if keeps or not self.repeatable else 0
        key = request if self.repeatable else replace(request, occurrence=earlier)
        again = self.repeatable and earlier > 0
        if self.cache is not None:
            ask = self._through_cache(self.cache, request, row_id, ask)
        if self.recorded is not None:
            ask = self._through_journal(self.recorded, key, row_id, again, ask)
        while waiting := self._under_way.get(key):  # whoever waits asks where it was given up
            if shared := self._copied(await asyncio.shield(waiting)):
                return shared
        future = self._under_way[key] = asyncio.get_running_loop().create_future()
        result: Result[T] | None = None
        try:
            result = await ask()
            return _shared(result) if again and result.origin != "asked" else result
        finally:
            del self._under_way[key]
            future.set_result(result)

    def _copied(self, result: Result[T] | None) -> Result[T] | None:
        """A result for another row, whose value is not the same object."""
        if result is not None and result.error is None:
            result = restored(saved(result, self.task), self.task)
        return None if result is None else _shared(result)

    def _through_journal(
        self, recorded: Recorded, key: Key, row_id: str, again: bool, ask: _Ask[T]
    ) -> _Ask[T]:
        async def found() -> Result[T]:
            kept = recorded.find(key, again=again)
            if result := self._restored(kept, "journal"):
                return result
            result = await ask()
            # What can no longer be read would be asked for by every run, were it not replaced.
            save = recorded.journal.save if kept is None else recorded.journal.replace
            await save(key, row_id, saved(result, self.task))
            return result

        return found

    def _through_cache(self, cache: Cache, request: Key, row_id: str, ask: _Ask[T]) -> _Ask[T]:
        # Counted at once, and where the journal has it too, so that no sample is taken twice.
        earlier = 0 if self.repeatable else self.cached.earlier(request)
        key = replace(request, occurrence=earlier)

        async def found() -> Result[T]:
            if result := self._restored(cache.find(key), "cache"):
                return result
            result = await ask()
            if result.ok and result.model == model_name(self.task.engine):  # and not of a fallback
                await cache.save(key, row_id, saved(result, self.task))
            return result

        return found

    def _restored(self, kept: Saved | None, origin: Origin) -> Result[T] | None:
        found = None if kept is None else restored(kept, self.task)
        return None if found is None else replace(found, origin=origin)


def _shared(result: Result[T]) -> Result[T]:
    return replace(result, origin="shared", usage=Usage(), attempts=0, latency_s=0.0)
