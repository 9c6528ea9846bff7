"""Expressions that leave some names out, and that do not care about case."""

from __future__ import annotations

from typedllm.grammar.characters import Ranges, complement, intersection, merged
from typedllm.grammar.regular import (
    NOTHING,
    Alt,
    Chars,
    Concat,
    Expr,
    Repeat,
    Words,
    alt,
    chain,
    chars,
    concat,
    literal,
    repeat,
)

_CASE = ord("a") - ord("A")


def excluding(names: tuple[str, ...], allowed: Ranges, least: int, most: int | None) -> Expr:
    """Texts of allowed characters that are none of some names.

    Args:
        names: the texts to leave out.
        allowed: the characters of all others.
        least: least number of characters.
        most: most characters, or None for open.
    """
    ends_here = "" not in names and least <= 0
    if most == 0 or not names:
        free = repeat(chars(allowed), max(least, 0), most)
        return free if not names or ends_here else NOTHING
    by_first: dict[str, list[str]] = {}
    for name in names:
        if name:
            by_first.setdefault(name[0], []).append(name[1:])
    firsts = merged((ord(char), ord(char)) for char in by_first)
    fewer = None if most is None else most - 1
    others = intersection(allowed, complement(firsts)) if firsts else allowed
    out = [concat(chars(others), repeat(chars(allowed), max(least - 1, 0), fewer))]
    for char, rest in by_first.items():
        if any(low <= ord(char) <= high for low, high in allowed):
            out.append(concat(literal(char), excluding(tuple(rest), allowed, least - 1, fewer)))
    if ends_here:
        out.append(repeat(chars(allowed), 0, 0))
    return alt(*out)


def in_any_case(expr: Expr) -> Expr:
    """The texts of an expression with each of a-z in either case.

    Args:
        expr: characters, words, and what follows, repeats or chooses between them.
    """
    match expr:
        case Chars(ranges, _):
            small = intersection(ranges, ((ord("a"), ord("z")),))
            return chars((*ranges, *((low - _CASE, high - _CASE) for low, high in small)))
        case Words(found, _, _, _):
            return alt(*(concat(*map(_letter, word.decode())) for word in found))
        case Concat():
            return concat(*map(in_any_case, chain(expr)))
        case Alt(branches):
            return alt(*map(in_any_case, branches))
        case Repeat(inner, least, most):
            return repeat(in_any_case(inner), least, most)
        case _:
            raise TypeError(f"{type(expr).__name__} has no case")


def _letter(char: str) -> Expr:
    return in_any_case(chars([(ord(char), ord(char))]))
