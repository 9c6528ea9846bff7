"""The turns of a conversation: read, and put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, cast, get_args

from typedllm._checks import check_text
from typedllm.errors import TemplateError, UsageError
from typedllm.prompts.templates import Rendered
from typedllm.records import Message, Role, Segment

__all__ = [
    "as_messages",
    "inserted",
    "instructed",
    "is_raw",
    "turns_of",
    "user_turn",
    "with_system",
]

_ROLES: Final = get_args(Role)
_BREAK: Final = Segment(text="\n\n", trusted=True)
_EXPECTED: Final = "a str, a list of messages, a Prompt, or a mapping of values for the template"


def user_turn(text: str) -> Message:
    """A text as a turn of the user."""
    return Message(role="user", content=(Segment(text=text),))


def as_messages(made: Rendered) -> tuple[Message, ...]:
    """What a template has made, as messages.

    Raises:
        TemplateError: when it is raw text.
    """
    if made and isinstance(made[0], Segment):
        raise TemplateError("the template makes raw text, where messages are wanted")
    return cast(tuple[Message, ...], made)


def inserted(turns: tuple[Message, ...], earlier: Sequence[Message]) -> tuple[Message, ...]:
    """Turns with others before them, after a system message."""
    begins = 1 if turns and turns[0].role == "system" else 0
    return (*turns[:begins], *earlier, *turns[begins:])


def with_system(turns: tuple[Message, ...], system: str) -> tuple[Message, ...]:
    """Turns with a system text, before one that is there."""
    check_text("system", system)
    own = Segment(text=system)
    if turns and turns[0].role == "system":
        content = (own, _BREAK, *turns[0].content) if turns[0].text else (own,)
        return (replace(turns[0], content=content), *turns[1:])
    return (Message(role="system", content=(own,)), *turns)


def instructed(
    turns: tuple[Message, ...], system: str | None, told: tuple[Segment, ...]
) -> tuple[Message, ...]:
    """Turns with a system text, where they have none of their own, and what to answer after it."""
    if system and not (turns and turns[0].role == "system"):
        turns = with_system(turns, system)
    if not told:
        return turns
    if not turns or turns[0].role != "system":
        return (Message(role="system", content=told), *turns)
    own = turns[0].content
    content = (*own, _BREAK, *told) if turns[0].text else told
    return (replace(turns[0], content=content), *turns[1:])


def turns_of(asked: object) -> Iterator[Message]:
    """Read a conversation.

    Args:
        asked: messages, or dicts with role and content.

    Raises:
        UsageError: when it is none, with the place in it.
    """
    turns = _items(asked)
    if not turns:
        raise UsageError(f"prompt: expected {_EXPECTED}, got {_told(asked)}")
    for position, turn in enumerate(turns):
        place = f"prompt[{position}]"
        if isinstance(turn, Message):
            check_text(place, turn.text)
            yield turn
        elif isinstance(turn, Mapping):
            yield _turn(cast(Mapping[object, object], turn), place)
        else:
            raise UsageError(
                f"{place}: expected a Message or a dict with role and content, got {_told(turn)}"
            )


def is_raw(asked: object) -> bool:
    """Whether what is asked is raw text in segments."""
    items = _items(asked)
    return bool(items) and all(isinstance(item, Segment) for item in items)


def _items(value: object) -> Sequence[object]:
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return cast(Sequence[object], value)
    return ()


def _turn(turn: Mapping[object, object], place: str) -> Message:
    if set(turn) != {"role", "content"}:
        keys = ", ".join(sorted(map(str, turn)))
        raise UsageError(f"{place}: expected the keys role and content, got {keys}")
    role, content = turn["role"], turn["content"]
    if role not in _ROLES:
        raise UsageError(f"{place}.role: expected one of {', '.join(_ROLES)}, got {role!r}")
    check_text(f"{place}.content", content)
    return Message(role=cast(Role, role), content=(Segment(text=cast(str, content)),))


def _told(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
