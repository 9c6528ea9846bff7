"""The openai engine and the servers that speak its protocol, against a real one on loopback."""

from __future__ import annotations

import http.server
import json
import math
import threading
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, NotRequired

import pytest
from openai.types import CompletionCreateParams
from openai.types.chat import ChatCompletion
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import BaseModel, Field, TypeAdapter
from typing_extensions import TypedDict

from typedllm import (
    LLM,
    Choice,
    EngineError,
    Invalid,
    Lark,
    Limits,
    Refused,
    Sampling,
    SpecError,
    Truncated,
    UnsupportedConstraint,
    UsageError,
    explain,
)
from typedllm.attempts import Policy
from typedllm.engines.base import Engine, provider_of
from typedllm.engines.dialects import DIALECTS
from typedllm.engines.table import engine_names, open_engine, traits_of
from typedllm.records import Completion, Failure, Message, Request, Segment

KEY = "sk-a-key-that-is-secret"


def answer(content: Any, finish_reason: str = "stop", **message: Any) -> dict[str, Any]:
    """A canned answer, as the API gives it."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, **message},
                "finish_reason": finish_reason,
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
    }


class Recorder(http.server.BaseHTTPRequestHandler):
    """Gives one canned answer after another, and keeps what it was sent."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str, dict[str, str], Any]]] = []
    answers: ClassVar[list[Any]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        given = self.answers.pop(0)
        status, given = given if isinstance(given, tuple) else (200, given)
        text = given if isinstance(given, str) else json.dumps(given)
        self.send_response(status)
        kind = "text/html" if text.startswith("<!") else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        if status == 429:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}/v1"
        found.shutdown()


