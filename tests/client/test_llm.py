"""LLM end to end, on the scripted engine."""

from __future__ import annotations

import asyncio
import inspect
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ValidationInfo, field_validator

from typedllm import (
    LLM,
    Choice,
    DeadlineExceeded,
    EngineError,
    Lark,
    Limits,
    Message,
    Policy,
    Regex,
    Sampling,
    Scripted,
    Segment,
    SpecError,
    UnsupportedConstraint,
    UsageError,
    explain,
)
from typedllm.engines.scripted import TRAITS
from typedllm.records import Grammar, Request


class Person(BaseModel):
    name: str
    age: int


@dataclass
class Point:
    x: int
    y: int


@pytest.mark.parametrize(
    ("output_type", "reply", "value"),
    [
        ({"age": "int"}, '{"age":25}', {"age": 25}),
        (Person, '{"name":"Ada","age":36}', Person(name="Ada", age=36)),
        (Point, '{"x":1,"y":2}', Point(1, 2)),
        (Literal["spam", "ham"], '"ham"', "ham"),
        (int | None, "null", None),
        ("list[int]", "[1,2]", [1, 2]),
        (["red", "green"], '"red"', "red"),
        (Choice(["yes", "no"]), "no", "no"),
        (Regex("[a-z]+[0-9]"), "abc1", "abc1"),
        (str, "plain words", "plain words"),
        (None, "plain words", "plain words"),
    ],
)
def test_you_get_back_what_you_asked_for(output_type: Any, reply: str, value: object):
    assert LLM(Scripted([reply])).call("x", output_type) == value


def test_a_call_is_one_request_with_the_instruction_and_the_constraint():
    engine = Scripted([{"age": 25}])
    LLM(engine).call("How old are you?", {"age": "int"})
    (request,) = engine.requests
    system, user = request.prompt
    assert isinstance(system, Message) and isinstance(user, Message)
    assert system.text == 'Answer with JSON only: {"age": int}'
    assert [segment.trusted for segment in system.content] == [True, False]
    assert user == Message(role="user", content=(Segment(text="How old are you?"),))
    assert isinstance(request.constraint, Grammar)


def test_a_verbs_keywords_go_before_the_llms():
    engine = Scripted(lambda request: "x")
    llm = LLM(engine, system="Be brief.", sampling=Sampling(seed=1), timeout_s=9)
    llm.call("a")
    llm.call("b", system="Be long.", sampling=Sampling(seed=2))
    llm.call("c", system="")
    first, second, third = engine.requests
    assert (first.prompt[0].text, first.sampling.seed) == ("Be brief.", 1)
    assert (second.prompt[0].text, second.sampling.seed) == ("Be long.", 2)
    assert len(third.prompt) == 1


def test_run_returns_errors_and_call_raises_them():
    llm = LLM(Scripted([EngineError("down"), EngineError("down")]))
    assert isinstance(llm.run("x").error, EngineError)
    with pytest.raises(EngineError, match="down"):
        llm.call("x")


def test_the_policy_is_the_llms():
    busy = EngineError("busy", retryable=True, retry_after_s=0.01)
    assert LLM(Scripted([busy, busy, "ok"]), policy=Policy(attempts=3)).call("x") == "ok"
    result = LLM(Scripted([busy, busy, "ok"]), policy=Policy(attempts=2)).run("x")
    assert isinstance(result.error, EngineError) and result.attempts == 2


class Bounded(BaseModel):
    age: int

    @field_validator("age")
    @classmethod
    def _below(cls, value: int, info: ValidationInfo) -> int:
        if info.context and value > info.context["most"]:
            raise ValueError("too old")
        return value


def test_the_validation_context_reaches_the_validators():
    llm = LLM(Scripted(lambda request: {"age": 50}), policy=Policy(repairs=0))
    assert llm.call("x", Bounded, validation_context={"most": 60}).age == 50
    result = llm.run("x", Bounded, validation_context={"most": 40})
    assert "too old" in str(result.error)
    assert llm.batch(["x"], Bounded, validation_context={"most": 60}).ok == 1


def test_time_is_up_after_timeout_s():
    async def slow(request: Request) -> object:
        await asyncio.sleep(30)

    with pytest.raises(DeadlineExceeded):
        LLM(Scripted(slow)).call("x", timeout_s=0.05)


@pytest.mark.parametrize("prompt", [3, None, [], b"x", "a\ud800b", [3]])
def test_a_prompt_that_is_none_is_the_callers_error(prompt: Any):
    engine = Scripted(["x"])
    with pytest.raises(UsageError, match="prompt"):
        LLM(engine).run(prompt)
    assert engine.requests == []


def test_a_type_that_is_none_is_the_callers_error():
    with pytest.raises(SpecError):
        LLM("scripted").run("x", {"age": "itn"})


