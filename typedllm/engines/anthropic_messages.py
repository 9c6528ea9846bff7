"""Anthropic's Messages API: what it is sent, and what its answers say.

A schema within its subset goes into `output_config.format`, which is enforced by the models that
have it; any other one, and for older models each, is that of a tool that has to be called. Servers
of other models, such as vLLM, get each in `output_config.format`.

Sources: https://platform.claude.com/docs/en/api/messages, and for schemas
https://platform.claude.com/docs/en/build-with-claude/structured-outputs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from typedllm.constraints.dialect import Lowered
from typedllm.engines.counts import usage_counted
from typedllm.engines.remote_prompts import turns_of
from typedllm.errors import EngineError, UsageError
from typedllm.records import Completion, Failure, FinishReason, Reply, Request

__all__ = [
    "IN_BODY",
    "OURS",
    "AnthropicStream",
    "anthropic_completion",
    "anthropic_request",
    "anthropic_rules",
]

OURS: Final = frozenset(
    {"model", "messages", "system", "max_tokens", "temperature", "top_p", "stop_sequences"}
    | {"stream", "tools", "tool_choice", "output_config"}
)
"""The arguments that are typedllm's to set."""

IN_BODY: Final = ("temperature", "top_p", "top_k")
"""Fields of the API, for models before Claude 5, that newer versions of the SDK do not name."""

_MAX_TOKENS: Final = 4096  # the API has no default
_TOOL: Final = "answer"
_OLDER: Final = (  # models without structured outputs; with an @ as Vertex AI names them
    *("claude-2", "claude-3", "claude-instant"),
    *("claude-opus-4-0", "claude-opus-4-1", "claude-opus-4-2025", "claude-opus-4@"),
    *("claude-sonnet-4-0", "claude-sonnet-4-2025", "claude-sonnet-4@"),
)
_ENDS: Final[Mapping[str, FinishReason]] = {
    "end_turn": "stop",
    "tool_use": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}


def anthropic_rules(model: str) -> str:
    """Name the row of `RULES` that says what is enforced of a schema.

    Args:
        model: its name; empty for what holds of those of today.
    """
    name = model[max(model.find("claude"), 0) :]  # clouds put a region or a vendor before it
    if name.startswith(_OLDER):
        return "tool"
    return "anthropic" if name.startswith("claude") or not name else "asked"


def anthropic_request(request: Request, model: str) -> dict[str, Any]:
    """Make the arguments of a call.

    Args:
        request: what to ask; a `max_tokens` of None is 4096.
        model: its name.

    Raises:
        UsageError: for a seed, which the API has not.
    """
    sampling = request.sampling
    if sampling.seed is not None:
        raise UsageError("anthropic takes no seed; leave out Sampling.seed")
    extra = dict(sampling.extra)
    body = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": extra.pop("top_k", None),
        **extra.pop("extra_body", {}),
    }
    arguments = {
        "model": model,
        "messages": turns_of(request),
        "max_tokens": sampling.max_tokens or _MAX_TOKENS,
        "stop_sequences": list(sampling.stop) if request.constraint is None else None,
        "extra_body": {name: value for name, value in body.items() if value is not None},
    }
    arguments = {name: value for name, value in arguments.items() if value not in (None, [], {})}
    if isinstance(request.constraint, Lowered):
        arguments |= _constrained(request.constraint, model, "thinking" in extra)
    return {**arguments, **extra}


def _constrained(constraint: Lowered, model: str, thinks: bool) -> dict[str, Any]:
    schema = dict(constraint.schema)
    rules = anthropic_rules(model)
    if rules == "asked" or (constraint.strict and rules == "anthropic"):
        return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    # A model that thinks first cannot be forced to call a tool.
    forced = {"type": "tool", "name": _TOOL, "disable_parallel_tool_use": True}
    return {
        "tools": [{"name": _TOOL, "description": "Give the answer.", "input_schema": schema}],
        "tool_choice": {"type": "auto"} if thinks else forced,
    }


def anthropic_completion(answer: Mapping[str, Any]) -> Reply:
    """Read an answer.

    Args:
        answer: a `Message` as plain data.

    Raises:
        KeyError: or TypeError, ValueError or AttributeError, when it is no such thing.
    """
    ended: str | None = answer["stop_reason"]
    if ended not in _ENDS:
        told = f"anthropic ended the answer with {str(ended)[:100]!r}"
        return Failure(error=EngineError(told, retryable=ended is None))  # a stream that broke off
    text, reasoning, called = "", "", None
    for block in answer["content"]:
        match block["type"]:
            case "text":
                text += block["text"]
            case "thinking":
                reasoning += block["thinking"]
            case "tool_use":
                called = block
            case _:
                pass
    if called is not None:
        text = _arguments(called, cut=_ENDS[ended] == "length")
    counted: Mapping[str, Any] = answer["usage"]
    cached, kept = (counted.get(f"cache_{what}_input_tokens") for what in ("read", "creation"))
    return Completion(
        text=text,
        finish_reason=_ENDS[ended],
        usage=usage_counted(
            prompt=(counted["input_tokens"], cached, kept),
            answer=counted["output_tokens"],
            cached=cached,
        ),
        reasoning=reasoning or None,
    )


def _arguments(called: Mapping[str, Any], *, cut: bool) -> str:
    """The arguments of a tool as text; without their end, where they were cut and closed for us."""
    if isinstance(called["input"], str):  # as it came, in pieces
        return called["input"]
    text = json.dumps(called["input"], ensure_ascii=False)
    return text.rstrip(']}"') if cut else text


class AnthropicStream:
    """An answer that comes in events."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        """Begin before the first event.

        Args:
            arguments: of the call.
        """
        self._tells = "input_json_delta" if "tools" in arguments else "text_delta"
        self._blocks: dict[int, dict[str, Any]] = {}
        self._usage: dict[str, Any] = {}
        self._ended: str | None = None

    @property
    def answer(self) -> dict[str, Any]:
        """What came so far, as a `Message` has it."""
        blocks = [self._blocks[index] for index in sorted(self._blocks)]
        return {"content": blocks, "usage": self._usage, "stop_reason": self._ended}

    def take(self, event: Mapping[str, Any]) -> str:
        """Take one in, and return what follows of the answer's text.

        Args:
            event: as plain data.
        """
        match event["type"]:
            case "message_start":
                self._count(event["message"]["usage"])
            case "content_block_start":
                block = dict(event["content_block"])
                self._blocks[event["index"]] = {**block, "input": ""} if "input" in block else block
            case "content_block_delta":
                return self._grow(self._blocks[event["index"]], event["delta"])
            case "message_delta":
                self._ended = event["delta"]["stop_reason"]
                self._count(event["usage"])
            case _:
                pass
        return ""

    def _count(self, usage: Mapping[str, Any]) -> None:
        self._usage |= {name: value for name, value in usage.items() if value is not None}

    def _grow(self, block: dict[str, Any], delta: Mapping[str, Any]) -> str:
        names = {
            "text_delta": ("text", "text"),
            "thinking_delta": ("thinking", "thinking"),
            "input_json_delta": ("partial_json", "input"),
        }
        if delta["type"] not in names:  # a signature, or what is cited
            return ""
        theirs, ours = names[delta["type"]]
        block[ours] = (block.get(ours) or "") + delta[theirs]
        return delta[theirs] if delta["type"] == self._tells else ""
