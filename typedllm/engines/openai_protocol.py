"""Messages and tokens as OpenAI's protocol has them, on either of its endpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from typedllm.engines.counts import usage_counted
from typedllm.errors import EngineError
from typedllm.records import Message, Request, Usage

__all__ = [
    "MALFORMED",
    "STREAMED",
    "Told",
    "malformed",
    "messages_of",
    "tokens_of_text",
    "tokens_told",
    "usage_of",
]

STREAMED: Final[Mapping[str, Any]] = {"stream": True, "stream_options": {"include_usage": True}}
"""The fields that ask for an answer in pieces, and for its tokens to be counted in the last."""

MALFORMED: Final = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What is raised by reading what is no answer of the protocol."""

_NONE: Final[Mapping[str, float]] = {}


@dataclass(frozen=True, slots=True)
class Told:
    """What a server says of a token.

    Attributes:
        text: its bytes.
        logprob: natural logarithm of its probability.
        likeliest: whether none of the others that it tells of was likelier.
    """

    text: bytes
    logprob: float
    likeliest: bool


def messages_of(request: Request) -> list[dict[str, str]]:
    """The messages of a request."""
    return [
        {"role": part.role, "content": part.text}
        for part in request.prompt
        if isinstance(part, Message)
    ]


def malformed(server: str, error: Exception) -> EngineError:
    """Make the error for what is no answer of the protocol.

    Args:
        server: what it is called in messages.
        error: one of `MALFORMED`.
    """
    told = f"what came from {server} is no answer of OpenAI's protocol: {error!r:.200}"
    failure = EngineError(told)
    failure.__cause__ = error
    return failure


def usage_of(counted: Mapping[str, Any]) -> Usage:
    """The tokens that a server counted, and what they cost where it says so.

    Args:
        counted: the `usage` of an answer.

    Raises:
        AttributeError: when it is no such thing.
    """
    details: Mapping[str, Any] = counted.get("prompt_tokens_details") or {}
    return usage_counted(
        prompt=counted.get("prompt_tokens"),
        answer=counted.get("completion_tokens"),
        cached=details.get("cached_tokens") or counted.get("prompt_cache_hit_tokens"),  # DeepSeek
        cost=counted.get("cost"),  # OpenRouter
    )


def tokens_told(logprobs: Mapping[str, Any]) -> list[Told]:
    """The tokens of an answer.

    Args:
        logprobs: of a choice of a chat's answer, or of a completion's.

    Raises:
        KeyError: or TypeError, ValueError or AttributeError, when it is no such thing.
    """
    if "content" in logprobs:
        found: list[Mapping[str, Any]] = logprobs["content"] or []
        return [
            Told(
                each["token"].encode() if each.get("bytes") is None else bytes(each["bytes"]),
                min(float(each["logprob"]), 0.0),
                _is_likeliest(each["logprob"], each.get("top_logprobs") or ()),
            )
            for each in found
        ]
    tokens: Sequence[str] = logprobs.get("tokens") or ()
    chances: Sequence[float] = logprobs.get("token_logprobs") or ()
    likely: Sequence[Mapping[str, float]] = logprobs.get("top_logprobs") or [_NONE for _ in tokens]
    return [
        Told(token.encode(), min(float(chance), 0.0), max(top.values(), default=chance) <= chance)
        for token, chance, top in zip(tokens, chances, likely, strict=True)
    ]


def _is_likeliest(logprob: float, others: Sequence[Mapping[str, Any]]) -> bool:
    return all(other["logprob"] <= logprob for other in others)


def tokens_of_text(told: Sequence[Told], text: bytes) -> Sequence[Told] | None:
    """The tokens that make up a text: all, or those before the end, or after the reasoning.

    Args:
        told: those of the whole answer.
        text: the text.

    Returns:
        None where they do not make it up.
    """
    for stop in (len(told), max(len(told) - 1, 0)):
        size, start = 0, stop
        while start > 0 and size < len(text):
            start -= 1
            size += len(told[start].text)
        if b"".join(each.text for each in told[start:stop]) == text:
            return told[start:stop]
    return None
