"""Specs of every kind of output type: schema, reading, issues, keys and the cache."""

from __future__ import annotations

import dataclasses
import enum
import json
import subprocess
import sys
from collections.abc import Callable
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import given
from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, field_validator
from typing_extensions import TypedDict

from typedllm.errors import Invalid, SpecError
from typedllm.records import JsonSchema, Lark
from typedllm.spec.kinds import Choice, Regex
from typedllm.spec.spec import Spec, spec_of


class Color(enum.Enum):
    RED = "red"
    GREEN = "green"


class Line(BaseModel):
    sku: str
    count: Annotated[int, Field(ge=1)]


class Order(BaseModel):
    number: int = Field(alias="orderNumber")
    lines: list[Line] = []
    color: Color | None = None
    note: int | list[int] | None = None


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Pair(NamedTuple):
    a: int
    b: str


class Movie(TypedDict):
    title: str


def issues(spec: Spec[Any], text: str) -> list[str]:
    with pytest.raises(Invalid) as caught:
        spec.read(text)
    assert caught.value.raw == text
    return [str(issue) for issue in caught.value.issues]


@pytest.mark.parametrize(
    ("form", "text", "value"),
    [
        (int, "3", 3),
        (list[int], "[1, 2]", [1, 2]),
        (int | None, "null", None),
        (Literal["a", "b"], '"a"', "a"),
        (Color, '"red"', Color.RED),
        (Point, '{"x": 1, "y": 2}', Point(1, 2)),
        (Pair, '[1, "b"]', Pair(1, "b")),
        (Movie, '{"title": "M"}', {"title": "M"}),
        (Line, '{"sku": "a", "count": 2}', Line(sku="a", count=2)),
        (Annotated[str, Field(max_length=3)], '"abc"', "abc"),
        (type(None), "null", None),
        ("list[int]", "[1]", [1]),
        ("None", "null", None),
        (["red", "green"], '"red"', "red"),
        ([{"sku": "str"}], '[{"sku": "a"}]', [{"sku": "a"}]),
        (MappingProxyType({"age": "int"}), '{"age": 3}', {"age": 3}),
        ({"type": "object"}, '{"a": [1]}', {"a": [1]}),
        ({"type": "str"}, '{"type": "x"}', {"type": "x"}),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}, "3", 3),
        (JsonSchema({"properties": {"type": {"const": "str"}}}), '{"type":"str"}', {"type": "str"}),
        ({"type": "object"}, '{"a": 1, "a": 2}', {"a": 2}),
    ],
)
def test_types_are_read(form: Any, text: str, value: object) -> None:
    spec = spec_of(form)
    assert spec.schema is not None
    assert spec.read(text) == value
    assert type(spec.read(text)) is type(value)


@pytest.mark.parametrize("form", [str, None, "str", Lark('start: "a"')])
@given(text=st.text())
def test_plain_text_is_taken_as_it_is(form: Any, text: str) -> None:
    spec = spec_of(form)
    assert spec.schema is None
    assert spec.read(text) == text


