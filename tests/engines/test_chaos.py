"""Every call of a server that does wrong ends in a value or in the right error, in its time.

Each is made twice: for the answer as a whole, and for a stream of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest

from tests.servers.chaos import Chaos, chaos_server
from typedllm import LLM, DeadlineExceeded, EngineError, Invalid, Refused, Truncated
from typedllm.attempts import Policy
from typedllm.engines.table import open_engine
from typedllm.engines.wrapped import Wrapped
from typedllm.records import Completion, Reply, Request

SPEC = {"name": "str", "age": "int"}
QUICK = Policy(attempts=3, repairs=1, multiplier_s=0, min_wait_s=0, max_wait_s=0)
ADA = {"name": "Ada", "age": 36}
# Of each fault what comes of it, and how often the server is asked.
OUTCOMES: dict[str, tuple[object, int]] = {
    "fine": (ADA, 1),
    "busy once": (ADA, 2),
    "429 once": (ADA, 2),
    "500 once": (ADA, 2),
    "503 once": (ADA, 2),
    "reset once": (ADA, 2),
    "other shape once": (ADA, 2),
    "empty once": (ADA, 2),
    "busy": (EngineError, 3),
    "429": (EngineError, 3),
    "500": (EngineError, 3),
    "401": (EngineError, 1),
    "404": (EngineError, 1),
    "reset": (EngineError, 3),
    "silence": (DeadlineExceeded, 1),
    "drip": (DeadlineExceeded, 1),
    "cut": (Truncated, 1),
    "broken body": (EngineError, 3),
    "html": (EngineError, 1),
    "wrong type": (ADA, 1),
    "two choices": (EngineError, 1),
    "no choices": (EngineError, 1),
    "refusal": (Refused, 1),
    "filtered": (Refused, 1),
    "empty": (Invalid, 2),
    "prose": (Invalid, 2),
    "other shape": (Invalid, 2),
}
# Those of a stream that have another outcome, or are of streams alone.
STREAMED: dict[str, tuple[object, int]] = {
    **OUTCOMES,
    "no choices": (EngineError, 3),  # it may be that they did not come
    "stops early": (EngineError, 3),
    "stops early once": (ADA, 2),
    "says no end": (ADA, 1),
    "breaks off": (EngineError, 3),
    "breaks off once": (ADA, 2),
    "breaks off with 429 once": (ADA, 2),
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with chaos_server() as url:
        yield url


KEYS = (f"key {number}" for number in count())  # each with a quota of its own


@pytest.fixture
def llm(url: str) -> Iterator[LLM]:
    with LLM("openai:m", base_url=url, api_key=next(KEYS), policy=QUICK) as llm:
        yield llm


class Heard(Wrapped):
    """An engine whose answers are listened to, and compared with what was heard."""

    async def send(self, request: Request) -> Reply:
        pieces: list[str] = []
        reply = await self.engine.send(replace(request, tell=pieces.append))
        if isinstance(reply, Completion):
            assert "".join(pieces) == reply.text
        return reply


@pytest.fixture
def streaming(url: str) -> Iterator[LLM]:
    engine = open_engine("openai:m", {"base_url": url, "api_key": next(KEYS)})
    with LLM(Heard(engine), policy=QUICK) as llm:
        yield llm


@pytest.mark.parametrize("fault", OUTCOMES)
def test_a_fault_has_its_outcome(llm: LLM, fault: str):
    check(llm, fault, "alone", *OUTCOMES[fault])


@pytest.mark.parametrize("fault", STREAMED)
def test_a_fault_in_a_stream_has_its_outcome(streaming: LLM, fault: str):
    check(streaming, fault, "streamed", *STREAMED[fault])


def check(llm: LLM, fault: str, kind: str, outcome: object, asked: int) -> None:
    before = time.monotonic()
    limit_s = 0.8 if outcome is DeadlineExceeded else 20
    result = llm.run(f"{fault} #{kind}", SPEC, timeout_s=limit_s)
    assert time.monotonic() - before < limit_s + 1
    if isinstance(outcome, type):
        assert type(result.error) is outcome, result.error
    else:
        assert result.value == outcome, result.error
    assert Chaos.asked[f"{fault} #{kind}"] == asked == result.attempts


@pytest.mark.slow
def test_a_batch_of_all_faults_loses_no_row(llm: LLM):
    faults = [fault for fault in OUTCOMES for _ in range(5)]
    rows = [f"{fault} #{number}" for number, fault in enumerate(faults)]
    results = llm.batch(rows, SPEC, timeout_s=8)
    assert [result.id for result in results] == [str(number) for number in range(len(rows))]
    for fault, result in zip(faults, results, strict=True):
        outcome, _ = OUTCOMES[fault]
        if fault == "drip":  # slow, but in time
            outcome = ADA
        if isinstance(outcome, type):
            assert isinstance(result.error, outcome), (fault, result.error)
        else:
            assert result.value == outcome, (fault, result.error)


def test_what_was_cut_is_there_in_part(llm: LLM):
    error = llm.run("cut #part", SPEC).error
    assert isinstance(error, Truncated)
    assert error.partial == {"name": "Ada"}
    assert error.raw == '{"name":"Ada","'


def test_tokens_of_every_attempt_are_counted(llm: LLM):
    result = llm.run("other shape once #usage", SPEC)
    assert result.ok
    assert (result.usage.input_tokens, result.usage.output_tokens) == (14, 10)
