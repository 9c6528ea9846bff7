"""The author's order: which places of the original speak about which place of a value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

from typedllm.constraints.references import References
from typedllm.errors import SpecError
from typedllm.spec.keywords import ANNOTATIONS, escape, subschemas
from typedllm.spec.validators import validator_of

Schema = Mapping[str, Any]

_IN_PLACE = frozenset(
    {"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"}
)
_ITEMS = frozenset({"items", "prefixItems", "additionalItems", "contains", "unevaluatedItems"})


class Sources:
    """Places of the original schema that speak about one place of a value."""

    def __init__(self, references: References, places: Sequence[tuple[str, object]]) -> None:
        """Take places, and find those that apply together with them.

        Args:
            references: of the original schema.
            places: pointers and the schemas there.
        """
        self._references = references
        self.all: dict[str, Schema] = {}
        waiting = list(reversed(places))
        while waiting:
            pointer, schema = waiting.pop()
            if pointer in self.all or not isinstance(schema, Mapping):
                continue
            found = self.all[pointer] = cast(Schema, schema)
            inner = [
                (pointer + s, part) for word, s, part in subschemas(found) if word in _IN_PLACE
            ]
            reference = found.get("$ref")
            if isinstance(reference, str) and references.resolves(reference):
                inner.append((reference, references.target(reference)))
            waiting.extend(reversed(inner))

    @cached_property
    def names(self) -> dict[str, int]:
        """The ranks of the names of properties in the author's order."""
        found: dict[str, None] = {}
        for schema in self.all.values():
            found.update(dict.fromkeys(cast(Schema, schema.get("properties", {}))))
        for schema in self.all.values():
            required: object = schema.get("required")
            if isinstance(required, list):
                found.update(dict.fromkeys(cast(list[str], required)))
        return {name: rank for rank, name in enumerate(found)}

    @cached_property
    def free(self) -> set[str]:
        """The names of properties that are declared and may have any value."""
        return {
            name
            for schema in self.all.values()
            for name, inner in cast(Schema, schema.get("properties", {})).items()
            if inner is True
            or (isinstance(inner, Mapping) and ANNOTATIONS.issuperset(cast(Schema, inner)))
        }

    def values(self) -> dict[str, int]:
        """The ranks of the values of enumerations, by their JSON text."""
        ranks: dict[str, int] = {}
        for schema in self.all.values():
            given = [*schema.get("enum", ())] + ([schema["const"]] if "const" in schema else [])
            for value in given:
                ranks.setdefault(json.dumps(value, sort_keys=True), len(ranks))
        return ranks

    def of_property(self, name: str) -> Sources:
        """What speaks about the value of a property."""
        found: list[tuple[str, object]] = []
        for pointer, schema in self.all.items():
            patterns: Schema = schema.get("patternProperties", {})
            properties: Schema = schema.get("properties", {})
            matching = [p for p in patterns if _matches(p, name)]
            if name in properties:
                found.append((f"{pointer}/properties/{escape(name)}", properties[name]))
            for pattern in matching:
                place = f"{pointer}/patternProperties/{escape(pattern)}"
                found.append((place, patterns[pattern]))
            if name not in properties and not matching:
                found += self._of(
                    pointer, schema, ("additionalProperties", "unevaluatedProperties")
                )
        return Sources(self._references, found)

    def of_pattern(self, pattern: str) -> Sources:
        """What speaks about the values of properties of a pattern."""
        found = [
            (f"{pointer}/patternProperties/{escape(pattern)}", schema["patternProperties"][pattern])
            for pointer, schema in self.all.items()
            if pattern in schema.get("patternProperties", {})
        ]
        return Sources(self._references, found)

    def of(self, *keywords: str) -> Sources:
        """What speaks about the values below some keywords."""
        found: list[tuple[str, object]] = []
        for pointer, schema in self.all.items():
            found += self._of(pointer, schema, keywords)
        return Sources(self._references, found)

    def of_items(self) -> Sources:
        """What speaks about the items of an array."""
        return self.of(*_ITEMS)

    @staticmethod
    def _of(pointer: str, schema: Schema, keywords: Sequence[str]) -> Iterator[tuple[str, object]]:
        held = {word: value for word, value in schema.items() if word in keywords}
        for _, steps, inner in subschemas(held):
            yield pointer + steps, inner


def _matches(pattern: str, name: str) -> bool:
    try:
        return validator_of({"pattern": pattern}).is_valid(name)
    except SpecError:  # which is found where the pattern itself is read
        return False


def restored(form: Any, sources: Sources) -> Any:
    """A rewritten schema with properties and enumerations in the author's order.

    Properties that say nothing of their value are named again.

    Args:
        form: the rewritten schema.
        sources: what it was made of.
    """
    if not isinstance(form, Mapping):
        return form
    found = dict(cast(Schema, form))
    if "enum" in found:
        ranks = sources.values()
        last = len(ranks)
        found["enum"] = sorted(
            found["enum"], key=lambda v: ranks.get(json.dumps(v, sort_keys=True), last)
        )
    if found.get("type") == "object":
        found["properties"] = _properties(found, sources)
        if "required" in found:
            last = len(sources.names)
            found["required"] = sorted(
                found["required"], key=lambda name: sources.names.get(name, last)
            )
    patterns: Schema = found.get("patternProperties", {})
    if patterns:
        found["patternProperties"] = {
            pattern: restored(inner, sources.of_pattern(pattern))
            for pattern, inner in patterns.items()
        }
    for keyword in ("additionalProperties", "propertyNames"):
        if keyword in found:
            found[keyword] = restored(found[keyword], sources.of(keyword))
    if "items" in found:
        found["items"] = restored(found["items"], sources.of_items())
    for keyword, inside in (
        ("prefixItems", True),
        ("anyOf", False),
        ("oneOf", False),
        ("allOf", False),
    ):
        if keyword in found:
            inner = sources.of_items() if inside else sources
            found[keyword] = [restored(branch, inner) for branch in found[keyword]]
    return found


def _properties(form: Schema, sources: Sources) -> dict[str, Any]:
    """The properties of an object in the author's order, those of any value included."""
    given: Schema = form.get("properties", {})
    patterns: Schema = form.get("patternProperties", {})
    others: object = form.get("additionalProperties", True)
    out: dict[str, Any] = {}
    for name in dict.fromkeys((*sources.names, *given)):
        if name in given:
            out[name] = restored(given[name], sources.of_property(name))
        elif name in sources.free:
            out[name] = True if any(_matches(p, name) for p in patterns) else others
    return out
