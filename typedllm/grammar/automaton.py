"""An expression as a finite automaton over characters, for syntaxes without `&` and `~`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from typedllm.grammar.characters import LAST_CODE_POINT, Ranges, merged
from typedllm.grammar.closing import edges
from typedllm.grammar.complexity import TooComplex
from typedllm.grammar.regular import (
    NOTHING,
    Alt,
    Both,
    Expr,
    both,
    derive_all,
    nullable,
)

_SURROGATES = (0xD800, 0xE000)
_MERGED = 200  # states of a cycle, above which those that are alike are not looked for

_Graph: TypeAlias = dict[Expr, dict[Expr, Ranges]]


@dataclass(frozen=True, slots=True)
class State:
    """What may come next.

    Attributes:
        ends: whether a text may end here.
        ways: the number of a state after each character that may come next.
    """

    ends: bool
    ways: frozenset[tuple[Ranges, int]]


@dataclass(frozen=True, slots=True)
class Automaton:
    """States, numbered through all groups; from each of them a text can end.

    Attributes:
        groups: states that lie on one cycle, or one state; a way leads to the same group or to an
            earlier one.
        first: number of the state before the first character.
    """

    groups: Sequence[Sequence[State]]
    first: int


def automaton(expr: Expr, most: int) -> Automaton | None:
    """The states of an expression.

    Args:
        expr: an expression of which no byte has been read.
        most: number of states that are worth looking at.

    Returns:
        The automaton, with one way for each character where that makes no large cycles, as it does
        of a text that must come somewhere; None where no text matches.

    Raises:
        TooComplex: when there are more than `most` states.
    """
    try:
        whole = _automaton(expr, most, lambda after: [after])
    except TooComplex:
        return _automaton(expr, most, _branches)
    if whole is None or _cycle(whole) == 1:
        return whole
    try:
        split = _automaton(expr, most, _branches)
    except TooComplex:
        return whole
    return split if split is not None and _cycle(split) < _cycle(whole) else whole


def _cycle(found: Automaton) -> int:
    return max(map(len, found.groups))


def _branches(expr: Expr) -> Sequence[Expr]:
    """Expressions of which any may match.

    Source: Antimirov, "Partial derivatives of regular expressions", 1996.
    """
    match expr:
        case Alt(branches):
            return [found for branch in branches for found in _branches(branch)]
        case Both(left, right):
            rights = _branches(right)
            return [both(found, other) for found in _branches(left) for other in rights]
        case _:
            return [expr]


def _automaton(expr: Expr, most: int, split: Callable[[Expr], Sequence[Expr]]) -> Automaton | None:
    graph = _living(_explored(expr, most, split))
    if expr not in graph:
        return None
    groups: list[list[State]] = []
    numbers: dict[Expr, int] = {}
    known: dict[State, int] = {}
    total = 0
    for members in _components(graph):
        if len(members) == 1:
            alike = _alike(graph, members[0], numbers, known)
            if alike is not None:
                numbers[members[0]] = alike
                continue
        blocks = _blocks(graph, members, numbers)
        numbers |= {member: total + block for member, block in blocks.items()}
        of_block = {block: member for member, block in blocks.items()}
        group = [_state(graph, of_block[block], numbers) for block in range(len(of_block))]
        known |= {state: total + index for index, state in enumerate(group)}
        groups.append(group)
        total += len(group)
    return Automaton(groups, numbers[expr])


def _explored(expr: Expr, most: int, split: Callable[[Expr], Sequence[Expr]]) -> _Graph:
    graph: _Graph = {}
    waiting = [expr]
    while waiting:
        state = waiting.pop()
        if state not in graph:
            if len(graph) == most:
                raise TooComplex(f"an automaton has more than {most:,} states")
            graph[state] = _ways(state, split)
            waiting += graph[state]
    return graph


def _ways(state: Expr, split: Callable[[Expr], Sequence[Expr]]) -> dict[Expr, Ranges]:
    found: dict[Expr, list[tuple[int, int]]] = {}
    for low, high in pairwise(sorted({0, *_SURROGATES, LAST_CODE_POINT + 1} | edges(state))):
        if not _SURROGATES[0] <= low < _SURROGATES[1]:
            for after in split(derive_all(state, chr(low).encode())):
                if after is not NOTHING:
                    found.setdefault(after, []).append((low, high - 1))
    return {after: merged(ranges) for after, ranges in found.items()}


def _living(graph: _Graph) -> _Graph:
    """The states from which a text can end."""
    before: dict[Expr, list[Expr]] = {}
    for state, ways in graph.items():
        for after in ways:
            before.setdefault(after, []).append(state)
    living: set[Expr] = set()
    waiting = [state for state in graph if nullable(state)]
    while waiting:
        state = waiting.pop()
        if state not in living:
            living.add(state)
            waiting += before.get(state, ())
    return {
        state: {after: ranges for after, ranges in ways.items() if after in living}
        for state, ways in graph.items()
        if state in living
    }


def _components(graph: _Graph) -> Iterator[list[Expr]]:
    """Strongly connected states, those that others lead to first.

    Source: Tarjan, "Depth-first search and linear graph algorithms", 1972; without recursion.
    """
    first = next(iter(graph))
    order, lowest = {first: 0}, {first: 0}
    stack, path = [first], [(first, iter(graph[first]))]
    done: set[Expr] = set()
    while path:
        state, ways = path[-1]
        for after in ways:
            if after not in order:
                order[after] = lowest[after] = len(order)
                stack.append(after)
                path.append((after, iter(graph[after])))
                break
            if after not in done:
                lowest[state] = min(lowest[state], order[after])
        else:
            path.pop()
            if path:
                lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[state])
            if lowest[state] == order[state]:
                members: list[Expr] = []
                while not members or members[-1] is not state:
                    members.append(stack.pop())
                done.update(members)
                yield members


def _alike(
    graph: _Graph, member: Expr, numbers: dict[Expr, int], known: dict[State, int]
) -> int | None:
    """The number of a known state after which the same texts match as after a member."""
    outside = {after: numbers[after] for after in graph[member] if after is not member}
    for number in (-1, *outside.values()):  # which it may lead to in place of itself
        found = known.get(_state(graph, member, outside | {member: number}))
        if found is not None and number in (-1, found):
            return found
    return None


def _blocks(graph: _Graph, members: list[Expr], numbers: dict[Expr, int]) -> dict[Expr, int]:
    """Numbers of the members of a group; the same for those after which the same texts match.

    Source: Moore, "Gedanken-experiments on sequential machines", 1956.
    """
    if len(members) == 1 or len(members) > _MERGED:
        return {member: index for index, member in enumerate(members)}
    outside = {
        after: numbers[after] for member in members for after in graph[member] if after in numbers
    }
    blocks = dict.fromkeys(members, 0)
    count = 0
    while len(set(blocks.values())) > count:
        count = len(set(blocks.values()))
        # Below zero, apart from the numbers of other groups.
        inner = outside | {member: -1 - block for member, block in blocks.items()}
        found: dict[tuple[int, State], int] = {}
        blocks = {
            member: found.setdefault((block, _state(graph, member, inner)), len(found))
            for member, block in blocks.items()
        }
    return blocks


def _state(graph: _Graph, member: Expr, numbers: dict[Expr, int]) -> State:
    by_number: dict[int, Ranges] = {}
    for after, ranges in graph[member].items():
        number = numbers[after]
        more = by_number.get(number)
        by_number[number] = merged((*more, *ranges)) if more else ranges
    return State(nullable(member), frozenset((r, number) for number, r in by_number.items()))
