r"""Reads a regular expression as people write them (JSON Schema, Rust, Python) into the algebra.

A pattern is searched for, as JSON Schema and Pydantic do, so `a` means `.*a.*`. Where the dialects
differ, the meaning here is one that all of them accept: `\d`, `\w` and `\s` are ASCII, `.` is no
line end of any kind. What no regular language has (look-around, back-references) or what differs
too much is `NotRegular`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from typedllm.grammar.characters import Ranges, complement, merged
from typedllm.grammar.regular import (
    ANY,
    EMPTY,
    NOTHING,
    Expr,
    alt,
    chars,
    concat,
    literal,
    nullable,
    repeat,
)

_MAX_COUNT = 100_000  # of a counted repetition
_MAX_DEPTH = 50  # of nested groups

_DIGIT = merged([(48, 57)])
_WORD = merged([(48, 57), (65, 90), (95, 95), (97, 122)])
_SPACE = merged([(9, 13), (32, 32)])
_UNICODE_SPACE = merged(
    (point, point)
    for text in (
        "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005",
        "\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u3000\ufeff",
    )
    for point in map(ord, text)
)
_ASCII_AND_BEYOND = merged([(0x80, 0x10FFFF)])
# Of each class: what every dialect has in it, and all that any dialect has.
_CLASSES: dict[str, tuple[Ranges, Ranges]] = {
    "d": (_DIGIT, merged([*_DIGIT, *_ASCII_AND_BEYOND])),
    "w": (_WORD, merged([*_WORD, *_ASCII_AND_BEYOND])),
    "s": (_SPACE, _UNICODE_SPACE),
}
_LINE_ENDS = merged([(10, 10), (13, 13), (0x85, 0x85), (0x2028, 0x2029)])
_CONTROLS = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11, "0": 0}
_NAMED_CLASSES: dict[str, Ranges] = {
    "alpha": merged([(65, 90), (97, 122)]),
    "digit": _DIGIT,
    "alnum": merged([(48, 57), (65, 90), (97, 122)]),
    "upper": merged([(65, 90)]),
    "lower": merged([(97, 122)]),
    "space": _SPACE,
    "punct": merged([(33, 47), (58, 64), (91, 96), (123, 126)]),
    "xdigit": merged([(48, 57), (65, 70), (97, 102)]),
}


class NotRegular(ValueError):
    """The pattern is outside what a regular language holds, or not a pattern."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """What a part matches, with the anchors it stands at."""

    at_start: bool
    at_end: bool
    expr: Expr


_Pieces = tuple[_Piece, ...]
_NONE: _Pieces = (_Piece(at_start=False, at_end=False, expr=EMPTY),)


@lru_cache(maxsize=1024)
def parse_pattern(pattern: str) -> Expr:
    """The texts in which a pattern is found.

    Args:
        pattern: the regular expression.

    Raises:
        NotRegular: with the place and the reason.
    """
    every = repeat(ANY)
    return alt(
        *(
            concat(EMPTY if p.at_start else every, p.expr, EMPTY if p.at_end else every)
            for p in _Parser(pattern).parse()
        )
    )


class _Parser:
    """A recursive-descent parser over the pattern."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0

    def parse(self) -> _Pieces:
        """Read the whole pattern."""
        pieces = self._alternatives()
        if self._at < len(self._pattern):
            raise self._error("an unopened )")
        return pieces

    def _error(self, what: str) -> NotRegular:
        return NotRegular(f"{what} at character {self._at} of {self._pattern[:80]!r}")

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _next(self) -> str:
        char = self._peek()
        if not char:
            raise self._error("the pattern ends too early")
        self._at += 1
        return char

    def _take(self, text: str) -> bool:
        if self._pattern.startswith(text, self._at):
            self._at += len(text)
            return True
        return False

    def _alternatives(self) -> _Pieces:
        branches = [self._sequence()]
        while self._take("|"):
            branches.append(self._sequence())
        return _either(branches)

    def _sequence(self) -> _Pieces:
        parts: list[_Pieces] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._quantified())
        out = _NONE
        for part in reversed(parts):
            out = _one_after_other(part, out)
        return out

    def _quantified(self) -> _Pieces:
        start = self._at
        pieces = self._atom()
        while (count := self._count()) is not None:
            least, most = count
            if any(piece.at_start or piece.at_end for piece in pieces):
                self._at = start
                raise self._error("an anchor inside a repetition")
            whole = alt(*(piece.expr for piece in pieces))
            pieces = (_Piece(at_start=False, at_end=False, expr=repeat(whole, least, most)),)
        return pieces

    def _count(self) -> tuple[int, int | None] | None:
        simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        char = self._peek()
        if char in simple and char:
            self._at += 1
            count = simple[char]
        else:
            braces = self._braces() if char == "{" else None
            if braces is None:
                return None
            count = braces
        if self._peek() == "+":
            raise self._error("a possessive quantifier")
        self._take("?")  # a lazy quantifier matches the same texts
        return count

    def _braces(self) -> tuple[int, int | None] | None:
        end = self._pattern.find("}", self._at)
        least, comma, most = self._pattern[self._at + 1 : max(end, 0)].partition(",")
        if end < 0 or not least.isdecimal() or (most and not most.isdecimal()):
            return None  # a brace that is an ordinary character
        if len(least) > 6 or len(most) > 6 or max(int(least), int(most or 0)) > _MAX_COUNT:
            raise self._error(f"a count above {_MAX_COUNT:,}")
        if most and int(most) < int(least):
            raise self._error("a count whose end is below its start")
        self._at = end + 1
        if not comma:
            return int(least), int(least)
        return int(least), int(most) if most else None

    def _atom(self) -> _Pieces:
        char = self._next()
        match char:
            case "^":
                return (_Piece(at_start=True, at_end=False, expr=EMPTY),)
            case "$":
                return (_Piece(at_start=False, at_end=True, expr=EMPTY),)
            case "(":
                return self._group()
            case "[":
                return _plain(chars(self._class()))
            case ".":
                return _plain(chars(complement(_LINE_ENDS)))
            case "\\":
                return self._escape()
            case "*" | "+" | "?":
                self._at -= 1
                raise self._error("a quantifier with nothing to repeat")
            case _:
                return _plain(literal(char))

    def _group(self) -> _Pieces:
        if self._take("?") and not (self._take(":") or self._name()):
            raise self._error("look-around, flags or another special group")
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(f"groups nested deeper than {_MAX_DEPTH}")
        pieces = self._alternatives()
        self._depth -= 1
        if not self._take(")"):
            raise self._error("a group that is not closed")
        return pieces

    def _name(self) -> bool:
        begin = self._at
        if (self._take("P<") or self._take("<")) and self._peek() not in ("=", "!"):
            end = self._pattern.find(">", self._at)
            if end > 0 and self._pattern[self._at : end].isidentifier():
                self._at = end + 1
                return True
        self._at = begin
        return False

    def _escape(self) -> _Pieces:
        char = self._peek()
        if char == "A":
            self._at += 1
            return (_Piece(at_start=True, at_end=False, expr=EMPTY),)
        if char in ("z", "Z"):
            self._at += 1
            return (_Piece(at_start=False, at_end=True, expr=EMPTY),)
        inner, _ = self._escaped_class()
        return _plain(chars(inner))

    def _escaped_class(self) -> tuple[Ranges, Ranges]:
        """The characters of an escape: those of every dialect, and those of any."""
        char = self._next()
        if char.lower() in _CLASSES:
            inner, outer = _CLASSES[char.lower()]
            return (inner, outer) if char.islower() else (complement(outer), complement(inner))
        if char in _CONTROLS:
            point = _CONTROLS[char]
        elif char in "xu":
            point = self._hexadecimal({"x": 2, "u": 4}[char])
        elif char.isalnum():
            self._at -= 1
            raise self._error(f"the escape \\{char}")
        else:
            point = ord(char)
        return merged([(point, point)]), merged([(point, point)])

    def _hexadecimal(self, size: int) -> int:
        if self._take("{"):
            size = self._pattern.find("}", self._at) - self._at
            digits = self._pattern[self._at : self._at + max(size, 0)]
            self._at += 1
        else:
            digits = self._pattern[self._at : self._at + size]
        try:
            point = int(digits, 16) if len(digits) == size else -1
        except ValueError:
            point = -1
        if not 0 <= point <= 0x10FFFF:
            raise self._error("a malformed hexadecimal escape")
        self._at += size
        return point

    def _class(self) -> Ranges:
        negated = self._take("^")
        inner: list[tuple[int, int]] = []
        outer: list[tuple[int, int]] = []
        first = True
        while first or not self._take("]"):
            first = False
            low = self._class_member()
            if self._peek() == "-" and self._pattern[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                low = self._class_range(low)
            inner += low[0]
            outer += low[1]
        return complement(merged(outer)) if negated else merged(inner)

    def _class_member(self) -> tuple[Ranges, Ranges]:
        char = self._next()
        if char == "\\":
            if self._take("b"):
                return ((8, 8),), ((8, 8),)
            return self._escaped_class()
        if char == "[":
            return self._named_class()
        if char in "&~" and self._peek() == char:
            raise self._error("an operation on sets")
        return ((ord(char), ord(char)),), ((ord(char), ord(char)),)

    def _named_class(self) -> tuple[Ranges, Ranges]:
        end = self._pattern.find(":]", self._at)
        name = self._pattern[self._at + 1 : max(end, 0)]
        if self._peek() != ":" or name not in _NAMED_CLASSES:
            raise self._error("a [ inside a class")  # a nested set in one dialect, a sign in others
        self._at = end + 2
        return _NAMED_CLASSES[name], _NAMED_CLASSES[name]

    def _class_range(self, low: tuple[Ranges, Ranges]) -> tuple[Ranges, Ranges]:
        high = self._class_member()
        ends = [*low[0], *high[0]]
        if any(begin != end for begin, end in ends) or len(ends) != 2 or ends[0] > ends[1]:
            raise self._error("a malformed range in a class")
        span = ((ends[0][0], ends[1][0]),)
        return span, span


def _plain(expr: Expr) -> _Pieces:
    return (_Piece(at_start=False, at_end=False, expr=expr),)


def _either(branches: list[_Pieces]) -> _Pieces:
    # Pieces at the same anchors become one, so there are never more than four.
    by_anchors: dict[tuple[bool, bool], list[Expr]] = {}
    for pieces in branches:
        for piece in pieces:
            by_anchors.setdefault((piece.at_start, piece.at_end), []).append(piece.expr)
    return tuple(
        _Piece(at_start=start, at_end=end, expr=alt(*exprs))
        for (start, end), exprs in by_anchors.items()
    )


def _one_after_other(first: _Pieces, second: _Pieces) -> _Pieces:
    return _either([(_joined(a, b),) for a in first for b in second])


def _joined(a: _Piece, b: _Piece) -> _Piece:
    left, right = a.expr, b.expr
    if a.at_end:  # nothing may follow an end,
        right = EMPTY if nullable(right) else NOTHING
    if b.at_start:  # and nothing stand before a start
        left = EMPTY if nullable(left) else NOTHING
    return _Piece(
        at_start=a.at_start or b.at_start, at_end=a.at_end or b.at_end, expr=concat(left, right)
    )
