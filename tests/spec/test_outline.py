"""The outline of a schema: what each part looks like, and that any input gives a bounded line."""

from __future__ import annotations

import uuid
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, Field, TypeAdapter
from typing_extensions import TypedDict

from typedllm.spec.outline import outline


class Point(BaseModel):
    x: int
    y: int


class Node(BaseModel):
    value: int = Field(ge=0)
    children: list[Node] = []


class Left(BaseModel):
    right: Right | None


class Right(BaseModel):
    left: Left


class Nick(TypedDict, total=False):
    nick: str


class Documented(BaseModel):
    """A person
    in a form."""

    age: int = Field(description="age in\n  years", ge=0, le=120)
    points: list[Point]


@pytest.mark.parametrize(
    ("output_type", "line"),
    [
        (str, "str"),
        (int, "int"),
        (float, "float"),
        (bool, "bool"),
        (None, "null"),
        (Any, "any"),
        (object, "any"),
        (date, "date"),
        (datetime, "datetime"),
        (time, "time"),
        (timedelta, "timedelta"),
        (uuid.UUID, "uuid"),
        (AnyUrl, "url(min_length=1)"),
        (int | None, "int | null"),
        (Literal["red", "green"], '"red" | "green"'),
        (Literal["only"], '"only"'),
        (Literal[1, "a", None], '1 | "a" | null'),
        (Annotated[int, Field(ge=0, lt=120, multiple_of=5)], "int(ge=0, lt=120, multiple_of=5)"),
        (
            Annotated[str, Field(max_length=40, pattern="^[A-Z]")],
            "str(max_length=40, pattern=^[A-Z])",
        ),
        (list[str], "[str]"),
        (list, "[any]"),
        (Annotated[list[int | str], Field(min_length=1)], "[int | str](min_length=1)"),
        (tuple[int, str], "[int, str]"),
        (tuple[()], "[any](min_length=0, max_length=0)"),
        (dict[str, float], "{str: float}"),
        (dict, "{str: any}"),
        (dict[Literal["p", "q"], bool], '{"p" | "q": bool}'),
        (Point, '{"x": int, "y": int}'),
        (Nick, '{"nick"?: str}'),
        (list[Point], '[{"x": int, "y": int}]'),
        (
            Documented,
            '{"age": int(ge=0, le=120) (age in years), "points": [{"x": int, "y": int}]} '
            "(A person in a form.)",
        ),
        (Node, 'Node where Node = {"value": int(ge=0), "children"?: [Node]}'),
        (list[Node], '[Node] where Node = {"value": int(ge=0), "children"?: [Node]}'),
        (Left, 'Left where Left = {"right": {"left": Left} | null}'),
    ],
)
def test_types_look_as_in_the_spec_language(output_type: Any, line: str) -> None:
    assert outline(TypeAdapter(output_type).json_schema()) == line


@pytest.mark.parametrize(
    ("schema", "line"),
    [
        ({}, "any"),
        ({"type": ["string", "null"], "description": "a name"}, "str | null (a name)"),
        ({"type": "array", "items": {"type": ["integer", "null"]}}, "[int | null]"),
        ({"type": "string", "format": "email"}, "email"),
        ({"type": "string", "format": "ipv4"}, "str"),
        ({"oneOf": [{"const": 1}, {"const": 1}, {"type": "null"}]}, "1 | null"),
        ({"anyOf": [{}, {"type": "null"}]}, "any"),
        ({"allOf": [{"type": "integer"}]}, "int"),
        ({"type": "object", "additionalProperties": False}, "{}"),
        ({"type": "object", "properties": {}}, "{}"),
        ({"type": "object", "patternProperties": {"^a": {"type": "null"}}}, "{str: null}"),
        ({"properties": {"a": True}, "additionalProperties": {"type": "null"}},
         '{"a"?: any, str: null}'),
        ({"enum": ['say "a"\n']}, '"say \\"a\\"\\n"'),
        ({"type": "no such type"}, "any"),
        ({"$ref": "#/$defs/absent"}, "any"),
        ({"$ref": "https://example.org/schema"}, "any"),
        ({"$ref": "#"}, "Root where Root = Root"),
        ({"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"type": "null"}}}, "null"),
    ],
)  # fmt: skip
def test_schemas_by_hand(schema: dict[str, Any], line: str) -> None:
    assert outline(schema) == line


def test_references_that_multiply_stay_bounded() -> None:
    fan = {
        f"a{i}": {"type": "array", "prefixItems": [{"$ref": f"#/$defs/a{i + 1}"}] * 9}
        for i in range(99)
    }
    assert len(outline({"$ref": "#/$defs/a0", "$defs": fan})) < 20_000


def test_cycles_that_multiply_stay_bounded() -> None:
    every = [{"$ref": f"#/$defs/{i}"} for i in range(60)]
    ring = {str(i): {"type": "array", "prefixItems": every} for i in range(60)}
    assert len(outline({"$ref": "#/$defs/0", "$defs": ring})) < 100_000


def test_long_and_deep_schemas_stay_bounded() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(100_000):
        deep = {"type": "array", "items": deep}
    assert len(outline(deep)) < 1_000
    assert len(outline({"type": "string", "description": "x" * 10**6})) < 1_000
    assert outline({"enum": list(range(10_000))}).endswith(" | ...")
    assert outline({"const": 10**5000}) == "any"
    assert outline({"type": "integer", "minimum": 10**5000}) == "int(ge=any)"


_keywords = st.sampled_from(
    [
        "type",
        "enum",
        "const",
        "anyOf",
        "allOf",
        "properties",
        "required",
        "items",
        "prefixItems",
        "additionalProperties",
        "$ref",
        "$defs",
        "description",
        "format",
        "minLength",
        "maximum",
        "patternProperties",
        "propertyNames",
    ]
)
_words = st.sampled_from(["string", "object", "array", "integer", "#", "#/$defs/x", "#/items", "x"])
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | _words,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(_keywords | st.text(), inner, max_size=5)
    ),
    max_leaves=30,
)


@given(st.dictionaries(_keywords, _json, max_size=6))
def test_anything_gives_one_line(schema: dict[str, Any]) -> None:
    line = outline(schema)
    assert line
    assert len(line.splitlines()) <= 1
    assert line == outline(schema)
