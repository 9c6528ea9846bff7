"""The driver of a policy: it waits, sends, and passes on what is heard of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import replace
from typing import TypeAlias, TypeVar

from typedllm.attempts.task import Send
from typedllm.errors import DeadlineExceeded, EngineError
from typedllm.records import Completion, Failure, Reply, Result, Tell

__all__ = ["Listen", "Pause", "drive", "pausing"]

T = TypeVar("T")

Listen: TypeAlias = Callable[[Send], Tell | None]
"""What is asked, before anything is sent, who is to hear the pieces of its answer."""


Pause: TypeAlias = Callable[[], AbstractAsyncContextManager[object]]

pausing: ContextVar[Pause] = ContextVar("pausing", default=nullcontext)
"""What a wait between two attempts is done within: a batch begins another row meanwhile."""


async def drive(
    policy: Generator[Send, Reply, Result[T]], listen: Listen | None = None
) -> Result[T]:
    """Do what a policy says, and return what it returns.

    Args:
        policy: as `attempts` makes it.
        listen: names who hears the pieces of an answer; an engine that cannot tell them tells the
            whole text at its end.
    """
    try:
        send = next(policy)
        while True:
            tell = None if listen is None else listen(send)
            reply = await (_reply(send) if tell is None else _heard(send, tell))
            send = policy.send(reply)
    except StopIteration as stop:
        return stop.value


async def _heard(send: Send, tell: Tell) -> Reply:
    told = 0

    def counting(piece: str) -> None:
        nonlocal told
        told += len(piece)
        tell(piece)

    reply = await _reply(replace(send, request=replace(send.request, tell=counting)))
    if isinstance(reply, Completion) and told < len(reply.text):
        tell(reply.text[told:])
    return reply


async def _reply(send: Send) -> Reply:
    # Even a timeout that never ends costs a tenth of what a call costs beside the model.
    timeout = None if send.timeout_s is None else asyncio.timeout(send.timeout_s)
    try:
        async with timeout or nullcontext():
            if send.after_s:
                async with pausing.get()():
                    await asyncio.sleep(send.after_s)
            return await send.engine.send(send.request)
    except Exception as error:  # no engine should raise; should one, it costs its own row only
        failure = (
            DeadlineExceeded(f"no answer within the {send.timeout_s:.3g} s left of timeout_s")
            if timeout and timeout.expired()
            else EngineError(f"engine {send.engine.traits.name} raised {error!r}")
        )
        failure.__cause__ = error
        return Failure(error=failure)
