"""What belongs to one event loop is made, and closed, in it."""

from __future__ import annotations

import asyncio
import gc
import threading

from typedllm.engines.per_loop import PerLoop


class Thing:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.closed_in: asyncio.AbstractEventLoop | None = None

    async def close(self) -> None:
        self.closed_in = asyncio.get_running_loop()


def test_each_loop_has_its_own():
    things = PerLoop(Thing, Thing.close)

    async def two() -> tuple[Thing, Thing]:
        return things.get(), things.get()

    first, again = asyncio.run(two())
    other, _ = asyncio.run(two())
    assert first is again
    assert first is not other
    assert first.closed_in is None  # its loop has ended, and its connections with it


def test_all_are_closed_by_their_own_loops():
    things = PerLoop(Thing, Thing.close)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def made() -> Thing:
        return things.get()

    other = asyncio.run_coroutine_threadsafe(made(), loop).result(5)

    async def close() -> Thing:
        own = things.get()
        await things.close()
        await things.close()
        return own

    own = asyncio.run(close())
    assert own.closed_in is own.loop
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01), loop).result(5)
    assert other.closed_in is loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


def test_what_is_forgotten_is_closed():
    async def forget() -> Thing:
        things = PerLoop(Thing, Thing.close)
        found = things.get()
        del things
        gc.collect()
        await asyncio.sleep(0.01)
        return found

    found = asyncio.run(forget())
    assert found.closed_in is found.loop
