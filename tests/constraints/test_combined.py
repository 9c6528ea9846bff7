"""Schemas that combine others: held by construction where the Plan says so, and lossless."""

from __future__ import annotations

import ipaddress
import json
import random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.constraints.walking import compiled
from tests.constraints.writing import written
from typedllm.errors import Invalid, SpecError
from typedllm.grammar.drawing import random_text
from typedllm.grammar.expression import expression
from typedllm.grammar.regular import matches
from typedllm.grammar.tree import Object
from typedllm.records import Grammar, JsonSchema, Limits
from typedllm.spec.keywords import walk
from typedllm.spec.spec import spec_of

NAMES = st.sampled_from(["a", "b", "ab", "x1"])
SCALARS = st.sampled_from([None, True, False, 0, 1, 2, "", "a", "ab", "b"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)


def keywords(**found: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A schema with any of some keywords."""
    return st.fixed_dictionaries({}, optional=found)


def of_type(kind: str, **found: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A schema of one type with any of some keywords."""
    return keywords(**found).map(lambda schema: {"type": kind, **schema})


PLAIN = st.one_of(
    st.sampled_from([{}, {"type": "boolean"}, {"type": "null"}, {"type": ["string", "integer"]}]),
    st.lists(SCALARS, min_size=1, max_size=3, unique_by=repr).map(lambda v: {"enum": v}),
    of_type("integer", minimum=st.integers(0, 2), maximum=st.integers(0, 2)),
    of_type(
        "string",
        minLength=st.integers(0, 2),
        maxLength=st.integers(0, 2),
        pattern=st.sampled_from(["^a", "b$", "^[ab]*$"]),
    ),
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return of_type(
        "object",
        properties=st.dictionaries(NAMES, inner, max_size=3),
        required=st.lists(NAMES, max_size=2, unique=True),
        additionalProperties=st.booleans() | PLAIN,
        patternProperties=st.dictionaries(st.sampled_from(["^a", "b$"]), PLAIN, max_size=2),
        minProperties=st.integers(0, 1),
        maxProperties=st.integers(1, 3),
        dependentRequired=st.dictionaries(NAMES, st.lists(NAMES, max_size=1), max_size=1),
    )


def combined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        objects(inner),
        of_type("array", items=inner, minItems=st.integers(0, 1), maxItems=st.integers(1, 2)),
        keywords(allOf=several, anyOf=several),
        several.map(lambda branches: {"oneOf": branches}),
        st.tuples(inner, inner).map(lambda pair: {"allOf": [pair[0], {"not": pair[1]}]}),
        keywords(**{"if": inner, "then": inner, "else": inner}),
        inner.map(lambda schema: {"$ref": "#/$defs/node", "allOf": [schema]}),
    )


NODE = {"type": "object", "properties": {"a": {"$ref": "#/$defs/node"}, "b": {"type": "integer"}}}
SCHEMAS = st.recursive(PLAIN, combined, max_leaves=5).map(
    lambda schema: {**schema, "$defs": {"node": NODE}}
)


def grammar_of(schema: dict[str, Any], limits: Limits | None = None) -> Grammar:
    """The grammar of a schema that is held by construction."""
    made = compiled(JsonSchema(schema), limits)
    assert made.plan.guaranteed, str(made.plan)
    assert isinstance(made.constraint, Grammar)
    return made.constraint


def drawn_grammar(schema: dict[str, Any], limits: Limits) -> Grammar:
    """The same for a drawn schema; those that are not held, or not possible, are left out."""
    try:
        assume(compiled(JsonSchema(schema), limits).plan.guaranteed)
    except SpecError:
        assume(False)
    return grammar_of(schema, limits)


@given(SCHEMAS, st.randoms(use_true_random=False))
def test_what_is_held_by_construction_is_valid(schema: dict[str, Any], rng: random.Random) -> None:
    spec = spec_of(JsonSchema(schema))
    for limits in (Limits(), Limits.none()):
        found = drawn_grammar(schema, limits)
        for _ in range(4):
            spec.read(random_text(found.root, rng))


@given(SCHEMAS, VALUES)
def test_what_is_valid_is_accepted_and_nothing_else(schema: dict[str, Any], value: Any) -> None:
    root = drawn_grammar(schema, Limits.none()).root
    text = written(root, value)
    accepted = text is not None and matches(expression(root), text)
    try:
        spec_of(JsonSchema(schema)).read(json.dumps(value))
    except Invalid:
        valid = False
    else:
        valid = True
    assert accepted == valid, text


@given(SCHEMAS)
def test_every_keyword_is_in_the_plan(schema: dict[str, Any]) -> None:
    try:
        plan = compiled(JsonSchema(schema)).plan
    except SpecError:
        return
    listed = {(part.pointer, part.keyword) for part in plan.parts}
    assert {(at, word) for at, part in walk(schema) for word in part} <= listed


@given(SCHEMAS, VALUES)
def test_nothing_is_refused_that_a_value_satisfies(schema: dict[str, Any], value: Any) -> None:
    spec = spec_of(JsonSchema(schema))
    try:
        compiled(JsonSchema(schema), Limits.none())
    except SpecError:
        with pytest.raises(Invalid):
            spec.read(json.dumps(value))


def test_the_authors_order_is_kept() -> None:
    schema = {
        "allOf": [
            {"type": "object", "properties": {"z": {"enum": ["q", "b", "a"]}, "any": {}}},
            {"properties": {"m": {"type": "integer"}, "a": {"type": "null"}}, "required": ["a"]},
        ]
    }
    root = grammar_of(schema).root
    assert isinstance(root, Object)
    assert [member.name for member in root.members] == ["z", "any", "m", "a"]
    assert matches(expression(root), '{"z":"q","any":1,"m":2,"a":null}')


def test_a_contradiction_names_the_keywords_and_their_places() -> None:
    schema = {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 2}]}
    with pytest.raises(SpecError, match=r"no value satisfies .*minimum.*maximum"):
        compiled(JsonSchema(schema))


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (
            {"$id": "http://x.org/a", "$ref": "a#/$defs/n", "$defs": {"n": {"const": 1}}},
            "1",
            "2",
        ),
        ({"$ref": "#here", "$defs": {"n": {"$anchor": "here", "const": 1}}}, "1", "2"),
        ({"$dynamicRef": "#h", "$defs": {"n": {"$dynamicAnchor": "h", "const": 1}}}, "1", "2"),
        (
            {
                "$schema": "https://json-schema.org/draft/2019-09/schema",
                "type": "object",
                "properties": {"a": {"$recursiveRef": "#"}},
                "additionalProperties": False,
            },
            '{"a":{"a":{}}}',
            '{"a":1}',
        ),
        (
            {
                "$schema": "http://json-schema.org/draft-04/schema#",
                "id": "http://x.org/a.json",
                "$ref": "#/definitions/n",
                "definitions": {"n": {"id": "n.json", "enum": [1]}},
            },
            "1",
            "2",
        ),
        (
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "$ref": "#/definitions/n",
                "maximum": 0,  # ignored beside a reference by this draft
                "definitions": {"n": {"const": 1}},
            },
            "1",
            "2",
        ),
    ],
)
def test_references_of_every_kind(schema: dict[str, Any], good: str, bad: str) -> None:
    root = grammar_of(schema).root
    assert matches(expression(root), good)
    assert not matches(expression(root), bad)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "allOf": [{"format": "date"}, {"format": "ipv4"}]},
        {"type": "string", "format": "ipv4", "allOf": [{"format": "date"}]},
        {"type": "string", "allOf": [{"format": "date"}, {"format": "date"}, {"format": "ipv4"}]},
    ],
)
def test_a_string_has_every_format_that_is_combined(schema: dict[str, Any]):
    with pytest.raises(SpecError, match="no string has this pattern, format and length"):
        compiled(JsonSchema(schema))


def test_formats_that_go_together_do():
    schema = {"type": "string", "allOf": [{"format": "hostname"}, {"format": "ipv4"}]}
    constraint = compiled(JsonSchema(schema)).constraint
    assert isinstance(constraint, Grammar)
    text = random_text(constraint.root, random.Random(0))
    assert ipaddress.ip_address(json.loads(text))
