"""An engine that sends no faster than a quota allows."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from functools import partial
from typing import Final

from typedllm.engines.allowances import allowances_of, hearer
from typedllm.engines.base import Engine
from typedllm.engines.quota import Quota, Turn
from typedllm.engines.wrapped import Wrapped
from typedllm.errors import EngineError
from typedllm.records import Completion, Failure, Message, Reply, Request, Segment

__all__ = ["Limited"]

_TOO_MUCH: Final = 429
_BUSY: Final = frozenset({503, 529})  # too much too, where they say for how long


class Limited(Wrapped):
    """An engine that runs requests on another one, each when a quota lets it go."""

    def __init__(self, engine: Engine, quota: Quota) -> None:
        """Put a quota before an engine.

        Args:
            engine: what runs the requests; it is closed with this.
            quota: what lets them go; others may share it.
        """
        super().__init__(engine)
        self._quota = quota

    @property
    def capacity(self) -> int:
        """How many requests may be on their way."""
        return self._quota.in_flight

    async def send(self, request: Request) -> Reply:
        """Run one request, once it may go.

        Args:
            request: what to ask.
        """
        quota = self._quota
        size = sum(map(_size, request.prompt))
        turn = Turn(size, request.sampling.max_tokens)
        if not quota.goes_at_once(turn):
            await self._gone(turn)
        usage = None
        hearer.set(partial(self._hear, turn))
        try:
            reply = await self._engine.send(request)
            if isinstance(reply, Completion):
                usage = reply.usage
            else:
                self._cool(turn, reply)
        finally:
            hearer.set(None)  # no token to put back: this may be another context, at the end
            quota.answered(turn, usage)
        return reply

    async def _gone(self, turn: Turn) -> None:
        """Wait in the line until a request may go."""
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        self._quota.queue(turn, partial(_wake, loop, woken))
        try:
            while wait_s := self._quota.wait_s(turn):
                timer = None if wait_s == math.inf else loop.call_later(wait_s, woken.set)
                try:
                    await woken.wait()
                finally:
                    if timer is not None:
                        timer.cancel()
                woken.clear()
        except BaseException:  # a cancellation is none of Exception
            self._quota.leave(turn)
            raise

    def _hear(self, turn: Turn, headers: Mapping[str, str]) -> None:
        if allowances := allowances_of(headers):
            self._quota.hear(turn, allowances)

    def _cool(self, turn: Turn, reply: Failure) -> None:
        error = reply.error
        if not isinstance(error, EngineError):
            return
        asked = error.retry_after_s is not None
        if (error.status == _TOO_MUCH and error.retryable) or (error.status in _BUSY and asked):
            self._quota.cool(turn, error.retry_after_s)


def _size(part: Message | Segment) -> int:
    """Characters of a part of a prompt; of what tokens they make, only the ratio is wanted."""
    segments = (part,) if isinstance(part, Segment) else part.content
    return sum([len(segment.text) for segment in segments])


def _wake(loop: asyncio.AbstractEventLoop, woken: asyncio.Event) -> None:
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        woken.set()  # without the system call that waking another thread takes
    else:
        loop.call_soon_threadsafe(woken.set)
