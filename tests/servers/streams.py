"""An answer of OpenAI's protocol as the events that it comes in where it is streamed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

_LISTS = ("content", "tokens", "token_logprobs", "top_logprobs")  # of log-probabilities


def pieces_of(text: str, size: int) -> list[str]:
    """A text in pieces of so many characters."""
    return [text[start : start + size] for start in range(0, len(text), size)]


def events_of(answer: Mapping[str, Any], size: int = 5) -> Iterator[dict[str, Any]]:
    """The events of an answer that is not streamed.

    Args:
        answer: its JSON.
        size: characters of a piece.
    """
    base = {**answer, "object": "chat.completion.chunk", "usage": None}
    for choice in answer["choices"]:
        index = choice["index"]
        deltas = list(_deltas(choice["message"], size) if "message" in choice else ())
        texts = pieces_of(choice.get("text", ""), size)
        parts = [{"delta": each} for each in deltas] or [{"text": each} for each in texts]
        for part in _with_logprobs(parts, choice.get("logprobs") or {}):
            yield {**base, "choices": [{"index": index, "finish_reason": None, **part}]}
        last = {"index": index, "finish_reason": choice["finish_reason"], "logprobs": None}
        yield {**base, "choices": [{**last, **({"delta": {}} if deltas else {"text": ""})}]}
    yield {**base, "choices": [], "usage": answer.get("usage")}


def _deltas(message: Mapping[str, Any], size: int) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": "" if message.get("content") is not None else None}
    for field in ("reasoning", "reasoning_content", "content", "refusal"):
        value = message.get(field) or ""
        for piece in pieces_of(value, size) if isinstance(value, str) else [value]:
            yield {field: piece}
    for place, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        yield {"tool_calls": [{**call, "index": place, "function": {**function, "arguments": ""}}]}
        for piece in pieces_of(function["arguments"], size):
            yield {"tool_calls": [{"index": place, "function": {"arguments": piece}}]}


def _with_logprobs(
    parts: list[dict[str, Any]], logprobs: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """A token with each part, and what is left of them with further ones."""
    lists = {name: logprobs[name] for name in _LISTS if logprobs.get(name)}
    told = [{name: [each[place]] for name, each in lists.items()} for place in range(_least(lists))]
    for part, token in zip_longest(parts, told):
        yield {**(part or {key: type(value)() for key, value in parts[-1].items()})} | (
            {"logprobs": token} if token else {}
        )


def _least(lists: Mapping[str, Any]) -> int:
    return min(map(len, lists.values()), default=0)


def event_stream(events: Iterable[dict[str, Any]], *, end: str = "\n", done: bool = True) -> bytes:
    """Events as bytes.

    Args:
        events: their JSON.
        end: of a line.
        done: whether the end is said.
    """
    data = [json.dumps(event, ensure_ascii=False) for event in events]
    texts = [f"data: {each}{end}{end}" for each in [*data, *(["[DONE]"] if done else [])]]
    return "".join(texts).encode()
