"""The strict JSON Schema of remote APIs: what is sent, and that answers come back as they were."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal, NotRequired
from uuid import UUID

import hypothesis.strategies as st
import jsonschema_rs
import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from tests.constraints.specs import Case, Chain, drawn
from typedllm.constraints.compile import compile_spec
from typedllm.constraints.dialect import RULES, Lowered
from typedllm.constraints.plan import Plan
from typedllm.constraints.strict_facets import SchemaRules, kind_of
from typedllm.errors import SpecError, UnsupportedConstraint, UsageError
from typedllm.records import JsonSchema, Lark, Limits, Traits
from typedllm.spec.keywords import walk
from typedllm.spec.kinds import Choice, Regex
from typedllm.spec.spec import spec_of


def traits(dialect: str) -> Traits:
    takes = frozenset({JsonSchema})
    return Traits(name="test", takes=takes, ending="may be cut", logprobs=False, dialect=dialect)


def lowered(output_type: Any, dialect: str = "openai") -> Lowered:
    found = compile_spec(spec_of(output_type), traits(dialect)).constraint
    assert isinstance(found, Lowered)
    return found


def plan(output_type: Any, dialect: str = "openai") -> Plan:
    return compile_spec(spec_of(output_type), traits(dialect)).plan


def told(found: Plan) -> set[tuple[str, str, str]]:
    return {(part.pointer, part.keyword, part.status) for part in found.told}


KEYWORDS = {
    "type", "enum", "anyOf", "$ref", "$defs", "properties", "required", "additionalProperties",
    "items", "description", "format", *RULES["openai"].keywords,
}  # fmt: skip


def check_strict(schema: Mapping[str, Any], dialect: str = "openai") -> None:
    """What the API would refuse a schema for."""
    assert schema["type"] == "object"
    assert "anyOf" not in schema
    rules = RULES[dialect]
    check_further(schema, rules)
    for pointer, part in walk(schema):
        assert part.keys() <= KEYWORDS, pointer
        assert ("$ref" in part) + ("anyOf" in part) + ("type" in part) == 1, pointer
        if "$ref" in part:
            assert part.keys() == {"$ref"}
            assert part["$ref"].removeprefix("#/$defs/") in schema["$defs"]
        if part.get("type") == "object":
            assert part["additionalProperties"] is False
            assert part["required"] == list(part["properties"])
        if part.get("type") == "array":
            assert isinstance(part["items"], dict)
        assert {part["format"]} <= rules.formats if "format" in part else True
        bounds = part.keys() & RULES["openai"].keywords
        assert bounds <= rules.keywords | rules.sent


def check_further(schema: Mapping[str, Any], rules: SchemaRules) -> None:
    """What only some APIs refuse."""
    parts = [part for _, part in walk(schema)]
    if rules.unions is not None:
        assert sum("anyOf" in p or isinstance(p.get("type"), list) for p in parts) <= rules.unions
    for part in parts:
        assert part.get("minItems", 0) <= (rules.least_items or math.inf)
        assert {kind_of(value) for value in part.get("enum", ())} <= rules.enum_kinds
        assert rules.empty_objects or part.get("properties", True)
    if not rules.recursion:
        homes: Mapping[str, Any] = schema.get("$defs", {})
        for name in homes:
            assert name not in referred(name, homes), "it refers to itself"


def referred(name: str, homes: Mapping[str, Any]) -> set[str]:
    """All definitions that one refers to."""
    found, waiting = set[str](), [name]
    while waiting:
        for _, part in walk(homes[waiting.pop()]):
            target = part.get("$ref", "").removeprefix("#/$defs/")
            if target and target not in found:
                found.add(target)
                waiting.append(target)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["openai", "azure", "anthropic", "gemini", "cohere"])
@pytest.mark.parametrize("seed", range(4))
def test_values_go_and_come_back(dialect: str, seed: int):
    def body(case: Case, data: st.DataObject) -> None:
        spec = spec_of(case.type)
        if spec.schema is None:
            return
        try:
            made = lowered(case.type, dialect)
        except SpecError as error:
            assert "too large for the dialect" in str(error)
            return
        if not made.strict:
            assert not made.enforced
            assert not compile_spec(spec, traits(dialect)).plan.guaranteed
            return
        check_strict(made.schema, dialect)
        value = data.draw(case.values)
        sent = made.encode(value)
        if case.schema_decides:
            jsonschema_rs.Draft202012Validator(dict(made.schema)).validate(sent)
        plain = json.loads(made.decode(json.dumps(sent)))
        back = made.reading(spec).read(json.dumps(sent))
        if plain == value:
            assert back == spec.read(json.dumps(value))
        else:  # what may be null and may be left out comes back as null
            assert without_nulls(plain) == without_nulls(value)

    drawn(seed, 60, body)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


class Address(TypedDict):
    street: str
    floor: NotRequired[int]
    note: NotRequired[str | None]


def test_what_may_be_left_out_is_null_and_dropped_again():
    made = lowered(Address)
    assert made.schema["properties"]["floor"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert made.schema["properties"]["note"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert made.encode({"street": "A"}) == {"street": "A", "floor": None, "note": None}
    answer = '{"street": "A", "floor": null, "note": null}'
    assert made.reading(spec_of(Address)).read(answer) == {"street": "A", "note": None}
    found = plan(Address)
    assert ("#", "properties", "rewritten") in told(found)
    assert "floor, note" in str(found)


class Cat(BaseModel):
    kind: Literal["cat"]
    age: int = 3


class Dog(BaseModel):
    kind: Literal["dog"]
    age: int | None = 4


class Plain(TypedDict):
    age: NotRequired[int]
    name: str


class Maybe(TypedDict):
    age: int | None
    name: Annotated[str, Field(max_length=3)]


def test_which_null_is_dropped_is_told_by_the_branch():
    made = lowered(list[Cat | Dog])
    spec = made.reading(spec_of(list[Cat | Dog]))
    text = '{"value": [{"kind": "cat", "age": null}, {"kind": "dog", "age": null}]}'
    assert spec.read(text) == [Cat(kind="cat"), Dog(kind="dog", age=None)]
    both = lowered(Maybe | Plain)
    assert json.loads(both.decode('{"value": {"age": null, "name": "Bo"}}')) == {
        "age": None,
        "name": "Bo",
    }
    assert json.loads(both.decode('{"value": {"age": null, "name": "long"}}')) == {"name": "long"}


def test_what_is_no_object_is_wrapped_and_unwrapped():
    made = lowered(list[float])
    assert made.schema == {
        "type": "object",
        "properties": {"value": {"type": "array", "items": {"type": "number"}}},
        "required": ["value"],
        "additionalProperties": False,
    }
    assert made.decode('{"value" : [1.10, 2e1]}').strip() == "[1.10, 2e1]"
    for other in ("[1.0]", "{", '{"value": 1, "more": 2}', "[" * 100_000, '"\\ud800"'):
        assert made.decode(other) == other
    assert ("#", "type", "rewritten") in told(plan(list[float]))


def test_recursion_and_definitions_are_kept():
    made = lowered(Chain)
    assert made.schema["properties"]["next"] == {
        "anyOf": [{"$ref": "#/$defs/Chain"}, {"type": "null"}]
    }
    check_strict(made.schema)
    deep = {"name": "a", "next": {"name": "b", "next": None}}
    assert made.encode({"name": "a", "next": {"name": "b"}}) == deep


def test_texts_of_a_form():
    choice = lowered(Choice(["x", "y"]))
    assert choice.schema["properties"]["value"] == {"type": "string", "enum": ["x", "y"]}
    assert choice.decode('{"value": "x"}') == "x"
    assert choice.decode("x") == "x"
    regex = lowered(Regex("[a-z]|b"))
    assert regex.schema["properties"]["value"]["pattern"] == "^(?:[a-z]|b)$"
    for pattern, dialect in (("(?=a).b", "openai"), ("[a-z]", "azure")):
        found = compile_spec(spec_of(Regex(pattern)), traits(dialect))
        assert found.constraint is None
        assert told(found.plan) == {("#", "pattern", "checked after")}
    with pytest.raises(UnsupportedConstraint):
        lowered(Lark("start: /a/"))
    text = compile_spec(spec_of(str), traits("openai"))
    assert (text.constraint, text.plan.parts) == (None, ())


# An output type, and what stands in the schema that is sent for it.
SENT: dict[str, tuple[Any, str, Mapping[str, Any], str]] = {
    "bounds": (Annotated[int, Field(ge=1, lt=9)], "openai",
               {"type": "integer", "minimum": 1, "exclusiveMaximum": 9}, "exclusiveMaximum"),
    "no bounds": (Annotated[int, Field(ge=1)], "azure", {"type": "integer"}, ""),
    "length": (Annotated[str, Field(max_length=9)], "openai", {"type": "string"}, ""),
    "pattern": (Annotated[str, Field(pattern="^a+$")], "openai",
                {"type": "string", "pattern": "^a+$"}, "pattern"),
    "open pattern": (Annotated[str, Field(pattern="^a|b$")], "openai", {"type": "string"}, ""),
    "items": (Annotated[list[int], Field(min_length=1, max_length=2)], "openai",
              {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
              "minItems"),
    "pair": (tuple[int, int], "openai",
             {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
             "minItems"),
    "mixed pair": (tuple[int, str], "azure",
                   {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]}},
                   ""),
}  # fmt: skip


@pytest.mark.parametrize("name", SENT)
def test_bounds_are_sent_where_they_are_known_and_checked_elsewhere(name: str):
    output_type, dialect, schema, held = SENT[name]
    assert lowered(output_type, dialect).schema["properties"]["value"] == schema
    found = plan(output_type, dialect)
    assert found.guaranteed is bool(held)
    if held:
        assert ("#", held) in {(p.pointer, p.keyword) for p in found.parts}


def test_what_combines_schemas_is_rewritten():
    schema = {
        "allOf": [
            {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"]},
            {"properties": {"a": {"oneOf": [{"type": "integer"}, {"type": "null"}]}}},
        ],
    }
    made = lowered(JsonSchema(schema))
    check_strict(made.schema)
    assert list(made.schema["properties"]) == ["b", "a"]
    assert plan(JsonSchema(schema)).guaranteed


@pytest.mark.parametrize(
    ("output_type", "place"),
    [
        (dict[str, int], "# additionalProperties"),
        (list[Any], "#/items schema"),
        (JsonSchema({"type": "object"}), "# type"),
        (JsonSchema({"type": "array"}), "# items"),
        (JsonSchema({"type": "object", "patternProperties": {"a": {}}}), "# patternProperties"),
        (JsonSchema({"enum": [[1], {"a": 1}]}), "# enum"),
        (
            JsonSchema({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}),
            "# $ref",
        ),
    ],
)
def test_what_no_strict_schema_says_is_a_hint(output_type: Any, place: str):
    made, found = lowered(output_type), plan(output_type)
    assert (made.strict, made.enforced) == (False, False)
    assert {part.status for part in found.parts} <= {"checked after", "annotation"}
    assert not found.guaranteed
    assert place.split()[1] in str(found) or place.split()[1] == "schema"
    assert "x-typedllm" not in str(made.schema)
    assert made.schema["type"] == "object"


def test_references_of_a_hint_hold_where_it_is_put():
    tree = {"anyOf": [{"type": "object", "additionalProperties": {"$ref": "#"}}, {"type": "null"}]}
    made = lowered(JsonSchema(tree))
    validator = jsonschema_rs.Draft202012Validator(dict(made.schema))
    assert validator.is_valid({"value": {"a": {"b": None}}})
    assert not validator.is_valid({"value": {"a": {"b": 1}}})
    kept = lowered(dict[str, Chain]).schema
    jsonschema_rs.Draft202012Validator(dict(kept)).validate({"a": {"name": "x", "next": None}})


def test_further_properties_are_a_hint_where_they_are_to_be_written():
    spec = spec_of(JsonSchema({"type": "object", "properties": {"a": {"type": "null"}}}))
    closed = compile_spec(spec, traits("openai")).plan
    assert closed.limits == ("no properties beyond those that are named",)
    found = compile_spec(spec, traits("openai"), Limits(extra_properties=True))
    assert isinstance(found.constraint, Lowered)
    assert not found.constraint.strict


def nested(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "integer"}
    for _ in range(levels):
        inner = {"type": "object", "properties": {"a": inner}, "required": ["a"]}
    return inner


TOO_LARGE: dict[str, tuple[Any, str]] = {
    "properties": ({f"p{n}": "int" for n in range(101)}, "more than 100 properties in all, at #"),
    "depth": (nested(6), "more than 5 objects inside each other, at #/properties/a/"),
    "values": (Choice([f"v{n}" for n in range(501)]), "more than 500 values of enumerations"),
    "characters": ({"a" * 15_001: "int"}, "more than 15,000 characters of names"),
    "large enum": (
        Choice([f"{n:<40}." for n in range(251)]),
        "more than 7,500 characters in an enumeration .* at #/properties/value ",
    ),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_is_too_large_is_told_before_any_call(name: str):
    output_type, message = TOO_LARGE[name]
    with pytest.raises(SpecError, match=message):
        lowered(output_type, "azure")
    assert lowered(output_type, "structure")


def test_depth_is_counted_along_references():
    class Inner(BaseModel):
        x: int

    kind: Any = Inner
    for level in range(5):
        kind = type(f"Level{level}", (BaseModel,), {"__annotations__": {"below": kind}})
    with pytest.raises(SpecError, match="objects inside each other"):
        lowered(kind, "azure")
    lowered(Chain, "azure")


def test_a_dialect_that_is_not_there():
    with pytest.raises(UsageError, match="the dialect 'cobol'; there are openai, azure"):
        plan(int, "cobol")


def test_nothing_satisfies_it():
    with pytest.raises(SpecError, match="no value satisfies"):
        lowered(JsonSchema({"type": "integer", "minimum": 3, "maximum": 2}))


class Own(TypedDict):
    kind: Literal["A", "b", 1, True, None]
    level: Annotated[int, Field(ge=1, lt=9)]
    tags: Annotated[list[str], Field(min_length=1, max_length=3)]
    pair: Annotated[list[int], Field(min_length=2)]
    born: date
    mail: NotRequired[UUID]


TEXT: Any = {"type": "string"}
LISTED: Any = {"type": ["string", "integer", "boolean", "null"], "enum": ["A", "b", 1, True, None]}
OWN: dict[str, tuple[dict[str, Any], set[tuple[str, str]]]] = {
    "anthropic": (
        {
            "kind": LISTED,
            "level": {"type": "integer"},
            "tags": {"type": "array", "items": TEXT, "minItems": 1},
            "pair": {"type": "array", "items": {"type": "integer"}},
            "born": {"type": "string", "format": "date"},
            "mail": {"anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}]},
        },
        {
            *(("kind", "enum"), ("level", "minimum"), ("level", "exclusiveMaximum")),
            *(("tags", "maxItems"), ("pair", "minItems"), ("born", "format")),
        },
    ),
    "gemini": (
        {
            "kind": {
                "anyOf": [
                    {"type": "string", "enum": ["A", "b"]},
                    {"type": "integer", "enum": [1]},
                    {"type": "boolean"},
                    {"type": "null"},
                ]
            },
            "level": {"type": "integer", "minimum": 1},
            "tags": {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 3},
            "pair": {"type": "array", "items": {"type": "integer"}, "minItems": 2},
            "born": {"type": "string", "format": "date"},
            "mail": {"anyOf": [TEXT, {"type": "null"}]},
        },
        {
            *(("kind", "enum"), ("level", "minimum"), ("level", "exclusiveMaximum")),
            *(("tags", "minItems"), ("tags", "maxItems"), ("pair", "minItems")),
            *(("born", "format"), ("mail", "format")),
        },
    ),
    "cohere": (
        {
            "kind": LISTED,
            "level": {"type": "integer"},
            "tags": {"type": "array", "items": TEXT},
            "pair": {"type": "array", "items": {"type": "integer"}},
            "born": {"type": "string", "format": "date"},
            "mail": {"anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}]},
        },
        {
            *(("level", "minimum"), ("level", "exclusiveMaximum"), ("tags", "minItems")),
            *(("tags", "maxItems"), ("pair", "minItems"), ("born", "format")),
        },
    ),
}


@pytest.mark.parametrize("dialect", OWN)
def test_what_each_provider_takes_and_what_is_checked_after(dialect: str):
    properties, checked = OWN[dialect]
    made = lowered(Own, dialect)
    assert made.schema["properties"] == properties
    check_strict(made.schema, dialect)
    found = {
        (part.pointer.removeprefix("#/properties/"), part.keyword)
        for part in plan(Own, dialect).parts
        if part.status == "checked after"
    }
    assert found == checked


def test_whose_capitals_are_not_held_is_checked():
    for output_type, held in ((Literal["a"], False), (Literal["1", "2"], True)):
        assert plan(output_type, "anthropic").guaranteed is held
        assert plan(output_type, "gemini").guaranteed
    assert not plan(Choice(["yes", "no"]), "anthropic").guaranteed
    assert plan(bool, "gemini").guaranteed
    assert plan(Literal[True, False], "gemini").guaranteed


@pytest.mark.parametrize(
    ("output_type", "dialect", "reason"),
    [
        (Chain, "anthropic", "has no recursion"),
        (Chain, "gemini", "has no recursion"),
        ({f"f{n}": "int | None" for n in range(17)}, "anthropic", "more than 16 places"),
        (JsonSchema({"type": "object", "additionalProperties": False}), "cohere", "it has none"),
    ],
)
def test_what_one_provider_cannot_be_sent_is_a_hint(output_type: Any, dialect: str, reason: str):
    made = lowered(output_type, dialect)
    assert (made.strict, made.enforced) == (False, False)
    assert reason in str(plan(output_type, dialect))
    assert lowered(output_type, "structure").strict


@pytest.mark.parametrize("dialect", ["asked", "hint", "tool"])
def test_what_is_only_asked_for_is_checked_after(dialect: str):
    found = plan(Address, dialect)
    assert {part.status for part in found.parts} <= {"checked after", "annotation"}
    assert not lowered(Address, dialect).enforced
    assert (compile_spec(spec_of(Choice(["a"])), traits("hint"))).constraint is None
