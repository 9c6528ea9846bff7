"""A call whose answer is shown while it comes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from typedllm.attempts import TOOK, Send
from typedllm.client.asking import Asking
from typedllm.errors import TypedLLMError
from typedllm.output.streamed import Item, Partial, Streamed
from typedllm.prompts.templates import Rendered
from typedllm.records import Result, Tell
from typedllm.spec.items import items_of

__all__ = ["Event", "StartsAnew", "streamed"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class StartsAnew:
    """What was shown before does not count any more: the answer is asked for again.

    Attributes:
        because: what went wrong; None where what was shown is not what the whole answer says.
    """

    because: TypedLLMError | None = None


Event: TypeAlias = Partial | Item[Any] | StartsAnew


class _Heard:
    """What is heard of a call, in order, from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Send | str] = deque()
        self._arrived = asyncio.Event()
        self.ended = False

    def listen(self, send: Send) -> Tell | None:
        """Hear what is sent, and then the pieces of its answer."""
        if not send.whole:
            return None
        self._put(send)
        return self._put

    def end(self, _: object) -> None:
        """Hear that there is a result."""
        self.ended = True
        self._arrived.set()

    async def next(self) -> Send | str | None:
        """What comes next, all pieces of text that wait as one; None at the end."""
        while not self._waiting:
            if self.ended:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        first = self._waiting.popleft()
        if isinstance(first, Send):
            return first
        pieces = [first]
        while self._waiting and isinstance(self._waiting[0], str):
            pieces.append(self._waiting.popleft())  # pyright: ignore[reportArgumentType]
        return "".join(pieces)

    def _put(self, heard: Send | str) -> None:
        self._loop.call_soon_threadsafe(self._take, heard)

    def _take(self, heard: Send | str) -> None:
        self._waiting.append(heard)
        self._arrived.set()


class _Shown(Generic[T]):
    """What has been shown of a list, so that at the end nothing is missing from it."""

    def __init__(self) -> None:
        self.items: dict[int, Any] = {}

    def rest(self, result: Result[Any]) -> Iterator[Event]:
        """Show the items that have not been, such as those that were asked for anew.

        Args:
            result: with a value.
        """
        values: Sequence[Any] = result.unwrap()
        same = (values[at : at + 1] == [item] for at, item in self.items.items())
        if not _is_as_it_came(result) and not all(same):  # it may be another list of the text
            yield StartsAnew()
            self.items.clear()
        for place, value in enumerate(values):
            if place not in self.items:
                yield Item(index=place, value=value)


def _is_as_it_came(result: Result[Any]) -> bool:
    """Whether the text was read as it is, but for parts that were asked for anew."""
    return all(step.startswith(TOOK) for step in result.coercions)


async def streamed(
    asking: Asking, asked: object, prompt: Rendered
) -> AsyncGenerator[Event | Result[Any], None]:
    """Ask, and yield what there is of the answer while it comes; the last thing is the result.

    Args:
        asking: what is asked, and how.
        asked: what the prompt was made of.
        prompt: messages or raw segments.
    """
    task = asking.task
    items = items_of(task.spec)
    heard = _Heard()
    running = asyncio.create_task(asking.sent(asked, prompt, heard.listen))
    running.add_done_callback(lambda done: asyncio.get_running_loop().call_soon(heard.end, done))
    reader: Streamed | None = None
    shown: _Shown[Any] = _Shown()
    try:
        while (came := await heard.next()) is not None:
            if isinstance(came, Send):
                if reader is not None:
                    yield StartsAnew(because=came.because)
                    shown.items.clear()
                constraint = came.request.constraint
                reader = Streamed(task.spec, items, constraint, task.validation_context)
                continue
            assert reader is not None  # an answer comes after what was sent
            for event in reader.more(came):
                if isinstance(event, Item):
                    shown.items[event.index] = event.value
                yield event
        result = await running
        if result.ok and items is not None:
            for event in shown.rest(result):
                yield event
        elif result.ok and reader is not None and _is_as_it_came(result):
            for event in reader.last(result.raw or ""):
                yield event
        yield result
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
