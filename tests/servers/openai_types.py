"""What a body has to be by the types of the vendor's own package."""

from __future__ import annotations

import json
from typing import Any, Final

from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from pydantic import TypeAdapter

_ASKED: Final[TypeAdapter[Any]] = TypeAdapter(CompletionCreateParamsNonStreaming)
_STREAMED: Final[TypeAdapter[Any]] = TypeAdapter(CompletionCreateParamsStreaming)


def check_request(body: Any) -> None:
    """Check the body of a chat's request.

    Args:
        body: its JSON.

    Raises:
        ValueError: for a field that is missing, of a wrong type, or unknown at any depth.
    """
    types = _STREAMED if body.get("stream") else _ASKED
    # what the types do not know is left out when it is read
    known = json.loads(types.dump_json(types.validate_python(body)))
    if known != body:
        raise ValueError(f"the package's types know only {known} of {body}")
