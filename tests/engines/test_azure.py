"""The azure engine, against a server that the vendor's own package talks to first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncAzureOpenAI, AzureOpenAI

from tests.servers.azure import DEPLOYMENT, KEY, RETRY_AFTER_S, VERSION, Azure, azure_server
from typedllm import LLM, EngineError, Refused, UsageError
from typedllm.engines.table import open_engine
from typedllm.records import Completion, Message, Request, Segment


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with azure_server() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("AZURE_OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(Azure, "content", '{"age": 36}')
    Azure.asked.clear()
    return server


def vendor(endpoint: str, **options: Any) -> AzureOpenAI:
    given = {"azure_endpoint": endpoint, "api_version": VERSION, "api_key": KEY, "max_retries": 0}
    return AzureOpenAI(**{**given, **options})


def llm_of(endpoint: str, deployment: str = DEPLOYMENT, key: str = KEY, **options: Any) -> LLM:
    given = {"azure_endpoint": endpoint, "api_version": VERSION, **options}
    return LLM(f"azure:{deployment}", api_key=key, engine_args=given)


def test_the_vendors_own_package_talks_to_the_server(endpoint: str):
    def say(client: AzureOpenAI | openai.OpenAI, text: str, model: str = DEPLOYMENT) -> Any:
        asked: Any = [{"role": "user", "content": text}]
        return client.chat.completions.create(model=model, messages=asked, timeout=10)

    with vendor(endpoint) as client:
        answer = say(client, "Hi")
        assert answer.choices[0].message.content == '{"age": 36}'
        assert answer.prompt_filter_results[0]["prompt_index"] == 0
        asked: Any = [{"role": "user", "content": "Hi"}]
        pieces = client.chat.completions.create(model=DEPLOYMENT, messages=asked, stream=True)
        told = [each.choices[0].delta.content for each in pieces if each.choices]
        assert "".join(piece or "" for piece in told) == '{"age": 36}'
        assert say(client, "filtered answer").choices[0].finish_reason == "content_filter"
        with pytest.raises(openai.BadRequestError) as refused:
            say(client, "filtered prompt")
        assert refused.value.code == "content_filter"
        with pytest.raises(openai.RateLimitError):
            say(client, "busy once")
        assert say(client, "busy once").usage.total_tokens == 25
        with pytest.raises(openai.NotFoundError, match="DeploymentNotFound"):
            say(client, "Hi", model="other")
    with vendor(endpoint, api_key="wrong") as client, pytest.raises(openai.AuthenticationError):
        say(client, "Hi")
    with openai.OpenAI(base_url=f"{endpoint}/openai/v1", api_key=KEY) as client:
        assert say(client, "Hi").choices[0].message.content == '{"age": 36}'


@pytest.mark.parametrize("version", [VERSION, None])
def test_a_value_by_the_urls_of_both_apis(endpoint: str, version: str | None):
    with llm_of(endpoint, api_version=version) as llm:
        result = llm.run("How old?", {"age": "int"})
    assert result.unwrap() == {"age": 36}
    assert (result.usage.input_tokens, result.usage.output_tokens) == (20, 5)
    (asked,) = Azure.asked
    assert asked.headers["api-key"] == KEY
    assert "authorization" not in asked.headers


@pytest.mark.parametrize("ready", [False, True])
async def test_a_stream_gives_what_no_stream_gives(endpoint: str, ready: bool):
    options: dict[str, Any] = {"azure_endpoint": endpoint, "api_version": VERSION, "api_key": KEY}
    client = vendor(endpoint)
    engine = open_engine(f"azure:{DEPLOYMENT}", {"client": client} if ready else options)
    prompt = (Message(role="user", content=(Segment(text="Hi"),)),)
    pieces: list[str] = []
    streamed = await engine.send(Request(prompt=prompt, tell=pieces.append))
    assert isinstance(streamed, Completion)
    assert "".join(pieces) == streamed.text == '{"age": 36}'
    assert streamed == await engine.send(Request(prompt=prompt))
    assert {asked.headers.get("api-key") for asked in Azure.asked} == {KEY}
    assert not [asked for asked in Azure.asked if "authorization" in asked.headers]
    await engine.close()
    assert not client.is_closed()
    client.close()


def test_a_filtered_prompt_is_a_refusal_that_is_not_asked_again(endpoint: str):
    with llm_of(endpoint) as llm:
        error = llm.run("filtered prompt", {"age": "int"}).error
    assert isinstance(error, Refused)
    assert "azure refuses the prompt (violence): The response was filtered" in str(error)
    assert len(Azure.asked) == 1


def test_a_filtered_answer_is_a_refusal(endpoint: str):
    with llm_of(endpoint) as llm:
        assert isinstance(llm.run("filtered answer", {"age": "int"}).error, Refused)


def test_the_wait_is_the_one_in_milliseconds(endpoint: str):
    with llm_of(endpoint) as llm:
        result = llm.run("busy once", {"age": "int"}, timeout_s=30)
    assert result.unwrap() == {"age": 36}
    first, second = Azure.asked
    assert RETRY_AFTER_S <= second.at_s - first.at_s < 10


def test_a_wrong_key_is_told_and_not_repeated(endpoint: str):
    wrong = "f" * 32
    with llm_of(endpoint, key=wrong) as llm:
        error = llm.run("Hi", {"age": "int"}).error
    assert isinstance(error, EngineError)
    assert (error.status, error.retryable, error.request_id) == (401, False, "a1-b2")
    assert "Access denied due to invalid subscription key" in str(error)
    assert wrong not in repr(error)


def test_a_missing_deployment_or_version_is_told(endpoint: str):
    with llm_of(endpoint, "other") as llm:
        error = llm.run("Hi", {"age": "int"}).error
    assert isinstance(error, EngineError)
    assert (error.status, error.retryable) == (404, False)
    assert "The API deployment for this resource does not exist" in str(error)
    with llm_of(endpoint, api_version="2019-01-01") as llm, pytest.raises(EngineError, match="404"):
        llm.call("Hi")


@pytest.mark.parametrize("deployed", [None, DEPLOYMENT])
def test_a_ready_made_client_signs_in_by_tokens(endpoint: str, deployed: str | None):
    given: list[str] = []

    def token() -> str:
        given.append(KEY)
        return KEY

    client = vendor(
        endpoint, api_key=None, azure_ad_token_provider=token, azure_deployment=deployed
    )
    with client, LLM(f"azure:{DEPLOYMENT}", engine_args={"client": client}) as llm:
        assert llm.call("How old?", {"age": "int"}) == {"age": 36}
    assert given
    assert Azure.asked[0].headers["authorization"] == f"Bearer {KEY}"


async def test_an_async_ready_made_client_is_used_and_not_closed(endpoint: str):
    async with AsyncAzureOpenAI(
        azure_endpoint=endpoint, api_version=VERSION, api_key=KEY
    ) as client:
        with pytest.raises(UsageError, match="azure_endpoint= says it too"):
            llm_of(endpoint, client=client)
        llm = LLM(f"azure:{DEPLOYMENT}", engine_args={"client": client})
        assert await llm.acall("How old?", {"age": "int"}) == {"age": 36}
        await llm.aclose()
        assert not client.is_closed()
