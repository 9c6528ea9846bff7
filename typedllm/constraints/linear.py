"""Prints an automaton as rules of EBNF that do not refer to themselves.

A rule is a state: each of its alternatives is a few characters and then the rule of the state after
them. What lies on a cycle is printed as a repetition, since llguidance takes each character of a
rule that refers to itself for a lexeme, and stops at too many of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, groupby
from typing import TypeAlias

from typedllm.grammar.automaton import Automaton, State
from typedllm.grammar.characters import LAST_CODE_POINT, Ranges, complement, intersection, merged
from typedllm.grammar.complexity import TooComplex

_SPLICED_WAYS = 4  # of a state that is printed in place, where a rule of its own would be dearer
_SPLICED_SIZE = 400  # characters and classes, and the text of repetitions
_MOST_LEVELS = 400  # of texts that begin with others
_MOST_STATES = 300  # of one cycle
_FEW_CHARACTERS = 8  # so few that hardly a token has several of them
_MOST_TEXT = 100_000  # characters that one cycle is printed with
# Above ASCII, an escape is not the same to all who read it.
_PLAIN = merged(
    [*((ord(low), ord(high)) for low, high in ("09", "AZ", "az")), (0x80, LAST_CODE_POINT)]
)
_ESCAPED = complement(_PLAIN)

_Part: TypeAlias = Ranges | str  # the text of a repetition


@dataclass(frozen=True, slots=True)
class _Way:
    """Some characters, then a state, a rule, or the end."""

    parts: tuple[_Part, ...]
    then: int | str | None


def rule_of_words(texts: Sequence[str], name_of: Callable[[str], str]) -> str:
    """The rule of a set of texts, which share what they begin with.

    Args:
        texts: different, sorted texts.
        name_of: adds a rule of a body, and gives its name.

    Raises:
        TooComplex: when too many of the texts begin with others.
    """
    return name_of(_body(_words(texts, 0, name_of)))


def _words(texts: Sequence[str], level: int, name_of: Callable[[str], str]) -> list[_Way]:
    if len(texts) <= _SPLICED_WAYS:
        return [_Way(_exactly(text), None) for text in texts]
    if level == _MOST_LEVELS:
        raise TooComplex(f"more than {_MOST_LEVELS:,} texts begin with one another")
    ways: list[_Way] = []
    for begin, group in groupby(texts, lambda text: text[:1]):
        if not begin:
            ways.append(_Way((), None))
            continue
        found = list(group)
        shared = _shared(found[0], found[-1])
        inner = _words([text[len(shared) :] for text in found], level + 1, name_of)
        if len(inner) > _SPLICED_WAYS:
            inner = [_Way((), name_of(_body(inner)))]
        ways += (_Way((*_exactly(shared), *way.parts), way.then) for way in inner)
    return ways


def _exactly(text: str) -> tuple[_Part, ...]:
    return tuple(((ord(char), ord(char)),) for char in text)


def _shared(first: str, last: str) -> str:
    """What sorted texts begin with."""
    size = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    return first[:size] if size is not None else min(first, last, key=len)


class Linear:
    """The rules of an automaton."""

    def __init__(self, automaton: Automaton, name_of: Callable[[str], str]) -> None:
        """Print an automaton.

        Args:
            automaton: its states.
            name_of: adds a rule of a body, and gives its name.

        Raises:
            TooComplex: when a repetition is too long, or slow on xgrammar.
        """
        self._name_of = name_of
        self._ways: dict[int, Sequence[_Way]] = {}
        self._names: dict[int, str] = {}
        number = 0
        for group in automaton.groups:
            ways = {number + i: list(_ways(state)) for i, state in enumerate(group)}
            number += len(group)
            self._ways |= self._without_cycles(ways)
        self.name = self._rule(automaton.first)

    def _rule(self, number: int) -> str:
        name = self._names.get(number)
        if name is None:
            name = self._names[number] = self._name_of(_body(self._ways[number]))
        return name

    def _resolved(self, ways: Iterable[_Way], cycle: dict[int, list[_Way]]) -> list[_Way]:
        """The ways with the rules of all states that are not on their cycle."""
        out: list[_Way] = []
        for way in ways:
            if not isinstance(way.then, int) or way.then in cycle:
                out.append(way)
                continue
            after = self._ways[way.then]
            if len(after) <= _SPLICED_WAYS and sum(map(_size, after)) <= _SPLICED_SIZE:
                out += (_Way((*way.parts, *other.parts), other.then) for other in after)
            else:
                out.append(_Way(way.parts, self._rule(way.then)))
        return out

    def _without_cycles(self, cycle: dict[int, list[_Way]]) -> dict[int, list[_Way]]:
        """The ways of a group by ways that do not lead back.

        Source: state elimination, by Arden's rule: X = L X | R is X = L* R.
        """
        left = {number: self._resolved(ways, cycle) for number, ways in cycle.items()}
        done: dict[int, list[_Way]] = {}
        if len(left) > _MOST_STATES:
            raise TooComplex(f"a repetition has more than {_MOST_STATES:,} states")
        while left:
            number = min(left, key=lambda number: _price(left, number))
            ways = self._looped(number, left.pop(number))
            done[number] = ways
            for other, found in left.items():
                left[other] = _replaced(found, number, ways)
            if sum(map(_size, chain(ways, *left.values()))) > _MOST_TEXT:
                raise TooComplex(f"a repetition takes more than {_MOST_TEXT:,} characters of EBNF")
        for number in reversed(done):
            self._ways[number] = done[number] = self._resolved(done[number], {})
        return done

    def _looped(self, number: int, ways: list[_Way]) -> list[_Way]:
        loops = [way for way in ways if way.then == number]
        rest = [way for way in ways if way.then != number]
        if not loops:
            return rest
        if _is_dear(loops):
            raise TooComplex("a repetition of single characters holds another repetition")
        loop = _loop(loops)
        if len(rest) > 1 and not any(isinstance(way.then, int) for way in rest):
            return [_Way((loop,), self._name_of(_body(rest)))]
        return [_Way((loop, *way.parts), way.then) for way in rest]


def _ways(state: State) -> Iterable[_Way]:
    for ranges, number in sorted(state.ways):
        yield _Way((ranges,), number)
    if state.ends:
        yield _Way((), None)


def _price(left: dict[int, list[_Way]], number: int) -> int:
    """How many ways there are more when a state is replaced by its ways."""
    own = sum(way.then != number for way in left[number])
    into = sum(way.then == number for other in left if other != number for way in left[other])
    return (own - 1) * (into - 1)


def _size(way: _Way) -> int:
    return sum(len(part) if isinstance(part, str) else 1 for part in way.parts)


def _replaced(ways: list[_Way], number: int, by: list[_Way]) -> list[_Way]:
    out: list[_Way] = []
    for way in ways:
        if way.then == number:
            out += (_Way((*way.parts, *other.parts), other.then) for other in by)
        else:
            out.append(way)
    return out


def _is_dear(loops: Sequence[_Way]) -> bool:
    """Whether xgrammar takes milliseconds a token, each of whose characters is a round.

    A repetition that holds another, other than of a class, is a rule of its own there.
    """
    nested = any(isinstance(part, str) and part[0] == "(" for way in loops for part in way.parts)
    return nested and any(
        len(way.parts) == 1
        and not isinstance(way.parts[0], str)
        and sum(high - low + 1 for low, high in way.parts[0]) > _FEW_CHARACTERS
        for way in loops
    )


def _loop(ways: Sequence[_Way]) -> str:
    if len(ways) == 1 and len(ways[0].parts) == 1 and not isinstance(ways[0].parts[0], str):
        return f"{character_class(ways[0].parts[0])}*"
    return f"({' | '.join(' '.join(_sequence(way.parts)) for way in ways)})*"


def _body(ways: Iterable[_Way]) -> str:
    alternatives: list[str] = []
    for way in ways:
        then = [way.then] if isinstance(way.then, str) else []
        alternatives.append(" ".join([*_sequence(way.parts), *then]) or '""')
    return " | ".join(alternatives)


def _sequence(parts: Iterable[_Part]) -> list[str]:
    out: list[str] = []
    text = ""
    for part in parts:
        if not isinstance(part, str) and len(part) == 1 and part[0][0] == part[0][1]:
            text += chr(part[0][0])
            continue
        out += quoted_text(text)
        text = ""
        out.append(part if isinstance(part, str) else character_class(part))
    return [*out, *quoted_text(text)]


def quoted_text(text: str) -> list[str]:
    """A text in quotes; characters that cannot be seen stand in classes between quotes."""
    out: list[str] = []
    seen = ""
    for char in text:
        if char.isprintable():
            seen += f"\\{char}" if char in '"\\' else char
            continue
        if seen:
            out.append(f'"{seen}"')
        seen = ""
        out.append(character_class(((ord(char), ord(char)),)))
    return [*out, f'"{seen}"'] if seen else out


@lru_cache(maxsize=4096)
def character_class(ranges: Ranges) -> str:
    """One character out of some ranges."""
    plain, escaped = intersection(ranges, _PLAIN), intersection(ranges, _ESCAPED)
    # Escapes last, for xgrammar takes all hexadecimal digits after `\\x` for the escape's.
    parts = [*_spans(plain, chr), *_spans(escaped, r"\x{:02x}".format)]
    return f"[{''.join(parts)}]"


def _spans(ranges: Ranges, char_of: Callable[[int], str]) -> Iterable[str]:
    for low, high in ranges:
        yield char_of(low) if low == high else f"{char_of(low)}-{char_of(high)}"
