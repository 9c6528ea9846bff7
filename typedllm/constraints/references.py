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
        self._reached: dict[str, frozenset[str]] = {}
        edges: dict[str, set[str]] = {}
        waiting = list(_references_in(root))
        while waiting:
            reference = waiting.pop()
            if reference not in edges and self._resolve(reference):
                edges[reference] = set(_references_in(self._targets[reference]))
                waiting.extend(edges[reference])
        for reference in edges:
            self._reached[reference] = _closure(reference, edges)

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
        reached = self._reached[reference]
        if reference not in reached:
            return 0
        return sum(reference in self._reached.get(other, ()) for other in reached)

    def within(self, pointer: str, reference: str) -> bool:
        """Whether a place lies in the recursion of a reference."""
        return any(
            (pointer == other or pointer.startswith(f"{other}/"))
            and reference in self._reached[other]
            for other in self._reached[reference]
            if other in self._reached
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


def _closure(start: str, edges: Mapping[str, set[str]]) -> frozenset[str]:
    found: set[str] = set()
    waiting = list(edges[start])
    while waiting:
        reference = waiting.pop()
        if reference in edges and reference not in found:
            found.add(reference)
            waiting.extend(edges[reference])
    return frozenset(found)
