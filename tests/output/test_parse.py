"""Parsing: the same value from plain and from dressed-up text, every change named, no guesses."""

from __future__ import annotations

import enum
import json
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator
from test_spans import values

from typedllm.errors import Invalid, SpecError
from typedllm.output.parse import parse, partial, read_answer
from typedllm.spec.kinds import Choice, Regex
from typedllm.spec.spec import spec_of


class Person(BaseModel):
    name: str
    age: int


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


ADA = Person(name="Ada", age=36)
JSON = '{"name": "Ada", "age": 36}'
people = st.builds(Person, name=st.text(), age=st.integers(-(2**63), 2**63))
# Prose without brackets, fences, thinking and labels, which would be part of an answer.
prose = st.text(st.characters(codec="utf-8", exclude_characters="{}[]`<:")).map(str.strip)


@given(values, st.booleans())
def test_json_is_taken_as_it_is(value: Any, tolerant: bool) -> None:
    result = parse(json.dumps(value), Any, tolerant=tolerant)
    assert (result.unwrap(), result.coercions) == (value, ())


@given(people, prose, prose, st.sampled_from([None, 2]))
def test_prose_and_fences_around_are_dropped(
    person: Person, before: str, after: str, indent: int | None
) -> None:
    text = person.model_dump_json(indent=indent)
    for dressed in (
        f"A: {before}\n{text}\n{after}",
        f"```json\n{text}\n```",
        f"```\n{text}```  ",
        f"x{before}\n```JSON\n{text}\n```\n{after}",
        f"<think>{before} {{}}</think>\n{text}",
        f"\ufeff{text}",
        f'{{"value": {text}}}',
        f"{text[:-1]},}} # {before!r}",
    ):
        result = parse(dressed, Person)
        assert result.unwrap() == person
        assert result.coercions
        assert result.raw == dressed
        assert isinstance(parse(dressed, Person, tolerant=False).error, Invalid)


@pytest.mark.parametrize(
    ("text", "output_type", "value"),
    [
        ("{'name': 'Ada', age: 36,} // ok", Person, ADA),
        (f"Like [1] says: {JSON} and [2]", Person, ADA),
        (f"{JSON}, so once more:\n{JSON}", Person, ADA),
        (f"well</think>{JSON}", Person, ADA),
        (f"<think>a</think><think>{{}}</think>{JSON}", Person, ADA),
        ('{"value": 4}', int, 4),
        ("**4**.", int, 4),
        ("Score: 4\nAll in all, fine.", int, 4),
        ("- **Score:** `4`\n- Score: 4", int, 4),
        ("That is\n```\n4\n```", int, 4),
        ("True", bool, True),
        ("2024-05-17", date, date(2024, 5, 17)),
        ("2024-05-17.", date, date(2024, 5, 17)),
        ('say "hi" {}', Annotated[str, Field(max_length=20)], 'say "hi" {}'),
        ("Red.", Literal["red", "green"], "red"),
        ("Answer: **Red**", Literal["red", "green"], "red"),
        ("RED", Literal["red"], "red"),
        ("'RED'", Colour, Colour.RED),
        ("Red.", Choice(["red", "green"]), "red"),
        ('"red"', Choice(["red", "green"]), "red"),
        ('{"value": "red"}', Choice(["red", "green"]), "red"),
        ("I think so.\nAnswer: a", Choice(["A", "B"]), "A"),
        ("Answer: a\nSo: A", Choice(["A", "B"]), "A"),
        (" abc\n", Regex("a.c"), "abc"),
        ("<think>hm</think>\n\nHello", str, "Hello"),
        ("{'a': [1, 2,]}", {"a": "list[int]"}, {"a": [1, 2]}),
    ],
)
def test_coerced(text: str, output_type: Any, value: Any) -> None:
    result = parse(text, output_type)
    assert result.unwrap() == value
    assert type(result.value) is type(value)
    assert result.coercions
    assert not parse(text, output_type, tolerant=False).ok or output_type is str


@pytest.mark.parametrize("text", ["Hello: {} [", " ``` ", "a</think> b", ""])
def test_plain_text_is_taken_as_it_is(text: str) -> None:
    result = parse(text, str)
    assert (result.unwrap(), result.coercions) == (text, ())


@pytest.mark.parametrize(
    ("text", "output_type"),
    [
        ("It is 4, or less than 7", int),
        ("12:30", int),
        ("", int),
        (".5", int),
        ('{"value": 4, "other": 5}', int),
        ("It is not true", bool),
        ("spam or ham", Literal["spam", "ham"]),
        ("a", Choice(["A", "a."])),
        ("", Choice(["."])),
        ('{"people": [{"name": "Ada", "age": 36}, {"name": "Bob"', Person),
        (f"{JSON} and then {JSON[:-5]}", Person),
        ('Sure! {"name": "Ada", "age"', Person | str),
        ("\ud800", int),
        ("\ud800 {", Person),
        ("[" * 1000, int),
        ("abcd", Regex("a.c")),
        ('{"value": abcd}', Regex("a.c")),
        ("Answer: A\nSo: B", Choice(["A", "B"])),
    ],
)
def test_nothing_is_guessed(text: str, output_type: Any) -> None:
    result = parse(text, output_type)
    assert isinstance(result.error, Invalid), result.value
    assert result.error.raw == text


