"""A server of Cohere's chat API, of version 2, on loopback.

https://docs.cohere.com/reference/chat
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from typing import Any

from cohere import ClientV2, V2ChatResponse

from tests.servers.canned import Asked, Canned, Refusal
from tests.servers.streams import pieces_of

KEY = "co-a-key-that-is-secret"
_FIELDS = {*signature(ClientV2.chat).parameters, "stream"} - {"self", "request_options"}


def chat(*content: Any, finish_reason: str = "COMPLETE", **usage: Any) -> dict[str, Any]:
    """An answer as the API gives it; a str is a text."""
    parts = [{"type": "text", "text": c} if isinstance(c, str) else c for c in content]
    tokens = {"input_tokens": 7, "output_tokens": 5}
    found = {
        "id": "c1",
        "finish_reason": finish_reason,
        "message": {"role": "assistant", "content": parts},
        "usage": {"billed_units": tokens, "tokens": tokens, **usage},
    }
    V2ChatResponse.model_validate(found)
    return found


class CohereServer(Canned):
    """Answers only what the SDK has fields for."""

    def check(self, asked: Asked) -> Refusal | None:
        if asked.path != "/v2/chat":
            return Refusal(404, {"message": asked.path})
        if asked.headers.get("authorization") != f"Bearer {KEY}":
            return Refusal(401, {"message": f"no valid key {asked.headers['authorization']}"})
        if unknown := asked.body.keys() - _FIELDS:
            return Refusal(422, {"message": f"unknown field: {unknown}"})
        return None

    def events(self, answer: Any) -> Iterator[dict[str, Any]]:
        begun = {"role": "assistant", "content": []}
        yield {"type": "message-start", "id": "c1", "delta": {"message": begun}}
        for index, part in enumerate(answer["message"]["content"]):
            kind = part["type"]
            first = {"type": kind, kind: ""}
            yield {
                "type": "content-start",
                "index": index,
                "delta": {"message": {"content": first}},
            }
            for piece in pieces_of(part[kind], self.size):
                given = {"message": {"content": {kind: piece}}}
                yield {"type": "content-delta", "index": index, "delta": given}
            yield {"type": "content-end", "index": index}
        ended = {"finish_reason": answer["finish_reason"], "usage": answer["usage"]}
        yield {"type": "message-end", "id": "c1", "delta": ended}
