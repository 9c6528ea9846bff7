"""An engine without a model, for tests of one's own code: fixed, computed or random answers."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic_core import to_json

from typedllm.engines.telling import say
from typedllm.errors import EngineError, TypedLLMError, UsageError
from typedllm.grammar.drawing import random_text
from typedllm.records import (
    Completion,
    Failure,
    Grammar,
    Reply,
    Request,
    Traits,
    Usage,
)

__all__ = ["Scripted"]

TRAITS: Final = Traits(
    name="scripted", takes=frozenset({Grammar}), ending="landing", logprobs=False
)


class Scripted:
    """An engine whose answers are written down, computed, or random.

    It is an `Engine` like any other: `LLM(Scripted([{"age": 25}]))`. A reply is a text (sent as it
    is), a `Completion`, an exception (the engine's failure), or any other value (sent as its
    JSON). Words are counted as tokens. Who listens to an answer is told it character by character.

    Attributes:
        requests: what was sent, in order.
    """

    def __init__(
        self,
        replies: Sequence[object] | Callable[[Request], object] | None = None,
        *,
        seed: int = 0,
        traits: Traits = TRAITS,
        capacity: int = 64,
    ) -> None:
        """Write the script.

        Args:
            replies: one for each request in turn; or a function of the request, which may be
                async; or None for random answers that are valid for the request's grammar.
            seed: of the random answers.
            traits: what the engine claims to be able to do. It checks none of its replies, so
                without any `takes` it stands for an engine that can only be asked nicely.
            capacity: how many requests it likes in flight.

        Raises:
            UsageError: when the replies are a single text.
        """
        if isinstance(replies, str | bytes):
            raise UsageError("replies: expected a list of replies, got one text; write [text]")
        self.identity = {"seed": seed}
        self.requests: list[Request] = []
        self._replies = replies
        self._traits = traits
        self._capacity = capacity
        self._random = random.Random(seed)
        self._turns = itertools.count()
        self._lock = threading.Lock()

    @property
    def traits(self) -> Traits:
        """What the engine claims to be able to do."""
        return self._traits

    @property
    def model(self) -> str:
        """The engine's name again; there is no model."""
        return self._traits.name

    @property
    def capacity(self) -> int:
        """How many requests it likes in flight."""
        return self._capacity

    async def send(self, request: Request) -> Reply:
        """Give the next reply."""
        with self._lock:
            turn = next(self._turns)
            self.requests.append(request)
        await asyncio.sleep(0)  # as any engine, it lets others go on in the meantime
        try:
            reply = self._reply(request, turn)
            if inspect.isawaitable(reply):
                reply = await reply
        except Exception as error:
            reply = error
        reply = _reply_of(reply, request)
        if request.tell is not None and isinstance(reply, Completion) and not request.labels:
            for character in reply.text:
                say(request.tell, character)
                await asyncio.sleep(0)  # so that each piece is seen before the next
        return reply

    async def close(self) -> None:
        """Do nothing; there is nothing to free."""

    def _reply(self, request: Request, turn: int) -> Any:
        if callable(self._replies):
            return self._replies(request)
        if self._replies is not None:
            if turn >= len(self._replies):
                raise EngineError(f"the script has {len(self._replies)} replies and no more")
            return self._replies[turn]
        if request.constraint is None:
            return "A scripted answer."
        if not isinstance(request.constraint, Grammar):
            kind = type(request.constraint).__name__
            raise EngineError(f"random answers need a Grammar, not a {kind}; give replies")
        with self._lock:
            return random_text(request.constraint.root, self._random)


def _reply_of(reply: object, request: Request) -> Reply:
    if isinstance(reply, Completion):
        return reply
    if isinstance(reply, TypedLLMError):
        return Failure(error=reply)
    if isinstance(reply, Exception):
        error = EngineError(f"the script raised {reply!r}")
        error.__cause__ = reply
        return Failure(error=error)
    text = reply if isinstance(reply, str) else to_json(reply).decode()
    asked = (part.text for part in request.prompt)
    usage = Usage(
        input_tokens=sum(len(part.split()) for part in asked), output_tokens=len(text.split())
    )
    return Completion(text=text, finish_reason="stop", usage=usage)
