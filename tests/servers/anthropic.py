"""A server of Anthropic's Messages API on loopback.

https://platform.claude.com/docs/en/api/messages, .../build-with-claude/streaming and .../api/errors
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from anthropic.types import Message
from anthropic.types.message_create_params import (
    MessageCreateParamsNonStreaming,
    MessageCreateParamsStreaming,
)
from pydantic import TypeAdapter, ValidationError

from tests.servers.canned import Asked, Canned, Refusal
from tests.servers.streams import pieces_of

KEY = "sk-ant-a-key-that-is-secret"
_OLDER = ("temperature", "top_p", "top_k")
_BODIES = {
    False: TypeAdapter(MessageCreateParamsNonStreaming),
    True: TypeAdapter(MessageCreateParamsStreaming),
}


def error(kind: str, message: str) -> dict[str, Any]:
    """What the API says of an error."""
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said, "citations": None}


def tool(given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": "toolu_1", "name": "answer", "input": given}


def message(*content: Any, stop_reason: str = "end_turn", **usage: int) -> dict[str, Any]:
    """An answer as the API gives it; a str is a text."""
    blocks = [text(each) if isinstance(each, str) else each for each in content]
    found = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": blocks,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 5, **usage},
    }
    Message.model_validate(found)
    return found


class AnthropicServer(Canned):
    """Answers only what the SDK's own types allow."""

    def check(self, asked: Asked) -> Refusal | None:
        if asked.path != "/v1/messages":
            return Refusal(404, error("not_found_error", asked.path))
        given = asked.headers.get("x-api-key") or asked.headers.get("authorization", "")
        if given.removeprefix("Bearer ") != KEY:
            said = f"invalid x-api-key {given}"
            return Refusal(401, error("authentication_error", said), {"request-id": "req_1"})
        # of older models, and of other servers of the protocol; the SDK has no types for them now
        body = {name: value for name, value in asked.body.items() if name not in _OLDER}
        try:
            types = _BODIES[bool(body.get("stream"))]
            known = json.loads(types.dump_json(types.validate_python(body)))
        except ValidationError as wrong:
            return Refusal(400, error("invalid_request_error", str(wrong)))
        if known != body:  # what the types do not know is left out when it is read
            return Refusal(400, error("invalid_request_error", f"{body} is not {known}"))
        if any(each["role"] == "system" for each in body["messages"]):
            return Refusal(400, error("invalid_request_error", "messages: Unexpected role system"))
        return None

    def events(self, answer: Any) -> Iterator[dict[str, Any]]:
        usage = {**answer["usage"], "output_tokens": 1}
        yield {
            "type": "message_start",
            "message": {**answer, "content": [], "stop_reason": None, "usage": usage},
        }
        yield {"type": "ping"}
        for index, block in enumerate(answer["content"]):
            begun, deltas = _deltas(block, self.size)
            yield {"type": "content_block_start", "index": index, "content_block": begun}
            for delta in deltas:
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        yield {
            "type": "message_delta",
            "delta": {"stop_reason": answer["stop_reason"], "stop_sequence": None},
            "usage": {"output_tokens": answer["usage"]["output_tokens"]},
        }
        yield {"type": "message_stop"}


def _deltas(block: dict[str, Any], size: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """How a block begins, and what is added to it."""
    match block["type"]:
        case "text":
            pieces = pieces_of(block["text"], size)
            return text(""), [{"type": "text_delta", "text": each} for each in pieces]
        case "thinking":
            pieces = pieces_of(block["thinking"], size)
            deltas: list[Any] = [{"type": "thinking_delta", "thinking": each} for each in pieces]
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signed]
        case _:
            pieces = ["", *pieces_of(json.dumps(block["input"], ensure_ascii=False), size)]
            return {**block, "input": {}}, [
                {"type": "input_json_delta", "partial_json": each} for each in pieces
            ]
