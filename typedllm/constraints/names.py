"""The names that an object's properties may have, as expressions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

from typedllm.constraints.excluding import excluding
from typedllm.grammar.closing import shortest
from typedllm.grammar.complexity import TooComplex
from typedllm.grammar.expression import text_content
from typedllm.grammar.pattern import parse_pattern, parse_widely
from typedllm.grammar.regular import (
    ANY,
    Chars,
    Expr,
    alt,
    both,
    difference,
    matches,
    repeat,
    words,
)
from typedllm.grammar.tree import Literals, Node, OneOf, Text

_MOST_REGIONS = 16  # sets of names that are told apart by the patterns that they match


@dataclass(frozen=True, slots=True)
class Names:
    """The names that a schema of names allows.

    Attributes:
        listed: names that stand in an enumeration, in their order.
        others: all further names, or None for none.
        complete: whether an enumeration or a union says what names there are.
    """

    listed: tuple[str, ...] = ()
    others: Text | None = None
    complete: bool = False

    def has(self, name: str) -> bool:
        """Whether a name is one of them."""
        others = self.others
        return name in self.listed or (others is not None and matches(characters(others), name))


def names_of(node: Node | None) -> Names:
    """The strings among the values of a node."""
    branches = node.branches if isinstance(node, OneOf) else (node,)
    found = (branch.texts for branch in branches if isinstance(branch, Literals))
    listed = [json_key(text) for texts in found for text in texts if text.startswith('"')]
    texts = [branch for branch in branches if isinstance(branch, Text)]
    others = texts[0] if len(texts) == 1 else None
    if len(texts) > 1:
        others = Text(pattern=alt(*map(characters, texts)))
    complete = isinstance(node, Literals | OneOf)
    return Names(listed=tuple(dict.fromkeys(listed)), others=others, complete=complete)


def json_key(text: str) -> str:
    """The name that a JSON scalar has as a key of an object."""
    return json.loads(text) if text.startswith('"') else text


def characters(text: Text) -> Expr:
    """A string's characters before they are escaped."""
    length = repeat(ANY, text.min_length, text.max_length)
    if text.pattern is None:
        return length
    if text.min_length == 0 and text.max_length is None:
        return text.pattern
    return both(text.pattern, length)


def _is_any(text: Text) -> bool:
    return text.pattern is None and text.min_length == 0 and text.max_length is None


def without(text: Text, names: Iterable[str]) -> Text:
    """A string that is none of some names.

    Args:
        text: the string.
        names: the strings to leave out.
    """
    if _is_any(text):
        found = tuple(sorted(names))
        return Text(pattern=excluding(found, cast(Chars, ANY).ranges, 0, None)) if found else text
    expr = characters(text)
    hit = [name for name in names if matches(expr, name)]
    return Text(pattern=difference(expr, words(hit))) if hit else text


def is_possible(text: Text) -> bool:
    """Whether there is such a string.

    Raises:
        TooComplex: when that takes too long to find out.
    """
    return shortest(text_content(text)) is not None


@dataclass(frozen=True, slots=True)
class NamePattern:
    """A pattern of names.

    Attributes:
        narrow: what matches it in every dialect of regular expressions.
        wide: what matches it in any dialect.
    """

    narrow: Expr
    wide: Expr


def name_pattern(pattern: str) -> NamePattern:
    """The expressions of a pattern of names.

    Raises:
        NotRegular: with the place and the reason.
    """
    return NamePattern(parse_pattern(pattern), parse_widely(pattern))


@dataclass(frozen=True, slots=True)
class Region:
    """The names that match some patterns and no others.

    Attributes:
        inside: the patterns that they match, by their index.
        names: what they are made of.
    """

    inside: tuple[int, ...]
    names: Text


def regions(patterns: Sequence[NamePattern], allowed: Text) -> list[Region]:
    """Names told apart by the patterns that they match; what matches none comes last.

    Args:
        patterns: the patterns; names that match one in some dialects only are in no region.
        allowed: the names to tell apart.

    Raises:
        TooComplex: when there are too many regions, or one of them is too complex.
    """
    known = [_Part((), (), allowed)]
    for index, pattern in enumerate(patterns):
        known = [part for whole in known for part in _split(whole, index, pattern)]
        if len(known) > _MOST_REGIONS:
            raise TooComplex(f"more than {_MOST_REGIONS} overlaps")
    return [Region(part.inside, part.names()) for part in known]


@dataclass(frozen=True, slots=True)
class _Part:
    inside: tuple[int, ...]
    outside: tuple[Expr, ...]
    within: Text

    def names(self) -> Text:
        if not self.outside:
            return self.within
        return Text(pattern=difference(characters(self.within), alt(*self.outside)))


def _split(part: _Part, index: int, pattern: NamePattern) -> Iterator[_Part]:
    """The names of a part that match a pattern, and those that do not."""
    narrow = _within(part.within, pattern.narrow)
    # Patterns that do not meet, which is the usual case, need not be told apart.
    outside = tuple(other for other in part.outside if is_possible(_within(narrow, other)))
    matching = _Part((*part.inside, index), outside, narrow)
    if is_possible(matching.names()):
        yield matching
    wide = replace(part, within=_within(part.within, pattern.wide))
    if part.inside and not is_possible(wide.names()):
        yield part
        return
    rest = replace(part, outside=(*part.outside, pattern.wide))
    if not rest.inside or is_possible(rest.names()):
        yield rest


def _within(text: Text, expr: Expr) -> Text:
    return Text(pattern=expr if _is_any(text) else both(characters(text), expr))
