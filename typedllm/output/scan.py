"""Tokens of JSON and of what models write in its place, in one linear pass.

No JSON library that is at hand tells where in the text a value stands, and none reads JSON with
comments or single quotes and says what it changed; both need the tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias, cast

Kind: TypeAlias = Literal["space", "comment", "string", "cut", "mark", "word", "other"]

# Pydantic's JSON reader goes no deeper; paths would also grow with the square of the depth.
DEEPEST = 200

# Possessive quantifiers throughout: nothing is tried twice, whatever the text.
_TOKEN = re.compile(
    r"""
    (?P<space>\s++)
  | (?P<comment>(?<![^\s,{}\[\]])//[^\n]*+|(?<!\S)\#[^\n]*+|/\*(?:[^*]++|\*(?!/))*+\*/)
  | (?P<string>"(?:[^"\\]++|\\.)*+"|(?<!\w)'(?:[^'\\]++|\\.)*+')
  | (?P<cut>"|(?<!\w)'|/\*)
  | (?P<mark>[{}\[\]:,])
  | (?P<word>[^\s{}\[\]:,"'/\#]++)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENING = re.compile(r"[{\[]")


class Lexeme(NamedTuple):
    """One token of a text.

    Attributes:
        kind: `string` is in double or single quotes (an apostrophe inside a word is `other`);
            `cut` is a string or comment that does not end, up to the end of the text; `mark` is
            one of `{}[]:,`; `word` is a number, a literal or a bare name.
        text: its characters.
        start: index of its first character.
    """

    kind: Kind
    text: str
    start: int

    @property
    def end(self) -> int:
        """Index after its last character."""
        return self.start + len(self.text)


def lexemes(text: str, start: int = 0) -> Iterator[Lexeme]:
    """Yield the tokens of a text from `start` on; joined they are the text again."""
    for match in _TOKEN.finditer(text, start):
        kind = cast(Kind, match.lastgroup)
        if kind == "cut":
            yield Lexeme(kind, text[match.start() :], match.start())
            return
        yield Lexeme(kind, match[0], match.start())


def documents(text: str) -> list[tuple[int, int]]:
    """Return the spans of the outermost balanced brackets of a text, left to right.

    Whether there is JSON between them is for the reader to say. There are none in a text whose last
    bracket never closes: it is cut, and what stands before the cut is no answer by itself.
    """
    found: list[tuple[int, int]] = []
    position = 0
    while opening := _OPENING.search(text, position):
        position, state = _balance(text, opening.start())
        if state == "cut":
            return []
        if state == "balanced":
            found.append((opening.start(), position))
    return found


def _balance(text: str, start: int) -> tuple[int, Literal["balanced", "crossed", "cut"]]:
    """Return where the bracket at `start` closes, or where it is clear that it does not."""
    closers: list[str] = []
    for lexeme in lexemes(text, start):
        if lexeme.kind != "mark" or lexeme.text in ":,":
            continue
        if lexeme.text in "{[":
            closers.append("}" if lexeme.text == "{" else "]")
        elif closers.pop() != lexeme.text:
            return lexeme.end, "crossed"
        if not closers:
            return lexeme.end, "balanced"
    return len(text), "cut"
