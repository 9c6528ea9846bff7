"""Objects: names told apart by patterns and by their own schema, properties counted."""

from __future__ import annotations

import json
import random
from typing import Any

import hypothesis.strategies as st
import jsonschema_rs
import pytest
from hypothesis import HealthCheck, assume, given, settings

from tests.constraints.test_lossless import engine_accepts, loaded, takes
from tests.constraints.walking import compiled, grammar
from typedllm.constraints.compile import Compiled
from typedllm.constraints.lark import print_lark
from typedllm.errors import SpecError
from typedllm.grammar.closing import reserve
from typedllm.grammar.drawing import random_text
from typedllm.grammar.expression import expression
from typedllm.grammar.regular import matches
from typedllm.records import Grammar, JsonSchema, Limits

_OPEN = Limits(extra_properties=True)
_ORDER = ["a", "b", "ab", "x1"]
_NAME = st.sampled_from(_ORDER)
_VALUE = st.sampled_from([1, 2, "s", None])
_VALUES = st.sampled_from(
    [True, False, {"const": 1}, {"type": "integer"}, {"type": "string"}, {"enum": [2, "s"]}]
)
_PATTERN = st.sampled_from(["^a", "b$", "^x[0-9]$", "^[ab]$", "^.{2}$"])
_SOME_NAMES = st.lists(_NAME, unique=True, min_size=1, max_size=3).map(
    lambda names: sorted(names, key=_ORDER.index)
)
_LISTING = st.one_of(
    st.builds(lambda names: {"enum": names}, _SOME_NAMES), st.just({"const": "ab"})
)
_OF_PATTERN = st.builds(lambda pattern: {"pattern": pattern}, _PATTERN)
_NAMES = st.one_of(
    _LISTING,
    _OF_PATTERN,
    st.builds(lambda a, b: {"anyOf": [a, b]}, _OF_PATTERN, _LISTING),
    st.builds(lambda a: {"not": a}, _LISTING),
    st.builds(lambda a, most: {**a, "maxLength": most}, _OF_PATTERN, st.integers(1, 2)),
    st.sampled_from([True, False, {"type": "integer"}, {"minLength": 2}, {"$ref": "#/$defs/n"}]),
)
_KEYWORDS: dict[str, st.SearchStrategy[Any]] = {
    "properties": st.builds(
        lambda names, values: dict(zip(names, values, strict=False)),
        _SOME_NAMES,
        st.lists(_VALUES, min_size=3, max_size=3),
    ),
    "required": st.lists(_NAME, unique=True, max_size=2).map(sorted),
    "patternProperties": st.dictionaries(_PATTERN, _VALUES, min_size=1, max_size=3),
    "additionalProperties": _VALUES,
    "propertyNames": _NAMES,
    "minProperties": st.integers(0, 3),
    "maxProperties": st.integers(0, 4),
}
_SCHEMAS = st.fixed_dictionaries(
    {"type": st.just("object"), "$defs": st.just({"n": {"type": "string", "pattern": "^[ax]"}})},
    optional=_KEYWORDS,
)
_OBJECTS = st.dictionaries(st.sampled_from([*_ORDER, "ac", "bb", "x2", "c"]), _VALUE, max_size=5)


def _compiled(schema: dict[str, Any]) -> Compiled | None:
    try:
        return compiled(JsonSchema(schema), _OPEN)
    except SpecError as error:
        assert "no value satisfies" in str(error) or "no text satisfies" in str(error)
        return None


def _text(value: dict[str, Any], schema: dict[str, Any]) -> str:
    """An object with its properties in the order in which they are written."""
    names: Any = schema.get("propertyNames")
    found = names.get("anyOf", [names])[-1] if isinstance(names, dict) else {}
    listed = found.get("enum", [found.get("const")])
    order = [*schema.get("properties", ()), *schema.get("required", ()), *listed]
    ranks = {name: rank for rank, name in reversed(list(enumerate(order)))}
    pairs = sorted(value.items(), key=lambda pair: ranks.get(pair[0], len(order)))
    return json.dumps(dict(pairs), separators=(",", ":"))


@given(_SCHEMAS, st.integers(0, 10**9), st.booleans())
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_is_valid(schema: dict[str, Any], seed: int, extra: bool) -> None:
    try:
        made = compiled(JsonSchema(schema), Limits(extra_properties=extra))
    except SpecError:
        return
    assume(made.plan.guaranteed)
    assert isinstance(made.constraint, Grammar)
    validator = jsonschema_rs.validator_for(schema)
    rng = random.Random(seed)
    for _ in range(6):
        text = random_text(made.constraint.root, rng)
        assert validator.is_valid(json.loads(text)), text


