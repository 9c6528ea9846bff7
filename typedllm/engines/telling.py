"""Telling of an answer's text as it grows, in pieces of whole characters."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from contextlib import suppress

from typedllm.records import Tell

__all__ = ["Listener", "Telling", "say"]


def say(tell: Tell, piece: str) -> None:
    """Tell a piece, unless it is empty.

    Args:
        tell: of the request; what it raises is no concern of the engine's.
        piece: the text that follows on what was told.
    """
    if piece:
        with suppress(Exception):
            tell(piece)


class Telling:
    """What was told of one answer, whose text comes as the bytes of tokens.

    A character that is not complete is held back, and so is what may be the beginning of a stop
    text, which is no part of the answer.
    """

    def __init__(self, tell: Tell, stops: Sequence[bytes] = ()) -> None:
        """Begin before the first token.

        Args:
            tell: of the request.
            stops: texts that end the answer and are cut off.
        """
        self._tell = tell
        self._stops = stops
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._read = 0  # bytes
        self._told = 0  # characters

    def grown(self, text: bytes | bytearray) -> None:
        """Tell what is sure of an answer that goes on.

        Args:
            text: all of it so far.
        """
        sure = self._sure(text)
        piece = self._decoder.decode(bytes(text[self._read : sure]))
        self._read = sure
        self._told += len(piece)
        say(self._tell, piece)

    def ended(self, text: str) -> None:
        """Tell the rest.

        Args:
            text: all of the answer.
        """
        say(self._tell, text[self._told :])

    def _sure(self, text: bytes | bytearray) -> int:
        """The first place where a stop text begins, or may begin."""
        for place in range(self._read, len(text)) if self._stops else ():
            if any(stop.startswith(text[place : place + len(stop)]) for stop in self._stops):
                return place
        return len(text)


class Listener:
    """Tells of one answer that another program decodes, by the tokens it has so far."""

    def __init__(
        self, telling: Telling, texts: Sequence[bytes], *, reasoning_end: int | None
    ) -> None:
        """Begin before the first token.

        Args:
            telling: of the answer.
            texts: the bytes of each token id.
            reasoning_end: the token after which the answer begins, where the model reasons first.
        """
        self._telling = telling
        self._texts = texts
        self._reasoning_end = reasoning_end
        self._read = 0  # tokens
        self._answer = bytearray()

    def grown(self, tokens: Sequence[int]) -> None:
        """Tell what is new of the answer.

        Args:
            tokens: the ids of all tokens so far, reasoning included.
        """
        new = tokens[self._read :]
        self._read = len(tokens)
        if self._reasoning_end is not None:
            if self._reasoning_end not in new:
                return
            new = new[new.index(self._reasoning_end) + 1 :]
            self._reasoning_end = None
        for token in new:
            self._answer += self._texts[token]
        self._telling.grown(self._answer)

    def ended(self, text: str) -> None:
        """Tell the rest.

        Args:
            text: all of the answer.
        """
        self._telling.ended(text)