@given(st.lists(st.text(min_size=1), min_size=1, unique=True), st.text())
def test_choice_is_membership(options: list[str], other: str) -> None:
    spec = spec_of(Choice(options))
    assert [spec.read(option) for option in options] == options
    if other not in options:
        assert issues(spec, other)[0].startswith("$: expected one of ")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Choice([]), "at least one option"),
        (lambda: Choice(["a", "b", "a"]), "'a' comes 2 times"),
        (lambda: Choice(["a", ""]), "option 1 is ''"),
        (lambda: Choice(["a", 5]), "option 1 is 5"),  # pyright: ignore[reportArgumentType]
        (lambda: Choice("yes"), r'Choice\(\["yes"\]\)'),
        (lambda: spec_of(Regex("(")), r"Regex\('\('\) is no regular expression"),
    ],
)
def test_mistakes_in_choice_and_regex(make: Callable[[], object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()


def test_regex_matches_as_a_whole_and_in_linear_time() -> None:
    spec = spec_of(Regex("a+|b"))
    assert spec.read("aaa") == "aaa"
    for text in ("", "aab", "b\n", "xb", "a|b", "\ud800"):
        assert issues(spec, text) == ["$: expected text that matches a+|b"]
    assert issues(spec_of(Regex("(a+)+")), "a" * 10_000 + "b")


def test_issues_of_a_type_have_paths_and_short_words() -> None:
    spec = spec_of(Order)
    text = json.dumps(
        {
            "orderNumber": "x",
            "lines": [{"sku": 5, "count": 0}, {"count": 1}, 7],
            "color": "blue",
            "note": "n",
        }
    )
    assert issues(spec, text) == [
        '$.orderNumber: expected int, got "x"',
        "$.lines[0].sku: expected str, got 5",
        "$.lines[0].count: expected greater than or equal to 1, got 0",
        "$.lines[1].sku: field required",
        "$.lines[2]: expected object, got 7",
        "$.color: expected 'red' or 'green', got \"blue\"",
        '$.note: expected int or list, got "n"',
    ]
    assert issues(spec, '{"number": 1}') == ["$.orderNumber: field required"]
    assert issues(spec, '{"orderNumber": 1, "note": [1, "x"]}') == [
        "$.note: expected int, got a list",
        '$.note[1]: expected int, got "x"',
    ]


def test_the_error_tells_the_first_issues_and_keeps_what_was_read() -> None:
    with pytest.raises(Invalid, match=r"^\$\[0\]: expected int.*; and 47 more$") as caught:
        spec_of(list[int]).read(json.dumps(["x"] * 1_000))
    assert caught.value.partial == ["x"] * 1_000
    assert len(caught.value.issues) == 50


def test_a_huge_enumeration_has_a_short_message() -> None:
    options = [f"value {number}" for number in range(5_000)]
    forms: list[Any] = [options, {"$schema": DRAFT, "enum": options}]
    for form in forms:
        (issue,) = issues(spec_of(form), json.dumps("x" * 10_000))
        assert len(issue) < 300


DRAFT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA = {
    "type": "object",
    "properties": {
        "age": {"type": "integer", "minimum": 0},
        "day": {"type": "string", "format": "date"},
        "code": {"type": "string", "pattern": "^[A-Z]+$"},
        "unit": {"enum": ["kg", "m"]},
        "kind": {"const": 1},
        "a b": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "null"}}]},
        "n": {"oneOf": [{"type": "integer"}, {"minimum": 3}]},
    },
    "required": ["age", "day"],
    "additionalProperties": False,
}


def test_issues_of_a_schema_have_paths_and_short_words() -> None:
    spec = spec_of(SCHEMA)
    assert spec.schema == SCHEMA
    text = json.dumps({"age": "x", "unit": "s", "kind": 2, "a b": "s", "x": 1, "y": 2})
    assert sorted(issues(spec, text)) == [
        '$.age: expected int, got "x"',
        "$.day: field required",
        "$.kind: expected 1, got 2",
        '$.unit: expected "kg" or "m", got "s"',
        "$.x: no such field",
        "$.y: no such field",
        "$['a b']: expected int or list, got \"s\"",
    ]
    text = json.dumps({"age": -1, "day": "2021-02-30", "code": "a", "a b": [None, 1], "n": 4})
    assert sorted(issues(spec, text)) == [
        "$.age: -1 is less than the minimum of 0",
        '$.code: "a" does not match "^[A-Z]+$"',
        '$.day: expected date, got "2021-02-30"',
        "$.n: 4 is valid under more than one of the schemas listed in the 'oneOf' keyword",
        "$['a b']: expected int, got a list",
        "$['a b'][1]: expected null, got 1",
    ]


@pytest.mark.parametrize("form", [list[Any], {"type": "array"}])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON: EOF while parsing a value at line 1 column 0"),
        ("[1,\n2", "not JSON: EOF while parsing a list at line 2 column 1"),
        ("[1] 2", "not JSON: trailing characters at line 1 column 5"),
        ("[" * 100_000, "not JSON: recursion limit exceeded"),
        ("[\ud800]", "not JSON: "),
        ('["\\ud800"]', "not JSON: "),
        ("[" + "1" * 5_000 + "]", "not JSON: number out of range"),
    ],
    ids=range(7),
)
def test_what_is_no_json_is_invalid(form: Any, text: str, message: str) -> None:
    (issue,) = issues(spec_of(form), text)
    assert issue.startswith(f"$: {message}")


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "[1e999]"])
def test_a_schema_takes_finite_numbers_only(text: str) -> None:
    (issue,) = issues(spec_of({"$schema": DRAFT}), text)
    assert issue.startswith("$: not JSON: ")


