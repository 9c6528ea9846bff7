"""Draws random texts of a grammar, short ones more often."""

from __future__ import annotations

import random

from typedllm.grammar.characters import Ranges
from typedllm.grammar.closing import shortest, steps
from typedllm.grammar.expression import expression
from typedllm.grammar.regular import (
    Alt,
    Both,
    Chars,
    Concat,
    Distinct,
    Expr,
    Not,
    Nothing,
    Ordered,
    Repeat,
    Words,
    nullable,
)
from typedllm.grammar.tree import Node

_MORE = 0.8  # chance of one more round of an open repetition
_WALK = 20  # steps into an intersection before it is closed


def random_text(root: Node, rng: random.Random) -> str:
    """A random text of a tree.

    Args:
        root: a tree that something satisfies.
        rng: the source of chance; the same state gives the same text.
    """
    return _draw(expression(root), rng).decode()


def _draw(expr: Expr, rng: random.Random) -> bytes:
    match expr:
        case Nothing() | Not():
            raise ValueError("no text satisfies this grammar")
        case Words(words, start, stop, depth):
            return words[rng.randrange(start, stop)][depth:]
        case Chars(ranges, seen):
            return _char(ranges, rng).encode()[len(seen) :]
        case Concat(head, tail):
            return _draw(head, rng) + _draw(tail, rng)
        case Alt(branches):
            possible = [branch for branch in branches if shortest(branch) is not None]
            return _draw(rng.choice(possible), rng)
        case Repeat(inner, least, most):
            rounds = least
            while (most is None or rounds < most) and rng.random() < _MORE:
                rounds += 1
            return b"".join(_draw(inner, rng) for _ in range(rounds))
        case Both():
            return _walk(expr, rng)
        case Distinct(words, between, least, most):
            return between.join(rng.sample(words, rng.randint(least, most)))
        case Ordered(keys, values, picks, depth):
            chosen = [pick for pick in picks if rng.random() < _MORE] or [rng.choice(picks)]
            pairs = (keys[pick] + _draw(values[pick], rng) for pick in chosen)
            return b",".join(pairs)[depth:]


def _char(ranges: Ranges, rng: random.Random) -> str:
    # By range, not by character: ASCII has few characters and is what people write.
    low, high = rng.choice(ranges)
    return chr(rng.randint(low, min(high, 0x7E) if low < 0x7E else high))


def _walk(expr: Expr, rng: random.Random) -> bytes:
    text = b""
    for _ in range(_WALK):
        possible = [(more, after) for more, after in steps(expr) if shortest(after) is not None]
        if not possible or (nullable(expr) and rng.random() > _MORE):
            break
        more, expr = rng.choice(possible)
        text += more
    return text + (shortest(expr) or b"")
