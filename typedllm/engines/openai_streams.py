"""Answers of OpenAI's protocol that come in pieces, told as they come and put together again.

The chunks of a stream are joined to the very JSON that comes where nothing is streamed, so that
one reader serves both. Their form:
https://developers.openai.com/api/reference/resources/chat/subresources/completions/streaming-events
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from typedllm.engines.openai_answers import spoken
from typedllm.engines.openai_client import OpenAIClient
from typedllm.engines.openai_protocol import MALFORMED, malformed
from typedllm.engines.telling import say
from typedllm.errors import EngineError, TypedLLMError
from typedllm.records import Completion, Failure, Reply, Tell

__all__ = ["streamed"]

_GROWING: Final = frozenset(
    {"content", "text", "refusal", "reasoning", "reasoning_content", "arguments"}
)
_NUMBERED: Final = frozenset({"choices", "tool_calls"})  # each of them has an `index`


async def streamed(
    client: OpenAIClient,
    path: str,
    body: Mapping[str, Any],
    tell: Tell,
    *,
    server: str,
    read: Callable[[Any], Reply],
) -> Reply:
    """Ask for one answer in pieces, and tell each piece of its text.

    Args:
        client: calls the server.
        path: after its base URL.
        body: what is sent; it asks for a stream.
        tell: of the request; what it is told is, joined, the text of the completion.
        server: what it is called in messages.
        read: reads an answer that is not streamed.
    """
    answer = _Answer(server, tell, calls="tools" in body)
    try:
        await client.stream(path, body, answer.take)
        return answer.told_whole(read(answer.whole()))
    except TypedLLMError as error:
        return Failure(error=error)


class _Answer:
    """What came of an answer by now, and what was told of it."""

    def __init__(self, server: str, tell: Tell, *, calls: bool) -> None:
        self._server = server
        self._tell = tell
        self._calls = calls  # whether the answer is what a function is called with
        self._joined: dict[str, Any] = {}
        self._told: list[str] = []

    def take(self, chunk: Any) -> None:
        """Join a chunk to what came, and tell the text that is new.

        Args:
            chunk: its JSON.

        Raises:
            EngineError: when it is none of the protocol's.
        """
        try:
            choices: Sequence[dict[str, Any]] = chunk.get("choices") or ()
            for choice in choices:
                if "delta" in choice:
                    choice["message"] = choice.pop("delta") or {}
            piece = "".join(map(self._piece, choices))
            _join(self._joined, chunk)
        except MALFORMED as error:
            raise malformed(self._server, error) from error
        self._say(piece)

    def whole(self) -> dict[str, Any]:
        """The answer as it comes where nothing is streamed.

        Raises:
            EngineError: when it has not ended.
        """
        choices: Sequence[Mapping[str, Any]] = self._joined.get("choices") or ()
        if not choices or any(choice.get("finish_reason") is None for choice in choices):
            message = f"{self._server} broke off in the middle of its answer"
            raise EngineError(message, retryable=True)
        return self._joined

    def told_whole(self, reply: Reply) -> Reply:
        """Tell what is left of the answer's text, such as a refusal.

        Args:
            reply: the answer, as it was read.

        Raises:
            EngineError: when it is not what was told.
        """
        if isinstance(reply, Completion):
            told = "".join(self._told)
            if not reply.text.startswith(told):
                message = f"what {self._server} says last is not what it said at first"
                raise EngineError(message)
            self._say(reply.text[len(told) :])
        return reply

    def _piece(self, choice: Mapping[str, Any]) -> str:
        """What a piece of a choice adds to the text, as far as that is sure before the end."""
        message: Mapping[str, Any] = choice.get("message") or {"content": choice.get("text")}
        if not self._calls:
            return spoken(message)
        calls: Sequence[Mapping[str, Any]] = message.get("tool_calls") or ()
        given: list[object] = [call["function"].get("arguments") for call in calls]
        return "".join(each for each in given if isinstance(each, str))

    def _say(self, piece: str) -> None:
        self._told.append(piece)
        say(self._tell, piece)


def _join(whole: dict[str, Any], piece: Mapping[str, Any]) -> None:
    """Join a piece of an object to what came of it."""
    for name, new in piece.items():
        old = whole.get(name)
        if name in _NUMBERED and new:
            whole[name] = _joined(old or [], new)
        elif new is None or old is None:
            whole[name] = old if new is None else new
        elif isinstance(old, dict):
            _join(cast(dict[str, Any], old), new)
        elif isinstance(old, list) or isinstance(new, list):  # tokens, or parts of the text
            whole[name] = _parts(old)
            whole[name] += _parts(new)
        else:
            whole[name] = old + new if name in _GROWING else new


def _joined(old: list[dict[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Join the pieces of objects that have an `index`."""
    by_index = {each.get("index", place): each for place, each in enumerate(old)}
    for place, piece in enumerate(new):
        _join(by_index.setdefault(piece.get("index", place), {}), piece)
    return list(by_index.values())


def _parts(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
