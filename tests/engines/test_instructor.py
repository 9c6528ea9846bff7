"""Anthropic, Gemini and Cohere through instructor, against servers of their APIs on loopback."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any, Literal, NotRequired

import instructor
import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from tests.engines.remote_apis import APIS, CLIENTS, Api, serving
from tests.servers.anthropic import message, text, tool
from tests.servers.canned import Refusal
from tests.servers.gemini import content
from typedllm import (
    LLM,
    Choice,
    DeadlineExceeded,
    EngineError,
    Invalid,
    Lark,
    MissingDependency,
    PromptTooLong,
    Refused,
    Sampling,
    Truncated,
    UnsupportedConstraint,
    UsageError,
    explain,
)
from typedllm.attempts import Policy
from typedllm.engines.base import provider_of
from typedllm.engines.table import engine_names, open_engine, traits_of
from typedllm.records import Completion, Failure, Message, Request, Segment

ONCE = Policy(attempts=1)
OLDER = "anthropic:claude-sonnet-4-0"  # without structured outputs


class Address(TypedDict):
    street: str
    floor: NotRequired[int]


class Person(BaseModel):
    name: str
    kind: Literal["staff", "guest"]
    tags: list[str]
    homes: list[Address]
    note: str | None = None


PERSON = (
    '{"name": "Søren", "kind": "guest", "tags": ["a", "b"],'
    ' "homes": [{"street": "Main", "floor": null}], "note": null}'
)
FOUND = Person(name="Søren", kind="guest", tags=["a", "b"], homes=[{"street": "Main"}])


@pytest.fixture(scope="module", params=APIS)
def serving_api(request: pytest.FixtureRequest) -> Iterator[Api]:
    with serving(request.param) as api:
        yield api


@pytest.fixture
def api(serving_api: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    without_keys(monkeypatch)
    serving_api.gives()
    return serving_api


@pytest.fixture(scope="module")
def claude_server() -> Iterator[Api]:
    with serving("anthropic") as api:
        yield api


@pytest.fixture
def claude(claude_server: Api) -> Api:
    claude_server.gives()
    return claude_server


def without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "CO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("COHERE_API_KEY", raising=False)


def ask(said: str = "Hi", **fields: Any) -> Request:
    return Request(prompt=(Message(role="user", content=(Segment(text=said),)),), **fields)


def test_the_sdks_themselves_call_the_servers():
    asked: list[Any] = [{"role": "user", "content": "x"}]
    with serving("anthropic") as api:
        api.gives("hello", "hello")
        client = api.clients["sync"](api.url)
        made = client.messages.create(model="m", max_tokens=3, messages=asked)
        assert made.content[0].text == "hello"
        with client.messages.stream(model="m", max_tokens=3, messages=asked) as stream:
            assert stream.get_final_text() == "hello"
    with serving("gemini") as api:
        api.gives("hello", "hello")
        client = api.clients["both"](api.url)
        assert client.models.generate_content(model="m", contents="x").text == "hello"
        pieces = client.models.generate_content_stream(model="m", contents="x")
        assert "".join(piece.text or "" for piece in pieces) == "hello"
    with serving("cohere") as api:
        api.gives("hello", "hello")
        client = api.clients["sync"](api.url)
        made = client.chat(model="m", messages=asked)
        assert made.message.content[0].text == "hello"
        kinds = [event.type for event in client.chat_stream(model="m", messages=asked)]
        assert kinds[-1] == "message-end"


def test_a_typed_value(api: Api):
    api.gives(PERSON)
    with api.opened() as llm:
        result = llm.run("Who?", Person)
    assert result.unwrap() == FOUND
    assert (result.raw, result.attempts, result.coercions) == (PERSON, 1, ())
    assert (result.usage.input_tokens, result.usage.output_tokens) == (7, 5)
    assert api.server.answers == []


async def test_a_streamed_answer_is_the_same(api: Api):
    spoken = "Ünd so weiter."
    api.gives(PERSON, PERSON, spoken, spoken)
    with api.opened() as llm:
        whole = llm.run("Who?", Person)
        partials = list(llm.stream("Who?", Person))
        assert llm.call("Say") == spoken
        pieces = list(llm.stream("Say"))
    assert partials[-1].unwrap() == FOUND
    assert partials[-1].usage == whole.usage
    assert len(partials) > 1
    assert pieces[-1].unwrap() == spoken
    engine = open_engine(api.model, {"api_key": api.key, "base_url": api.url})
    api.gives(spoken)
    told: list[str] = []
    reply = await engine.send(ask(tell=told.append))
    await engine.close()
    assert isinstance(reply, Completion)
    assert "".join(told) == reply.text == spoken
    assert len(told) == 3


@pytest.mark.parametrize(
    ("output_type", "said", "value"),
    [
        (int, '{"value": 12}', 12),
        (Literal["spam", "ham"], '{"value": "ham"}', "ham"),
        (Choice(["spam", "ham"]), '{"value": "ham"}', "ham"),
        (list[float], '{"value": [1.5, 2]}', [1.5, 2.0]),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (str, "plain text", "plain text"),
    ],
)
def test_values_that_are_no_objects(api: Api, output_type: Any, said: str, value: Any):
    given = message(tool({"a": 1})) if (api.name, value) == ("anthropic", {"a": 1}) else said
    api.gives(given)
    with api.opened() as llm:
        assert llm.call("Say", output_type) == value


def test_turns_and_system_texts_come_as_they_are(api: Api):
    system, said = "Be {{ kind }} {% raw", "What is {{ this }}?"
    with api.opened(system=system) as llm:
        chat = llm.chat()
        api.gives("Fine", "Good")
        assert [chat.call(said), chat.call("And?")] == ["Fine", "Good"]
    sent = json.dumps(api.asked[-1].body)
    for told in (system, said, "Fine", "And?"):
        assert json.dumps(told)[1:-1] in sent
    assert len(api.asked) == 2


def test_a_refusal_and_a_cut_answer(api: Api):
    ends = {"anthropic": "refusal", "gemini": "SAFETY", "cohere": "ERROR_TOXIC"}
    api.gives(
        api.answer("I will not", **{api.ended: ends[api.name]}),
        api.cut('{"value": [1, 2'),
        api.answer("x", **{api.ended: "OTHER" if api.name == "gemini" else "pause_turn"})
        if api.name != "cohere"
        else api.answer("x", finish_reason="ERROR"),
    )
    with api.opened(policy=ONCE) as llm:
        refused = llm.run("x", int)
        cut = llm.run("x", list[int])
        failed = llm.run("x", int)
    assert isinstance(refused.error, Refused)
    assert refused.raw == "I will not"
    assert isinstance(cut.error, Truncated)
    assert cut.error.partial == [1]  # of which 2 may be the beginning of 23
    assert isinstance(failed.error, EngineError)
    assert "ended the answer with" in str(failed.error)


def test_an_invalid_and_an_empty_answer_are_repaired(api: Api):
    api.gives(api.answer(), '{"street": 1, "floor": 2}', '{"street": "Main", "floor": 2}')
    with api.opened(model=f"{api.name}:other" if api.name == "anthropic" else None) as llm:
        result = llm.run("Where?", Address)
    if api.name == "anthropic":
        assert result.unwrap() == {"street": "Main", "floor": 2}
        assert result.attempts == 3
    first, second, third = (json.dumps(each.body) for each in [*api.asked, *api.asked][:3])
    assert "is not valid" in second
    assert '"text": ""' not in second
    assert '"content": ""' not in second
    assert first != second != third or len(api.asked) < 3


FAILURES: dict[str, tuple[Refusal, type[Exception], bool | None]] = {
    "overloaded": (Refusal(529), EngineError, True),
    "broken": (Refusal(500), EngineError, True),
    "busy": (Refusal(429), EngineError, True),
    "unknown model": (Refusal(404), EngineError, False),
    "no such field": (Refusal(400), UsageError, False),
    "reset": (Refusal(0), EngineError, True),
    "html": (Refusal(200, "<!DOCTYPE html>"), EngineError, None),  # the SDKs differ
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("streamed", [False, True])
async def test_each_failure_is_on_somebodys_side(api: Api, name: str, streamed: bool):
    given, kind, retryable = FAILURES[name]
    if given.status >= 400:
        given = api.refusal(given.status, f"{name} {api.key}", Retry_After="7")
    api.gives(given)
    engine = open_engine(api.model, {"api_key": api.key, "base_url": api.url})
    reply = await engine.send(ask(tell=print if streamed else None))
    await engine.close()
    assert isinstance(reply, Failure)
    assert type(reply.error) is kind
    assert api.key not in repr(reply.error)
    assert len(api.asked) == 1  # neither instructor nor the SDK tries again
    if isinstance(reply.error, EngineError):
        assert reply.error.retryable is (reply.error.retryable if retryable is None else retryable)
        if given.status >= 400:
            assert (reply.error.status, reply.error.retry_after_s) == (given.status, 7.0)
            assert name in str(reply.error)


def test_what_passes_is_asked_again(api: Api):
    api.gives(api.refusal(429, Retry_After="0"), api.refusal(500), '{"value": 1}')
    with api.opened() as llm:
        result = llm.run("x", int)
    assert (result.unwrap(), result.attempts) == (1, 3)
    assert len({json.dumps(each.body) for each in api.asked}) == 1


def test_a_wrong_key_is_told_without_it(api: Api, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "typedllm")
    with api.opened(api_key="sk-another-key-123456") as llm:
        result = llm.run("x", int)
        shown = f"{llm!r} {result!r} {result.error!s} {caplog.text}"
    assert isinstance(result.error, EngineError)
    assert (result.error.status, result.error.retryable, result.attempts) == (401, False, 1)
    assert "another-key" not in shown
    assert "***" in str(result.error)


def test_a_prompt_that_is_too_long(api: Api):
    said = {
        "anthropic": "prompt is too long: 210000 tokens > 200000 maximum",
        "gemini": "The input token count (2000000) exceeds the maximum number of tokens allowed",
        "cohere": "too many tokens: the total number of tokens in the prompt cannot exceed 4081",
    }
    api.gives(api.refusal(400, said[api.name]))
    with api.opened() as llm:
        assert isinstance(llm.run("x", int).error, PromptTooLong)


@pytest.mark.parametrize(("name", "kind"), CLIENTS)
def test_a_ready_made_client_is_used_without_its_retries(name: str, kind: str):
    with serving(name) as api:
        client = api.clients[kind](api.url)
        with api.opened(engine_args={"client": client}) as llm:
            api.gives('{"value": 1}', '{"value": 2}', "hello")
            assert [llm.call("x", int), llm.call("x", int)] == [1, 2]
            assert [*llm.stream("x")][-1].unwrap() == "hello"
        with api.opened(engine_args={"client": client}, policy=ONCE) as llm:
            api.gives(*[api.refusal(500)] * 6)
            assert isinstance(llm.run("x", int).error, EngineError)
        assert len(api.asked) == 1


def test_a_client_of_instructors_is_used(claude: Api):
    for kind in ("sync", "async"):
        client = instructor.from_anthropic(claude.clients[kind](claude.url))
        claude.gives('{"value": 1}')
        with claude.opened(engine_args={"client": client}) as llm:
            assert llm.call("x", int) == 1


def test_what_is_no_client_or_says_twice_where(claude: Api):
    with pytest.raises(UsageError, match=r"anthropic: client= is a builtins\.int; Client must be"):
        LLM(claude.model, engine_args={"client": 3})
    client = claude.clients["sync"](claude.url)
    with pytest.raises(UsageError, match="client= has its own base_url"):
        LLM(claude.model, base_url=claude.url, engine_args={"client": client})


def test_headers_are_sent_and_kept_secret(api: Api):
    secret = "a-secret-value"
    api.gives(api.refusal(400, f"no {secret} here"))
    with api.opened(engine_args={"headers": {"X-Team": secret}}) as llm:
        error = llm.run("x").error
    assert api.asked[-1].headers["x-team"] == secret
    assert secret not in str(error)


def test_what_cannot_be_asked_is_found_before_any_call(api: Api):
    for sampling, words in (
        (Sampling(extra={"temprature": 1}), f"{api.name} has no option 'temprature' .*temperature"),
        (Sampling(extra={"stream": True}) if api.name != "gemini" else
         Sampling(extra={"http_options": {}}), "for typedllm to say"),
    ):  # fmt: skip
        with api.opened(sampling=sampling) as llm:
            error = llm.run("x", int).error
        assert isinstance(error, UsageError)
        with pytest.raises(UsageError, match=words):
            raise error
    with api.opened() as llm, pytest.raises(UnsupportedConstraint, match="no Lark"):
        llm.call("x", Lark("start: /a/"))
    with api.opened(chat_template="llama2") as llm:
        assert "takes no raw text" in str(llm.run("x").error)
    assert api.asked == []


def test_a_seed_where_there_is_one(api: Api):
    api.gives('{"value": 1}')
    with api.opened(sampling=Sampling(seed=3)) as llm:
        result = llm.run("x", int)
    if api.name == "anthropic":
        assert "anthropic takes no seed" in str(result.error)
    else:
        assert '"seed": 3' in json.dumps(api.asked[-1].body)


def test_what_is_missing_is_told(api: Api, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError, match=f"{api.name}: no model"):
        LLM(f"{api.name}:")
    with pytest.raises(UsageError, match=f"{api.name}: no key; give api_key=, or set [A-Z_]+_KEY"):
        LLM(api.model)
    package = {"anthropic": "anthropic", "gemini": "google.genai", "cohere": "cohere"}[api.name]
    monkeypatch.setitem(sys.modules, package, None)
    for module in [each for each in sys.modules if each.startswith(f"{package}.")]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependency, match=r"pip install 'typedllm\[remote\]'"):
        LLM(api.model, api_key="x")


def test_the_environments_key_is_for_the_provider_alone(api: Api, monkeypatch: pytest.MonkeyPatch):
    variable = {"anthropic": "ANTHROPIC_API_KEY", "gemini": "GOOGLE_API_KEY"}
    monkeypatch.setenv(variable.get(api.name, "CO_API_KEY"), api.key)
    engine = open_engine(api.model, {})
    assert provider_of(engine) == {"gemini": "google"}.get(api.name, api.name)
    assert api.key not in repr(engine)
    with LLM(api.model, base_url=api.url) as llm:
        error = llm.run("x").error
    assert isinstance(error, EngineError)
    assert error.status == 401
    assert api.key not in str(api.asked[-1].headers)
    assert provider_of(open_engine(api.model, {"base_url": api.url})) is None


def test_it_is_an_engine_of_the_table(api: Api):
    assert api.name in engine_names()
    engine = open_engine(api.model, {"api_key": "x"})
    assert engine.traits == traits_of(api.model)
    plan = explain(Person, engine=api.name)
    assert plan.engine == api.name
    assert plan.guaranteed is (api.name != "anthropic")  # which holds no capitals


@pytest.mark.slow
def test_many_rows_and_loops(api: Api):
    api.gives(*['{"value": 1}'] * 24)
    with api.opened() as llm:
        assert [result.unwrap() for result in llm.batch(list("abcdefghij") * 2, int)] == [1] * 20

        async def two() -> list[int]:
            return list(await asyncio.gather(llm.acall("x", int), llm.acall("y", int)))

        assert asyncio.run(two()) == asyncio.run(two()) == [1, 1]


def test_no_answer_in_time(api: Api):
    api.gives(Refusal(1))
    with api.opened() as llm:
        result = llm.run("x", int, timeout_s=0.3)
    assert isinstance(result.error, DeadlineExceeded)
    assert result.latency_s < 2


async def test_after_closing_it_refuses(api: Api):
    engine = open_engine(api.model, {"api_key": api.key, "base_url": api.url})
    await engine.close()
    await engine.close()
    reply = await engine.send(ask())
    assert isinstance(reply, Failure)
    assert "closed" in str(reply.error)


# What is Anthropic's own.


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_is_forced_where_no_schema_is_enforced(claude: Api, streamed: bool):
    answer = {"street": "Møllegade", "floor": None}
    claude.gives(message(text("Well:"), tool(answer), stop_reason="tool_use"))
    with claude.opened(OLDER) as llm:
        result = [*llm.stream("x", Address)][-1] if streamed else llm.run("x", Address)
        assert not llm.explain(Address).guaranteed
    assert result.unwrap() == {"street": "Møllegade"}
    assert json.loads(result.raw or "") == answer
    body = claude.asked[-1].body
    assert body["tool_choice"]["name"] == body["tools"][0]["name"] == "answer"
    assert "output_config" not in body


@pytest.mark.parametrize("streamed", [False, True])
def test_the_arguments_of_a_tool_may_be_cut(claude: Api, streamed: bool):
    cut = {"items": ["one", "two"]}  # closed by the service, not by the model
    claude.gives(message(tool(cut), stop_reason="max_tokens"))
    spec = {"items": "list[str]"}
    with claude.opened(OLDER) as llm:
        result = [*llm.stream("x", spec)][-1] if streamed else llm.run("x", spec)
    if streamed:  # here the pieces happen to be whole
        assert result.unwrap() == cut
    else:
        assert isinstance(result.error, Truncated)
        assert result.error.partial == cut


def test_a_model_that_does_not_call_the_tool_is_read_all_the_same(claude: Api):
    claude.gives('Sure: {"street": "Main"}', '{"a": 2}')
    with claude.opened(OLDER) as llm:
        assert llm.call("x", Address) == {"street": "Main"}
        assert [*llm.stream("x", dict[str, int])][-1].unwrap() == {"a": 2}


@pytest.mark.parametrize("streamed", [False, True])
def test_thoughts_and_cached_tokens_are_told(claude: Api, streamed: bool):
    thought = {"type": "thinking", "thinking": "Hm, one?", "signature": "s"}
    usage = {"cache_read_input_tokens": 100, "cache_creation_input_tokens": 10}
    claude.gives(message(thought, '{"value": 1}', **usage))
    thinking = {"type": "enabled", "budget_tokens": 1024}
    with claude.opened(sampling=Sampling(max_tokens=2000, extra={"thinking": thinking})) as llm:
        result = [*llm.stream("x", int)][-1] if streamed else llm.run("x", int)
    assert (result.unwrap(), result.reasoning) == (1, "Hm, one?")
    assert (result.usage.input_tokens, result.usage.cached_tokens) == (117, 100)
    assert claude.asked[-1].body["thinking"] == thinking


def test_a_model_that_thinks_is_not_forced_to_call_a_tool(claude: Api):
    claude.gives(message(tool({"a": 1}), stop_reason="tool_use"))
    thinking = {"type": "enabled", "budget_tokens": 1024}
    with claude.opened(sampling=Sampling(max_tokens=2000, extra={"thinking": thinking})) as llm:
        assert llm.call("x", dict[str, int]) == {"a": 1}
    assert claude.asked[-1].body["tool_choice"] == {"type": "auto"}


async def test_a_stream_that_breaks_off_may_be_asked_again(claude: Api):
    broken = message("hello")
    claude.gives(broken)
    claude.server.events = lambda self, answer: [
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    ]
    engine = open_engine(claude.model, {"api_key": claude.key, "base_url": claude.url})
    reply = await engine.send(ask(tell=print))
    await engine.close()
    del claude.server.events
    assert isinstance(reply, Failure)
    assert isinstance(reply.error, EngineError)
    assert reply.error.retryable
    assert "Overloaded" in str(reply.error)


def test_where_the_schema_goes(claude: Api):
    other = "anthropic:Qwen/Qwen3-8B"  # on vLLM, say
    for model, output_type, by_tool in (
        (claude.model, Address, False),
        (claude.model, dict[str, int], True),
        (OLDER, Address, True),
        ("anthropic:us.anthropic.claude-3-haiku-20240307-v1:0", Address, True),
        ("anthropic:eu.anthropic.claude-opus-5-5", Address, False),
        (other, Address, False),
        (other, dict[str, int], False),
    ):
        claude.gives("{}")
        with claude.opened(model, policy=Policy(attempts=1, repairs=0)) as llm:
            llm.run("x", output_type)
        body = claude.asked[-1].body
        assert ("tools" in body, "output_config" in body) == (by_tool, not by_tool), model


# What is Gemini's own.


@pytest.mark.parametrize("streamed", [False, True])
def test_geminis_thoughts_and_cached_tokens(streamed: bool):
    with serving("gemini") as api, api.opened() as llm:
        api.gives(
            content(
                {"text": "Hm, one?", "thought": True},
                '{"value": 1}',
                cachedContentTokenCount=4,
                thoughtsTokenCount=3,
            )
        )
        result = [*llm.stream("x", int)][-1] if streamed else llm.run("x", int)
    assert (result.unwrap(), result.reasoning) == (1, "Hm, one?")
    usage = result.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == (7, 8, 4)


def test_a_prompt_that_gemini_blocks_and_a_wait_that_it_asks_for():
    with serving("gemini") as api, api.opened(policy=ONCE) as llm:
        api.gives(
            {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}
        )
        assert isinstance(llm.run("x", int).error, Refused)
        info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"}
        said = {"code": 429, "message": "quota", "status": "X", "details": [info]}
        api.gives(Refusal(429, {"error": said}))
        error = llm.run("x", int).error
    assert isinstance(error, EngineError)
    assert error.retry_after_s == 17.0


def test_what_gemini_takes_no_schema_for_is_told_in_words():
    with serving("gemini") as api, api.opened() as llm:
        api.gives('{"a": 1}')
        assert llm.call("x", dict[str, int]) == {"a": 1}
        body = api.asked[-1].body
    assert body["generationConfig"] == {"responseMimeType": "application/json"}
    assert "additionalProperties" in json.dumps(body["systemInstruction"])


def test_invalid_is_the_models(claude: Api):
    claude.gives(*['{"value": "x"}'] * 3)
    with claude.opened(OLDER) as llm:
        result = llm.run("x", int)
    assert isinstance(result.error, Invalid)
    assert result.attempts == 3
