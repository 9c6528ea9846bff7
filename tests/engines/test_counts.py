"""Whatever a service counts, its answer is kept, and no sum of usages becomes nonsense."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engines.remote_apis import serving
from tests.servers.anthropic import message
from tests.servers.canned import Canned, running
from tests.servers.chaos import completion
from tests.servers.cohere import chat
from tests.servers.gemini import content
from typedllm import LLM, EngineError
from typedllm.engines.counts import usage_counted
from typedllm.engines.instructor_providers import PROVIDERS
from typedllm.engines.openai_protocol import usage_of
from typedllm.engines.vllm_requests import Asked, completion_of
from typedllm.records import Completion, Message, Request, Segment, Usage

MOST = 2**40
TOKENS = st.integers(0, 10**6)
ODD = st.one_of(
    st.none(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(["", "many", [], {}, 10**400, 1e20, -1, True]),
)
COSTS = st.none() | st.floats(0, 100)
COUNTS = st.tuples(ODD, ODD, ODD, ODD)


def check(usage: Usage) -> None:
    counts = (usage.input_tokens, usage.output_tokens, usage.cached_tokens)
    assert all(type(count) is int and 0 <= count <= 3 * MOST for count in counts)
    assert usage.cached_tokens <= usage.input_tokens
    assert usage.cost is None or 0 <= usage.cost <= MOST


@given(prompt=ODD, answer=ODD, cached=ODD, cost=ODD)
def test_any_counts_are_a_usage(prompt: Any, answer: Any, cached: Any, cost: Any):
    check(usage_counted(prompt=prompt, answer=answer, cached=cached, cost=cost))


@given(prompt=TOKENS, answer=TOKENS, cached=TOKENS, cost=COSTS)
def test_what_can_be_is_taken_as_it_is(prompt: int, answer: int, cached: int, cost: float | None):
    assert usage_counted(prompt=prompt, answer=float(answer), cached=cached, cost=cost) == Usage(
        input_tokens=prompt, output_tokens=answer, cached_tokens=min(cached, prompt), cost=cost
    )


@given(COUNTS)
def test_every_reader_of_a_service_bounds_what_it_counts(counts: tuple[Any, Any, Any, Any]):
    one, two, three, four = counts
    openai = {"prompt_tokens": one, "completion_tokens": two, "cost": four}
    check(usage_of({**openai, "prompt_tokens_details": {"cached_tokens": three}}))
    check(usage_of({**openai, "prompt_cache_hit_tokens": three}))
    cache = {"cache_read_input_tokens": three, "cache_creation_input_tokens": four}
    told = {
        "anthropic": {"usage": {"input_tokens": one, "output_tokens": two, **cache}},
        "gemini": {
            "usage_metadata": {
                "prompt_token_count": one,
                "candidates_token_count": two,
                "cached_content_token_count": three,
                "thoughts_token_count": four,
            }
        },
        "cohere": {
            "usage": {
                "tokens": {"input_tokens": one, "output_tokens": two},
                "cached_tokens": three,
            }
        },
        "instructor": {"usage": openai},
    }
    answers: dict[str, dict[str, Any]] = {
        "anthropic": message("x"),
        "gemini": {"candidates": [{"content": {"parts": []}, "finish_reason": "STOP"}]},
        "cohere": chat("x"),
        "instructor": completion("x"),
    }
    for name, answer in answers.items():
        reply = PROVIDERS[name].completion({**answer, **told[name]})
        assert isinstance(reply, Completion)
        check(reply.usage)
    asked = Asked(model="m", context=100, guidance=False, lands=False, fields=frozenset())
    request = Request(prompt=(Message(role="user", content=(Segment(text="Hi"),)),))
    (reply,) = completion_of({**completion("x"), "usage": openai}, [request], asked)
    assert isinstance(reply, Completion)
    check(reply.usage)


class Counting(Canned):
    """Answers with what it was given."""

    def check(self, asked: Any) -> None:
        """Take anything."""


NONSENSE = {"prompt_tokens": -5, "completion_tokens": 2**63, "total_tokens": float("inf")}


def test_an_answer_is_kept_whatever_its_counts():
    details = {"cached_tokens": 9}
    with running(Counting) as (url, server):
        server.answers += [
            {**completion("1"), "usage": NONSENSE},
            {**completion("1"), "usage": {**NONSENSE, "completion_tokens": float("inf")}},
            {**completion("1"), "usage": {"prompt_tokens": 7, "prompt_tokens_details": details}},
        ]
        with LLM("openai:m", base_url=url, api_key="k") as llm:
            results = [llm.run(f"Hi {number}", int) for number in range(3)]
    assert [result.value for result in results] == [1, 1, 1]
    assert [result.usage.tokens for result in results] == [0, 0, 7]
    assert results[2].usage.cached_tokens == 7


def test_a_probability_that_no_float_holds_is_no_answer():
    answer = completion("1")
    token = {"token": "1", "bytes": [49], "logprob": -(10**400), "top_logprobs": []}
    answer["choices"][0]["logprobs"] = {"content": [token]}
    with running(Counting) as (url, server), LLM("openai:m", base_url=url, api_key="k") as llm:
        server.answers.append(answer)
        error = llm.run("Hi", int).error
    assert isinstance(error, EngineError)
    assert "no answer of OpenAI's protocol" in str(error)


@pytest.mark.parametrize("name", ["anthropic", "gemini", "cohere"])
def test_a_providers_answer_is_kept_whatever_its_counts(name: str):
    answer = {
        "anthropic": message('{"value": 1}', input_tokens=-5, output_tokens=2**63),
        "gemini": content('{"value": 1}', promptTokenCount=-5, candidatesTokenCount=0),
        "cohere": chat('{"value": 1}', tokens={"input_tokens": -5, "output_tokens": 1e20}),
    }[name]
    with serving(name) as api, api.opened() as llm:
        api.gives(answer)
        result = llm.run("Hi", int)
    assert result.unwrap() == 1
    assert result.usage.tokens == 0
