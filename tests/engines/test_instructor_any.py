"""Providers that instructor knows and typedllm has no engine for, on loopback."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import instructor
import openai
import pytest

from tests.servers.chaos import VALUE, Chaos, chaos_server
from typedllm import (
    LLM,
    EngineError,
    Invalid,
    MissingDependency,
    Refused,
    Sampling,
    Truncated,
    UnsupportedConstraint,
    UsageError,
)
from typedllm.attempts import Policy
from typedllm.constraints.compile import compile_spec
from typedllm.constraints.dialect import Lowered
from typedllm.engines.instructor_any import Carrier, any_completion, any_request
from typedllm.engines.instructor_errors import translated
from typedllm.engines.instructor_providers import PROVIDERS
from typedllm.engines.table import open_engine, traits_of
from typedllm.grammar.tree import Text
from typedllm.records import Completion, Failure, Grammar, Lark, Message, Request, Segment
from typedllm.spec.spec import spec_of

KEY = "sk-a-key-that-is-secret"
PERSON = {"name": "str", "age": "int"}
FOUND = {"name": "Ada", "age": 36}


def ask(said: str) -> Request:
    return Request(prompt=(Message(role="user", content=(Segment(text=said),)),))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with chaos_server() as url:
        yield url


@pytest.fixture
def llm(url: str) -> Iterator[LLM]:
    policy = Policy(attempts=2, min_wait_s=0.0, max_wait_s=0.0)
    with LLM("instructor:openai/m", base_url=url, api_key=KEY, policy=policy) as llm:
        yield llm


def test_a_value_and_a_plain_text(llm: LLM):
    result = llm.run("fine #any", PERSON)
    assert (result.unwrap(), result.raw) == (FOUND, VALUE)
    assert (result.usage.input_tokens, result.usage.output_tokens) == (7, 5)
    assert llm.call("fine #any text") == VALUE
    assert [*llm.stream("fine #any streamed", PERSON)][-1].unwrap() == FOUND
    assert not llm.explain(PERSON).guaranteed


@pytest.mark.parametrize(
    ("said", "kind", "attempts", "asked"),
    [
        ("500", EngineError, 2, 2),
        ("401", EngineError, 1, 1),
        ("400", UsageError, 1, 1),
        ("reset", EngineError, 2, 2),
        ("html", EngineError, 1, 1),
        ("cut", Truncated, 1, 1),
        ("refusal", Refused, 1, 1),
        ("prose", Invalid, 3, 3),
        ("other shape", Invalid, 3, 3),
    ],
)
def test_each_failure_is_on_somebodys_side_and_asked_no_more_often_than_we_do(
    llm: LLM, said: str, kind: type[Exception], attempts: int, asked: int
):
    name = f"{said} #any"
    Chaos.asked[name] = 0
    result = llm.run(name, PERSON)
    assert type(result.error) is kind, result.error
    assert (result.attempts, Chaos.asked[name]) == (attempts, asked)


def test_what_passes_is_asked_again(llm: LLM):
    assert llm.call("500 once #any", PERSON) == FOUND


@pytest.mark.parametrize("kind", [openai.OpenAI, openai.AsyncOpenAI])
def test_a_ready_made_client(url: str, kind: Any):
    client = kind(api_key=KEY, base_url=url)
    for given in (client, instructor.from_openai(client, model="m")):
        with LLM("instructor:openai/m", engine_args={"client": given}) as llm:
            assert llm.call("fine #client", PERSON) == FOUND
    Chaos.asked["500 #client"] = 0
    once = Policy(attempts=1)
    with LLM("instructor:openai/m", engine_args={"client": client}, policy=once) as llm:
        assert isinstance(llm.run("500 #client", PERSON).error, EngineError)
    assert Chaos.asked["500 #client"] == 1
    assert client.max_retries == 2  # the caller's own is as it was


def test_the_key_is_in_no_log(url: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    once = Policy(attempts=1)
    with LLM("instructor:openai/m", base_url=url, api_key=KEY, policy=once) as llm:
        error = llm.run("401 #log", PERSON).error
    assert isinstance(error, EngineError)
    assert "instructor" not in {record.name.partition(".")[0] for record in caplog.records}
    assert KEY not in f"{error} {caplog.text}"


@pytest.mark.parametrize(
    ("model", "kind", "words"),
    [
        (
            "instructor:openal/m",
            UsageError,
            r"no provider 'openal' \(did you mean 'openai'\?\), but",
        ),
        ("instructor:openai", UsageError, "write LLM"),
        ("instructor:", UsageError, "write LLM"),
        ("instructor:groq/m", MissingDependency, "groq"),
        ("instructor:openai/m", UsageError, "cannot open openai/m: .*credentials"),
        ("instructor:anthropic/", UsageError, "write LLM"),
    ],
)
def test_what_cannot_be_opened(
    model: str, kind: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(kind, match=words):
        LLM(model)


def test_what_has_an_engine_of_its_own_is_opened_as_that():
    for model, name in (
        ("anthropic/m", "anthropic"),
        ("google/m", "gemini"),
        ("cohere/m", "cohere"),
    ):
        engine = open_engine(f"instructor:{model}", {"api_key": "x"})
        assert (engine.traits.name, engine.model) == (name, "m")
    assert open_engine("instructor:openai/m", {"api_key": "x"}).traits == traits_of("instructor")


def test_options_of_a_call(url: str):
    sampling = Sampling(temperature=0.5, max_tokens=9, extra={"frequency_penalty": 1.0})
    with LLM("instructor:openai/m", base_url=url, api_key=KEY, sampling=sampling) as llm:
        assert llm.call("fine #options", PERSON) == FOUND
        wrong = Sampling(extra={"frequency_penality": 1.0})
        error = llm.run("fine #options", PERSON, sampling=wrong).error
        assert isinstance(error, UsageError)
        assert "frequency_penality" in str(error)
        ours = Sampling(extra={"max_retries": 3})
        assert "for typedllm to say" in str(llm.run("x", PERSON, sampling=ours).error)


def test_the_carrier_has_the_schema_and_keeps_what_comes():
    constraint = compile_spec(spec_of(PERSON), traits_of("instructor")).constraint
    assert isinstance(constraint, Lowered)
    request = replace(ask("x"), constraint=constraint)
    carrier = any_request(request, "m")["response_model"]
    assert carrier is any_request(request, "m")["response_model"]
    schema = carrier.model_json_schema()
    assert schema.pop("title") == carrier.__name__ == "answer"
    assert schema == constraint.schema
    schema["properties"].clear()
    assert constraint.schema["properties"]  # what it gives is its own
    for said in ('{"a":', "é", b"[1]"):
        kept = carrier.model_validate_json(said, strict=True, context={})
        assert isinstance(kept, Carrier)
        assert kept.text == (said if isinstance(said, str) else said.decode())
    assert json.loads(carrier.model_validate({"a": "é"}).text) == {"a": "é"}


def test_an_answer_of_another_form_is_what_instructor_found_in_it():
    found = any_completion({"output": {}, "carried": "{}"})
    assert isinstance(found, Completion)
    assert found.text == "{}"
    with pytest.raises(ValueError, match="no known form: output"):
        any_completion({"output": {}})


async def test_what_the_engine_is_not_made_for():
    engine = open_engine("instructor:openai/m", {"api_key": "x"})
    asked = ask("x")
    for request, kind in (
        (replace(asked, labels=("a",)), UnsupportedConstraint),
        (replace(asked, constraint=Grammar(Text())), UnsupportedConstraint),
        (replace(asked, constraint=Lark("start: /a/")), UnsupportedConstraint),
        (replace(asked, prompt=(Segment(text="raw"),)), UsageError),
        (ask(""), UsageError),
    ):
        reply = await engine.send(request)
        assert isinstance(reply, Failure)
        assert type(reply.error) is kind
    await engine.close()
    with pytest.raises(UsageError, match="give one of instructor's own"):
        LLM("instructor:azure_openai/m", engine_args={"client": object()})


def test_errors_without_a_status():
    for error, kind in (
        (ImportError("no jsonref", name="jsonref"), MissingDependency),
        (TypeError("no such argument"), UsageError),
        (TimeoutError(), EngineError),
        (KeyError("x"), EngineError),
    ):
        found = translated(error, "it", "", {})
        assert type(found) is kind
        assert str(found)


def test_each_row_says_what_the_table_needs():
    for name, provider in PROVIDERS.items():
        assert traits_of(name).dialect == provider.rules("")
        assert bool(provider.base_url) is (name != "instructor")
