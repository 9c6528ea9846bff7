"""An answer in pieces says the same as the whole one, however it is cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anthropic.types
import cohere
import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.servers.anthropic import AnthropicServer, message, text, tool
from tests.servers.cohere import CohereServer, chat
from tests.servers.gemini import GeminiServer, content
from typedllm.engines.instructor_providers import PROVIDERS, Provider
from typedllm.records import Completion, Failure

SIZES = st.integers(1, 9)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
SOME = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
INPUTS = st.dictionaries(TEXTS, TEXTS | st.integers() | st.lists(TEXTS, max_size=3), max_size=3)
_EVENTS: TypeAdapter[Any] = TypeAdapter(anthropic.types.RawMessageStreamEvent)


def replayed(
    provider: Provider,
    arguments: Mapping[str, Any],
    events: Any,
    parsed: Callable[[Any], Any],
) -> tuple[Any, str]:
    """What a stream comes to, as the SDK parses its events, and what is told on the way."""
    assert provider.stream is not None
    stream = provider.stream(arguments)
    told = [stream.take(parsed(event).model_dump(mode="json")) for event in events]
    return provider.completion(stream.answer), "".join(told)


@given(thought=TEXTS, said=TEXTS, called=INPUTS, size=SIZES)
def test_anthropic(thought: str, said: str, called: dict[str, Any], size: int):
    provider = PROVIDERS["anthropic"]
    blocks = [{"type": "thinking", "thinking": thought, "signature": "s"}, text(said)]
    server: Any = type("Server", (), {"size": size})
    for answer, arguments in (
        (message(*blocks), {}),
        (message(*blocks, tool(called), stop_reason="tool_use"), {"tools": []}),
    ):
        events = [e for e in AnthropicServer.events(server, answer) if e["type"] != "ping"]
        reply, told = replayed(provider, arguments, events, _EVENTS.validate_python)
        whole = anthropic.types.Message.model_validate(answer).model_dump(mode="json")
        assert reply == provider.completion(whole)
        assert isinstance(reply, Completion)
        assert told == reply.text


@given(thought=SOME, said=SOME, size=SIZES)
def test_gemini(thought: str, said: str, size: int):
    provider = PROVIDERS["gemini"]
    answer = content({"text": thought, "thought": True}, said)
    server: Any = type("Server", (), {"size": size})
    parsed = types.GenerateContentResponse.model_validate
    reply, told = replayed(provider, {}, GeminiServer.events(server, answer), parsed)
    assert reply == provider.completion(parsed(answer).model_dump(mode="json"))
    assert isinstance(reply, Completion)
    assert told == reply.text == said


@given(thought=TEXTS, said=TEXTS, size=SIZES)
def test_cohere(thought: str, said: str, size: int):
    provider = PROVIDERS["cohere"]
    answer = chat({"type": "thinking", "thinking": thought}, said)
    server: Any = type("Server", (), {"size": size})
    adapter: TypeAdapter[Any] = TypeAdapter(cohere.V2ChatStreamResponse)
    events = CohereServer.events(server, answer)
    reply, told = replayed(provider, {}, events, adapter.validate_python)
    assert reply == provider.completion(cohere.V2ChatResponse(**answer).model_dump(mode="json"))
    assert isinstance(reply, Completion)
    assert told == reply.text == said


@pytest.mark.parametrize("name", ["anthropic", "gemini", "cohere"])
def test_a_stream_that_ends_too_early_may_be_asked_again(name: str):
    answers = {
        "anthropic": (AnthropicServer, message("hello")),
        "gemini": (GeminiServer, content("hello")),
        "cohere": (CohereServer, chat("hello")),
    }
    server, answer = answers[name]
    provider = PROVIDERS[name]
    assert provider.stream is not None
    stream = provider.stream({})
    for event in list(server.events(type("Server", (), {"size": 2}), answer))[:-2]:
        stream.take(event)
    reply = provider.completion(stream.answer)
    assert isinstance(reply, Failure)
    assert getattr(reply.error, "retryable", False)