def test_an_unknown_keyword_is_an_error():
    with pytest.raises(UsageError, match="temperature"):
        LLM("scripted").call("x", temperature=1)  # type: ignore[call-overload]


async def test_the_async_verbs():
    llm = LLM(Scripted(lambda request: {"age": 3}))
    assert await llm.acall("x", {"age": "int"}) == {"age": 3}
    assert (await llm.arun("x", {"age": "int"})).ok
    assert (await llm.abatch(["x", "y"], {"age": "int"})).ok == 2
    assert len([row async for row in llm.aiter_batch(["x", "y"], {"age": "int"})]) == 2


async def test_the_sync_verbs_work_inside_a_running_loop():
    llm = LLM(Scripted(lambda request: {"age": 3}))
    assert llm.call("x", {"age": "int"}) == {"age": 3}
    assert llm.batch(["x"] * 3, {"age": "int"}).ok == 3
    assert len(list(llm.iter_batch(["x"] * 3, {"age": "int"}))) == 3


def test_eight_threads_at_once():
    llm = LLM(Scripted(lambda request: {"n": int(request.prompt[-1].text)}))

    def work(number: int) -> list[Any]:
        texts = [str(number * 100 + row) for row in range(20)]
        single = llm.call(str(number), {"n": "int"})
        return [single, *llm.batch(texts, {"n": "int"}).values()]

    with ThreadPoolExecutor(8) as pool:
        for number, got in enumerate(pool.map(work, range(8))):
            want = [number, *(number * 100 + row for row in range(20))]
            assert [value["n"] for value in got] == want


def test_after_close_there_is_a_clear_error():
    with LLM("scripted") as llm:
        assert llm.call("x")
    llm.close()  # again does no harm
    with pytest.raises(UsageError, match="closed"):
        llm.call("x")
    with pytest.raises(UsageError, match="closed"):
        llm.batch(["x"])


async def test_the_async_context_manager_closes_the_engine():
    closed: list[str] = []

    class Closing(Scripted):
        async def close(self) -> None:
            closed.append(threading.current_thread().name)

    async with LLM(Closing(["x"])) as llm:
        assert await llm.acall("x") == "x"
    await llm.aclose()
    assert closed == [threading.current_thread().name]


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs POSIX signals")
def test_ctrl_c_ends_a_batch_and_cancels_its_rows():
    script = """
import asyncio, os, signal, threading
from typedllm import LLM, Scripted

async def slow(request):
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        raise

with LLM(Scripted(slow, capacity=2)) as llm:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        llm.batch(["a"] * 10)
    except KeyboardInterrupt:
        print("interrupted")
"""
    outcome = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert outcome.stdout.split() == ["cancelled", "cancelled", "interrupted"]
    assert outcome.stderr == ""


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs fork")
def test_an_llm_is_usable_after_a_fork():
    script = """
import os
from typedllm import LLM, Scripted

llm = LLM(Scripted(lambda request: {"pid": os.getpid()}))
assert llm.call("x", {"pid": "int"}) == {"pid": os.getpid()}
child = os.fork()
if child == 0:
    print(llm.batch(["x"] * 3, {"pid": "int"}).values() == [{"pid": os.getpid()}] * 3, flush=True)
    os._exit(0)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), llm.call("x", {"pid": "int"})["pid"] == os.getpid())
"""
    outcome = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert outcome.stdout.split() == ["True", "0", "True"], outcome.stderr


def test_the_default_model_is_in_the_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TYPEDLLM_MODEL", raising=False)
    with LLM() as llm:
        results = llm.batch(["I am 25.", "I am 31."], {"age": "int"})
        assert results.ok == 2
        assert all(row.confidence and 0 < row.confidence["$.age"] <= 1 for row in results)


def test_explain_needs_no_model_and_agrees_with_the_llms():
    plan = explain({"age": "int"}, engine="scripted")
    assert plan.guaranteed
    assert str(plan) == str(LLM("scripted").explain({"age": "int"}))
    tight = explain({"age": "int"}, engine="scripted", limits=Limits(integer_digits=3))
    assert str(tight) != str(plan)


def test_what_an_engine_cannot_take_is_an_error_before_the_call():
    engine = Scripted(["x"], traits=replace(TRAITS, takes=frozenset({Grammar})))
    with pytest.raises(UnsupportedConstraint):
        LLM(engine).run("x", Lark("start: /x/"))
    assert engine.requests == []


@pytest.mark.parametrize("verb", ["call", "run", "batch", "acall", "arun", "abatch", "iter_batch"])
def test_help_names_the_verb_and_its_keywords(verb: str):
    form = getattr(LLM, verb)
    assert form.__name__ == verb
    assert {"sampling", "system", "limits", "timeout_s"} <= set(inspect.signature(form).parameters)
    assert (form.__doc__ or "").startswith("Ask ")