@pytest.fixture
def url(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for dialect in DIALECTS.values():
        if dialect.key_variable:
            monkeypatch.delenv(dialect.key_variable, raising=False)
    Recorder.seen.clear()
    Recorder.answers.clear()
    return server


def opened(url: str, name: str = "openai", model: str = "m", **options: Any) -> LLM:
    policy = Policy(attempts=3, min_wait_s=0.0, max_wait_s=0.0)
    return LLM(f"{name}:{model}", base_url=url, api_key=KEY, policy=policy, **options)


def engine(url: str, name: str = "openai", model: str = "m") -> Engine:
    return open_engine(f"{name}:{model}", {"base_url": url, "api_key": KEY})


def ask(text: str = "Hi", **fields: Any) -> Request:
    return Request(prompt=(Message(role="user", content=(Segment(text=text),)),), **fields)


def body() -> Any:
    return Recorder.seen[-1][2]


class Address(TypedDict):
    street: str
    floor: NotRequired[int]


STRICT = {
    "type": "object",
    "properties": {
        "street": {"type": "string"},
        "floor": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    },
    "required": ["street", "floor"],
    "additionalProperties": False,
}
BY_SCHEMA = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": STRICT, "strict": True},
    }
}
BY_PROMPT = {"response_format": {"type": "json_object"}}
GRAMMAR = "the grammar"
SAMPLED = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 64, "seed": 3}
# What each server is sent beside the model and the messages.
BODIES: dict[str, dict[str, Any]] = {
    "openai": {
        "temperature": 0.5, "top_p": 0.9, "seed": 3, "max_completion_tokens": 64, **BY_SCHEMA
    },
    "sglang": {**SAMPLED, "ebnf": GRAMMAR, "logprobs": True},
    "trtllm": {**SAMPLED, "response_format": {"type": "ebnf", "ebnf": GRAMMAR}},
    "nim": {**SAMPLED, **BY_SCHEMA},
    "llamacpp": {**SAMPLED, "grammar": GRAMMAR, "logprobs": True},
    "ollama": {**SAMPLED, **BY_SCHEMA},
    "lmstudio": {**SAMPLED, **BY_SCHEMA},
    "together": {**SAMPLED, **BY_SCHEMA},
    "mistral": {
        "temperature": 0.5, "top_p": 0.9, "random_seed": 3, "max_tokens": 64, **BY_SCHEMA
    },
    "groq": {**SAMPLED, **BY_PROMPT},
    "fireworks": {**SAMPLED, **BY_SCHEMA},
    "deepseek": {"temperature": 0.5, "top_p": 0.9, "max_tokens": 64, **BY_PROMPT},
    "openrouter": {**SAMPLED, **BY_SCHEMA, "provider": {"require_parameters": True}},
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_the_body_of_each_server(url: str, name: str):
    by_grammar = name in ("sglang", "trtllm", "llamacpp")  # leaves out what may be left out
    given = '{"street":"Main"}' if by_grammar else '{"street": "Main", "floor": null}'
    Recorder.answers.append(answer(given))
    seed = None if name == "deepseek" else 3
    sampling = Sampling(temperature=0.5, top_p=0.9, max_tokens=64, seed=seed)
    limits = Limits(string_length=20)
    with opened(url, name, sampling=sampling, limits=limits) as llm:
        assert llm.call("Where?", Address) == {"street": "Main"}
    path, headers, sent = Recorder.seen[0]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == f"Bearer {KEY}"
    told = {name for name in headers if name.startswith("x-stainless")}  # of the machine: nothing
    assert told <= {"x-stainless-retry-count"}
    assert sent.pop("model") == "m"
    system, user = sent.pop("messages")
    assert user == {"role": "user", "content": "Where?"}
    told = json.dumps(STRICT) in system["content"]
    assert told is (BODIES[name].get("response_format") == {"type": "json_object"})
    for place in (sent, sent.get("response_format", {})):
        for field in ("ebnf", "grammar"):
            if field in place and place[field] != "ebnf":
                assert place[field].startswith("root ::= ")
                place[field] = GRAMMAR
    assert sent == BODIES[name]


@pytest.mark.parametrize("name", ["openai", "together", "ollama"])
def test_what_is_sent_is_what_the_package_sends(url: str, name: str):
    given = answer('{"street": "Main", "floor": 3}')
    ChatCompletion.model_validate(given)
    Recorder.answers.append(given)
    with opened(url, name) as llm:
        assert llm.call("Where?", Address) == {"street": "Main", "floor": 3}
    params = CompletionCreateParamsNonStreaming
    assert body().keys() <= params.__required_keys__ | params.__optional_keys__
    TypeAdapter(params).validate_python(body())


def test_an_open_schema_is_sent_as_a_hint(url: str):
    Recorder.answers.append(answer('```json\n{"a": 1}\n```'))
    with opened(url) as llm:
        assert llm.call("Count", dict[str, int]) == {"a": 1}
    named = body()["response_format"]["json_schema"]
    assert named["strict"] is False
    assert named["schema"] == {"type": "object", "additionalProperties": {"type": "integer"}}


class Dog(BaseModel):
    kind: Literal["dog"]
    age: int | None = 4


class Cat(BaseModel):
    kind: Literal["cat"]
    age: int = 3


VALUES: list[tuple[Any, str, Any]] = [
    (int, '{"value": 12}', 12),
    (Literal["spam", "ham"], '{"value": "ham"}', "ham"),
    (Choice(["spam", "ham"]), '{"value": "ham"}', "ham"),
    (list[int], '{"value":[1,2]}', [1, 2]),
    (Cat | Dog, '{"value": {"kind": "cat", "age": null}}', Cat(kind="cat")),
    (Cat | Dog, '{"value": {"kind": "dog", "age": null}}', Dog(kind="dog", age=None)),
    (str, "plain text", "plain text"),
]


@pytest.mark.parametrize(("output_type", "text", "value"), VALUES)
def test_answers_are_unwrapped_and_nulls_dropped(url: str, output_type: Any, text: str, value: Any):
    Recorder.answers.append(answer(text))
    with opened(url) as llm:
        result = llm.run("Say", output_type)
    assert result.unwrap() == value
    assert result.raw == text
    assert result.coercions == ()
    assert (result.usage.input_tokens, result.usage.output_tokens) == (7, 5)
    assert ("response_format" in body()) is (output_type is not str)


def test_a_strict_model_of_groq_is_known(url: str):
    Recorder.answers.append(answer('{"street": "Main", "floor": null}'))
    with opened(url, "groq", "openai/gpt-oss-20b") as llm:
        assert llm.call("Where?", Address) == {"street": "Main"}
        assert llm.explain(Address).guaranteed
    assert body()["response_format"] == BY_SCHEMA["response_format"]
    assert not explain(Address, engine="groq").guaranteed
    with opened(url, "ollama", "gpt-oss:20b-cloud") as llm:
        assert not llm.explain(Address).guaranteed


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (answer(None, refusal="I will not"), Refused),
        (answer("", "content_filter"), Refused),
        (answer('{"street": "Ma', "length"), Truncated),
        (answer('{"value": 1', "length"), Truncated),
        ("<!DOCTYPE html><title>Busy</title>", EngineError),
        ("{", EngineError),
        ({"error": {"message": "no"}}, EngineError),
        ([], EngineError),
        ({"choices": []}, EngineError),
        ({**answer("{}"), "choices": answer("{}")["choices"] * 2}, EngineError),
        (answer("{}", "asleep"), EngineError),
        ({"choices": [{"message": "x", "finish_reason": "stop"}]}, EngineError),
        (answer({"no": "text"}), EngineError),
        ((401, {"error": {"message": f"wrong key {KEY}"}}), EngineError),
        ((400, {"error": {"message": "no such field"}}), UsageError),
    ],
)
def test_what_is_no_value_is_an_error_on_its_side(url: str, given: Any, kind: type[Exception]):
    Recorder.answers.append(given)
    with opened(url) as llm:
        result = llm.run("Where?", Address)
        assert KEY not in f"{llm!r} {result!r} {llm.explain(int)}"
    assert type(result.error) is kind
    assert KEY not in str(result.error)
    assert result.attempts == (3 if given == "{" else 1)  # what is cut may come whole again


