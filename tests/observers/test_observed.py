"""Engines that tell observers, with observers that keep what they are told."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from typedllm import LLM, DeadlineExceeded, EngineError, Policy, Sampling, Scripted, UsageError
from typedllm.engines.base import Engine
from typedllm.engines.scripted import TRAITS
from typedllm.engines.table import open_engine
from typedllm.observers.observed import LOGGER, Observed
from typedllm.records import Completion, Failure, Message, Reply, Request, Segment

QUICK = Policy(attempts=3, multiplier_s=0, min_wait_s=0, max_wait_s=0)
ASKED = Request(prompt=(Message(role="user", content=(Segment(text="Hello"),)),))


class Kept:
    """An observer that keeps what it is told, in order."""

    def __init__(self, name: str = "", order: list[str] | None = None) -> None:
        self.requests: list[tuple[Request, Engine]] = []
        self.replies: list[tuple[Reply, float]] = []
        self._name = name
        self._order: list[str] = [] if order is None else order

    def sent(self, request: Request, engine: Engine) -> Callable[[Reply, float], None]:
        self.requests.append((request, engine))
        self._order.append(f"{self._name} sent")

        def on_reply(reply: Reply, seconds: float) -> None:
            self.replies.append((reply, seconds))
            self._order.append(f"{self._name} replied")

        return on_reply


class Raising:
    """An observer that raises at a request, or at its reply."""

    def __init__(self, at: str) -> None:
        self._at = at

    def sent(self, request: Request, engine: Engine) -> Callable[[Reply, float], None]:
        if self._at == "sent":
            raise LookupError("at the request")

        def on_reply(reply: Reply, seconds: float) -> None:
            raise LookupError("at the reply")

        return on_reply


def test_an_observer_is_told_the_request_its_engine_the_reply_and_the_seconds():
    async def slowly(request: Request) -> object:
        await asyncio.sleep(0.05)
        return {"age": 25}

    engine, kept = Scripted(slowly), Kept()
    llm = LLM(Observed(engine, [kept]))
    assert llm.call("How old?", {"age": "int"}, sampling=Sampling(seed=3)) == {"age": 25}
    assert kept.requests == [(engine.requests[0], engine)]
    ((reply, seconds),) = kept.replies
    assert isinstance(reply, Completion) and reply.text == '{"age":25}'
    assert 0.05 <= seconds < 60


def test_the_packaged_model_is_observed_as_any_engine_is():
    kept = Kept()
    with LLM(Observed(open_engine("embedded", {}), [kept])) as llm:
        assert llm.batch(["I am 25.", "I am 30."], {"age": "int"}).ok == 2
    assert len(kept.requests) == len(kept.replies) == 2
    assert all(isinstance(reply, Completion) and reply.usage for reply, _ in kept.replies)


def test_each_retry_and_each_repair_is_told():
    traits = TRAITS.__class__(name="asked", takes=frozenset(), ending="may be cut", logprobs=False)
    busy = EngineError("busy", retryable=True, retry_after_s=0)
    kept = Kept()
    engine = Scripted([busy, busy, "I am old.", {"age": 50}], traits=traits)
    result = LLM(Observed(engine, [kept]), policy=QUICK).run("How old?", {"age": "int"})
    assert result.unwrap() == {"age": 50} and result.attempts == 4
    kinds = [type(reply) for reply, _ in kept.replies]
    assert kinds == [Failure, Failure, Completion, Completion]


async def test_several_are_told_in_order_and_of_the_reply_in_reverse():
    order: list[str] = []
    observed = Observed(Scripted(["x"]), [Kept("a", order), Kept("b", order)])
    await observed.send(ASKED)
    assert order == ["a sent", "b sent", "b replied", "a replied"]


@pytest.mark.parametrize("at", ["sent", "reply"])
def test_an_observer_that_raises_harms_nothing_and_is_logged_once(
    at: str, caplog: pytest.LogCaptureFixture
):
    before, after = Kept(), Kept()
    observed = Observed(Scripted(), [before, Raising(at), after])
    assert LLM(observed).batch(["x"] * 50, {"age": "int"}).ok == 50
    assert len(before.replies) == len(after.replies) == 50
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("typedllm", logging.ERROR)
    assert "observer Raising raised" in record.message
    assert record.exc_info is not None and "LookupError: at the re" in caplog.text


def test_what_is_raised_otherwise_or_by_another_observer_is_logged_too(
    caplog: pytest.LogCaptureFixture,
):
    class Changing(Raising):
        def sent(self, request: Request, engine: Engine) -> Callable[[Reply, float], None]:
            text = request.prompt[-1].text
            raise LookupError if text == "lookup" else ValueError

    observers = [Raising("sent"), Raising("sent"), Changing("")]
    llm = LLM(Observed(Scripted(), observers))
    for _ in range(3):
        llm.call("lookup")
        llm.call("value")
    assert len(caplog.records) == 4


async def test_a_cancellation_is_told_and_goes_on_to_the_caller():
    kept, started = Kept(), asyncio.Event()

    async def never(request: Request) -> object:
        started.set()
        await asyncio.Event().wait()
        return None

    task = asyncio.create_task(LLM(Observed(Scripted(never), [kept])).acall("x"))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    ((reply, _),) = kept.replies
    assert isinstance(reply, Failure) and isinstance(reply.error, EngineError)
    assert "given up" in str(reply.error)
    assert isinstance(reply.error.__cause__, asyncio.CancelledError)


def test_a_timeout_is_told_and_is_the_callers_deadline():
    async def never(request: Request) -> object:
        await asyncio.Event().wait()
        return None

    kept = Kept()
    result = LLM(Observed(Scripted(never), [kept])).run("x", timeout_s=0.05)
    assert isinstance(result.error, DeadlineExceeded)
    ((reply, seconds),) = kept.replies
    assert isinstance(reply, Failure) and seconds >= 0.04


def test_what_is_in_flight_when_an_iteration_is_closed_is_told():
    kept = Kept()

    async def some(request: Request) -> object:
        if request.prompt[-1].text != "0":
            await asyncio.Event().wait()
        return "x"

    rows = LLM(Observed(Scripted(some), [kept])).iter_batch(map(str, range(5)))
    next(rows)
    rows.close()
    assert len(kept.replies) == len(kept.requests) >= 1
    given_up = [reply for reply, _ in kept.replies if isinstance(reply, Failure)]
    assert len(given_up) == len(kept.replies) - 1


async def test_a_dropped_coroutine_is_told():
    kept = Kept()
    sending = Observed(Scripted(["x"]), [kept]).send(ASKED)
    sending.send(None)
    sending.close()
    assert isinstance(kept.replies[0][0], Failure)


class Broken(Scripted):
    """An engine that raises, as none should."""

    async def send(self, request: Request) -> Reply:
        raise self.error

    error: Exception = ValueError("odd")


def test_an_engine_that_raises_is_told_as_its_failure():
    kept = Kept()
    engine = Broken()
    result = LLM(Observed(engine, [kept])).run("x")
    assert isinstance(result.error, EngineError) and "ValueError('odd')" in str(result.error)
    engine.error = EngineError("down", status=503)
    LLM(Observed(engine, [kept])).run("x")
    odd, down = [reply for reply, _ in kept.replies]
    assert isinstance(odd, Failure) and "scripted raised ValueError('odd')" in str(odd.error)
    assert isinstance(down, Failure) and down.error is engine.error


async def test_everything_else_is_the_engines_own():
    engine = Scripted(["x"], capacity=7)
    observed = Observed(engine, [])
    assert observed.engine is engine and observed.traits is engine.traits
    assert (observed.model, observed.capacity) == ("scripted", 7)
    await observed.send(ASKED)
    assert observed.requests is engine.requests
    for name in ("nothing", "_replies"):
        with pytest.raises(AttributeError, match=name):
            getattr(observed, name)


def test_it_is_closed_with_its_engine():
    closed: list[str] = []

    class Closing(Scripted):
        async def close(self) -> None:
            closed.append("engine")

    with LLM(Observed(Closing(), [Kept()])):
        assert closed == []
    assert closed == ["engine"]


def test_it_can_be_copied_and_pickled_as_far_as_its_parts_can():
    observed = Observed(engine=Scripted(), observers=[])
    assert copy.copy(observed).traits == observed.traits
    with pytest.raises(TypeError, match="pickle"):  # the script's lock, and no endless recursion
        pickle.dumps(observed)


@pytest.mark.parametrize("observers", [[object()], [Kept], [None], Kept()])
def test_what_is_no_observer_is_named(observers: Any):
    with pytest.raises(UsageError, match=r"observers(\[0\])?: expected"):
        Observed(Scripted(), observers)


def test_the_library_is_silent_until_asked():
    handlers = LOGGER.handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)
