"""An engine that tells observers of every inference: when it is sent, and when its reply is there.

Retries and repairs are inferences of their own, so each of them is told.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeAlias

from typedllm.engines.base import Engine
from typedllm.engines.wrapped import Wrapped
from typedllm.errors import EngineError, TypedLLMError, UsageError
from typedllm.records import Failure, Reply, Request

__all__ = ["LOGGER", "Observed", "Observer", "OnReply"]

LOGGER: Final = logging.getLogger("typedllm")
"""What the package logs to; silent until the application adds a handler."""

LOGGER.addHandler(logging.NullHandler())

OnReply: TypeAlias = Callable[[Reply, float], None]
"""What is called with the reply to a request, and the seconds it took."""


class Observer(Protocol):
    """Watches inferences.

    It is called on the event loop that runs them, from several threads when there are several, so
    it should take next to no time. What it raises is logged and harms no inference.
    """

    def sent(self, request: Request, engine: Engine) -> OnReply:
        """Be told that a request is about to be sent.

        Args:
            request: what is sent.
            engine: where to.

        Returns:
            What to call with the reply and the seconds it took. It is called exactly once, in the
            same task: for an inference that was cancelled, or whose engine raised, with a
            `Failure` whose error is what was raised, or has it as its `__cause__`.
        """
        ...


class Observed(Wrapped):
    """An engine that runs requests on another one, and tells observers of them.

    It is an `Engine` as the other one is; whatever else that has is found here too.
    """

    def __init__(self, engine: Engine, observers: Iterable[Observer]) -> None:
        """Put observers before an engine.

        Args:
            engine: what runs the requests; it is closed with this.
            observers: who is told, in this order of a request and in reverse order of its reply.

        Raises:
            UsageError: naming the observer that is none.
        """
        super().__init__(engine)
        self._observers = _checked(observers)
        self._reported: dict[tuple[int, type[Exception]], object] = {}

    async def send(self, request: Request) -> Reply:
        """Run one request on the engine, and tell the observers."""
        waiting = self._tell_sent(request)
        started = time.perf_counter()
        try:
            reply = await self._engine.send(request)
        except BaseException as error:  # a cancellation is none of Exception
            self._tell_reply(waiting, self._failure(error), time.perf_counter() - started)
            raise
        self._tell_reply(waiting, reply, time.perf_counter() - started)
        return reply

    def _tell_sent(self, request: Request) -> list[tuple[Observer, OnReply]]:
        waiting: list[tuple[Observer, OnReply]] = []
        for observer in self._observers:
            try:
                waiting.append((observer, observer.sent(request, self._engine)))
            except Exception as error:
                self._report(observer, error)
        return waiting

    def _tell_reply(
        self, waiting: list[tuple[Observer, OnReply]], reply: Reply, seconds: float
    ) -> None:
        for observer, on_reply in reversed(waiting):
            try:
                on_reply(reply, seconds)
            except Exception as error:
                self._report(observer, error)

    def _failure(self, error: BaseException) -> Failure:
        if isinstance(error, TypedLLMError):
            return Failure(error=error)
        failure = EngineError(
            f"engine {self.traits.name} raised {error!r}"
            if isinstance(error, Exception)
            else "given up before the reply was there: cancelled, or out of time"
        )
        failure.__cause__ = error
        return Failure(error=failure)

    def _report(self, observer: Observer, error: Exception) -> None:
        """Log what an observer raised; a full disk is told once, not for each of 10,000 rows."""
        kind, mine = (id(observer), type(error)), object()
        if self._reported.setdefault(kind, mine) is mine:  # one step, whatever other threads do
            LOGGER.error(
                "observer %s raised; no inference is harmed, and further %s of it are not logged",
                type(observer).__name__,
                type(error).__name__,
                exc_info=error,
            )


def _checked(observers: Iterable[Observer]) -> tuple[Observer, ...]:
    try:
        checked = tuple(observers)
    except TypeError:
        raise UsageError(
            f"observers: expected a list of observers, got {observers!r:.80}"
        ) from None
    for position, observer in enumerate(checked):
        if isinstance(observer, type) or not callable(getattr(observer, "sent", None)):
            raise UsageError(
                f"observers[{position}]: expected an object with a method `sent(request, engine)`, "
                f"got {observer!r:.80}"
            )
    return checked
