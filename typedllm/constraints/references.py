"""References inside a schema: what they point at, and which of them are recursive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import unquote

from typedllm.spec.keywords import HOMES, subschemas


class References:
    """The graph of the references of one schema."""

    def __init__(self, root: object) -> None:
        """Read a schema's references.

        Args:
            root: the whole schema.
        """
        self._root = root
        self._targets: dict[str, object] = {}
        edges: dict[str, set[str]] = {}
        waiting = list(_references_in(root))
        while waiting:
            reference = waiting.pop()
            if reference not in edges and self._resolve(reference):
                edges[reference] = set(_references_in(self._targets[reference]))
                waiting.extend(edges[reference])
        self._recursions = _recursions(edges)

    def _resolve(self, reference: str) -> bool:
        place: Any = self._root
        if not reference.startswith("#"):
            return False
        for step in filter(None, unquote(reference[1:]).split("/")):
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(place, list) and name.isdecimal() and int(name) < len(cast(Any, place)):
                place = cast(list[object], place)[int(name)]
            elif isinstance(place, Mapping) and name in place:
                place = cast(Mapping[str, object], place)[name]
            else:
                return False
        self._targets[reference] = place
        return True

    def resolves(self, reference: str) -> bool:
        """Whether the reference points at something in the schema."""
        return reference in self._targets

    def target(self, reference: str) -> object:
        """The schema that a reference points at."""
        return self._targets[reference]

    def cycle(self, reference: str) -> int:
        """How many references are in the recursion of this one; 0 when it is not recursive."""
        return len(self._recursions.get(reference, ()))

    def within(self, pointer: str, reference: str) -> bool:
        """Whether a place lies in the recursion of a reference."""
        return any(
            pointer == other or pointer.startswith(f"{other}/")
            for other in self._recursions.get(reference, ())
        )


def _references_in(schema: object) -> Iterator[str]:
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            found = cast(Mapping[str, Any], part)
            if isinstance(found.get("$ref"), str):
                yield found["$ref"]
            # What a home holds counts only where it is referred to.
            waiting += [inner for word, _, inner in subschemas(found) if word not in HOMES]


def _recursions(edges: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    """The references that reach each other, for every one that reaches itself (Kosaraju)."""
    forward = {start: ends & edges.keys() for start, ends in edges.items()}
    backward: dict[str, set[str]] = {start: set() for start in edges}
    for start, ends in forward.items():
        for end in ends:
            backward[end].add(start)
    ended: list[str] = []
    known = set[str]()
    for start in forward:
        ended += _left(start, forward, known)
    found: dict[str, frozenset[str]] = {}
    known = set[str]()
    for start in reversed(ended):
        together = frozenset(_left(start, backward, known))
        if len(together) > 1 or start in forward[start]:
            found.update(dict.fromkeys(together, together))
    return found


def _left(start: str, edges: Mapping[str, set[str]], known: set[str]) -> Iterator[str]:
    """What is reached from a start and not known yet, in the order in which it is left."""
    if start in known:
        return
    known.add(start)
    path = [(start, iter(edges[start]))]
    while path:
        place, ends = path[-1]
        end = next((end for end in ends if end not in known), None)
        if end is None:
            path.pop()
            yield place
        else:
            known.add(end)
            path.append((end, iter(edges[end])))
