r"""The parts of a pattern, as its parser finds them.

What holds no anchor and no look-around is in the algebra already: it is a `Plain` part. It has two
readings, since the dialects differ: what all of them accept, and what any of them accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from typedllm.grammar.classes import Class
from typedllm.grammar.regular import EMPTY, Expr, alt, chars, concat, repeat, words


class NotRegular(ValueError):
    """The pattern is outside what a regular language holds, or not a pattern."""

    def __init__(self, what: str, pattern: str, at: int) -> None:
        """Say the reason and the place."""
        super().__init__(f"{what} at character {at} of {pattern[:80]!r}")


@dataclass(frozen=True, slots=True)
class Plain:
    """A part that matches the same wherever it stands.

    Attributes:
        narrow: the texts that every dialect accepts.
        wide: the texts that any dialect accepts.
    """

    narrow: Expr
    wide: Expr


@dataclass(frozen=True, slots=True)
class Chain:
    """Parts that stand one after the other."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Any of several parts."""

    branches: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """A part that holds an anchor or look-around, from `least` to `most` times."""

    inner: Part
    least: int
    most: int | None
    at: int


@dataclass(frozen=True, slots=True)
class Start:
    """The place before the first character."""


@dataclass(frozen=True, slots=True)
class End:
    """The place after the last character, or before `tail` as the last ones."""

    tail: Plain
    at: int


@dataclass(frozen=True, slots=True)
class Ahead:
    """A place where `inner` follows, or does not where it is not wanted."""

    inner: Part
    wanted: bool
    at: int


@dataclass(frozen=True, slots=True)
class Behind:
    """A place before which `inner` stands, or does not where it is not wanted."""

    inner: Part
    wanted: bool
    at: int


Part: TypeAlias = Plain | Chain | Choice | Counted | Start | End | Ahead | Behind

NOTHING_MORE = Plain(EMPTY, EMPTY)
LINE_END = Plain(EMPTY, words(["", "\n"]))  # to some dialects `$` is before a last line end too


def of_class(found: Class) -> Plain:
    """One character of a class."""
    every, some = found
    narrow = chars(every)
    return Plain(narrow, narrow if every == some else chars(some))


def _all_plain(parts: Iterable[Plain], make: Callable[..., Expr]) -> Plain:
    found = list(parts)
    narrow = make(*(part.narrow for part in found))
    same = all(part.narrow is part.wide for part in found)
    return Plain(narrow, narrow if same else make(*(part.wide for part in found)))


def chained(parts: list[Part]) -> Part:
    """Parts one after the other; neighbours that are plain become one."""
    joined: list[Part] = []
    waiting: list[Plain] = []
    for part in [*parts, None]:
        if isinstance(part, Plain):
            waiting.append(part)
            continue
        if waiting:
            joined.append(_all_plain(waiting, concat))
            waiting = []
        if part is not None:
            joined.append(part)
    if not joined:
        return NOTHING_MORE
    return joined[0] if len(joined) == 1 else Chain(tuple(joined))


def counted(part: Part, least: int, most: int | None, at: int) -> Part:
    """A part from `least` to `most` times."""
    if isinstance(part, Plain):
        return _all_plain([part], partial(repeat, least=least, most=most))
    return Counted(part, least, most, at)


def chosen(branches: list[Part]) -> Part:
    """Any of the branches; those that are all plain become one."""
    plain = [branch for branch in branches if isinstance(branch, Plain)]
    if len(plain) == len(branches):
        return _all_plain(plain, alt)
    return branches[0] if len(branches) == 1 else Choice(tuple(branches))