def test_older_drafts_are_honoured() -> None:
    draft_4 = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "integer",
        "minimum": 3,
        "exclusiveMinimum": True,
    }
    assert spec_of(draft_4).read("4") == 4
    assert issues(spec_of(draft_4), "3")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "object", "properties": {"a": {"minimum": "x"}}}, "#/properties/a/minimum"),
        ({"type": "string", "pattern": "(?>a)"}, "#/pattern.*ECMA-262"),
        ({"$ref": "http://127.0.0.1:9/schema"}, "only what the schema itself holds"),
        ({"$ref": "file:///etc/hostname"}, "only what the schema itself holds"),
        ({"$ref": "#/$defs/none"}, r"'/\$defs/none' does not exist"),
        ({"type": "object", "enum": {1, 2}}, "is not JSON"),
        ({"type": "number", "maximum": float("inf")}, "is not JSON"),
        ({"type": "string", "enum": ["\ud800"]}, "cannot be read"),
    ],
)
def test_schemas_that_cannot_be_used(schema: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(schema)


@pytest.mark.parametrize("form", [5, ..., object(), range, print, lambda: 3, {1, 2}, b"int"])
def test_what_is_no_type_says_what_is_accepted(form: Any) -> None:
    with pytest.raises(SpecError, match="an output type is a type that Pydantic takes"):
        spec_of(form)


def test_a_schema_nested_too_deep() -> None:
    schema: dict[str, Any] = {"type": "array"}
    for _ in range(100_000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(SpecError):
        spec_of(schema)


class Guarded(BaseModel):
    value: int

    @field_validator("value")
    @classmethod
    def _check(cls, value: int, info: ValidationInfo) -> int:
        if info.context is not None and value > info.context["most"]:
            raise ValueError("too much")
        assert 1 / value, "zero has no reciprocal"
        return value


def test_validators_get_the_context_and_cannot_break_out() -> None:
    spec = spec_of(Guarded)
    assert spec.read('{"value": 5}').value == 5
    with pytest.raises(Invalid) as caught:
        spec.read('{"value": 5}', {"most": 4})
    assert [str(issue) for issue in caught.value.issues] == ["$.value: too much, got 5"]
    assert issues(spec, '{"value": 0}')[0].startswith("$: its validator raised ZeroDivisionError")


def _even(value: int) -> int:
    return value


def test_a_spec_is_kept() -> None:
    forms: list[Callable[[], Any]] = [
        lambda: int,
        lambda: list[int],
        lambda: Literal["a", "b"],
        lambda: Line,
        lambda: "int | None",
        lambda: {"a": "int", "b": [{"c": "str"}]},
        lambda: {"type": "array", "items": {"type": "integer"}},
        lambda: JsonSchema({"type": "integer"}),
        lambda: Regex("a+"),
        lambda: Choice(["a"]),
        lambda: Annotated[int, AfterValidator(_even)],
    ]
    for form in forms:
        assert spec_of(form()) is spec_of(form())


def test_what_differs_is_kept_apart() -> None:
    forms: list[Any] = [
        int | str,
        str | int,
        Literal["a", "b"],
        Literal["b", "a"],
        Literal[1],
        Literal[True],
        {"a": "int", "b": "int"},
        {"b": "int", "a": "int"},
        {"a": [1]},
        {"a": [True]},
        {"type": "integer"},
        JsonSchema({"type": "integer", "title": "n"}),
        Regex("a"),
        Choice(["a"]),
        Lark("a"),
        "int",
        str,
    ]
    assert len({spec_of(form).key for form in forms}) == len(forms)
    with pytest.raises(SpecError):
        spec_of({1: "int", "b": "int"})  # pyright: ignore[reportArgumentType, reportCallIssue]


def test_classes_of_one_name_are_kept_apart() -> None:
    def make(form: Any) -> Any:
        class Local(BaseModel):
            value: form  # pyright: ignore[reportInvalidTypeForm]

        return Local

    assert spec_of(make(int)).read('{"value": 1}').value == 1
    assert spec_of(make(str)).read('{"value": "1"}').value == "1"


def test_a_dict_changed_later_changes_no_spec() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
    fields: dict[str, Any] = {"a": "int"}
    of_schema, of_fields = spec_of(schema), spec_of(fields)
    schema["properties"]["a"]["type"] = "string"
    fields["a"] = "str"
    assert of_schema.schema == {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert of_schema.read('{"a": 1}') == of_fields.read('{"a": 1}') == {"a": 1}
    assert spec_of(schema).read('{"a": "x"}') == spec_of(fields).read('{"a": "x"}') == {"a": "x"}
    assert spec_of({"a": "int"}).read('{"a": 1}') == {"a": 1}


_KEYS = """
import enum
from typing import Annotated, Any, Literal
from pydantic import AfterValidator, BaseModel
from typedllm.records import JsonSchema
from typedllm.spec.spec import spec_of

class Color(enum.Enum):
    RED = "red"

class Tree(BaseModel):
    color: Color
    names: set[Literal["x", "y", "z"]]
    children: list["Tree"]

forms: list[Any] = [
    Tree, list[Tree], Annotated[int, AfterValidator(lambda n: n)], {"a": [{"b": "set[str]"}]},
    JsonSchema({"enum": ["b", "a"]}),
]
print([spec_of(form).key for form in forms])
"""


def test_keys_are_the_same_in_every_process() -> None:
    command = [sys.executable, "-c", _KEYS]
    printed = {
        subprocess.run(
            command, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    assert len(set(printed.pop().split(","))) == 5


def test_a_missing_package_is_named() -> None:
    script = """
import sys
sys.modules["email_validator"] = None
from typedllm.errors import MissingDependency
from typedllm.spec.spec import spec_of
try:
    spec_of({"address": "EmailStr"})
except MissingDependency as error:
    print(error)
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "pip install 'typedllm[email]'" in done.stdout


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_any_json_is_read_back(value: object) -> None:
    text = json.dumps(value)
    for form in (Any, JsonSchema({})):
        assert spec_of(form).read(text) == value
    for form in (int, Order, JsonSchema(SCHEMA)):
        try:
            spec_of(form).read(text)
        except Invalid as error:
            assert error.issues


@pytest.mark.parametrize(
    ("spec", "text", "value"),
    [
        ({"type": ["integer", "null"]}, "null", None),
        ({"enum": ["a", "b"]}, '"a"', "a"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "x"}, "3", 3),
        ({"oneOf": [{"const": 1}, {"const": 2}]}, "2", 2),
        ({"properties": {"a": {"type": "integer"}}, "required": ["a"]}, '{"a":1}', {"a": 1}),
        ({"items": "list[str]"}, '{"items":["x"]}', {"items": ["x"]}),
        ({"title": "str", "description": "str"}, '{"title":"a","description":"b"}', None),
        ({"enum": "str"}, '{"enum":"x"}', {"enum": "x"}),
        (
            {"properties": {"sku": "str"}},
            '{"properties":{"sku":"x"}}',
            {"properties": {"sku": "x"}},
        ),
        ({"enum": ["a", "b"], "count": "int"}, '{"enum":"a","count":1}', {"enum": "a", "count": 1}),
    ],
)
def test_a_schema_is_told_from_a_dict_of_types_by_what_its_words_hold(spec, text, value):
    found = spec_of(spec).read(text)
    assert found == value or value is None


@pytest.mark.parametrize(
    "spec", [{"const": "yes"}, {"not": {"type": "integer"}}, {"pattern": "^a", "minLength": 3}]
)
def test_what_may_be_meant_as_a_schema_says_how_to_write_one(spec):
    with pytest.raises(SpecError, match=r"meant as a JSON Schema, write JsonSchema\(\.\.\.\)"):
        spec_of(spec)
