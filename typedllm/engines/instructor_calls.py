"""Calls through a client of instructor's, awaited or in a thread, with its retries off."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, ContextVar, copy_context
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Final, cast

from pydantic import BaseModel

from typedllm.engines.instructor_any import Carrier

__all__ = ["Calls", "quietly"]

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)
_THREADS: Final = 16  # for a client that blocks


def quietly(call: Callable[[], Any]) -> Any:
    """Call something of instructor's; it logs errors that we return, and that may hold a key.

    Args:
        call: what to call, in a context of its own.
    """
    return _quiet_context().run(call)


def _quiet_context() -> Context:
    context = copy_context()
    context.run(_quiet.set, True)
    return context


def _is_loud(record: logging.LogRecord) -> bool:
    return not _quiet.get()


for _name in ("instructor.v2.retry", "instructor.auto_client"):
    logging.getLogger(_name).addFilter(_is_loud)


class Calls:
    """Calls through one client."""

    def __init__(self, client: Callable[[], Any]) -> None:
        """Call nothing yet.

        Args:
            client: gives an `Instructor` or `AsyncInstructor`, the same in one event loop.
        """
        self._client = client
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="typedllm-instructor")

    async def create(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return a whole answer, as plain data.

        Args:
            arguments: of instructor's `create`.

        Raises:
            Exception: whatever the SDK raises.
        """
        client = self._client()
        answers: list[Any] = []
        hooks = type(client.hooks)()
        hooks.on("completion:response", answers.append)
        call = _call(client, {**arguments, "hooks": hooks})
        try:
            made = await self._done(client, call)
        except Exception:
            if not answers:
                raise
            made = None  # it could not be parsed, which is for us to find
        if isinstance(made, Carrier):
            return {**_plain(answers[-1]), "carried": made.text}
        return _plain(answers[-1] if answers else made)

    async def stream(
        self, arguments: Mapping[str, Any], take: Callable[[dict[str, Any]], None]
    ) -> None:
        """Have an answer come in pieces.

        Args:
            arguments: of instructor's `create`.
            take: is given each piece as plain data, from any thread.

        Raises:
            Exception: whatever the SDK raises, or `take`.
        """
        client = self._client()
        call = _call(client, {**arguments, "stream": True})
        if iscoroutinefunction(client.create):
            async for piece in await call():
                take(_plain(piece))
            return

        def all_taken() -> None:
            for piece in call():
                take(_plain(piece))

        await self._done(client, all_taken)

    def close(self) -> None:
        """Let the threads end when they have done what they do."""
        self._threads.shutdown(wait=False)

    async def _done(self, client: Any, call: Callable[[], Any]) -> Any:
        context = _quiet_context()
        if iscoroutinefunction(client.create):
            return await asyncio.create_task(call(), context=context)
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, call)


def _call(client: Any, arguments: Mapping[str, Any]) -> Callable[[], Any]:
    return partial(client.create, **{"response_model": None, "max_retries": 0, **arguments})


def _plain(answer: Any) -> dict[str, Any]:
    """A Pydantic model of an SDK as plain data; nothing of what is none."""
    if isinstance(answer, BaseModel):
        return answer.model_dump(mode="json", warnings=False)
    return dict(cast("Mapping[str, Any]", answer)) if isinstance(answer, Mapping) else {}
