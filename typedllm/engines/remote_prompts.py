"""What remote APIs have in common of their prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from typedllm.engines.openai_protocol import messages_of
from typedllm.records import Request

__all__ = ["turns_of", "with_schema"]


def turns_of(request: Request) -> list[dict[str, str]]:
    """The messages of a request, but for empty ones, which many APIs refuse.

    Args:
        request: whose model may have answered with nothing before.
    """
    return [message for message in messages_of(request) if message["content"]]


def with_schema(
    messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]
) -> list[dict[str, str]]:
    """Return messages whose system text tells the schema, where the API cannot be sent it.

    Args:
        messages: those of the request.
        schema: of the answer.
    """
    told = json.dumps(schema, ensure_ascii=False)
    said = f"Answer with JSON that is valid for this JSON Schema: {told}"
    rest = [dict(each) for each in messages]
    if rest[0]["role"] == "system":  # several system messages are not taken everywhere
        return [{**rest[0], "content": f"{rest[0]['content']}\n\n{said}"}, *rest[1:]]
    return [{"role": "system", "content": said}, *rest]
