"""Text as it stands in a JSON string: only the escapes that JSON demands, in their short forms."""

from __future__ import annotations

import json
from functools import lru_cache

from typedllm.grammar.characters import Ranges, contains, intersection, merged
from typedllm.grammar.regular import (
    ANY,
    Alt,
    Both,
    Chars,
    Concat,
    Expr,
    Not,
    Repeat,
    Words,
    alt,
    both,
    chars,
    concat,
    difference,
    literal,
    repeat,
    words,
)

_PLAIN = merged([(0x20, 0x21), (0x23, 0x5B), (0x5D, 0x10FFFF)])  # not escaped in canonical JSON
_ESCAPED = (*range(0x20), 0x22, 0x5C)
_SHORT = {8: "b", 9: "t", 10: "n", 12: "f", 13: "r", 0x22: '"', 0x5C: "\\"}


def quoted(value: str) -> str:
    """A string as canonical JSON, with its quotes."""
    return json.dumps(value, ensure_ascii=False)


@lru_cache(maxsize=4096)
def escaped(expr: Expr) -> Expr:
    """An expression over characters, as one over their canonical JSON escapes."""
    match expr:
        case Chars(ranges, _):
            plain = intersection(ranges, _PLAIN)
            return expr if plain == ranges else alt(chars(plain), *_escapes(ranges))
        case Words(texts, _, _, _):
            return words(quoted(text.decode())[1:-1] for text in texts)
        case Concat(head, tail):
            return concat(escaped(head), escaped(tail))
        case Alt(branches):
            return alt(*map(escaped, branches))
        case Repeat(inner, least, most):
            return repeat(escaped(inner), least, most)
        case Both(left, Not(inner)):  # exact: every character has one canonical form
            return difference(escaped(left), escaped(inner))
        case Both(left, right):  # exact: no escape is a prefix of another
            return both(escaped(left), escaped(right))
        case _:
            return expr


def _escapes(ranges: Ranges) -> list[Expr]:
    points = [point for point in _ESCAPED if contains(ranges, point)]
    short = chars((ord(_SHORT[p]), ord(_SHORT[p])) for p in points if p in _SHORT)
    out = [concat(literal("\\"), short)]
    for tens in (0, 1):  # of the two hexadecimal digits that are not always 0
        ones = [p % 16 for p in points if p // 16 == tens and p not in _SHORT]
        digits = chars((ord(f"{one:x}"), ord(f"{one:x}")) for one in ones)
        out.append(concat(literal(f"\\u00{tens}"), digits))
    return out


CHARACTER: Expr = escaped(ANY)
"""Any character."""
