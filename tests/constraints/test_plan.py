"""Plans: what holds by construction, what is only checked, and why."""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    AfterValidator,
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    EmailStr,
    Field,
    PlainValidator,
    PositiveInt,
    StringConstraints,
    WrapValidator,
    field_validator,
    model_validator,
)

from tests.constraints.walking import TRAITS, compiled
from typedllm import explain
from typedllm.constraints.compile import compile_spec
from typedllm.constraints.plan import Notes, Part
from typedllm.errors import UnsupportedConstraint
from typedllm.grammar.drawing import random_text
from typedllm.records import Grammar, JsonSchema, Lark, Limits, Traits
from typedllm.spec.kinds import Choice, Regex
from typedllm.spec.spec import spec_of


def even(value: int) -> int:
    assert value % 2 == 0
    return value


class Later(BaseModel):
    begin: int
    end: int

    @model_validator(mode="after")
    def in_order(self) -> Later:
        assert self.begin <= self.end
        return self


class Named(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def capital(cls, value: str) -> str:
        assert value.istitle()
        return value


class Initialized(BaseModel):
    x: int

    def model_post_init(self, context: Any, /) -> None:
        assert self.x


@dataclass
class Posted:
    x: int

    def __post_init__(self) -> None:
        assert self.x


class Key(enum.IntEnum):
    ONE = 1


def schema(**keywords: Any) -> JsonSchema:
    return JsonSchema(keywords)


# An output type, and what is checked after: pointer, keyword, and a part of the reason.
CHECKED: dict[str, tuple[Any, list[tuple[str, str, str]]]] = {
    "after": (Annotated[int, AfterValidator(even)], [("#", "x-typedllm", "the validator even")]),
    "before": (Annotated[int, BeforeValidator(even)], [("#", "x-typedllm", "the validator even")]),
    "plain": (Annotated[int, PlainValidator(even)], [("#", "x-typedllm", "the validator even")]),
    "wrap": (
        Annotated[int, WrapValidator(lambda value, handler: handler(value))],
        [("#", "x-typedllm", "the validator <lambda>")],
    ),
    "model": (Later, [("#", "x-typedllm", "the validator Later.in_order")]),
    "field": (
        list[Named],
        [("#/$defs/Named/properties/name", "x-typedllm", "the validator Named.capital")],
    ),
    "post init": (Initialized, [("#", "x-typedllm", "Initialized.model_post_init")]),
    "__post_init__": (Posted, [("#", "x-typedllm", "Posted.__post_init__")]),
    "dates": (
        Annotated[date, Field(gt=date(2024, 1, 1))],
        [("#", "x-typedllm", "the bounds gt")],
    ),
    "datetimes": (
        list[Annotated[datetime, Field(ge=datetime(2024, 1, 1), lt=datetime(2025, 1, 1))]],
        [("#/items", "x-typedllm", "the bounds ge, lt")],
    ),
    "durations": (
        Annotated[timedelta, Field(le=timedelta(1))],
        [("#", "x-typedllm", "the bounds le")],
    ),
    "stripped": (
        Annotated[str, StringConstraints(strip_whitespace=True, min_length=2)],
        [("#", "x-typedllm", "min_length after strip_whitespace")],
    ),
    "lowered": (
        Annotated[str, StringConstraints(to_lower=True, pattern="^[A-Z]+$")],
        [("#", "x-typedllm", "pattern after to_lower")],
    ),
    "a set": (
        Annotated[set[int], Field(min_length=2)],
        [("#", "minItems", "repeated items of a set are merged")],
    ),
    "a dict": (
        Annotated[dict[str, int], Field(min_length=2)],
        [("#", "minProperties", "of entries with one name the last counts")],
    ),
    "keys that are numbers": (
        dict[Key, int],
        [("#", "propertyNames", "some names are numbers")],
    ),
    "bytes of a length": (
        Annotated[Base64Bytes, Field(max_length=2)],
        [
            ("#", "x-typedllm", "the validator max_length_validator"),
            ("#", "maxLength", "counted after decoding"),
        ],
    ),
    "complex": (complex, [("#", "x-typedllm", "a complex number")]),
    "an item somewhere": (
        schema(type="array", contains={"const": 3}),
        [("#", "contains", "not in the grammar")],
    ),
    "items that differ": (
        schema(type="array", items={"type": "integer"}, uniqueItems=True),
        [("#", "uniqueItems", "items may repeat")],
    ),
    "a pattern with too many states": (
        schema(type="string", pattern="^(..){0,40}a(..){0,40}b.{20}$", minLength=31, maxLength=33),
        [("#", "pattern", "together with the length: an intersection has more than 2,000 states")],
    ),
    "a multiple": (
        schema(type="integer", multipleOf=7),
        [("#", "multipleOf", "no small grammar for these multiples")],
    ),
}


# Schemas of which nothing is left to be checked, in whatever form they are written.
HELD: dict[str, JsonSchema] = {
    "a negation": schema(type="integer", enum=[1, 2, 3], **{"not": {"const": 3}}),
    "a negated pattern": schema(type="string", **{"not": {"pattern": "^[a-y]"}}),
    "one of several": schema(oneOf=[{"type": "integer"}, {"const": 1}]),
    "all of several": schema(allOf=[{"type": "integer"}, {"minimum": 3}]),
    "beside a reference": schema(
        **{"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}, "maximum": 3}
    ),
    "beside a union": schema(anyOf=[{"type": "integer"}, {"type": "null"}], maximum=3),
    "a reference beside an enum": schema(
        **{"enum": [1, "a"], "$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}}
    ),
    "a reference by name": schema(
        **{"$ref": "#here", "$defs": {"a": {"$anchor": "here", "type": "integer"}}}
    ),
    "a condition": schema(
        type="object",
        properties={"kind": {"enum": ["b", "a"]}, "size": {"type": "integer"}},
        required=["kind"],
        **{"if": {"properties": {"kind": {"const": "a"}}}, "then": {"required": ["size"]}},
    ),
    "a dependency": schema(
        type="object",
        properties={"a": {"type": "integer"}, "b": {"type": "integer"}},
        dependentRequired={"a": ["b"]},
    ),
    "a count of properties": schema(
        type="object", properties={"a": True, "b": True, "c": True}, minProperties=1
    ),
    "a bound on properties": schema(
        type="object", properties={"a": True, "b": True}, maxProperties=1
    ),
    "a bound on properties and entries": schema(
        type="object",
        properties={"a": True, "b": True},
        additionalProperties={"type": "integer"},
        maxProperties=2,
        minProperties=1,
    ),
    "two patterns of names": schema(
        type="object", patternProperties={"^a": {"type": "integer"}, "b$": {"minimum": 3}}
    ),
    "a pattern and a name": schema(
        type="object", properties={"ab": True}, patternProperties={"^a": {"const": 1}}
    ),
    "a pattern of letters": schema(type="object", patternProperties={r"^\p{L}$": True}),
    "names of properties": schema(
        type="object", properties={"abc": True, "a": True}, propertyNames={"maxLength": 2}
    ),
    "look-ahead": schema(type="string", pattern=r"^(?!a)\p{L}{1,9}$"),
    "an international format": schema(type="string", format="iri"),
    "a flag of an older draft": JsonSchema(
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "type": "integer",
            "minimum": 3,
            "exclusiveMinimum": True,
        }
    ),
    "patterns of names and names": schema(
        type="object", patternProperties={"^a": True}, propertyNames={"maxLength": 2}
    ),
    "names beside properties": schema(
        type="object",
        properties={"a": {"const": 1}},
        propertyNames={"maxLength": 2},
        additionalProperties={"const": 2},
    ),
}


@pytest.mark.parametrize("name", HELD)
def test_what_combines_schemas_is_held_by_construction(name: str) -> None:
    made, spec = compiled(HELD[name]), spec_of(HELD[name])
    assert made.plan.guaranteed, str(made.plan)
    assert isinstance(made.constraint, Grammar)
    for seed in range(20):
        spec.read(random_text(made.constraint.root, random.Random(seed)))


def test_what_no_validator_checks_is_an_annotation() -> None:
    plan = compiled(schema(**{"type": "string", "format": "color", "x-mine": 1})).plan
    assert plan.guaranteed
    assert "annotation: # format: 'color' is no format that is checked" in str(plan)
    assert "annotation: # x-mine: no known keyword" in str(plan)


@pytest.mark.parametrize("name", CHECKED)
def test_what_is_checked_after_is_said_with_place_and_reason(name: str) -> None:
    output_type, expected = CHECKED[name]
    plan = compiled(output_type).plan
    found = [part for part in plan.parts if part.status == "checked after"]
    assert [(part.pointer, part.keyword) for part in found] == [
        (pointer, keyword) for pointer, keyword, _ in expected
    ], str(plan)
    for part, (_, _, reason) in zip(found, expected, strict=True):
        assert reason in part.reason
        assert f"checked after: {part.pointer} {part.keyword}: {part.reason}" in str(plan)
    assert plan.guaranteed == (not expected)


class Plain(BaseModel):
    """Nothing in it is left to be checked."""

    name: Annotated[str, Field(min_length=1, max_length=9)]
    when: date
    mail: EmailStr | None = None
    count: PositiveInt = 1
    kinds: set[Literal["a", "b"]] = set()
    more: dict[str, list[int]] = {}


@pytest.mark.parametrize(
    "output_type",
    [int, Plain, list[Plain], Literal["a"], dict[bool, int], set[int], tuple[int, ...], Any],
)
def test_a_type_with_none_of_these_is_guaranteed(output_type: Any) -> None:
    plan = compiled(output_type).plan
    assert plan.guaranteed, str(plan)
    assert plan.ending == "landing"
    assert plan.least_bytes is not None
    assert plan.least_bytes > 0


def test_merged_items_of_a_set_are_rewritten() -> None:
    plan = compiled(set[int]).plan
    reason = "repeated items of a set are merged"
    merged = Part(pointer="#", keyword="uniqueItems", status="rewritten", reason=reason)
    assert merged in plan.parts
    assert f"rewritten: # uniqueItems: {reason}" in str(plan)


def keywords(found: object, pointer: str = "#") -> Iterator[tuple[str, str]]:
    """The place and name of every keyword."""
    if isinstance(found, list):
        for index, inner in enumerate(found):
            yield from keywords(inner, f"{pointer}/{index}")
    if not isinstance(found, Mapping):
        return
    for keyword, value in found.items():
        yield pointer, keyword
        place = f"{pointer}/{keyword}"
        if keyword in ("properties", "patternProperties", "$defs"):
            for name, inner in value.items():
                yield from keywords(inner, f"{place}/{name}")
        elif keyword not in ("enum", "const", "default", "x-typedllm"):
            yield from keywords(value, place)


EVERYTHING = {
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
    "type": "object",
    "title": "Everything",
    "properties": {
        "text": {"type": "string", "minLength": 1, "maxLength": 5, "pattern": "^a"},
        "day": {"type": "string", "format": "date", "default": "2024-01-01"},
        "number": {"type": "number", "minimum": 1, "exclusiveMaximum": 3, "multipleOf": 0.5},
        "list": {
            "type": "array",
            "items": {"enum": [1, 2]},
            "minItems": 1,
            "maxItems": 2,
            "uniqueItems": True,
        },
        "pair": {"type": "array", "prefixItems": [{"const": 1}, {"type": "null"}], "items": False},
        "either": {"anyOf": [{"type": "boolean"}, {"oneOf": [{"type": "integer", "not": {}}]}]},
        "all": {"allOf": [{"type": "integer"}, {"minimum": 3}]},
        "node": {"$ref": "#/$defs/node", "maxProperties": 3},
        "map": {
            "type": "object",
            "patternProperties": {"^x": {"type": "integer"}},
            "additionalProperties": False,
            "maxProperties": 4,
        },
        "odd": {"type": "integer", "if": {"minimum": 3}, "then": {"maximum": 9}, "x-mine": True},
        "open": {"minLength": 3},
        "other": {"type": "integer", "minLength": 3},
    },
    "required": ["text"],
    "additionalProperties": False,
    "minProperties": 1,
    "propertyNames": {"maxLength": 9},
}


def test_every_keyword_of_a_schema_is_in_its_plan() -> None:
    plan = compiled(JsonSchema(EVERYTHING)).plan
    listed = {(part.pointer, part.keyword) for part in plan.parts}
    assert set(keywords(EVERYTHING)) - listed == set()
    assert len(listed) == len(plan.parts)


def test_a_plan_can_be_read() -> None:
    plan = compiled({"age": "int(ge=0)", "tags": "set[int]", "when": "date(gt='2024-01-01')"}).plan
    assert str(plan).splitlines() == [
        "engine: guided",
        "by construction: 10 of 12 keywords",
        "rewritten: #/properties/tags uniqueItems: repeated items of a set are merged",
        "checked after: #/properties/when x-typedllm: the bounds gt",
        "limit: integers of at most 18 digits",
        "ending: landing",
    ]


def test_a_plan_says_what_a_second_attempt_fits_into() -> None:
    fitted = Traits(
        name="server", takes=frozenset({Grammar}), ending="fitted", logprobs=False, scores=True
    )
    plan = compile_spec(spec_of({"age": "int", "tags": "list[str]"}), fitted).plan
    least = len('{"age":-123456789012345678,"tags":[]}')
    assert (plan.ending, plan.fits_bytes) == ("fitted", least)
    assert str(plan).splitlines()[-1] == f"ending: fitted (always within {least} tokens)"
    plan = compile_spec(spec_of(Regex("a+")), fitted).plan  # which has no limit to lower
    assert (plan.ending, plan.fits_bytes) == ("may be cut", None)
    assert str(plan).splitlines()[-1] == "ending: may be cut"
    assert compiled({"age": "int"}).plan.fits_bytes is None


def test_a_keyword_met_twice_is_as_good_as_at_its_worst() -> None:
    notes = Notes()
    notes.checked("#", "pattern", "why")
    notes.held("#", ["pattern"])
    notes.rewritten("#", "pattern", "how")
    assert notes.parts == (
        Part(pointer="#", keyword="pattern", status="checked after", reason="why"),
    )


def test_an_engine_that_does_not_guide_checks_everything() -> None:
    traits = Traits(
        name="remote", takes=frozenset({JsonSchema}), ending="may be cut", logprobs=False
    )
    for output_type in (int, {"a": "int | None"}, Regex("a+"), Choice(["a", "b"])):
        made = compile_spec(spec_of(output_type), traits)
        assert made.constraint is None
        assert not made.plan.guaranteed
        assert made.plan.ending is None
        statuses = {part.status for part in made.plan.parts}
        assert statuses - {"annotation"} == {"checked after"}
    with pytest.raises(UnsupportedConstraint, match="the engine remote takes no Lark grammar"):
        compile_spec(spec_of(Lark("start: /a/")), traits)


def test_plain_text_and_texts_of_a_form() -> None:
    assert compiled(str).constraint is None
    assert str(compiled(str).plan) == "engine: guided\nby construction: 0 of 0 keywords"
    assert compiled(Regex("[ab]{3}")).plan.least_bytes == 3
    assert compiled(Choice(["yes", "no"])).plan.least_bytes == 2
    odd = compiled(Regex(r"(a(?=b).)*"))
    assert odd.constraint is None
    assert [part.keyword for part in odd.plan.parts if part.status == "checked after"] == [
        "pattern"
    ]


def test_a_lark_grammar_is_sent_as_it_is() -> None:
    traits = Traits(
        name="g", takes=frozenset({Grammar, Lark}), ending="landing", logprobs=False, scores=True
    )
    made = compile_spec(spec_of(Lark("start: /a/")), traits)
    assert made.constraint == Lark("start: /a/")
    assert made.plan.ending == "may be cut"


def test_the_last_specs_are_kept() -> None:
    spec = spec_of(Plain)
    assert compile_spec(spec, TRAITS) is compile_spec(spec, TRAITS, Limits())
    assert compile_spec(spec, TRAITS, Limits(items=3)) is not compile_spec(spec, TRAITS)
    first = compile_spec(spec, TRAITS)
    for index in range(300):
        compile_spec(spec_of(Choice([f"kept {index}"])), TRAITS)
    assert compile_spec(spec, TRAITS) is not first


def test_an_engine_that_scores_no_labels_says_so():
    told = "distributions: none, this engine scores no labels"
    assert told in str(explain(bool, "scripted")).splitlines()
    for engine in ("embedded", "transformers", "vllm", "vllm-server"):
        assert told not in str(explain(bool, engine))
