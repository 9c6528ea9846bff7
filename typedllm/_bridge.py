"""One event loop in a background thread, on which the sync verbs run the async core.

It works inside a running event loop or a notebook too, since it never touches the caller's. Nothing
that computes runs on it: engines have threads of their own.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import Any, Final, TypeVar

from typedllm.errors import UsageError

__all__ = ["iterate", "run"]

T = TypeVar("T")

_END: Final = object()
_CLEANUP_S: Final = 2.0  # how long Ctrl-C waits for a cancelled coroutine to put things away


class _Background:
    """The loop and its thread, made at first use and anew in a forked child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def is_here(self) -> bool:
        return threading.current_thread() is self._thread

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run_on, args=(self._loop,), name="typedllm", daemon=True
                )
                self._thread.start()
            elif self.is_here():
                raise UsageError(
                    "a sync verb was called on typedllm's own event loop, by a validator or an "
                    "engine; await its async twin there, or call it from a thread of your own"
                )
            return self._loop


def _run_on(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        try:
            return loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            # As of a caller's validator: the caller of its task gets it, and no loop ends.
            continue


_background = _Background()


def _forget() -> None:
    # Threads do not survive a fork, and a lock may have been held by one of them.
    global _background  # noqa: PLW0603 - the one piece of state this module is about
    _background = _Background()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background loop and wait for its outcome.

    The caller's context variables are copied to it. Ctrl-C cancels it.

    Raises:
        UsageError: when called on the background loop itself, which would wait for itself.
    """
    try:
        loop = _background.loop()
    except UsageError:
        coroutine.close()
        raise
    tasks: list[asyncio.Task[T]] = []
    done = threading.Lock()  # a bare lock costs half of what a concurrent Future does
    done.acquire()

    def start() -> None:
        tasks.append(loop.create_task(coroutine))
        tasks[0].add_done_callback(lambda _: done.release())

    def cancel() -> None:
        tasks[0].cancel()

    loop.call_soon_threadsafe(start)  # in a copy of this thread's context
    try:
        done.acquire()
    except BaseException as interrupt:  # KeyboardInterrupt, or whatever a signal handler raises
        loop.call_soon_threadsafe(cancel)
        if done.acquire(timeout=_CLEANUP_S):
            _take_notes(tasks[0], interrupt)
        raise
    return tasks[0].result()


def _take_notes(task: asyncio.Task[Any], interrupt: BaseException) -> None:
    """Have an interrupt tell what the coroutine has said of being cancelled."""
    try:
        task.result()
    except BaseException as ended:
        for note in getattr(ended, "__notes__", ()):
            interrupt.add_note(note)


_closing: set[asyncio.Future[None]] = set()  # else they might be collected before they are done


async def _closed(source: AsyncGenerator[Any, None]) -> None:
    await source.aclose()


def iterate(source: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """Yield the items of an async generator that runs on the background loop.

    Closing the iterator closes the generator, which cancels its work.
    """

    async def following() -> T | object:
        return await anext(source, _END)

    try:
        while (item := run(following())) is not _END:
            yield item  # pyright: ignore[reportReturnType] - anything but _END is a T
    finally:
        if _background.is_here():  # collected by it: it cannot wait for itself
            _closing.add(task := asyncio.ensure_future(_closed(source)))
            task.add_done_callback(_closing.discard)
        elif not sys.is_finalizing():  # the background thread no longer runs then
            run(source.aclose())
