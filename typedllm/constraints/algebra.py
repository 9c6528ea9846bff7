"""Parts of a schema rewritten to a plain form by the algebra of jsonschema-rs.

What combines schemas (`allOf`, `oneOf`, `not`, `if`, dependencies, keywords beside a reference) is
brought to an equivalent form of properties, items and alternatives, which a grammar can hold. The
library sorts properties and enumerations; the author's order is put back from the original.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import jsonschema_rs
from jsonschema_rs import canonical, canonicalize

from typedllm.constraints.branching import branches_too_much
from typedllm.constraints.combined import keywords_of
from typedllm.constraints.references import References
from typedllm.constraints.sources import Sources, restored
from typedllm.records import Limits
from typedllm.spec.keywords import ANNOTATIONS, implied, mapped, subschemas

Schema = Mapping[str, Any]

_ALONE = frozenset(
    {"properties", "patternProperties", "items", "prefixItems", "additionalProperties"}
)
_FIXED = frozenset({"type", "enum", "const"})
_ROUNDS = 4  # of putting in what references stand for, until what combines them is resolved
_LARGEST = 300_000  # characters of a rewritten schema
_MOST_BRANCHES = 30  # of a oneOf whose branches are compared one by one


@dataclass(frozen=True, kw_only=True, slots=True)
class Rewritten:
    """A schema in its plain form.

    Attributes:
        form: a schema that accepts the same values, with references into the whole; a bool where
            it accepts all or nothing.
        keywords: pointers and keywords of the original that it stands for.
    """

    form: Any
    keywords: tuple[tuple[str, str], ...]


class Algebra:
    """The rewriting of parts of one schema."""

    def __init__(self, references: References, draft: int, limits: Limits) -> None:
        """Take the whole schema.

        Args:
            references: of the whole schema.
            draft: of JSON Schema: 4, 6, 7, 19 or 20.
            limits: say whether types that a schema leaves open are left open.
        """
        self._limits = limits
        self._references = references
        self._draft = draft
        self._names: dict[str, str] = {}  # of definitions, by the reference that they replace
        self._definitions: dict[str, Any] = {}
        self._known: dict[str, Rewritten | None] = {}

    def rewritten(self, schema: Schema, places: Sequence[tuple[str, object]]) -> Rewritten | None:
        """The plain form of a schema, or None when the library has none.

        Args:
            schema: the schema, its references written as pointers into the whole.
            places: pointers and schemas that it was made of, for the order of its properties.
        """
        key = json.dumps([schema, [pointer for pointer, _ in places]])
        if key not in self._known:
            form = self._form(schema)
            if form is None:
                self._known[key] = None
            else:
                form = restored(self._opened(form), Sources(self._references, places))
                keywords = tuple(keywords_of(places, set(_references(form)), self._references))
                self._known[key] = Rewritten(form=form, keywords=keywords)
        return self._known[key]

    def _form(self, schema: Schema) -> Any:
        try:
            form = self._closed(schema, positive=True)
            for _ in range(_ROUNDS):
                form = self._canonical(form)
                unfolded = self._unfolded(form)
                if unfolded == form:
                    break
                form = unfolded
        except (ValueError, jsonschema_rs.ValidationError):
            return None
        return form

    def _canonical(self, form: Any) -> Any:
        if isinstance(form, bool):
            return form
        found = self._parsed(form)
        if isinstance(found.view(), canonical.RawView):
            raise ValueError("the algebra does not model it")
        plain: Any = found.to_json_schema()
        if len(str(plain)) > _LARGEST:
            raise ValueError("the rewritten schema is too large")
        return self._resolved(self._falsified(_bare(plain)))

    def _parsed(self, form: Schema) -> jsonschema_rs.CanonicalSchema:
        definitions = self._needed(form)
        if branches_too_much((form, *definitions.values()), self._definition):
            raise ValueError("its alternatives multiply")
        document = {**form, "$defs": definitions}
        for options in (jsonschema_rs.RegexOptions(), jsonschema_rs.FancyRegexOptions()):
            try:
                return canonicalize(
                    document,
                    draft=self._draft,
                    validate_formats=True,
                    pattern_options=options,
                    offline=True,
                )
            except canonical.InvalidPattern:
                continue
        raise ValueError("a pattern cannot be read")

    def _definition(self, reference: str) -> Any:
        return self._definitions[reference.removeprefix("#/$defs/")]

    def _needed(self, form: object) -> dict[str, Any]:
        """The definitions that a form refers to, and those that they refer to."""
        found: dict[str, Any] = {}
        waiting = list(_references(form))
        while waiting:
            name = waiting.pop().removeprefix("#/$defs/")
            if name not in found:
                found[name] = self._definitions[name]
                waiting.extend(_references(found[name]))
        return found

    def _closed(self, schema: object, *, positive: bool) -> Any:
        """A copy without annotations, its references replaced by names of definitions.

        Args:
            schema: the schema.
            positive: whether it speaks alone about a place of a value, so that a narrower schema
                in its place makes the whole narrower.
        """
        if not isinstance(schema, Mapping):
            return schema
        found = {k: v for k, v in cast(Schema, schema).items() if k not in ANNOTATIONS}
        reference = found.get("$ref")
        if isinstance(reference, str):
            if not self._references.resolves(reference):
                raise ValueError(f"{reference} is not in the schema")
            found["$ref"] = f"#/$defs/{self._named(reference)}"
            if self._draft <= 7:
                return {"$ref": found["$ref"]}
        kinds = self._kinds(found) if positive else []
        found = mapped(
            found,
            lambda inner, steps: self._closed(
                inner, positive=positive and steps.split("/")[1] in _ALONE
            ),
        )
        return {**found, "type": kinds} if kinds else found

    def _kinds(self, schema: Schema) -> list[str]:
        """The types that a schema leaves open and its keywords are about."""
        if self._limits.extra_properties or not _FIXED.isdisjoint(schema):
            return []
        parts = Sources(self._references, [("#", schema)]).all.values()
        if any(not _FIXED.isdisjoint(part) for part in parts):
            return []
        return implied({word: True for part in parts for word in part})

    def _named(self, reference: str) -> str:
        if reference not in self._names:
            name = self._names[reference] = f"d{len(self._names)}"
            self._definitions[name] = self._closed(
                self._references.target(reference), positive=False
            )
        return self._names[reference]

    def _opened(self, form: Any) -> Any:
        """The reverse of `_closed`."""
        if not isinstance(form, Mapping):
            return form
        found = mapped(cast(Schema, form), lambda inner, steps: self._opened(inner))
        if "$ref" in found:
            name = found["$ref"].removeprefix("#/$defs/")
            found["$ref"] = next(ref for ref, own in self._names.items() if own == name)
        return found

    def _unfolded(self, form: Any) -> Any:
        """A form with what its references in `allOf` stand for in their place."""
        if not isinstance(form, Mapping):
            return form
        found = dict(cast(Schema, form))
        for keyword in ("anyOf", "oneOf"):
            if keyword in found:
                found[keyword] = [self._unfolded(branch) for branch in found[keyword]]
        if "allOf" in found:
            found["allOf"] = [self._target(part) for part in found["allOf"]]
        elif "$ref" in found and len(found) > 1:
            found["allOf"] = [self._target({"$ref": found.pop("$ref")})]
        return found

    def _target(self, part: Any) -> Any:
        if isinstance(part, Mapping) and "$ref" in part:
            return self._definition(cast(Schema, part)["$ref"])
        return self._unfolded(part)

    def _resolved(self, form: Any) -> Any:
        """A form without `oneOf`: each branch without what others share with it."""
        if not isinstance(form, Mapping):
            return form
        found = cast(Schema, form)
        parts: list[Any] = found.get("allOf", [found] if "oneOf" in found else [])
        choices: list[Schema] = [part for part in parts if part is not True and "oneOf" in part]
        if len(found) == len(choices) == 1 and len(choices[0]["oneOf"]) <= _MOST_BRANCHES:
            base = [self._target(part) for part in parts if part is not choices[0]]
            branches = [self._target(branch) for branch in choices[0]["oneOf"]]
            found = {"anyOf": list(self._apart(base, branches))}
        # What stands deeper may refer back to here, and has its turn when it is lowered.
        deeper = {k: list(map(self._resolved, found[k])) for k in ("anyOf", "allOf") if k in found}
        return {**found, **deeper}

    def _apart(self, base: list[Any], branches: list[Any]) -> Iterator[Any]:
        """Each of some branches together with a base, without what it shares with others."""
        parsed = [self._parsed({"allOf": [*base, branch]}) for branch in branches]
        for number, branch in enumerate(branches):
            others = [
                {"not": branches[other]}
                for other, form in enumerate(parsed)
                if other != number and _share(parsed[number], form)
            ]
            alone = self._parsed({"allOf": [*base, branch, *others]}) if others else parsed[number]
            form = self._falsified(_bare(alone.to_json_schema()))
            if form is not False:
                yield form

    def _falsified(self, form: Any) -> Any:
        """A form with false where an old draft has the negation of everything."""
        if not isinstance(form, Mapping):
            return form
        found = mapped(cast(Schema, form), lambda inner, steps: self._falsified(inner))
        return False if found.get("not") == {} else found


def _share(a: jsonschema_rs.CanonicalSchema, b: jsonschema_rs.CanonicalSchema) -> bool:
    """Whether two schemas may have a value in common."""
    try:
        return a.intersect(b).satisfiability() != canonical.Satisfiability.NO
    except ValueError:  # what the algebra cannot decide
        return True


def _bare(form: Any) -> Any:
    if not isinstance(form, Mapping):
        return form
    return {k: v for k, v in cast(Schema, form).items() if k not in ("$schema", "$defs")}


def _references(form: object) -> Iterator[str]:
    waiting = [form]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            found = cast(Schema, part)
            if isinstance(found.get("$ref"), str):
                yield found["$ref"]
            waiting += [inner for _, _, inner in subschemas(found)]
