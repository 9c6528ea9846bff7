"""JSON Schemas as trees of rules: what is written, and that it is valid."""

from __future__ import annotations

import json
import random
from datetime import date
from typing import Annotated, Any, Literal

import hypothesis.strategies as st
import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import Field, TypeAdapter

from tests.constraints.test_lossless import engine_accepts, loaded, takes
from tests.constraints.walking import compiled, grammar
from typedllm.constraints.references import References
from typedllm.errors import SpecError
from typedllm.grammar.drawing import random_text
from typedllm.grammar.expression import expression
from typedllm.grammar.regular import matches
from typedllm.records import Grammar, JsonSchema, Limits
from typedllm.spec.keywords import escape

OBJECT = {"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}}}
TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            "required": ["kids"],
        }
    },
    "$ref": "#/$defs/node",
}
# A schema, texts that are written, and texts that are not.
CASES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "several types": (
        {"type": ["integer", "null", "boolean"]},
        ["1", "null", "true"],
        ['"a"', "1.5"],
    ),
    "integers are numbers": ({"type": ["integer", "number"]}, ["1", "1.5"], ["null"]),
    "a type left open": ({"minimum": 3, "title": "t"}, ["3", "4.5"], ["2", '"a"']),
    "two types left open": (
        {"minimum": 3, "required": ["a"]},
        ["3", '{"a":null}'],
        ["2", "{}"],
    ),
    "any value": (
        {"type": "array", "items": True},
        ["[]", '[1,[2,{"k":["x"]}],null]'],
        ["1"],
    ),
    "constants of every kind": (
        {"enum": [1, "a", None, [1, {"x": [True]}], {"k": []}, 'q"']},
        ["1", '"a"', "null", '[1,{"x":[true]}]', '{"k":[]}', r'"q\""'],
        ["2", "[]", '[1,{"x":[]}]'],
    ),
    "an enum narrowed by its neighbours": (
        {"enum": [1, 5, "a", 9], "type": "integer", "maximum": 6, "description": "d"},
        ["1", "5"],
        ["9", '"a"'],
    ),
    "a const beside a type": ({"const": 3, "type": "integer"}, ["3"], ["4"]),
    "one branch of all": ({"allOf": [{"type": "integer"}]}, ["7"], ["7.5"]),
    "branches without the impossible": (
        {"anyOf": [False, {"type": "null"}, {"enum": []}, {"type": "integer", "maximum": 0}]},
        ["null", "0", "-5"],
        ["1"],
    ),
    "a union told apart by a name": (
        {
            "oneOf": [{"const": "a"}, {"const": "b"}],
            "discriminator": {"propertyName": "x"},
        },
        ['"a"', '"b"'],
        ['"c"'],
    ),
    "optional properties": (
        OBJECT | {"additionalProperties": False},
        ["{}", '{"a":1}', '{"b":2}', '{"a":1,"b":2}'],
        ['{"b":2,"a":1}', '{"c":3}', '{"a":2}'],
    ),
    "no further properties unless they are asked for": (OBJECT, ['{"a":1}'], ['{"c":3}']),
    "further properties": (
        OBJECT | {"required": ["b"], "additionalProperties": {"type": "null"}},
        ['{"b":2}', '{"a":1,"b":2,"c":null,"aa":null,"":null}'],
        ['{"a":1}', '{"b":2,"b":null}', '{"b":2,"a":null}', '{"b":2,"c":1}'],
    ),
    "a required property without a schema": (
        {"type": "object", "required": ["x"], "additionalProperties": {"const": 0}},
        ['{"x":0}', '{"x":0,"y":0}'],
        ["{}", '{"y":0}'],
    ),
    "an impossible property that may be left out": (
        {"type": "object", "properties": {"a": False, "b": {"const": 2}}},
        ["{}", '{"b":2}'],
        ['{"a":1}'],
    ),
    "all of the properties": (OBJECT | {"minProperties": 2}, ['{"a":1,"b":2}'], ["{}", '{"a":1}']),
    "counted entries": (
        {"type": "object", "additionalProperties": {"const": 1}, "maxProperties": 2},
        ["{}", '{"x":1}', '{"x":1,"y":1}'],
        ['{"x":1,"y":1,"z":1}'],
    ),
    "counted entries beside properties": (
        {
            "type": "object",
            "properties": {"a": {"const": 1}},
            "required": ["a"],
            "additionalProperties": {"const": 1},
            "minProperties": 2,
            "maxProperties": 3,
        },
        ['{"a":1,"x":1}', '{"a":1,"x":1,"y":1}'],
        ['{"a":1}', '{"a":1,"x":1,"y":1,"z":1}'],
    ),
    "names of a pattern": (
        {"type": "object", "patternProperties": {"^x[0-9]$": {"const": 1}}},
        ["{}", '{"x1":1,"x2":1}'],
        ['{"x":1}', '{"x1":2}', '{"y":1}'],
    ),
    "names of a pattern beside properties": (
        {
            "type": "object",
            "properties": {"a": {"const": 1}},
            "patternProperties": {"^b+$": {"const": 2}},
            "additionalProperties": False,
        },
        ["{}", '{"a":1,"b":2,"bb":2}', '{"bbb":2}'],
        ['{"c":1}', '{"a":2}'],
    ),
    "names of a schema": (
        {
            "type": "object",
            "propertyNames": {"pattern": "^[a-c]$", "maxLength": 1},
            "additionalProperties": {"const": 1},
        },
        ["{}", '{"a":1,"c":1}'],
        ['{"d":1}'],
    ),
    "names of a list": (
        {"type": "object", "propertyNames": {"enum": ["x", "y"]}},
        ["{}", '{"x":null,"y":[]}'],
        ['{"z":1}'],
    ),
    "names that properties have anyway": (
        OBJECT | {"propertyNames": {"maxLength": 1}, "additionalProperties": False},
        ['{"a":1}'],
        ['{"cc":1}'],
    ),
    "a tuple": (
        {"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": False},
        ["[]", "[1]", "[1,2]"],
        ["[2]", "[1,2,3]"],
    ),
    "a tuple that ends early": (
        {"type": "array", "prefixItems": [{"const": 1}, False, {"const": 3}]},
        ["[]", "[1]"],
        ["[1,2]", "[1,3]"],
    ),
    "a tuple that is cut": (
        {"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "maxItems": 1},
        ["[]", "[1]"],
        ["[1,2]"],
    ),
    "a tuple and more": (
        {"type": "array", "prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 2},
        ["[1,2]", "[1,2,2]"],
        ["[1]", "[2,2]"],
    ),
    "items that differ": (
        {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True, "minItems": 2},
        ["[1,2]", "[3,1,2]"],
        ["[1]", "[1,1]", "[1,2,3,1]"],
    ),
    "one item is different from none": (
        {"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "maxItems": 1},
        ["[]", "[5]"],
        ["[5,6]"],
    ),
    "a recursion": (
        TREE,
        ['{"kids":[]}', '{"kids":[{"kids":[]},{"kids":[{"kids":[]}]}]}'],
        ['{"kids":[1]}', "{}"],
    ),
    "keywords of other types": (
        {"type": "integer", "maxLength": 3, "minItems": 4},
        ["1234"],
        ['"a"'],
    ),
    "formats": (
        {"type": "string", "format": "date", "maxLength": 10, "pattern": "^2"},
        ['"2024-05-17"'],
        ['"1999-05-17"', '"2024-02-30"'],
    ),
    "a length of what is repeated": (
        {"type": "string", "pattern": "^x[a-z]*$", "minLength": 3},
        ['"xab"', '"xabcd"'],
        ['"xa"', '"abc"'],
    ),
    "a pattern of names and others": (
        {
            "type": "object",
            "patternProperties": {"^x": {"const": 1}},
            "additionalProperties": {"const": 2},
        },
        ['{"x":1,"xx":1}', '{"y":2}', '{"y":2,"x":1}'],
        ['{"y":1}', '{"x":2}'],
    ),
    "a pattern of names that may not be": (
        {"type": "object", "patternProperties": {"^x": False}, "properties": {"a": {"const": 1}}},
        ["{}", '{"a":1}'],
        ['{"x":1}', '{"y":1}'],
    ),
    "any names": (
        {"type": "object", "propertyNames": True, "additionalProperties": {"const": 1}},
        ['{"a":1}'],
        ['{"a":2}'],
    ),
    "no names": (
        {"type": "object", "propertyNames": False, "additionalProperties": {"const": 1}},
        ["{}"],
        ['{"a":1}'],
    ),
    "names of no strings": (
        {"type": "object", "propertyNames": {"type": "integer"}},
        ["{}"],
        ['{"1":1}'],
    ),
    "an enum narrowed by a format": (
        {"enum": ["2024-02-30", "2024-02-29"], "format": "date"},
        ['"2024-02-29"'],
        ['"2024-02-30"'],
    ),
    "a property that may not be": (
        {"type": "object", "properties": {"a": False}, "additionalProperties": {"const": 1}},
        ["{}", '{"b":1}'],
        ['{"a":1}'],
    ),
    "a tuple of an older draft": (
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "array",
            "items": [{"const": 1}, {"const": 2}],
            "additionalItems": {"const": 3},
        },
        ["[]", "[1]", "[1,2,3,3]"],
        ["[2]", "[1,2,2]", "[1,3]"],
    ),
    "a length that a pattern has anyway": (
        {"type": "string", "pattern": "^(ab|cd)$", "minLength": 1, "maxLength": 9},
        ['"ab"'],
        ['"a"'],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_written(name: str) -> None:
    schema, written, refused = CASES[name]
    validator = jsonschema_rs.validator_for(schema)
    root = grammar(JsonSchema(schema)).root
    expr, matcher = expression(root), loaded(root)
    for text in written:
        assert matches(expr, text), text
        assert takes(matcher, text), text
        assert validator.is_valid(json.loads(text)), text
    for text in refused:
        assert not matches(expr, text), text
        assert not takes(matcher, text), text


@pytest.mark.parametrize("name", CASES)
def test_all_that_is_written_is_valid(name: str) -> None:
    schema = CASES[name][0]
    assert compiled(JsonSchema(schema)).plan.guaranteed, str(compiled(JsonSchema(schema)).plan)
    validator = jsonschema_rs.validator_for(schema, validate_formats=True)
    root = grammar(JsonSchema(schema)).root
    rng = random.Random(name)
    for _ in range(30):
        text = random_text(root, rng)
        assert validator.is_valid(json.loads(text)), text


_VALUES = st.sampled_from([None, True, 0, 1, 2, 1.5, "", "a", "ab", "b", [], [1], {}, {"a": 1}])
_NAMES = st.sampled_from(["a", "b", "ab"])
_COUNTS = st.integers(0, 3)
_PATTERNS = st.sampled_from(["^a", "b$", "^[ab]{1,2}$", "^a?b*$"])
_BOUNDS = st.sampled_from([-2, 0, 0.5, 1, 3, 10])


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": st.sampled_from(
            ["string", "number", "integer", "array", "object", "boolean", ["null", "string"]]
        ),
        "enum": st.lists(_VALUES, min_size=1, max_size=4, unique_by=repr),
        "const": _VALUES,
        **dict.fromkeys(["minLength", "maxLength", "minItems", "maxItems"], _COUNTS),
        **dict.fromkeys(["minProperties", "maxProperties"], _COUNTS),
        **dict.fromkeys(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"], _BOUNDS),
        "multipleOf": st.sampled_from([1, 2, 0.5, 3]),
        "pattern": _PATTERNS,
        "format": st.sampled_from(["date", "uuid", "ipv4", "other"]),
        "uniqueItems": st.booleans(),
        "required": st.lists(_NAMES, unique=True, max_size=2),
        **dict.fromkeys(["items", "additionalProperties", "not", "propertyNames"], inner),
        **dict.fromkeys(
            ["anyOf", "oneOf", "allOf", "prefixItems"], st.lists(inner, min_size=1, max_size=2)
        ),
        "properties": st.dictionaries(_NAMES, inner, max_size=2),
        "patternProperties": st.dictionaries(_PATTERNS, inner, max_size=2),
    }
    some = st.lists(st.sampled_from(sorted(keywords)), max_size=4, unique=True)
    return some.flatmap(lambda names: st.fixed_dictionaries({n: keywords[n] for n in names}))


SCHEMAS = _schemas(st.one_of(st.booleans(), _schemas(st.one_of(st.booleans(), st.just({})))))


@given(SCHEMAS, st.integers(0, 10**9))
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_a_guaranteed_schema_is_obeyed(schema: dict[str, Any], seed: int) -> None:
    try:
        made = compiled(JsonSchema(schema))
    except SpecError:
        return
    if made.plan.guaranteed:
        assert isinstance(made.constraint, Grammar)
        validator = jsonschema_rs.validator_for(schema, validate_formats=True)
        rng = random.Random(seed)
        for _ in range(5):
            text = random_text(made.constraint.root, rng)
            assert validator.is_valid(json.loads(text)), text


def test_a_required_name_of_a_pattern_has_its_schema() -> None:
    schema = {
        "type": "object",
        "patternProperties": {"^x": {"const": 1}},
        "required": ["x1"],
        "additionalProperties": False,
    }
    assert matches(expression(grammar(JsonSchema(schema)).root), '{"x1":1}')


def test_keys_of_every_kind() -> None:
    short = Annotated[str, Field(pattern="^k[0-9]+$", max_length=3)]
    for kind, written, refused in [
        (dict[short, int], ['{"k1":1,"k22":2}', "{}"], ['{"k123":1}', '{"x":1}']),
        (dict[int | Literal["a", True], int], ['{"-5":1,"a":2,"true":3}'], ['{"b":1}', "{5:1}"]),
        (dict[date, int], ['{"2024-05-17":1}'], ['{"today":1}']),
        (dict[Any, int], ['{"any thing":1}'], ["{1:1}"]),
    ]:
        assert compiled(kind).plan.guaranteed
        root = grammar(kind).root
        for text in written:
            TypeAdapter(kind).validate_json(text)
            assert engine_accepts(root, text), text
        assert not any(engine_accepts(root, text) for text in refused)


def test_properties_are_written_in_the_order_of_the_schema() -> None:
    fields = ["zeta", "alpha", "mid"]
    root = grammar({field: "bool" for field in fields}).root
    assert list(json.loads(random_text(root, random.Random(0)))) == fields


@pytest.mark.parametrize("recursion", [0, 1, 3])
def test_a_recursion_is_entered_as_often_as_the_limit_says(recursion: int) -> None:
    limits = Limits(recursion=recursion)
    expr = expression(grammar(JsonSchema(TREE), limits).root)

    def nested(levels: int) -> str:
        return '{"kids":[' + (nested(levels - 1) if levels else "") + "]}"

    assert matches(expr, nested(recursion))
    assert not matches(expr, nested(recursion + 1))
    plan = compiled(JsonSchema(TREE), limits).plan
    assert plan.limits == (
        f"recursion of #/$defs/node to {recursion} levels",
        "no properties beyond those that are named",
    )


def test_a_second_recursion_counts_for_itself() -> None:
    schema = {"type": "object", "properties": {"x": TREE | {}, "y": {"$ref": "#/$defs/node"}}}
    schema = {**schema, "$defs": TREE["$defs"], "required": ["x", "y"]}
    deep = '{"kids":[{"kids":[{"kids":[]}]}]}'
    expr = expression(grammar(JsonSchema(schema), Limits(recursion=2)).root)
    assert matches(expr, f'{{"x":{deep},"y":{deep}}}')


def test_limits_bound_what_was_left_open() -> None:
    limits = Limits(items=2, string_length=3)
    schema = {
        "a": "list[int]",
        "b": "str",
        "c": "dict[str, int]",
        "d": "list[int](min_length=3)",
        "e": "str(min_length=5)",
        "f": "str(max_length=9)",
    }
    made = compiled(schema, limits)
    assert made.plan.guaranteed
    assert {
        "arrays of at most 2 items",
        "arrays of at most 3 items",
        "strings of at most 3 characters",
        "strings of at most 5 characters",
        "dicts of at most 2 entries",
    } <= set(made.plan.limits)
    expr = expression(grammar(schema, limits).root)

    def text(items: int, length: int, entries: int) -> str:
        value = {
            "a": [1] * items,
            "b": "x" * length,
            "c": {str(n): n for n in range(entries)},
            "d": [1, 2, 3],
            "e": "x" * 5,
            "f": "x" * 9,
        }
        return json.dumps(value, separators=(",", ":"))

    # The keys of a dict are strings that were left open too.
    assert matches(expr, text(2, 3, 2))
    assert not matches(expr, text(3, 3, 2))
    assert not matches(expr, text(2, 4, 2))
    assert not matches(expr, text(2, 3, 3))


def test_any_value_is_nested_to_the_limit() -> None:
    limits = Limits(recursion=2, items=3)
    made = compiled(dict[str, Any], limits)
    assert "values of any type: nested to 2 levels" in made.plan.limits
    expr = expression(grammar(dict[str, Any], limits).root)
    assert matches(expr, '{"a":[[1,2,3],{"x":null}]}')
    assert not matches(expr, '{"a":[[[1]]]}')
    assert not matches(expr, '{"a":[1,2,3,4]}')


def test_pointers_into_a_schema() -> None:
    schema = {
        "$defs": {"a/b": {"type": "null"}, "c~d": [{"type": "integer"}, {"$ref": "#/$defs/a~1b"}]},
        "allOf": [{"$ref": "#/$defs/a~1b"}, {"$ref": "#/$defs/c~0d/1"}, {"$ref": "#/%24defs"}],
        "anyOf": [{"$ref": "#/nowhere"}, {"$ref": "#/x/9"}, {"$ref": "other"}, {"$ref": 5}],
    }
    references = References(schema)
    assert references.target("#/$defs/a~1b") == {"type": "null"}
    assert references.target("#/$defs/c~0d/1") == {"$ref": "#/$defs/a~1b"}
    assert references.target("#/%24defs") is schema["$defs"]
    assert not any(map(references.resolves, ("#/nowhere", "#/x/9", "other")))
    assert references.cycle("#/$defs/a~1b") == 0
    assert escape("a/b~c") == "a~1b~0c"


def test_cycles_of_references() -> None:
    schema = {
        "$defs": {
            "a": {"items": {"$ref": "#/$defs/b"}},
            "b": {"items": {"$ref": "#/$defs/a"}, "not": {"$ref": "#/$defs/c"}},
            "c": {"type": "null"},
        },
        "$ref": "#/$defs/a",
    }
    references = References(schema)
    assert [references.cycle(f"#/$defs/{name}") for name in "abc"] == [2, 2, 0]
    assert references.within("#/$defs/b/items", "#/$defs/a")
    assert not references.within("#", "#/$defs/a")
    assert not references.within("#/$defs/c", "#/$defs/a")