def test_a_refusal_and_a_cut_answer_keep_what_was_said(url: str):
    Recorder.answers += [answer(None, refusal="I will not"), answer('{"value": [1, 2,', "length")]
    with opened(url) as llm:
        assert llm.run("x", int).raw == "I will not"
        cut = llm.run("x", list[int])
    assert cut.finish_reason == "length"
    assert isinstance(cut.error, Truncated)
    assert cut.error.partial == [1, 2]


def test_what_was_cut_behind_its_end_is_taken(url: str):
    Recorder.answers.append(answer('{"value": "ham"}', "length"))
    with opened(url) as llm:
        assert llm.call("x", Choice(["spam", "ham"])) == "ham"


def test_confidence_is_by_the_paths_of_the_output_type(url: str):
    given = answer('{"value": [1]}')
    pieces = {'{"value": [': -0.1, "1": -0.5, "]": -0.25, "}": 0.0}
    told = [{"token": text, "bytes": None, "logprob": found} for text, found in pieces.items()]
    given["choices"][0]["logprobs"] = {"content": told}
    Recorder.answers.append(given)
    with opened(url, sampling=Sampling(extra={"logprobs": True})) as llm:
        found = llm.run("x", list[int]).confidence
    assert found is not None
    assert list(found) == ["$", "$[0]"]
    assert found["$[0]"] == pytest.approx(math.exp(-0.5))


def test_too_many_requests_are_asked_again(url: str):
    Recorder.answers += [(429, {"error": {"message": "slow"}}), (500, "{}"), answer('{"value": 1}')]
    with opened(url) as llm:
        result = llm.run("x", int)
    assert (result.unwrap(), result.attempts) == (1, 3)
    assert len({json.dumps(seen[2]) for seen in Recorder.seen}) == 1


def test_an_invalid_or_empty_answer_is_repaired(url: str):
    Recorder.answers += [answer(None), answer('{"street": 1}'), answer('{"street": "Main"}')]
    with opened(url, "deepseek") as llm:
        result = llm.run("Where?", Address)
    assert (result.unwrap(), result.attempts) == ({"street": "Main"}, 3)
    *_, said, repair = body()["messages"]
    assert said == {"role": "assistant", "content": '{"street": 1}'}
    assert "$.street" in repair["content"]
    Recorder.answers += [answer('{"street": 1}')] * 3
    with opened(url, "deepseek") as llm:
        assert isinstance(llm.run("Where?", Address).error, Invalid)


