"""A client of an SDK whose connections belong to the event loop that they were made in."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["PerLoop"]

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One of something for each event loop that asks for it."""

    def __init__(self, make: Callable[[], T], close: Callable[[T], Awaitable[None]]) -> None:
        """Make none yet.

        Args:
            make: makes one; called in the loop that it is for.
            close: closes one; awaited in that loop.
        """
        self._make = make
        self._close = close
        self._made: dict[asyncio.AbstractEventLoop, T] = {}
        weakref.finalize(self, _close_all, self._made, close)  # for who forgets to close it

    def get(self) -> T:
        """Return the running loop's own."""
        loop = asyncio.get_running_loop()
        if loop not in self._made:
            for ended in [each for each in self._made if each.is_closed()]:
                del self._made[ended]  # whose connections ended with it
            self._made[loop] = self._make()
        return self._made[loop]

    async def close(self) -> None:
        """Close all of them."""
        own = self._made.pop(asyncio.get_running_loop(), None)
        _close_all(self._made, self._close)
        if own is not None:
            await self._close(own)


def _close_all(
    made: dict[asyncio.AbstractEventLoop, T], close: Callable[[T], Awaitable[None]]
) -> None:
    """Have each closed by its own loop, where that still runs."""

    async def closing(one: T) -> None:
        await close(one)

    while made:
        loop, one = made.popitem()
        if loop.is_running():
            asyncio.run_coroutine_threadsafe(closing(one), loop)
