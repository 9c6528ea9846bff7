"""A summary of results for people to read: each response with all that belongs to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from pydantic_core import to_json

from typedllm._terminal import printable
from typedllm.prompts.prompt import Prompt
from typedllm.records import Message, Result

__all__ = ["summary_of"]


def summary_of(
    results: Iterable[Result[Any]], *, system: str | None = None, values: int = 500
) -> str:
    """Write results as text.

    Args:
        results: of a batch or a conversation.
        system: the system text of the call, for prompts that have none of their own.
        values: most characters of a value that are shown.

    Returns:
        A line for each part of each result, with an empty line between results: user prompt,
        context, response (or error), system prompt, metadata, request id, prompt id, conversation
        id, and processing time in seconds.
    """
    blocks = ["\n".join(_lines(result, system, values)) for result in results]
    return "\n\n".join(blocks)


def _lines(result: Result[Any], system: str | None, values: int) -> Iterator[str]:
    asked = result.prompt
    prompt = asked if isinstance(asked, Prompt) else None
    parts: dict[str, object] = {
        "user prompt": prompt.user_prompt if prompt else _said(asked),
        "context": prompt and dict(prompt.context),
        "response": result.value if result.ok else None,
        **({} if result.ok else {"error": result.error}),
        **({"clipped": ", ".join(result.clipped)} if result.clipped else {}),
        "system prompt": prompt.system_prompt if prompt and prompt.system_prompt else system,
        "metadata": dict(result.metadata),
        "request id": result.id,
        "prompt id": prompt and prompt.id,
        "conversation id": prompt and prompt.conversation_id,
        "processing time": f"{result.latency_s:.3f} s",
    }
    for name, value in parts.items():
        yield f"{name}: {_shown(value, values)}"


def _said(asked: object) -> str:
    """What was asked, where it is no `Prompt`: a text, the last turn, or values."""
    if isinstance(asked, str):
        return asked
    if isinstance(asked, Mapping):
        return to_json(asked, fallback=str).decode()
    if not isinstance(asked, Sequence):
        return str(asked)
    turn: Any = cast(Sequence[Any], asked)[-1] if asked else ""
    if isinstance(turn, Message):
        return turn.text
    return str(cast(Any, turn).get("content", "")) if isinstance(turn, Mapping) else str(turn)


def _shown(value: object, most: int) -> str:
    if value is None or value == {}:
        return "-"
    text = value if isinstance(value, str) else _written(value)
    shown = text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"
    return printable(shown)


def _written(value: object) -> str:
    return str(value) if isinstance(value, Exception) else to_json(value, fallback=str).decode()
