"""Readers of schemas: look-around, back-references, and drafts that are not named."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedllm.errors import Invalid, SpecError
from typedllm.records import JsonSchema
from typedllm.spec.dialects import declared_dialect, dialect_of
from typedllm.spec.kinds import Regex
from typedllm.spec.spec import spec_of
from typedllm.spec.validators import validator_of


def issues(schema: dict[str, Any], value: object) -> list[str]:
    with pytest.raises(Invalid) as caught:
        spec_of(JsonSchema(schema)).read(json.dumps(value))
    return [str(issue) for issue in caught.value.issues]


@given(st.text("ab!", max_size=6))
def test_look_around_and_back_references(text: str) -> None:
    expected = not text.startswith("b") and text[:1] == text[-1:] and len(text) > 1
    schema = {"type": "string", "pattern": r"^(?!b)(.).*\1$"}
    assert validator_of(schema).is_valid(text) == expected
    spec = spec_of(Regex(r"(?!b)(.).*\1"))
    if expected:
        assert spec.read(text) == text
    else:
        with pytest.raises(Invalid, match="expected text that matches"):
            spec.read(text)


CATASTROPHIC = r"^(?=a)(a|aa)+\1?c?$|^a*b$(?=)"  # matches, but after 2^40 steps


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": CATASTROPHIC}, "a" * 40 + "b"),
        ({"not": {"pattern": CATASTROPHIC}}, "a" * 40 + "b"),
        ({"anyOf": [{"pattern": CATASTROPHIC}, {"type": "null"}]}, "a" * 40 + "b"),
        ({"if": {"pattern": CATASTROPHIC}, "then": False}, "a" * 40 + "b"),
        ({"patternProperties": {CATASTROPHIC: {"type": "null"}}}, {"a" * 40 + "b": 1}),
        ({"propertyNames": {"pattern": CATASTROPHIC}}, {"a" * 40 + "b": 1}),
    ],
)
def test_too_much_backtracking_is_invalid(schema: dict[str, Any], value: object) -> None:
    (issue,) = issues(schema, value)
    assert "backtracking" in issue


@pytest.mark.parametrize("length", [40, 41])
def test_nested_repetition_with_a_back_reference(length: int) -> None:
    schema = {"type": "string", "pattern": r"^(a+)+\1$"}
    text = "a" * length + "b"
    assert "does not match" in issues(schema, text)[0]
    with pytest.raises(Invalid, match="expected text that matches"):
        spec_of(Regex(CATASTROPHIC)).read("a" * length + "b")


@pytest.mark.parametrize(
    "pattern", ["(", "[^]", r"\Z", "(?#c)a", "(?>a)", "((a{1,99}){1,99}){1,99}"]
)
def test_patterns_that_no_engine_reads(pattern: str) -> None:
    with pytest.raises(SpecError, match=r"#/properties/a/pattern: .*ECMA-262"):
        spec_of(JsonSchema({"properties": {"a": {"pattern": pattern}}}))
    with pytest.raises(SpecError, match="is no regular expression of ECMA-262"):
        spec_of(Regex(pattern))


@pytest.mark.parametrize(
    ("schema", "draft", "valid", "wrong"),
    [
        ({"minimum": 0, "exclusiveMinimum": True}, 4, 1, 0),
        ({"id": "http://x/", "maximum": 0, "exclusiveMaximum": True}, 4, -1, 0),
        ({"items": [{"type": "integer"}], "additionalItems": False}, 7, [1], ["a"]),
        ({"items": [{"const": 1}], "if": {"minItems": 2}, "then": False}, 7, [1], [1, 2]),
        ({"id": "http://x/", "type": "null"}, 20, None, 1),
        (
            {"$schema": "http://json-schema.org/schema#", "prefixItems": [{"const": 1}]},
            20,
            [1],
            [2],
        ),
        ({"$schema": "http://example.com/mine", "items": [{"const": 1}]}, 7, [1], [2]),
        ({"$schema": "https://json-schema.org/draft-07/schema", "items": [False]}, 7, [], [1]),
        ({"$schema": "http://json-schema.org/draft-99/schema#", "type": "null"}, 20, None, 1),
        ({"properties": {"const": {"items": [False]}}}, 7, {"const": []}, {"const": [1]}),
        ({"example": 1, "nullable": True, "discriminator": {}, "type": "null"}, 20, None, 1),
    ],
)
def test_the_draft_that_is_meant(
    schema: dict[str, Any], draft: int, valid: object, wrong: object
) -> None:
    assert dialect_of(schema) == draft
    assert spec_of(JsonSchema(schema)).read(json.dumps(valid)) == valid
    assert issues(schema, wrong)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"properties": {"a": {"required": True}}}, "#/properties/a/required: true is not"),
        ({"exclusiveMinimum": True, "const": 3}, "#/exclusiveMinimum: true is not"),
        ({"items": [{"dependentRequired": {"a": ["b"]}}]}, "#/items: "),
        ({"type": "strin"}, "#/type: "),
        ({"$schema": 5}, r"#/\$schema: 5 is not"),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "minimum": "x"}, "#/minimum"),
    ],
)
def test_schemas_of_no_draft(schema: dict[str, Any], message: str) -> None:
    """None is taken for one of a draft that would ignore some of its rules."""
    with pytest.raises(SpecError, match=f"not valid at {message}"):
        spec_of(JsonSchema(schema))


def test_drafts_have_the_numbers_of_jsonschema_rs() -> None:
    for number, draft in [(4, "draft-04"), (6, "draft-06"), (7, "draft-07"), (19, "draft/2019-09")]:
        assert declared_dialect(f"http://json-schema.org/{draft}/schema#") == number
        assert declared_dialect(f"https://json-schema.org/{draft}/schema") == number
        assert jsonschema_rs.canonicalize({"type": "null"}, draft=number).draft == number
    assert declared_dialect("http://json-schema.org/schema#") is declared_dialect(None) is None
