r"""Reads a regular expression as people write them (JSON Schema, Rust, Python) into the algebra.

A pattern is searched for, as JSON Schema and Pydantic do, so `a` means `.*a.*`. Where the dialects
differ (`\d`, `\w`, `\s` and `\b` are ASCII or not, `.` is no line end of some kind, `$` is before
a last line end or not) `parse_pattern` reads what all of them accept, `parse_widely` what any does.

The parts are read from the last to the first, each with all that follows it, so that look-ahead is
an intersection of what follows, or a difference: `(?!a)b` is what `b.*` matches and `a.*` does not.
Look-behind is the same of what stands before. What needs both at once across a part between them,
and what no regular language has (back-references), is `NotRegular`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

from typedllm.grammar.closing import shortest, told_apart
from typedllm.grammar.complexity import TooComplex
from typedllm.grammar.parts import (
    Ahead,
    Behind,
    Chain,
    Choice,
    Counted,
    End,
    NotRegular,
    Part,
    Plain,
    Start,
)
from typedllm.grammar.regular import (
    ALL,
    ANY,
    EMPTY,
    NOTHING,
    Chars,
    Expr,
    alt,
    both,
    concat,
    derive_all,
    difference,
    nullable,
    repeat,
)
from typedllm.grammar.syntax import read

_MAX_WAYS = 50  # through alternatives with look-around, each of which has the whole rest after it

_EVERY = repeat(ANY)
_Operation: TypeAlias = Callable[[Expr, Expr], Expr]
_Step: TypeAlias = tuple[_Operation, Expr]
_OPPOSITE: dict[_Operation, _Operation] = {both: difference, difference: both}
_AT_START: _Step = (both, EMPTY)
_NOT_AT_START: _Step = (difference, EMPTY)


@lru_cache(maxsize=1024)
def parse_pattern(pattern: str) -> Expr:
    """The texts in which every dialect finds a pattern.

    Args:
        pattern: the regular expression.

    Raises:
        NotRegular: with the place and the reason.
    """
    return _Reading(pattern, wide=False).texts(read(pattern))


@lru_cache(maxsize=1024)
def parse_widely(pattern: str) -> Expr:
    """The texts in which any dialect finds a pattern; what is outside has it in none.

    Args:
        pattern: the regular expression.

    Raises:
        NotRegular: with the place and the reason.
    """
    return _Reading(pattern, wide=True).texts(read(pattern))


@dataclass(frozen=True, slots=True)
class _Way:
    """A way from some place to the end of the text.

    Attributes:
        before: what is done to the texts that stand before the place, to end at `rest`: restricted
            by `both` or `difference`, or continued by `concat`; begins with a restriction, if any.
        rest: what follows after all that.
        whole: restrictions of the whole text.
    """

    before: tuple[_Step, ...]
    rest: Expr
    whole: tuple[_Step, ...] = ()


def _merged(ways: Iterable[_Way]) -> list[_Way]:
    rests: dict[tuple[tuple[_Step, ...], tuple[_Step, ...]], list[Expr]] = {}
    for way in ways:
        if way.rest is not NOTHING:
            rests.setdefault((way.before, way.whole), []).append(way.rest)
    return [_Way(before, alt(*found), whole) for (before, whole), found in rests.items()]


def _followed(expr: Expr, step: _Step) -> Expr:
    """What follows under a restriction, which is dropped where one character already decides it."""
    operation, other = step
    found = operation(expr, other)
    if found in (NOTHING, EMPTY):
        return found
    outcomes = {nullable(found)} if nullable(expr) else set[bool]()
    for text in told_apart(expr, other):
        after = derive_all(expr, text)
        result = operation(after, derive_all(other, text))
        if after is not NOTHING:
            outcomes.add(result is not NOTHING)
            if len(outcomes) == 2 or result not in (after, NOTHING):
                return found
    return expr if outcomes == {True} else NOTHING


def _preceded(expr: Expr, step: _Step) -> Expr:
    """What precedes under a restriction, which is dropped where it holds always or never."""
    operation, other = step
    found = operation(expr, other)
    if found in (NOTHING, EMPTY):
        return found
    try:
        if shortest(_OPPOSITE[operation](expr, other)) is None:
            return expr
        return NOTHING if shortest(found) is None else found
    except TooComplex:
        return found


def _continued(way: _Way, expr: Expr) -> _Way:
    """The way with an expression before it."""
    before = way.before
    if before[:1] == (_AT_START,):
        return way if nullable(expr) else replace(way, rest=NOTHING)
    text = concat(_EVERY, expr)
    while before and before[0][0] is not concat:
        found = _preceded(text, before[0])
        if found is NOTHING:
            return replace(way, rest=NOTHING)
        if found is not text:  # depends on what is still to come
            return replace(way, before=((concat, expr), *before))
        before = before[1:]
    if not before:
        return replace(way, before=(), rest=concat(expr, way.rest))
    return replace(way, before=((concat, concat(expr, before[0][1])), *before[1:]))


def _behind(way: _Way, step: _Step) -> _Way:
    """The way with a restriction of what stands before it."""
    return way if way.before[:1] == (step,) else replace(way, before=(step, *way.before))


class _Reading:
    """The meaning of a pattern's parts, narrow or wide."""

    def __init__(self, pattern: str, *, wide: bool) -> None:
        self._pattern = pattern
        self._wide = wide
        self._ways = 1

    def texts(self, root: Part) -> Expr:
        """The whole texts in which a pattern is found."""
        found: list[Expr] = []
        for way in self._from(root, [_Way((), _EVERY)]):
            text = _EVERY
            for step in way.before:
                text = concat(text, step[1]) if step[0] is concat else _preceded(text, step)
            text = concat(text, way.rest)
            for step in way.whole:
                text = _preceded(text, step)
            found.append(text)
        return alt(*found)

    def _error(self, what: str, at: int) -> NotRegular:
        return NotRegular(what, self._pattern, at)

    def _expr(self, part: Plain) -> Expr:
        return part.wide if self._wide else part.narrow

    def _of(self, part: Ahead | Behind) -> tuple[_Operation, _Reading]:
        """How look-around restricts, and how it is read: what is forbidden, in the other way."""
        if part.wanted:
            return both, self
        return difference, _Reading(self._pattern, wide=not self._wide)

    def _from(self, part: Part, ways: list[_Way]) -> list[_Way]:
        """The ways from before a part, out of those from after it."""
        match part:
            case Plain():
                return _merged(_continued(way, self._expr(part)) for way in ways)
            case Chain(parts):
                for inner in reversed(parts):
                    ways = self._from(inner, ways)
                return ways
            case Choice(branches):
                return self._from_any(branches, ways)
            case Counted():
                return self._from_counted(part, ways)
            case Start():
                return _merged(_behind(way, _AT_START) for way in ways)
            case End(tail, at):
                return _merged(self._restricted(ways, (both, self._expr(tail)), at))
            case Ahead():
                return self._from_ahead(part, ways)
            case Behind(inner):
                operation, reading = self._of(part)
                step = (operation, reading._until(inner, _EVERY))
                return _merged(
                    replace(way, whole=(*way.whole, step))
                    if way.rest is EMPTY and not way.before
                    else _behind(way, step)
                    for way in ways
                )

    def _from_any(self, branches: tuple[Part, ...], ways: list[_Way]) -> list[_Way]:
        found = [self._from(branch, ways) for branch in branches]
        if any(way.rest not in (EMPTY, ALL, _EVERY) for way in ways):
            self._ways *= max(sum(map(bool, found)), 1)
        if self._ways > _MAX_WAYS:
            raise self._error("too many alternatives with anchors or look-around", 0)
        return _merged(way for some in found for way in some)

    def _from_counted(self, part: Counted, ways: list[_Way]) -> list[_Way]:
        match part:
            case Counted(inner, 0, 1):
                return self._from_any((inner, Plain(EMPTY, EMPTY)), ways)
            case Counted(inner, 1, 1):
                return self._from(inner, ways)
            case Counted(Chain((Ahead(wanted=False) as ahead, Plain() as char)), least, most):
                # No character up to the end of the text begins what is not wanted.
                _, reading = self._of(ahead)
                unwanted, at_start = reading._ahead(ahead.inner, ahead.at)
                if nullable(unwanted):
                    unwanted = both(unwanted, concat(ANY, ALL))
                to_the_end = all(way.rest is EMPTY and not way.before for way in ways)
                expr = self._expr(char)
                if to_the_end and at_start is NOTHING and isinstance(expr, Chars):
                    free = difference(repeat(expr, least, most), concat(_EVERY, unwanted))
                    return [replace(way, rest=free) for way in ways]
            case _:
                pass
        raise self._error("look-around or an anchor inside a repetition", part.at)

    def _from_ahead(self, part: Ahead, ways: list[_Way]) -> list[_Way]:
        operation, reading = self._of(part)
        anywhere, at_start = reading._ahead(part.inner, part.at)
        found = self._restricted(ways, (operation, anywhere), part.at)
        if at_start is NOTHING:
            return _merged(found)
        first = self._restricted(ways, (operation, alt(anywhere, at_start)), part.at)
        return _merged(
            [_behind(way, _NOT_AT_START) for way in found]
            + [_behind(way, _AT_START) for way in first]
        )

    def _ahead(self, inner: Part, at: int) -> tuple[Expr, Expr]:
        """What follows where look-ahead finds a part: anywhere, and only at the text's start."""
        ways = self._from(inner, [_Way((), ALL)])
        if any(way.whole or way.before not in ((), (_AT_START,)) for way in ways):
            raise self._error("look-behind inside look-ahead", at)
        anywhere = alt(*(way.rest for way in ways if not way.before))
        return anywhere, alt(*(way.rest for way in ways if way.before))

    def _restricted(self, ways: list[_Way], step: _Step, at: int) -> list[_Way]:
        """The ways with a restriction of what follows."""
        if any(operation is concat for way in ways for operation, _ in way.before):
            raise self._error("look-ahead over what has look-behind after it", at)
        return [replace(way, rest=_followed(way.rest, step)) for way in ways]

    def _until(self, part: Part, text: Expr) -> Expr:
        """The texts to the end of a part of look-behind, out of those before it."""
        match part:
            case Plain():
                return concat(text, self._expr(part))
            case Chain(parts):
                for inner in parts:
                    text = self._until(inner, text)
                return text
            case Choice(branches):
                return alt(*(self._until(branch, text) for branch in branches))
            case Start():
                return both(text, EMPTY)
            case Behind(inner):
                operation, reading = self._of(part)
                return _preceded(text, (operation, reading._until(inner, _EVERY)))
            case Counted() | End() | Ahead():
                raise self._error("look-ahead or a repeated anchor in look-behind", part.at)
