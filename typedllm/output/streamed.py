"""An answer while it comes: the plain JSON so far, or the items that are complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from typedllm.constraints.dialect import Lowered
from typedllm.errors import Invalid
from typedllm.output.candidates import after_thinking, opens_with_thinking
from typedllm.output.parse import partial_within
from typedllm.records import Constraint
from typedllm.spec.spec import Spec

__all__ = ["Item", "Partial", "Streamed"]

T = TypeVar("T")

_MARKS: Final = re.compile(r'["\\\[\]{},]')
_THINK: Final = "<think>"


@dataclass(frozen=True, kw_only=True, slots=True)
class Partial:
    """What there is of an answer.

    Attributes:
        value: the plain JSON so far, not validated: strings as far as they go, other scalars when
            they are complete; the text so far where the answer is plain text.
        piece: the text that came since the last one.
    """

    value: Any
    piece: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Item(Generic[T]):
    """An item of a list, whole and validated.

    Attributes:
        index: its place in the list, from 0.
        value: the typed value.
    """

    index: int
    value: T


class Streamed:
    """Reads an answer while it comes."""

    def __init__(
        self,
        spec: Spec[Any],
        items: Spec[Any] | None,
        constraint: Constraint | None,
        context: Any = None,
    ) -> None:
        """Begin to read an answer.

        Args:
            spec: what was asked for.
            items: of an item, where the answer is a list whose items are wanted one by one.
            constraint: what the engine enforces.
            context: passed to Pydantic validators.
        """
        self._is_text = spec.schema is None
        self._items = items
        self._lowered = constraint if isinstance(constraint, Lowered) else None
        self._context = context
        self._text = ""
        self._answers = False  # and does not think
        self._last: Any = None
        self._unseen = ""
        self._scanner = _Scanner()

    def more(self, piece: str) -> Iterator[Partial | Item[Any]]:
        """Take a piece of the answer, and yield what there is of it now.

        Args:
            piece: of the text.
        """
        self._unseen += piece
        if not self._answers:
            self._text += piece
            if _THINK.startswith(self._text.lstrip()):  # it may begin to think
                return
            answer = after_thinking(self._text) if opens_with_thinking(self._text) else None
            if answer is None and opens_with_thinking(self._text):
                return
            piece, self._text, self._answers = answer.text if answer else self._text, "", True
        if self._items is not None:
            yield from self._complete(self._items, piece)
            return
        self._text += piece
        value = self._text if self._is_text else self._plain(self._text)
        if value is not None and value != self._last:
            self._last = value
            yield Partial(value=value, piece=self._unseen)
            self._unseen = ""

    def last(self, text: str) -> Iterator[Partial]:
        """Yield the plain JSON of the whole answer, if it is not what was shown last.

        Args:
            text: of the answer that was taken, parts that were asked for anew put in.
        """
        value = None if self._is_text else self._decoded(partial_within(text.lstrip()))
        if value is not None and value != self._last:
            yield Partial(value=value, piece="")

    def _plain(self, text: str) -> Any:
        text = text.lstrip()
        if text[:1].isdigit() or text[:1] in "-tfn":  # a scalar is complete with the whole answer
            return None
        return self._decoded(partial_within(text))

    def _decoded(self, value: Any) -> Any:
        if self._lowered is None:
            return value
        if self._lowered.wrapped and not (isinstance(value, dict) and value):
            return None
        return self._lowered.decoded(value)

    def _complete(self, items: Spec[Any], piece: str) -> Iterator[Item[Any]]:
        for index, text in self._scanner.more(piece):
            if self._lowered is not None:
                text = self._lowered.item(text)
            try:
                yield Item(index=index, value=items.read(text, self._context))
            except Invalid:  # it may be asked for anew
                continue


class _Scanner:
    """Finds the items of the first list of a JSON text, each as soon as it is complete."""

    def __init__(self) -> None:
        self._text = ""  # from the beginning of the item on that is being written
        self._seen = 0
        self._index = 0
        self._depth = 0
        self._within: int | None = None  # the depth of the list; 0 once it is closed
        self._quoted = False
        self._escaped = -1  # place of a character after a backslash

    def more(self, piece: str) -> Iterator[tuple[int, str]]:
        """Take a piece of the text, and yield what it completes: its index and its text.

        Args:
            piece: of the text.
        """
        self._text += piece
        start = 0
        for match in _MARKS.finditer(self._text, self._seen):
            mark, at = match[0], match.start()
            if self._within == 0:
                break
            if self._quoted:
                self._in_string(mark, at)
            elif mark == '"':
                self._quoted = True
            elif mark in "[{":
                self._depth += 1
                if mark == "[" and self._within is None:
                    self._within, start = self._depth, at + 1
            elif mark != "\\":
                ends = self._depth == self._within
                if ends and (text := self._text[start:at].strip()):
                    yield self._index, text
                    self._index += 1
                start = at + 1 if ends else start
                self._depth -= mark != ","
                self._within = 0 if ends and mark != "," else self._within
        self._escaped -= start
        self._text = self._text[start:]
        self._seen = len(self._text)

    def _in_string(self, mark: str, at: int) -> None:
        if at == self._escaped:
            return
        if mark == "\\":
            self._escaped = at + 1
        elif mark == '"':
            self._quoted = False
