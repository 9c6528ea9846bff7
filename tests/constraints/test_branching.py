"""How many alternatives a combined schema comes to."""

from __future__ import annotations

from typing import Any

import pytest

from typedllm.constraints.branching import branches_too_much


def pair(number: int = 0, word: str = "anyOf") -> dict[str, Any]:
    return {word: [{"required": [f"p{number}"]}, {"required": [f"q{number}"]}]}


def condition(number: int) -> dict[str, Any]:
    return {"if": {"required": [f"p{number}"]}, "then": {"required": [f"q{number}"]}}


MANY = {"allOf": [pair(number) for number in range(13)]}  # two to the 13th


def too_much(schema: dict[str, Any], **definitions: Any) -> bool:
    return branches_too_much(
        [schema, *definitions.values()], lambda reference: definitions[reference]
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"anyOf": [{"const": number} for number in range(4096)]},
        {"allOf": [pair(number) for number in range(12)]},
        {"properties": {f"p{number}": pair() for number in range(50)}},
        {"allOf": [{"properties": {f"p{number}": pair()}} for number in range(50)]},
        {"not": {"allOf": [{"not": pair(number)} for number in range(50)]}},
        {"items": {"allOf": [{"items": pair(1)}, {"items": pair(2)}]}},
    ],
)
def test_what_does_not_multiply_is_left_to_the_algebra(schema):
    assert not too_much(schema)


@pytest.mark.parametrize(
    "schema",
    [
        MANY,
        {"properties": {"a": {"items": MANY}}},
        {"allOf": [pair(number, "oneOf") for number in range(13)]},
        {"allOf": [{"properties": {"a": pair(number)}} for number in range(13)]},
        {"allOf": [{"items": pair(number)} for number in range(13)]},
        {"allOf": [condition(number) for number in range(13)]},
        {"not": {"anyOf": [{"required": ["a", "b"]}] * 13}},
        {"dependentRequired": {f"p{number}": ["q"] for number in range(13)}},
        {"anyOf": [{"const": number} for number in range(4097)]},
    ],
)
def test_what_multiplies_is_too_much(schema):
    assert too_much(schema)


def test_references_are_followed_and_may_go_in_circles():
    pairs = {f"d{number}": pair(number) for number in range(13)}
    assert too_much({"allOf": [{"$ref": name} for name in pairs]}, **pairs)
    assert not too_much(
        {"allOf": [{"$ref": "a"}] * 20}, a={"anyOf": [{"$ref": "b"}]}, b={"$ref": "a"}
    )
