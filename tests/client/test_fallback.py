"""Another engine is asked when the service of the first one has failed for good."""

from __future__ import annotations

import asyncio

import pytest

from tests.servers.chaos import chaos_server
from typedllm import LLM, EngineError, Invalid, Scripted, UsageError
from typedllm.attempts import Policy
from typedllm.records import Completion, Traits, Usage

QUICK = Policy(attempts=2, repairs=0, multiplier_s=0, min_wait_s=0, max_wait_s=0)
ASKED = Traits(name="asked", takes=frozenset(), ending="may be cut", logprobs=False)
BROKEN = EngineError("out of order", retryable=True)


def test_the_next_engine_is_asked_and_all_attempts_are_counted():
    first = Scripted([BROKEN, BROKEN], traits=ASKED)
    second = Scripted([{"age": 36}])
    result = LLM(first, fallback=[second], policy=QUICK).run("How old?", {"age": "int"})
    assert result.value == {"age": 36}
    assert (result.attempts, result.model) == (3, "scripted")
    assert first.requests[0].constraint is None
    assert second.requests[0].constraint is not None  # the type is lowered for each engine anew
    assert first.requests[0].prompt == second.requests[0].prompt


def test_what_a_model_says_wrong_is_no_failure_of_its_service():
    second = Scripted([{"age": 36}])
    result = LLM(Scripted(["no"], traits=ASKED), fallback=[second], policy=QUICK).run("x", int)
    assert isinstance(result.error, Invalid)
    assert second.requests == []
    assert result.model == "asked"


def test_where_all_fail_the_last_error_counts():
    failing = [Scripted([EngineError(f"number {number}")], traits=ASKED) for number in range(3)]
    result = LLM(failing[0], fallback=failing[1:], policy=QUICK).run("x", int)
    assert str(result.error) == "number 2"
    assert result.attempts == 3


def test_rows_of_a_batch_fall_back_one_by_one():
    async def first(request: object) -> object:
        text = "".join(part.text for part in request.prompt)  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        return EngineError("broken") if "odd" in text else "1"

    llm = LLM(Scripted(first, traits=ASKED), fallback=[Scripted(lambda _: 2)], policy=QUICK)
    results = llm.batch(["even", "odd", "even", "odd"], int)
    assert [result.value for result in results] == [1, 2, 1, 2]


def test_a_deadline_holds_for_all_of_them_together():
    async def slow(request: object) -> object:
        await asyncio.sleep(0.2)
        return EngineError("slowly broken")

    never = Scripted(lambda _: asyncio.sleep(60))
    llm = LLM(Scripted(slow, traits=ASKED), fallback=[never], policy=QUICK)
    result = llm.run("x", int, timeout_s=0.5)
    assert "left of timeout_s" in str(result.error)
    assert result.latency_s < 1


def test_usage_is_that_of_all_engines():
    cut = Completion(text="", finish_reason="stop", usage=Usage(input_tokens=5, output_tokens=3))
    first = Scripted([cut, EngineError("gone")], traits=ASKED)
    repairing = Policy(attempts=1, repairs=1, multiplier_s=0, min_wait_s=0, max_wait_s=0)
    result = LLM(first, fallback=[Scripted([7])], policy=repairing).run("x", int)
    assert result.value == 7
    assert result.usage.input_tokens > 5
    assert result.usage.output_tokens == 4


def test_a_server_that_is_broken_falls_back_to_the_packaged_model():
    with (
        chaos_server() as url,
        LLM("openai:m", base_url=url, api_key="k", fallback=["embedded"], policy=QUICK) as llm,
    ):
        result = llm.run("500 #fallback", {"age": "int"})
    assert result.ok
    assert result.model is not None
    assert result.model.startswith("embedded")
    assert result.attempts == 3


def test_mistakes_are_told_before_any_call():
    with pytest.raises(UsageError, match=r"write \['embedded'\]"):
        LLM("embedded", fallback="embedded")
    with pytest.raises(UsageError, match="no engine is called 'nowhere'"):
        LLM("embedded", fallback=["nowhere:m"])
