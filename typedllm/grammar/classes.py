r"""Classes of characters as patterns name them: `\d`, `[[:alpha:]]`, `\p{Lu}`, `.`.

The dialects differ on most of them, so a class is a pair: what every dialect has in it, and all
that any dialect has.
"""

from __future__ import annotations

import sys
import unicodedata
from functools import lru_cache
from itertools import groupby
from typing import TypeAlias

from typedllm.grammar.characters import Ranges, complement, merged

Class: TypeAlias = tuple[Ranges, Ranges]

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
_BEYOND_ASCII = merged([(0x80, 0x10FFFF)])
_LINE_ENDS = merged([(10, 10), (13, 13), (0x85, 0x85), (0x2028, 0x2029)])

WORD: Class = (_WORD, merged([*_WORD, *_BEYOND_ASCII]))
DOT: Class = (complement(_LINE_ENDS), complement(merged([(10, 10)])))
SHORT: dict[str, Class] = {
    "d": (_DIGIT, merged([*_DIGIT, *_BEYOND_ASCII])),
    "w": WORD,
    "s": (_SPACE, _UNICODE_SPACE),
}
NAMED: dict[str, Ranges] = {
    "alpha": merged([(65, 90), (97, 122)]),
    "digit": _DIGIT,
    "alnum": merged([(48, 57), (65, 90), (97, 122)]),
    "upper": merged([(65, 90)]),
    "lower": merged([(97, 122)]),
    "space": _SPACE,
    "punct": merged([(33, 47), (58, 64), (91, 96), (123, 126)]),
    "xdigit": merged([(48, 57), (65, 70), (97, 102)]),
}


def one(point: int) -> Class:
    """The class of one character."""
    return merged([(point, point)]), merged([(point, point)])


def negated(found: Class) -> Class:
    """The class of all other characters."""
    every, some = found
    return complement(some), complement(every)


@lru_cache(maxsize=64)
def category(name: str) -> Class | None:
    """The characters of a general category of Unicode, such as `L` or `Lu`; None for other names.

    What this version of Unicode has not assigned may have any category in a later one.
    """
    by_name = _categories()
    names = [known for known in by_name if known == name or known[0] == name]
    every = merged(span for known in names for span in by_name[known])
    return (every, merged([*every, *by_name["Cn"]])) if names else None


@lru_cache(maxsize=1)
def _categories() -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    points = range(sys.maxunicode + 1)
    for name, group in groupby(points, lambda point: unicodedata.category(chr(point))):
        span = list(group)
        found.setdefault(name, []).append((span[0], span[-1]))
    return found
