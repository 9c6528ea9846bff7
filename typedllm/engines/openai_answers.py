"""What the answers of a server of OpenAI's protocol say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from typedllm.engines.openai_protocol import (
    MALFORMED,
    malformed,
    tokens_of_text,
    tokens_told,
    usage_of,
)
from typedllm.errors import EngineError
from typedllm.records import Completion, Failure, FinishReason, Reply, Token

__all__ = ["completion_of", "spoken"]

_ENDS: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",  # Together AI
    "tool_calls": "stop",
    "function_call": "stop",
    "length": "length",
    "model_length": "length",  # Mistral AI
    "content_filter": "refusal",
    "refusal": "refusal",
}


def completion_of(answer: Any, server: str) -> Reply:
    """Read an answer.

    Args:
        answer: its JSON.
        server: what it is called in messages.
    """
    try:
        return _reply(answer, server)
    except MALFORMED as error:
        return Failure(error=malformed(server, error))


def _reply(answer: Mapping[str, Any], server: str) -> Reply:
    (choice,) = answer["choices"]
    ended: object = choice["finish_reason"]
    if ended not in _ENDS:
        told = f"{server} ended the answer with {str(ended)[:100]!r}"
        # DeepSeek's word for a lack of machines
        lacking = ended == "insufficient_system_resource"
        return Failure(error=EngineError(told, retryable=lacking))
    message: Mapping[str, Any] = choice.get("message") or {"content": choice["text"]}
    refusal: str | None = message.get("refusal") or None
    called = _called(message)
    text = spoken(message) if called is None else called
    if refusal:  # after what was said before it
        text += refusal
    tokens = tokens_of_text(tokens_told(choice.get("logprobs") or {}), text.encode())
    thought = message.get("reasoning_content") or message.get("reasoning")
    return Completion(
        text=text,
        finish_reason="refusal" if refusal else _ENDS[cast(str, ended)],
        usage=usage_of(answer.get("usage") or {}),
        tokens=tuple(Token(each.text, each.logprob) for each in tokens) if tokens else None,
        reasoning=thought if thought and isinstance(thought, str) else None,
    )


def _called(message: Mapping[str, Any]) -> str | None:
    """The arguments of the one function that an answer calls, if it is a call."""
    calls: Sequence[Mapping[str, Any]] = message.get("tool_calls") or ()
    if message.get("function_call"):  # the older form
        calls = [{"function": message["function_call"]}]
    if not calls:
        return None
    (call,) = calls
    given: object = call["function"]["arguments"]
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def spoken(message: Mapping[str, Any]) -> str:
    """The text of a message, which may come in parts; other parts, such as thoughts, are left.

    Args:
        message: of an answer, or a piece of it.

    Raises:
        KeyError: or TypeError, when it is no such thing.
    """
    content: object = message.get("content")
    if isinstance(content, list):
        parts = cast(list[Mapping[str, Any]], content)
        content = "".join(part["text"] for part in parts if part["type"] == "text")
    if content is None:
        return ""
    if not isinstance(content, str):
        raise TypeError(f"content is a {type(content).__name__}")
    return content