@given(_SCHEMAS, st.lists(_OBJECTS, min_size=3, max_size=6))
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_an_object_can_be_written_exactly_when_it_is_valid(
    schema: dict[str, Any], values: list[dict[str, Any]]
) -> None:
    made = _compiled(schema)
    validator = jsonschema_rs.validator_for(schema)
    if made is None:
        assert not any(map(validator.is_valid, values))
        return
    assert isinstance(made.constraint, Grammar)
    root = made.constraint.root
    expr, matcher = expression(root), loaded(root)
    for value in values:
        text = _text(value, schema)
        written = matches(expr, text)
        assert takes(matcher, text) == written, text
        if made.plan.guaranteed:
            assert written == validator.is_valid(value), text
        else:
            assert written or not validator.is_valid(value), text


def _object(**keywords: Any) -> dict[str, Any]:
    return {"type": "object", **keywords}


def _values(*names: str, value: Any = None) -> dict[str, Any]:
    return dict.fromkeys(names, {"const": 1} if value is None else value)


# A schema that is held exactly, texts that are written, and texts that are not.
CASES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "a name of two patterns": (
        _object(
            patternProperties={"^a": {"type": "integer"}, "b$": {"minimum": 3, "type": "number"}},
            additionalProperties={"type": "null"},
        ),
        ['{"a":1}', '{"b":4.5}', '{"ab":4}', '{"c":null,"a":0,"ab":3,"b":3}'],
        ['{"ab":1}', '{"ab":4.5}', '{"a":4.5}', '{"b":1}', '{"c":1}', '{"a":null}'],
    ),
    "a property of a pattern": (
        _object(properties={"ab": {"minimum": 2}}, patternProperties={"^a": {"enum": [1, 3]}}),
        ['{"ab":3}', '{"ab":3,"a":1}'],
        ['{"ab":1}', '{"ab":2}', '{"a":2}', '{"a":1,"ab":3}'],
    ),
    "a required name of two patterns": (
        _object(
            patternProperties={"^a": {"enum": [1, 3]}, "b$": {"enum": [2, 3]}},
            required=["ab"],
            additionalProperties=False,
        ),
        ['{"ab":3}', '{"ab":3,"b":2,"a":1}'],
        ["{}", '{"ab":1}', '{"ab":2}', '{"ab":3,"c":1}'],
    ),
    "all names in a list": (
        _object(
            properties={"b": {"const": 2}},
            propertyNames={"enum": ["c", "b", "a"]},
            patternProperties={"^a$": {"const": 3}},
            additionalProperties={"const": 1},
        ),
        ["{}", '{"b":2,"c":1,"a":3}', '{"a":3}'],
        ['{"a":1}', '{"d":1}', '{"a":3,"c":1}', '{"c":1,"c":1}'],
    ),
    "names in a list or of a pattern": (
        _object(
            properties={"a": {"const": 2}},
            propertyNames={"anyOf": [{"pattern": "^x", "type": "string"}, {"const": "a"}]},
            patternProperties={"^x": {"const": 3}},
        ),
        ["{}", '{"a":2}', '{"a":2,"x":3,"xy":3}', '{"x":3}'],
        ['{"b":1}', '{"x":1}', '{"x":3,"a":2}'],
    ),
    "names that are not in a list": (
        _object(propertyNames={"not": {"enum": ["a", "b"]}}, additionalProperties={"const": 1}),
        ["{}", '{"c":1,"ab":1}'],
        ['{"a":1}', '{"c":1,"b":1}'],
    ),
    "properties whose names may not be": (
        _object(properties=_values("a", "bcd", "ef"), propertyNames={"maxLength": 2}),
        ["{}", '{"a":1,"ef":1}'],
        ['{"bcd":1}', '{"a":1,"bcd":1}'],
    ),
    "names of a pattern and of a schema": (
        _object(patternProperties={"^a": {"const": 1}}, propertyNames={"maxLength": 2}),
        ["{}", '{"a":1,"ax":1}'],
        ['{"axx":1}', '{"b":1}'],
    ),
    "some of the properties": (
        _object(properties=_values(*"abcd"), required=["c"], minProperties=2, maxProperties=3),
        ['{"a":1,"c":1}', '{"c":1,"d":1}', '{"a":1,"b":1,"c":1}', '{"b":1,"c":1,"d":1}'],
        ['{"c":1}', '{"a":1,"b":1}', '{"a":1,"b":1,"c":1,"d":1}', "{}"],
    ),
    "at least one of the properties": (
        _object(properties=_values(*"abc"), minProperties=1, additionalProperties=False),
        ['{"a":1}', '{"b":1,"c":1}', '{"a":1,"b":1,"c":1}'],
        ["{}"],
    ),
    "one property at most": (
        _object(properties=_values(*"ab"), maxProperties=1, additionalProperties={"const": 2}),
        ["{}", '{"a":1}', '{"b":1}', '{"c":2}'],
        ['{"a":1,"b":1}', '{"a":1,"c":2}', '{"c":2,"d":2}'],
    ),
    "the required properties only": (
        _object(
            properties=_values(*"ab"),
            required=["b"],
            maxProperties=1,
            additionalProperties={"const": 2},
        ),
        ['{"b":1}'],
        ["{}", '{"a":1,"b":1}', '{"b":1,"c":2}'],
    ),
    "properties and entries counted together": (
        _object(
            properties=_values(*"ab"),
            minProperties=1,
            maxProperties=2,
            additionalProperties={"const": 2},
        ),
        ['{"a":1}', '{"a":1,"b":1}', '{"b":1,"c":2}', '{"c":2}', '{"c":2,"d":2}'],
        ["{}", '{"a":1,"b":1,"c":2}', '{"c":2,"d":2,"e":2}'],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_written_and_what_is_not(name: str) -> None:
    schema, written, refused = CASES[name]
    made = compiled(JsonSchema(schema))
    assert made.plan.guaranteed, str(made.plan)
    root = grammar(JsonSchema(schema)).root
    expr, matcher = expression(root), loaded(root)
    for text in written:
        assert matches(expr, text), text
        assert takes(matcher, text), text
        assert jsonschema_rs.is_valid(schema, json.loads(text)), text
    for text in refused:
        assert not matches(expr, text), text
        assert not takes(matcher, text), text


@pytest.mark.parametrize("others", [{}, {"additionalProperties": True}], ids=["silent", "open"])
@pytest.mark.parametrize("kind", ["properties", "patternProperties"])
def test_other_properties_are_written_when_they_are_asked_for(
    others: dict[str, Any], kind: str
) -> None:
    schema = JsonSchema(_object(**{kind: _values("a")}, **others))
    limit = "no properties beyond those that are named"
    assert limit in compiled(schema).plan.limits
    assert not engine_accepts(grammar(schema).root, '{"b":[null]}')
    assert limit not in compiled(schema, _OPEN).plan.limits
    root = grammar(schema, _OPEN).root
    assert engine_accepts(root, '{"b":[null]}')
    assert engine_accepts(root, '{"a":1,"b":{}}')
    assert not engine_accepts(root, '{"a":2}')


@pytest.mark.parametrize(
    ("schema", "keyword", "reason"),
    [
        (
            _object(properties=_values("a"), additionalProperties={"const": 1}, minProperties=2),
            "minProperties",
            "of entries with one name the last counts",
        ),
        (
            _object(properties=_values(*(f"p{i}" for i in range(90))), maxProperties=70),
            "maxProperties",
            "too many properties to count",
        ),
        (
            _object(properties=_values(*(f"p{i}" for i in range(501))), minProperties=2),
            "minProperties",
            "too many properties to count",
        ),
        (
            _object(patternProperties=_values(*"abcde")),
            "patternProperties",
            "more than 16 overlaps",
        ),
        (_object(patternProperties=_values(r"^(a|b)\1$")), "patternProperties", ""),
    ],
)
def test_what_is_too_much_is_checked_after(
    schema: dict[str, Any], keyword: str, reason: str
) -> None:
    plan = compiled(JsonSchema(schema)).plan
    found = [part for part in plan.parts if part.status == "checked after"]
    assert [part.keyword for part in found] == [keyword], str(plan)
    assert reason in found[0].reason


def test_a_simple_pattern_of_names_is_printed_as_it_is() -> None:
    patterns = {f"^{letter}[0-9]*$": {"const": 1} for letter in "abcdefgh"}
    schema = _object(properties=_values("x"), patternProperties=patterns)
    printed = print_lark(grammar(JsonSchema(schema)).root)
    assert "~" not in printed
    assert "&" not in printed


def test_many_counted_properties_are_written_and_closed() -> None:
    schema = _object(properties=_values(*(f"p{i}" for i in range(250))), minProperties=3)
    root = grammar(JsonSchema({**schema, "maxProperties": 6})).root
    matcher = loaded(root)
    for seed in range(3):
        text = random_text(root, random.Random(seed))
        assert 3 <= len(json.loads(text)) <= 6
        assert takes(matcher, text)
    assert reserve(expression(root)) < 60