def test_answers_that_differ_are_no_answer() -> None:
    error = parse(f"{JSON} or {JSON.replace('36', '37')}", Person).error
    assert isinstance(error, Invalid)
    assert "differ" in str(error)
    assert error.issues[0].path == "$"
    assert "differ" in str(parse("Score: 4\nRank: 5", int).error)


def test_too_many_places_are_no_answer() -> None:
    assert "more than 1000 places" in str(parse("{} " * 2000 + JSON, Person).error)


def test_unfinished_thinking_holds_no_answer() -> None:
    for output_type in (Person, str):
        assert "<think>" in str(parse(f"<think>maybe {JSON}", output_type).error)


@pytest.mark.parametrize(
    "text", ['{"name": "Ada", "age": "old"}', 'Here [1]:\n```\n{"name": "Ada", "age": "old"}\n```']
)
def test_the_error_is_about_the_json(text: str) -> None:
    error = parse(text, Person).error
    assert isinstance(error, Invalid)
    assert [issue.path for issue in error.issues] == ["$.age"]
    assert error.partial == {"name": "Ada", "age": "old"} or "[1]" in text


@pytest.mark.parametrize("before", ["", "```json\n", "Sure!\n", "<think>{1}</think>"])
@pytest.mark.parametrize("tolerant", [True, False])
def test_a_cut_text_has_a_partial_value(before: str, tolerant: bool) -> None:
    error = parse(before + '{"name": "Ad', Person, tolerant=tolerant).error
    assert isinstance(error, Invalid)
    assert error.partial == {"name": "Ad"} or ("{1}" in before and not tolerant)


def test_the_validation_context_arrives() -> None:
    class Even(BaseModel):
        number: int

        @field_validator("number")
        @classmethod
        def is_even(cls, number: int, info: Any) -> int:
            if info.context == "even" and number % 2:
                raise ValueError("odd")
            return number

    assert parse("{'number': 3}", Even).ok
    error = parse("{'number': 3}", Even, validation_context="even").error
    assert isinstance(error, Invalid)
    assert "odd" in str(error)
    with pytest.raises(Invalid):
        read_answer('{"number": 3}', spec_of(Even), tolerant=False, context="even")


def test_a_type_that_is_none_is_an_error_at_once() -> None:
    with pytest.raises(SpecError):
        parse("1", "integr")


@given(values, st.data())
def test_partial_is_the_value_or_a_part_of_it(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value)
    assert partial(text) == value
    cut = partial(text[: data.draw(st.integers(min_value=0, max_value=len(text)))])
    if isinstance(value, list) and cut is not None:
        assert isinstance(cut, list)
        assert cut[:-1] == value[: len(cut)][:-1]
    if isinstance(value, str) and cut is not None:
        assert isinstance(cut, str)
        assert value.startswith(cut) or "\\u" in text


@pytest.mark.parametrize("text", ["", "Hello", "12 apples", "tru", "\ud800", '"\ud800'])
def test_no_json_has_no_partial_value(text: str) -> None:
    assert partial(text) is None


fragments = st.sampled_from(
    [
        "<think>",
        "</think>",
        "```",
        "```json\n",
        '{"name": "Ada", ',
        '"age": 36}',
        '{"value": ',
        "'",
        '"',
        "\\",
        "//",
        "/*",
        "#",
        "\n",
        "Score: ",
        "True",
        "red",
        "\ufeff",
        "\ud800",
        ",",
        "1",
        "{",
        "}",
        "[",
        "]",
    ]
)
TYPES = [Person, int, str, list[int], Literal["red", "green"], Choice(["red"]), Regex("a*"), date]


@given(st.lists(fragments | st.text(max_size=5)).map("".join), st.sampled_from(TYPES))
def test_garbage_gives_a_result(text: str, output_type: Any) -> None:
    for tolerant in (True, False):
        result = parse(text, output_type, tolerant=tolerant)
        assert result.ok or isinstance(result.error, Invalid)


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "[]",
        "[}",
        '{"a":',
        "'",
        '"\\',
        "/*",
        "```",
        "a: 1\n",
        "<think></think>",
        '"a":1,',
        "\\",
        '{"value":',
        "# ",
        " ",
        "aaaaaaaaa ",
        "*",
        "[a b] ",
        "'a',",
    ],
)
@pytest.mark.slow
@pytest.mark.parametrize("before", ["", "{"])
def test_a_long_text_is_read_in_linear_time(piece: str, before: str) -> None:
    """The square of this length would outlast the test's time limit."""
    assert not parse(before + piece * (400_000 // len(piece)), Person).ok
