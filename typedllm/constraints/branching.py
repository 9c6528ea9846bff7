"""How many alternatives a combined schema comes to, before the algebra writes them out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

from typedllm.spec.keywords import subschemas

Schema = Mapping[str, Any]
Target: TypeAlias = Callable[[str], object]

MOST_WAYS = 4_096
"""Alternatives of a schema at most; the algebra takes half a second and 200 MB for as many."""

_IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas")
_BELOW = ("properties", "patternProperties", "items", "additionalProperties", "additionalItems")
_NEGATED_TO_PRODUCTS = frozenset({"anyOf", "oneOf", "not", "if"})
_DEPENDENT = ("dependencies", "dependentRequired", "dependentSchemas")


def branches_too_much(roots: Sequence[object], target: Target) -> bool:
    """Whether a schema has more than `MOST_WAYS` alternatives at one place of a value.

    Args:
        roots: the schema, and every other that its references lead to.
        target: what a reference stands for.
    """
    # Most schemas branch so little that they need not be looked at place by place.
    ways = 1
    for part in (part for root in roots for part in _parts(root)):
        ways *= _ways_of_words(part)
        if ways > MOST_WAYS:
            return _Places(target).ways(roots[:1]) > MOST_WAYS
    return False


def _parts(root: object) -> Iterator[Schema]:
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            found = cast(Schema, part)
            yield found
            waiting += [inner for _, _, inner in subschemas(found)]


def _keywords(schema: object) -> Schema:
    return cast(Schema, schema) if isinstance(schema, Mapping) else {}


def _ways_of_words(schema: Schema) -> int:
    """Alternatives by the keywords of one schema alone; of `not`, as many as there may be."""
    ways = len(schema.get("anyOf", ())) or 1
    ways *= len(schema.get("oneOf", ())) or 1
    ways *= 2 if "if" in schema else 1
    ways *= 2 ** sum(len(schema.get(word, ())) for word in _DEPENDENT)
    negated = schema.get("not")
    if isinstance(negated, Mapping):
        parts = list(_parts(cast(object, negated)))
        ways *= sum(len(part) + len(part.get("required", ())) for part in parts) or 1
        if any(not _NEGATED_TO_PRODUCTS.isdisjoint(part) for part in parts):
            return MOST_WAYS + 1
    return ways


class _Places:
    """The places of a value, each with the schemas that apply there."""

    def __init__(self, target: Target) -> None:
        self._of_reference = target
        self._seen = set[frozenset[int]]()
        self._known: dict[tuple[int, bool], int] = {}

    def ways(self, schemas: Iterable[object]) -> int:
        """The most alternatives at the place of some schemas, or at one below it."""
        worst, waiting = 1, [list(schemas)]
        while waiting and worst <= MOST_WAYS:
            if len(self._seen) > MOST_WAYS:
                return MOST_WAYS + 1
            here = waiting.pop()
            key = frozenset(map(id, here))
            if key in self._seen:
                continue
            self._seen.add(key)
            worst = max(worst, self._product(here, negated=False))
            waiting += self._below(here)
        return worst

    def _below(self, schemas: Iterable[object]) -> Iterator[list[object]]:
        """What applies to each property and to the items, from all that applies here."""
        found: dict[str, list[object]] = {}
        known = set[int]()
        waiting = list(schemas)
        while waiting:
            part = self._target(waiting.pop())
            if id(part) in known:
                continue
            known.add(id(part))
            for word, steps, inner in subschemas(part):
                if word in _IN_PLACE:
                    waiting.append(inner)
                elif word in _BELOW:
                    found.setdefault(steps, []).append(inner)
            if "$ref" in part:  # beside other words
                waiting.append(self._of_reference(part["$ref"]))
        yield from found.values()

    def _target(self, schema: object) -> Schema:
        passed = set[str]()
        found = _keywords(schema)
        while set(found) == {"$ref"} and found["$ref"] not in passed:
            passed.add(found["$ref"])
            found = _keywords(self._of_reference(found["$ref"]))
        return found

    def _product(self, schemas: Iterable[object], *, negated: bool) -> int:
        total = 1
        for schema in schemas:
            total *= self._own(schema, negated)
            if total > MOST_WAYS:
                break
        return total

    def _sum(self, schemas: Iterable[object], *, negated: bool) -> int:
        return sum(self._own(schema, negated) for schema in schemas)

    def _own(self, schema: object, negated: bool) -> int:
        """The alternatives of one schema at its place, or of its negation."""
        found = self._target(schema)
        key = (id(found), negated)
        if key not in self._known:
            self._known[key] = 1  # a recursion that leads back to the same place adds none
            ways = self._of_negation(found) if negated else self._of(found)
            self._known[key] = min(ways, MOST_WAYS + 1)
        return self._known[key]

    def _of(self, schema: Schema) -> int:
        ways = 1
        for word in ("anyOf", "oneOf"):
            if word in schema:
                ways *= self._sum(schema[word], negated=False)
        ways *= self._product(schema.get("allOf", ()), negated=False)
        if "not" in schema:
            ways *= self._own(schema["not"], True)
        if "if" in schema:
            then, other = schema.get("then", True), schema.get("else", True)
            ways *= self._product([schema["if"], then], negated=False) + self._own(
                schema["if"], True
            ) * self._own(other, False)
        for word in _DEPENDENT:
            for inner in schema.get(word, {}).values():
                ways = min(ways * (1 + self._own(inner, False)), MOST_WAYS + 1)
        return ways

    def _of_negation(self, schema: Schema) -> int:
        ways = sum(word not in (*_IN_PLACE, "properties", "required") for word in schema)
        ways += len(schema.get("required", ()))
        ways += self._sum(schema.get("properties", {}).values(), negated=True)
        ways += self._sum(schema.get("allOf", ()), negated=True)
        for word in ("anyOf", "oneOf"):
            if word in schema:
                ways += self._product(schema[word], negated=True)
        if "not" in schema:
            ways += self._own(schema["not"], False)
        return max(ways, 1)
