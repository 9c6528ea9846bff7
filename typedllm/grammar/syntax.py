"""The syntax of patterns: a parser from the text to its parts."""

from __future__ import annotations

from typedllm.grammar.characters import Ranges, merged
from typedllm.grammar.classes import DOT, NAMED, SHORT, WORD, Class, category, negated, one
from typedllm.grammar.parts import (
    LINE_END,
    NOTHING_MORE,
    Ahead,
    Behind,
    Chain,
    Choice,
    End,
    NotRegular,
    Part,
    Plain,
    Start,
    chained,
    chosen,
    counted,
    of_class,
)
from typedllm.grammar.regular import literal

_MAX_COUNT = 100_000  # of a counted repetition
_MAX_DEPTH = 50  # of nested groups
_LONGEST = 20_000  # characters of a pattern
_CONTROLS = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11, "0": 0}


_LOOKS: dict[str, tuple[type[Ahead | Behind], bool]] = {
    "?=": (Ahead, True),
    "?!": (Ahead, False),
    "?<=": (Behind, True),
    "?<!": (Behind, False),
}


def read(pattern: str) -> Part:
    """The parts of a pattern.

    Args:
        pattern: the regular expression.

    Raises:
        NotRegular: with the place and the reason.
    """
    if len(pattern) > _LONGEST:
        raise NotRegular(f"more than {_LONGEST:,} characters", pattern, _LONGEST)
    return _Parser(pattern).parse()


class _Parser:
    """A recursive-descent parser over the pattern."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0

    def parse(self) -> Part:
        """Read the whole pattern."""
        part = self._alternatives()
        if self._at < len(self._pattern):
            raise self._error("an unopened )")
        return part

    def _error(self, what: str) -> NotRegular:
        return NotRegular(what, self._pattern, self._at)

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

    def _alternatives(self) -> Part:
        branches = [self._sequence()]
        while self._take("|"):
            branches.append(self._sequence())
        return chosen(branches)

    def _sequence(self) -> Part:
        parts: list[Part] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._quantified())
        return chained(parts)

    def _quantified(self) -> Part:
        start = self._at
        part = self._atom()
        count = self._count()
        if count is None:
            return part
        if self._count() is not None:
            raise self._error("a count of a count")
        least, most = count
        return counted(part, least, most, start)

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
        if comma and not least and most.isdecimal():
            raise self._error("a count without its least")  # an ordinary { to some dialects
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

    def _atom(self) -> Part:
        at = self._at
        char = self._next()
        match char:
            case "^":
                return Start()
            case "$":
                return End(LINE_END, at)
            case "(":
                return self._group()
            case "[":
                return of_class(self._class())
            case ".":
                return of_class(DOT)
            case "\\":
                return self._escape()
            case "*" | "+" | "?":
                self._at -= 1
                raise self._error("a quantifier with nothing to repeat")
            case _:
                return _literal(char)

    def _group(self) -> Part:
        at = self._at - 1
        for mark, (kind, wanted) in _LOOKS.items():
            if self._take(mark):
                return kind(self._inner(), wanted, at)
        if self._take("?") and not (self._take(":") or self._name()):
            raise self._error("flags or another special group")
        return self._inner()

    def _inner(self) -> Part:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(f"groups nested deeper than {_MAX_DEPTH}")
        part = self._alternatives()
        self._depth -= 1
        if not self._take(")"):
            raise self._error("a group that is not closed")
        return part

    def _name(self) -> bool:
        begin = self._at
        if self._take("P<") or self._take("<"):
            end = self._pattern.find(">", self._at)
            if end > 0 and self._pattern[self._at : end].isidentifier():
                self._at = end + 1
                return True
        self._at = begin
        return False

    def _escape(self) -> Part:
        at = self._at - 1
        match self._peek():
            case "A":
                part: Part = Start()
            case "z":
                part = End(NOTHING_MORE, at)
            case "Z":
                part = End(LINE_END, at)
            case "b":
                word = of_class(WORD)
                begin = Chain((Behind(word, False, at), Ahead(word, True, at)))
                end = Chain((Behind(word, True, at), Ahead(word, False, at)))
                part = Choice((begin, end))
            case _:
                return of_class(self._escaped_class())
        self._at += 1
        return part

    def _escaped_class(self) -> Class:
        char = self._next()
        if char.lower() in SHORT:
            found = SHORT[char.lower()]
            return found if char.islower() else negated(found)
        if char in "pP":
            return self._category() if char == "p" else negated(self._category())
        if char in _CONTROLS:
            return one(_CONTROLS[char])
        if char in "xu":
            return one(self._hexadecimal({"x": 2, "u": 4}[char]))
        if char.isalnum():
            self._at -= 1
            raise self._error(f"the escape \\{char}")
        return one(ord(char))

    def _category(self) -> Class:
        begin = self._at
        end = self._pattern.find("}", begin)
        found = category(self._pattern[begin + 1 : end]) if self._take("{") and end > 0 else None
        if found is None:
            self._at = begin
            raise self._error("a property that is no general category of Unicode")
        self._at = end + 1
        return found

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

    def _class(self) -> Class:
        inverse = self._take("^")
        every: list[tuple[int, int]] = []
        some: list[tuple[int, int]] = []
        first = True
        while first or not self._take("]"):
            first = False
            low = self._class_member()
            if self._peek() == "-" and self._pattern[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                low = self._class_range(low)
            every += low[0]
            some += low[1]
        found = merged(every), merged(some)
        return negated(found) if inverse else found

    def _class_member(self) -> Class:
        char = self._next()
        if char == "\\":
            return one(8) if self._take("b") else self._escaped_class()
        if char == "[":
            return self._named_class()
        if char in "&~" and self._peek() == char:
            raise self._error("an operation on sets")
        return one(ord(char))

    def _named_class(self) -> Class:
        end = self._pattern.find(":]", self._at)
        name = self._pattern[self._at + 1 : max(end, 0)]
        if self._peek() != ":" or name not in NAMED:
            raise self._error("a [ inside a class")  # a nested set in one dialect, a sign in others
        self._at = end + 2
        return NAMED[name], NAMED[name]

    def _class_range(self, low: Class) -> Class:
        high = self._class_member()
        ends = [*low[0], *high[0]]
        if any(begin != end for begin, end in ends) or len(ends) != 2 or ends[0] > ends[1]:
            raise self._error("a malformed range in a class")
        span: Ranges = ((ends[0][0], ends[1][0]),)
        return span, span


def _literal(char: str) -> Plain:
    return Plain(literal(char), literal(char))