async def test_calls_of_functions_parts_and_thoughts_are_read(url: str):
    call = {"id": "1", "type": "function", "function": {"name": "answer", "arguments": '{"a": 1}'}}
    parsed = {"function": {"name": "answer", "arguments": {"a": 1}}}
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": '{"a": 1}'}]
    Recorder.answers += [
        answer(None, "tool_calls", tool_calls=[call]),
        answer(None, "tool_calls", tool_calls=[parsed]),
        answer(None, "function_call", function_call=parsed["function"]),
        answer(parts, reasoning_content="hm"),
        answer(None, "tool_calls", tool_calls=[call, call]),
    ]
    found = engine(url)
    replies = [await found.send(ask()) for _ in range(5)]
    assert [reply.text for reply in replies if isinstance(reply, Completion)] == ['{"a": 1}'] * 4
    assert isinstance(replies[3], Completion)
    assert replies[3].reasoning == "hm"
    assert isinstance(replies[4], Failure)
    await found.close()
    assert "closed" in str(await found.send(ask()))


async def test_tokens_are_told_where_they_make_up_the_text(url: str):
    told = [
        {"token": "é", "bytes": [195, 169], "logprob": -0.5, "top_logprobs": []},
        {"token": "!", "bytes": None, "logprob": 0.1, "top_logprobs": []},
        {"token": "<end>", "bytes": [], "logprob": -0.1, "top_logprobs": []},
    ]
    given, other = answer("é!"), answer("other")
    given["choices"][0]["logprobs"] = other["choices"][0]["logprobs"] = {"content": told}
    completed = answer("")
    logprobs = {"tokens": ["a", "b"], "token_logprobs": [-1.0, -2.0]}
    completed["choices"] = [
        {"index": 0, "text": "ab", "finish_reason": "length", "logprobs": logprobs}
    ]
    Recorder.answers += [given, other, completed]
    found = engine(url, "sglang")
    first, second = [await found.send(ask()) for _ in range(2)]
    assert isinstance(first, Completion) and isinstance(second, Completion)
    assert [(t.text, t.logprob) for t in first.tokens or ()][:2] == [
        ("é".encode(), -0.5),
        (b"!", 0),
    ]
    assert second.tokens is None
    raw = await found.send(
        Request(prompt=(Segment(text="Once"),), sampling=Sampling(max_tokens=5, stop=(".",)))
    )
    assert isinstance(raw, Completion)
    assert (raw.text, raw.finish_reason, len(raw.tokens or ())) == ("ab", "length", 2)
    path, _, sent = Recorder.seen[-1]
    assert path == "/v1/completions"
    assert sent == {"model": "m", "prompt": "Once", "max_tokens": 5, "stop": ["."], "logprobs": 1}
    TypeAdapter[Any](CompletionCreateParams).validate_python(sent)
    await found.close()


@pytest.mark.parametrize(
    ("name", "request_", "words"),
    [
        ("mistral", Request(prompt=(Segment(text="x"),)), "takes no raw text"),
        ("openai", ask(""), "prompt is empty"),
        ("openai", ask("\ud800"), "surrogate"),
        ("openai", ask(sampling=Sampling(extra={"n": 2})), "'n' is for typedllm to say"),
        ("deepseek", ask(sampling=Sampling(seed=1)), "takes no seed"),
        ("openai", ask(constraint=Lark("start: /a/")), "takes no Lark"),
        ("sglang", ask(constraint=Lark("start: /a/")), "takes no Lark"),
        ("openai", ask(labels=("a",)), "scores no labels"),
    ],
)
async def test_what_cannot_be_asked_fails_before_any_call(
    url: str, name: str, request_: Request, words: str
):
    found = engine(url, name)
    reply = await found.send(request_)
    assert isinstance(reply, Failure)
    assert isinstance(reply.error, UsageError)
    assert words in str(reply.error)
    assert Recorder.seen == []
    await found.close()


def test_a_schema_beside_raw_text_is_refused(url: str):
    with opened(url, chat_template="llama2") as llm:
        assert isinstance(llm.run("x", int).error, UnsupportedConstraint)
    assert Recorder.seen == []


def test_further_options_are_passed_by_name(url: str):
    Recorder.answers += [answer("a"), answer('{"value": 1}')]
    extra = {"reasoning_effort": "low", "provider": {"order": ["x"]}}
    with opened(url, "openrouter", sampling=Sampling(extra=extra, stop=("!",))) as llm:
        llm.call("x")
        assert body()["stop"] == ["!"]
        llm.call("x", int)
    assert "stop" not in body()
    assert body()["reasoning_effort"] == "low"
    assert body()["provider"] == {"require_parameters": True, "order": ["x"]}


