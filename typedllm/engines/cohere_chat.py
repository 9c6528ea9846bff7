"""Cohere's chat API, of version 2: what it is sent, and what its answers say.

Sources: https://docs.cohere.com/reference/chat and
https://docs.cohere.com/docs/structured-outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from typedllm.constraints.dialect import Lowered
from typedllm.engines.counts import usage_counted
from typedllm.engines.remote_prompts import turns_of, with_schema
from typedllm.errors import EngineError
from typedllm.records import Completion, Failure, FinishReason, Reply, Request

__all__ = ["OURS", "CohereStream", "cohere_completion", "cohere_request"]

OURS: Final = frozenset(
    {"model", "messages", "temperature", "p", "max_tokens", "stop_sequences", "seed"}
    | {"response_format", "tools", "tool_choice", "strict_tools", "request_options", "stream"}
)
"""The arguments that are typedllm's to set."""

_ENDS: Final[Mapping[str, FinishReason]] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "ERROR_TOXIC": "refusal",
}
_PASSING: Final = ("ERROR", "TIMEOUT", None)  # None: a stream that broke off


def cohere_request(request: Request, model: str) -> dict[str, Any]:
    """Make the arguments of a call.

    Args:
        request: what to ask.
        model: its name.
    """
    sampling, constraint = request.sampling, request.constraint
    messages = turns_of(request)
    arguments: dict[str, Any] = {
        "model": model,
        "temperature": sampling.temperature,
        "p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stop_sequences": list(sampling.stop) if constraint is None else None,
        "seed": sampling.seed,
    }
    if isinstance(constraint, Lowered):
        schema = {"schema": dict(constraint.schema)} if constraint.strict else {}
        arguments["response_format"] = {"type": "json_object", **schema}
        if not constraint.strict:
            messages = with_schema(messages, constraint.schema)
    return {
        "messages": messages,
        **{name: value for name, value in arguments.items() if value not in (None, [])},
        **sampling.extra,
        "request_options": {"max_retries": 0},
    }


def cohere_completion(answer: Mapping[str, Any]) -> Reply:
    """Read an answer.

    Args:
        answer: a `V2ChatResponse` as plain data.

    Raises:
        KeyError: or TypeError, ValueError or AttributeError, when it is no such thing.
    """
    ended: object = answer["finish_reason"]
    if ended not in _ENDS:
        told = f"cohere ended the answer with {str(ended)[:100]!r}"
        return Failure(error=EngineError(told, retryable=ended in _PASSING))
    texts = {"text": "", "thinking": ""}
    for part in answer["message"].get("content") or ():
        if part["type"] in texts:
            texts[part["type"]] += part[part["type"]]
    counted: Mapping[str, Any] = answer.get("usage") or {}
    tokens: Mapping[str, Any] = counted.get("tokens") or {}
    return Completion(
        text=texts["text"],
        finish_reason=_ENDS[str(ended)],
        usage=usage_counted(
            prompt=tokens.get("input_tokens"),
            answer=tokens.get("output_tokens"),
            cached=counted.get("cached_tokens"),
        ),
        reasoning=texts["thinking"] or None,
    )


class CohereStream:
    """An answer that comes in events."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        """Begin before the first event.

        Args:
            arguments: of the call.
        """
        self._parts: dict[int, dict[str, str]] = {}
        self._ended: dict[str, Any] = {"finish_reason": None}

    @property
    def answer(self) -> dict[str, Any]:
        """What came so far, as a `V2ChatResponse` has it."""
        content = [self._parts[index] for index in sorted(self._parts)]
        return {"message": {"content": content}, **self._ended}

    def take(self, event: Mapping[str, Any]) -> str:
        """Take one in, and return what follows of the answer's text.

        Args:
            event: as plain data.
        """
        match event["type"]:
            case "content-start" | "content-delta":
                given: Mapping[str, Any] = event["delta"]["message"]["content"]
                part = self._parts.setdefault(event["index"], {"type": "text"})
                kind = part["type"] = given.get("type") or part["type"]
                piece: str = given.get(kind) or ""
                part[kind] = part.get(kind, "") + piece
                return piece if kind == "text" else ""
            case "message-end":
                self._ended = dict(event["delta"])
            case _:
                pass
        return ""
