"""Gemini's generateContent: what it is sent, and what its answers say.

Sources: https://ai.google.dev/api/generate-content and
https://ai.google.dev/gemini-api/docs/structured-output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from typedllm.constraints.dialect import Lowered
from typedllm.engines.counts import usage_counted
from typedllm.engines.remote_prompts import turns_of, with_schema
from typedllm.errors import EngineError
from typedllm.records import Completion, Failure, FinishReason, Reply, Request, Usage

__all__ = ["OURS", "GeminiStream", "gemini_completion", "gemini_request"]

OURS: Final = frozenset(
    {"system_instruction", "temperature", "top_p", "max_output_tokens", "stop_sequences", "seed"}
    | {"response_mime_type", "response_json_schema", "response_schema", "candidate_count"}
    | {"http_options"}
)
"""The fields of its configuration that are typedllm's to set."""

_ENDS: Final[Mapping[str, FinishReason]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "refusal",
    "RECITATION": "refusal",
    "LANGUAGE": "refusal",
    "BLOCKLIST": "refusal",
    "PROHIBITED_CONTENT": "refusal",
    "SPII": "refusal",
    "MODEL_ARMOR": "refusal",
}


def gemini_request(request: Request, model: str) -> dict[str, Any]:
    """Make the arguments of a call.

    Args:
        request: what to ask; `sampling.extra` goes into the configuration.
        model: its name.
    """
    sampling, constraint = request.sampling, request.constraint
    messages = turns_of(request)
    config: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_output_tokens": sampling.max_tokens,
        "stop_sequences": list(sampling.stop) if constraint is None else None,
        "seed": sampling.seed,
    }
    if isinstance(constraint, Lowered):
        config["response_mime_type"] = "application/json"
        if constraint.strict:
            config["response_json_schema"] = dict(constraint.schema)
        else:
            messages = with_schema(messages, constraint.schema)
    system = [each["content"] for each in messages if each["role"] == "system"]
    config["system_instruction"] = "\n\n".join(system) or None
    return {
        "model": model,
        "messages": [
            {**each, "role": "model" if each["role"] == "assistant" else "user"}
            for each in messages
            if each["role"] != "system"
        ],
        "config": {
            **{name: value for name, value in config.items() if value not in (None, [])},
            **sampling.extra,
            "http_options": {"retry_options": {"attempts": 1}},
        },
    }


def gemini_completion(answer: Mapping[str, Any]) -> Reply:
    """Read an answer.

    Args:
        answer: a `GenerateContentResponse` as plain data.

    Raises:
        KeyError: or TypeError, ValueError or AttributeError, when it is no such thing.
    """
    usage = _usage(answer.get("usage_metadata") or {})
    candidates: Sequence[Mapping[str, Any]] = answer.get("candidates") or []
    feedback: Mapping[str, Any] = answer.get("prompt_feedback") or {}
    if not candidates and feedback.get("block_reason"):
        return Completion(text="", finish_reason="refusal", usage=usage)
    (candidate,) = candidates
    ended: object = candidate.get("finish_reason")
    if ended not in _ENDS:
        told = f"gemini ended the answer with {str(ended)[:100]!r}"
        return Failure(error=EngineError(told, retryable=ended is None))  # a stream that broke off
    texts = {False: "", True: ""}
    for part in _parts(candidate):
        texts[bool(part.get("thought"))] += part.get("text") or ""
    return Completion(
        text=texts[False],
        finish_reason=_ENDS[str(ended)],
        usage=usage,
        reasoning=texts[True] or None,
    )


def _parts(candidate: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    content: Mapping[str, Any] = candidate.get("content") or {}
    return content.get("parts") or ()


def _usage(counted: Mapping[str, Any]) -> Usage:
    def told(*names: str) -> tuple[Any, ...]:
        return tuple(counted.get(f"{name}_token_count") for name in names)

    return usage_counted(
        prompt=told("prompt", "tool_use_prompt"),
        answer=told("candidates", "thoughts"),
        cached=told("cached_content"),
    )


class GeminiStream:
    """An answer that comes in pieces, each of the form of a whole one."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        """Begin before the first piece.

        Args:
            arguments: of the call.
        """
        self._last: dict[str, Any] = {}
        self._parts: list[Mapping[str, Any]] = []
        self._ended: object = None

    @property
    def answer(self) -> dict[str, Any]:
        """What came so far, as one answer."""
        candidate = {"content": {"parts": self._parts}, "finish_reason": self._ended}
        seen = self._parts or self._ended
        return {**self._last, "candidates": [candidate] if seen else []}

    def take(self, piece: Mapping[str, Any]) -> str:
        """Take one in, and return what follows of the answer's text.

        Args:
            piece: as plain data.
        """
        self._last |= {name: value for name, value in piece.items() if value is not None}
        text = ""
        for candidate in piece.get("candidates") or ():
            parts = _parts(candidate)
            self._parts += parts
            self._ended = candidate.get("finish_reason") or self._ended
            text += "".join(part.get("text") or "" for part in parts if not part.get("thought"))
        return text