@pytest.mark.parametrize("name", DIALECTS)
def test_each_server_is_an_engine(url: str, name: str):
    assert name in engine_names()
    assert traits_of(f"{name}:m").name == name
    plan = explain(Address, engine=name)
    assert plan.engine == name
    assert plan.guaranteed is (DIALECTS[name].rules not in ("asked", "hint"))
    with pytest.raises(UsageError, match=f"{name}: no model"):
        LLM(f"{name}:")
    variable = DIALECTS[name].key_variable
    if variable and name != "azure":
        with pytest.raises(UsageError, match=f"{name}: no key; give api_key=, or set {variable}"):
            LLM(f"{name}:m")
    else:
        options = {"azure_endpoint": "https://x.example"} if name == "azure" else {}
        LLM(f"{name}:m", api_key=KEY if options else None, engine_args=options).close()
    with pytest.raises(UsageError, match="takes no option 'base_ur'"):
        LLM(f"{name}:m", engine_args={"base_ur": url})


def test_the_environments_key_goes_to_the_provider_alone(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    Recorder.answers.append(answer("a"))
    LLM("openai:m").close()
    with LLM("openai:m", base_url=url) as llm:
        llm.call("x")
    assert KEY not in str(Recorder.seen)


def test_azure(url: str, monkeypatch: pytest.MonkeyPatch):
    root = url.removesuffix("/v1")
    with pytest.raises(UsageError, match="azure: no endpoint"):
        LLM("azure:d", api_key=KEY)
    with pytest.raises(UsageError, match="set AZURE_OPENAI_API_KEY"):
        LLM("azure:d", engine_args={"azure_endpoint": root})
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    Recorder.answers += [answer('{"value": 3}'), answer("x")]
    options = {"azure_endpoint": f"{root}/", "api_version": "2024-10-21"}
    with LLM("azure:my d", engine_args=options) as llm:
        assert llm.call("x", int, sampling=Sampling(max_tokens=9)) == 3
    path, headers, sent = Recorder.seen[-1]
    assert path == "/openai/deployments/my%20d/chat/completions?api-version=2024-10-21"
    assert headers["api-key"] == KEY
    assert "authorization" not in headers
    assert sent["max_completion_tokens"] == 9
    with LLM("azure:d", api_key="other", engine_args={"azure_endpoint": root}) as llm:
        llm.call("x")
    path, headers, sent = Recorder.seen[-1]
    assert (path, headers["api-key"], sent["model"]) == (
        "/openai/v1/chat/completions", "other", "d"
    )  # fmt: skip


@pytest.mark.slow
def test_what_is_too_large_or_not_taken_is_found_before_any_call(url: str):
    with opened(url) as llm, pytest.raises(SpecError, match="more than 5,000 properties"):
        llm.call("x", {f"p{n}": "int" for n in range(5_001)})
    for name in ("openai", "sglang"):
        with opened(url, name) as llm, pytest.raises(UnsupportedConstraint, match="no Lark"):
            llm.call("x", Lark("start: /a/"))
    with opened(url, "llamacpp") as llm:
        error = llm.run("x", Annotated[str, Field(max_length=20_000)]).error
    assert isinstance(error, UnsupportedConstraint)
    assert "llamacpp cannot take the output type: an automaton has more than" in str(error)
    assert Recorder.seen == []


CALL = {
    "tools": [
        {
            "type": "function",
            "function": {"name": "answer", "parameters": STRICT, "strict": True},
        }
    ],
    "tool_choice": {"type": "function", "function": {"name": "answer"}},
}


def called(arguments: str, finish_reason: str = "stop") -> dict[str, Any]:
    """An answer that calls the function."""
    function = {"name": "answer", "arguments": arguments}
    return answer(
        None, finish_reason, tool_calls=[{"id": "1", "type": "function", "function": function}]
    )


@pytest.mark.parametrize(
    "model",
    ["gpt-4", "gpt-4-0613", "gpt-4-turbo", "gpt-3.5-turbo-0125", "ft:gpt-3.5-turbo-0125:me::1"],
)
def test_a_model_without_schemas_calls_a_function(url: str, model: str):
    given = called('{"street": "Main", "floor": null}')
    ChatCompletion.model_validate(given)
    Recorder.answers.append(given)
    with opened(url, model=model) as llm:
        assert llm.explain(Address).guaranteed
        assert llm.call("Where?", Address) == {"street": "Main"}
    sent = body()
    assert {name: sent[name] for name in CALL} == CALL
    assert sent["parallel_tool_calls"] is False
    assert "response_format" not in sent
    TypeAdapter(CompletionCreateParamsNonStreaming).validate_python(sent)


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1", "gpt-4.5-preview", "gpt-5", "o1", "m"])
def test_the_other_models_take_a_schema(url: str, model: str):
    Recorder.answers.append(answer('{"value": 3}'))
    with opened(url, model=model) as llm:
        assert llm.call("x", int) == 3
    assert body()["response_format"]["type"] == "json_schema"
    assert "tools" not in body()


def test_how_a_constraint_is_said_can_be_chosen(url: str):
    found = '{"street": "Main", "floor": null}'
    Recorder.answers += [called(found, "tool_calls"), answer(found), answer(found), answer("{}")]
    with opened(url, "together", engine_args={"sends": "tools"}) as llm:
        assert llm.call("Where?", Address) == {"street": "Main"}
        assert not llm.explain(Address).guaranteed
    assert body().keys() == {"model", "messages", *CALL}
    with opened(url, "llamacpp", engine_args={"sends": "json_schema"}) as llm:
        assert llm.call("Where?", Address) == {"street": "Main"}
    assert body()["response_format"] == BY_SCHEMA["response_format"]
    with opened(url, model="gpt-4", engine_args={"sends": "json_object"}) as llm:
        assert llm.call("Where?", Address) == {"street": "Main"}
    assert body()["response_format"] == {"type": "json_object"}
    assert json.dumps(STRICT) in body()["messages"][0]["content"]
    with opened(url, "groq", "openai/gpt-oss-20b", engine_args={"sends": "grammar"}) as llm:
        llm.run("Where?", {"a": ["x"]})
    assert body()["grammar"].startswith("root ::= ")
    with pytest.raises(UsageError, match=r"openai: sends='tool' \(did you mean 'tools'\?\); it"):
        opened(url, engine_args={"sends": "tool"})


def test_a_function_of_the_callers_own_is_refused_beside_ours(url: str):
    extra = Sampling(extra={"tools": []})
    with opened(url, engine_args={"sends": "tools"}, sampling=extra) as llm:
        error = llm.run("x", int).error
    assert isinstance(error, UsageError)
    assert "'tools' is for typedllm to say" in str(error)


def test_tokens_that_were_cached_and_what_it_cost_are_counted(url: str):
    counted = {"prompt_tokens": 9, "completion_tokens": 1}
    Recorder.answers += [
        {**answer("a"), "usage": {**counted, "prompt_tokens_details": {"cached_tokens": 8}}},
        {**answer("a"), "usage": {**counted, "prompt_cache_hit_tokens": 7}},
        {**answer("a"), "usage": {**counted, "prompt_tokens_details": None, "cost": 0.25}},
        {**answer("a"), "usage": None},
    ]
    with opened(url, "openrouter") as llm:
        usages = [llm.run("x").usage for _ in range(4)]
    assert [usage.cached_tokens for usage in usages] == [8, 7, 0, 0]
    assert [usage.input_tokens for usage in usages] == [9, 9, 9, 0]
    assert usages[2].cost == 0.25


async def test_the_prices_are_the_providers_at_its_own_address_alone(url: str):
    options: dict[str, Any] = {"api_key": KEY}
    for name in ("openai", "groq", "openrouter"):
        for place, provider in (({}, name), ({"base_url": url}, None)):
            found = open_engine(f"{name}:m", {**options, **place})
            assert provider_of(found) == provider
            await found.close()
    for dialect in DIALECTS.values():
        local = dialect.base_url is not None and "localhost" in dialect.base_url
        assert (dialect.provider is None) is local
    azure = open_engine("azure:d", {**options, "azure_endpoint": "https://x.example"})
    assert provider_of(azure) == "azure"
    await azure.close()


def test_a_prompt_that_a_filter_refuses_is_a_refusal(url: str):
    said = {"message": "it was filtered", "type": None, "param": "prompt"}
    Recorder.answers.append((400, {"error": {**said, "code": "content_filter", "status": 400}}))
    with opened(url) as llm:
        result = llm.run("x", int)
    assert isinstance(result.error, Refused)
    assert "it was filtered" in str(result.error)
    assert result.attempts == 1
