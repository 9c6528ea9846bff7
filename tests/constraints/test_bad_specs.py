"""Output types that ask too much: each works or is a SpecError, soon."""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, Literal

import pytest
from llguidance import LLMatcher, LLTokenizer
from pydantic import Field

from tests.constraints.test_lossless import engine_accepts
from tests.constraints.walking import compiled
from typedllm.constraints.lark import UNIQUE_LIMIT, print_lark
from typedllm.engines.landing import Landing
from typedllm.errors import SpecError
from typedllm.grammar.expression import expression
from typedllm.records import Grammar, JsonSchema
from typedllm.spec.kinds import Choice, Regex
from typedllm.spec.spec import spec_of

_BYTES = LLTokenizer("byte")


def schema(**keywords: Any) -> JsonSchema:
    return JsonSchema(keywords)


def ready(output_type: Any) -> Grammar:
    """An output type made ready as far as an engine goes: compiled, printed and measured."""
    constraint = compiled(output_type).constraint
    assert isinstance(constraint, Grammar)
    assert Landing(expression(constraint.root), list).least_tokens >= 0
    lark = LLMatcher.grammar_from_lark(print_lark(constraint.root))
    matcher = LLMatcher(_BYTES, lark, log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    return constraint


def nested_schema(levels: int, kind: str) -> JsonSchema:
    found: dict[str, Any] = {"type": "integer"}
    for _ in range(levels):
        if kind == "array":
            found = {"type": "array", "items": found, "minItems": 1}
        else:
            found = {"type": "object", "properties": {"a": found}}
            if kind == "required":
                found["required"] = ["a"]
    return JsonSchema(found)


def properties(count: int, required: int) -> JsonSchema:
    names = [f"p{index}" for index in range(count)]
    fields = {name: {"type": "integer"} for name in names}
    return schema(type="object", properties=fields, required=names[:required])


ENDLESS = {
    "$defs": {
        "a": {"type": "object", "properties": {"n": {"$ref": "#/$defs/a"}}, "required": ["n"]}
    },
    "$ref": "#/$defs/a",
}
REFUSED: dict[str, tuple[Any, str]] = {
    "bounds that cross": (schema(type="integer", minimum=3, maximum=2), "no number is inside"),
    "no multiple": (
        schema(type="integer", minimum=1, maximum=6, multipleOf=7),
        "no number is inside",
    ),
    "false": (
        schema(type="object", properties={"a": False}, required=["a"]),
        "required property 'a' has no value",
    ),
    "required and not allowed": (
        schema(type="object", required=["a"], additionalProperties=False),
        "'a' is required and not allowed",
    ),
    "an enum filtered to nothing": (schema(enum=[1, 2], type="string"), "no value of enum"),
    "a const filtered to nothing": (schema(const=1, minimum=2), "no value of const"),
    "a pattern against a length": (
        schema(type="string", pattern="^abc$", minLength=5),
        "no string has this pattern",
    ),
    "a repetition against a length": (
        schema(type="string", pattern="^abc[0-9]*$", maxLength=2),
        "no string has this pattern",
    ),
    "a pattern against a format": (
        schema(type="string", pattern="^x", format="date"),
        "no string has this pattern",
    ),
    "an impossible pattern": (schema(type="string", pattern="a^"), "no string has this pattern"),
    "an impossible pattern of a length": (
        schema(type="string", pattern="a^", maxLength=5),
        "no string has this pattern",
    ),
    "counts of items that cross": (schema(type="array", minItems=3, maxItems=2), "an array of"),
    "too few different items": (
        schema(type="array", items={"enum": [1, 2]}, uniqueItems=True, minItems=3),
        "3 different items of 2 values",
    ),
    "no valid items": (schema(type="array", items=False, minItems=1), "an array of at least 1"),
    "too few properties": (
        schema(type="object", properties={"a": True}, additionalProperties=False, minProperties=2),
        "0 to 1 of the properties there are",
    ),
    "too many required": (
        schema(type="object", required=["a", "b"], additionalProperties=True, maxProperties=1),
        "2 to 1 properties",
    ),
    "no branch": (schema(anyOf=[False, {"enum": []}]), "no value of enum"),
    "a recursion without an end": (JsonSchema(ENDLESS), "no value satisfies the output type"),
    "a schema that is itself": (JsonSchema({"$ref": "#"}), "the recursion of # has no end"),
    "a reference outside": (JsonSchema({"$ref": "http://example.com/x"}), "not valid at #"),
    "a reference to nothing": (JsonSchema({"$ref": "#/$defs/none"}), "does not exist"),
    "an unknown type": (schema(type="text"), "not valid at #/type"),
    "no pattern": (schema(type="string", pattern="("), "not valid at #/pattern"),
    "minItems": (schema(type="array", minItems=10**9), "more than 1,000,000 bytes"),
    "minLength": (schema(type="string", minLength=10**9), "more than 1,000,000 bytes"),
    "minLength and a pattern": (
        schema(type="string", minLength=10**9, pattern="^(ab|c)*$"),
        "more than 1,000,000 bytes",
    ),
    "minProperties": (schema(type="object", minProperties=10**9), "more than 1,000,000 bytes"),
    "10,000 optional properties": (properties(10_000, 0), "more than 2,000 optional properties"),
    "a regular expression of nothing": (Regex("a^b"), "no text satisfies"),
    "a count of a count": (Regex("(a{1000}){1000}"), "no regular expression"),
    "a count": (Regex("a{1000000}"), "no regular expression"),
    "a tuple of thousands": (
        schema(type="array", prefixItems=[{"type": "integer"}] * 5000),
        "nested too deep",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_with_a_reason(name: str) -> None:
    output_type, reason = REFUSED[name]
    with pytest.raises(SpecError) as caught:
        compiled(output_type)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 1000


LARGE: dict[str, Any] = {
    "maxItems": schema(type="array", items={"type": "integer"}, maxItems=10**9),
    "maxLength": schema(type="string", maxLength=10**9),
    "minItems": schema(type="array", items={"type": "integer"}, minItems=10**5),
    "1,000 optional properties": properties(1_000, 0),
    "1,000 optional properties beside one": properties(1_000, 1),
    "5,000 required properties": properties(5_000, 5_000),
    "an enum of 50,000 values": schema(enum=[f"value {index}" for index in range(50_000)]),
    "a choice of 50,000 texts": Choice([f"value {index}" for index in range(50_000)]),
    "1,000 branches": schema(
        anyOf=[
            {"type": "object", "properties": {f"k{n}": {"const": n}}, "required": [f"k{n}"]}
            for n in range(1_000)
        ]
    ),
    "different items": schema(
        type="array", items={"enum": list(range(UNIQUE_LIMIT))}, uniqueItems=True, minItems=60
    ),
    "bounds of 400 digits": schema(type="integer", minimum=10**400, maximum=10**401),
    "a float as a length": schema(type="string", minLength=2.0, maxLength=3.0),
    "a reference that may end": JsonSchema(
        {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}}}
    ),
}


@pytest.mark.parametrize("name", LARGE)
def test_what_is_large_works(name: str) -> None:
    ready(LARGE[name])


@pytest.mark.parametrize("kind", ["array", "optional", "required"])
@pytest.mark.parametrize("levels", [30, 100, 200])
def test_nesting_works_or_is_refused(levels: int, kind: str) -> None:
    try:
        ready(nested_schema(levels, kind))
    except SpecError as error:
        assert levels > 30
        assert re.search("nested too deep|Recursion limit", str(error))


CATASTROPHIC = [
    "(a+)+$",
    "^(a|aa)+b$",
    "^(a|a?)+$",
    "(x+x+)+y",
    "(.*a){20}",
    r"^(\w+\s?)*$",
    "^([a-zA-Z0-9])(([-.]|[_]+)?([a-zA-Z0-9]+))*(@){1}[a-z0-9]+[.]{1}[a-z]{2,3}$",
    ".*a.{14}$",
]


@pytest.mark.parametrize("pattern", CATASTROPHIC)
@pytest.mark.parametrize("length", [{}, {"maxLength": 60}, {"minLength": 20}], ids=str)
def test_no_pattern_backtracks(pattern: str, length: dict[str, int]) -> None:
    ready(schema(type="string", pattern=pattern, **length))


@pytest.mark.parametrize("pattern", CATASTROPHIC)
def test_reading_takes_linear_time(pattern: str) -> None:
    text = "a" * 20_000 + "!"
    ready(Regex(pattern))
    for output_type, written in [
        (Regex(pattern), text),
        (schema(type="string", pattern=pattern), json.dumps(text)),
    ]:
        try:
            spec_of(output_type).read(written)
        except Exception as error:
            assert type(error).__name__ == "Invalid"


def test_counts_that_the_reader_takes() -> None:
    ready(Regex("a{0,99999}b"))
    ready(Regex("a{50000}"))


STRANGE = ["a", 'quo"te', "back\\slash", "new\nline", "🙂", "\u2028", "\x7f", "\x00", "</s>", " "]


def test_literals_of_any_text() -> None:
    root = ready(Literal[tuple(STRANGE)]).root
    for text in STRANGE:
        assert engine_accepts(root, json.dumps(text, ensure_ascii=False)), text
    assert not engine_accepts(root, '"b"')
    choice = ready(Choice(STRANGE)).root
    for text in STRANGE:
        assert engine_accepts(choice, text), text


def test_names_of_any_text() -> None:
    fields = [*STRANGE, ""]
    root = ready(
        JsonSchema({"type": "object", "properties": {n: {"const": 1} for n in fields}})
    ).root
    written = {name: 1 for name in fields}
    text = json.dumps(written, ensure_ascii=False, separators=(",", ":"))
    assert engine_accepts(root, text)


@pytest.mark.parametrize(
    "bounds", [{"ge": -math.inf}, {"lt": math.inf}, {"le": math.nan}, {"gt": 1e308}], ids=str
)
def test_odd_bounds_of_python_types(bounds: dict[str, float]) -> None:
    ready(Annotated[float, Field(**bounds)])
    # Pydantic leaves an infinite bound out of its schema; to be at most NaN is checked.
    assert compiled(Annotated[float, Field(**bounds)]).plan.guaranteed == ("le" not in bounds)
