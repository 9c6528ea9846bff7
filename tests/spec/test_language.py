"""The spec language: what each way of writing means, and what each mistake is told."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional, Union

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import EmailStr, Field, PositiveInt, TypeAdapter
from typing_extensions import TypedDict

from typedllm.errors import SpecError
from typedllm.spec.language import type_of
from typedllm.spec.spec import spec_of


@dataclass(frozen=True)
class Written:
    """A type as the language writes it, as Python writes it, and some of its values."""

    word: str
    form: Any
    values: st.SearchStrategy[Any]


def _scalars() -> st.SearchStrategy[Written]:
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    integers = st.integers(-(10**9), 10**9)
    return st.sampled_from(
        [
            Written("str", str, texts),
            Written("int", int, integers),
            Written("float", float, st.floats(allow_nan=False, allow_infinity=False)),
            Written("bool", bool, st.booleans()),
            Written("None", type(None), st.none()),
            Written("date", datetime.date, st.dates()),
            Written("UUID", uuid.UUID, st.uuids()),
            Written("Decimal", Decimal, st.decimals(-1000, 1000, places=3)),
            Written("PositiveInt", PositiveInt, st.integers(1, 9)),
            Written(
                "int(ge=-5, le=120)", Annotated[int, Field(ge=-5, le=120)], st.integers(-5, 120)
            ),
            Written(
                "str(min_length=1, pattern='^[a-z#]+$')",
                Annotated[str, Field(min_length=1, pattern="^[a-z#]+$")],
                st.from_regex(r"\A[a-z#]+\Z"),
            ),
        ]
    )


@st.composite
def _enumerations(draw: st.DrawFn) -> Written:
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    kind = draw(st.sampled_from([texts, st.integers(-99, 99)]))
    values: list[Any] = draw(st.lists(kind, min_size=1, max_size=4, unique=True))
    separator, frame = draw(st.sampled_from([(" | ", "{}"), (", ", "Literal[{}]")]))
    word = frame.format(separator.join(repr(value) for value in values))
    return Written(word, Literal[tuple(values)], st.sampled_from(values))


@st.composite
def _containers(draw: st.DrawFn, members: st.SearchStrategy[Written]) -> Written:
    one, two = draw(members), draw(members)
    most = draw(st.integers(0, 5))
    lists = st.lists(one.values, max_size=most)
    pairs = st.tuples(one.values, two.values)
    keys = st.text("abc", max_size=3)
    return draw(
        st.sampled_from(
            [
                Written(f"list[{one.word}]", list[one.form], lists),
                Written(
                    f"List[{one.word}](max_length={most})",
                    Annotated[list[one.form], Field(max_length=most)],
                    lists,
                ),
                Written(f"tuple[{one.word}, ...]", tuple[one.form, ...], lists.map(tuple)),
                Written(f"tuple[{one.word}, {two.word}]", tuple[one.form, two.form], pairs),
                Written(
                    f"dict[str, {one.word}]",
                    dict[str, one.form],
                    st.dictionaries(keys, one.values, max_size=3),
                ),
                Written(f"Optional[{one.word}]", Optional[one.form], st.none()),  # noqa: UP045
                Written(f"{one.word} | None", Optional[one.form], st.none()),  # noqa: UP045
            ]
        )
    )


COMMENTS = st.from_regex(r"\A[a-zé'\"\[]([a-zé '\"\[#]{0,9}[a-zé'\"\[])?\Z")
WRITTEN = st.recursive(_scalars() | _enumerations(), _containers, max_leaves=6)


def _schema(form: Any) -> Any:
    return TypeAdapter(form).json_schema()


@given(WRITTEN)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_word_means_what_the_annotation_means(written: Written) -> None:
    assert _schema(type_of(written.word)) == _schema(written.form)


@given(WRITTEN, st.data())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_values_of_the_type_are_read_back(written: Written, data: st.DataObject) -> None:
    value = data.draw(written.values)
    adapter = TypeAdapter(written.form)
    fields = spec_of({"the value": written.word})
    text = '{"the value": ' + adapter.dump_json(value).decode() + "}"
    assert fields.read(text) == {"the value": value}


@given(st.dictionaries(st.text(max_size=6), WRITTEN, min_size=1, max_size=4), COMMENTS)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_dict_means_a_typed_dict(fields: dict[str, Written], comment: str) -> None:
    described = {key: f"{field.word}  # {comment}" for key, field in fields.items()}
    forms: dict[str, Any] = {
        key: Annotated[field.form, Field(description=comment)] for key, field in fields.items()
    }
    expected = _schema(TypedDict("Answer", forms))  # pyright: ignore[reportArgumentType]
    assert _schema(type_of(described)) == expected
    assert list(_schema(type_of(described))["properties"]) == list(fields)


@pytest.mark.parametrize(
    ("spec", "form"),
    [
        (["red", "green"], Literal["red", "green"]),
        ([1, 2, 3], Literal[1, 2, 3]),
        ([1.5, None, True], Literal[1.5, None, True]),  # pyright: ignore[reportInvalidTypeForm]
        ("'red' | 'green' | None", Optional[Literal["red", "green"]]),  # noqa: UP045
        ("'red' | int", Union[Literal["red"], int]),  # noqa: UP007
        ("Union[int, 'red', str]", Union[int, Literal["red"], str]),  # noqa: UP007
        ("Literal[-1, True, None]", Literal[-1, True, None]),  # pyright: ignore
        ("list", list),
        ("Dict[str, Any]", dict[str, Any]),
        ("frozenset[int]", frozenset[int]),
        ("set['a' | 'b']", set[Literal["a", "b"]]),
        ("EmailStr | None", Optional[EmailStr]),  # noqa: UP045
        ("  int", int),
        (["red"], Literal["red"]),
        ("PositiveInt(le=3)", Annotated[PositiveInt, Field(le=3)]),
        ("set[int(ge=0)]", set[Annotated[int, Field(ge=0)]]),
        ("int(multiple_of=5)", Annotated[int, Field(multiple_of=5)]),
        ("float(gt=0, lt=1)", Annotated[float, Field(gt=0, lt=1)]),
        ("Decimal(max_digits=4)", Annotated[Decimal, Field(max_digits=4)]),
        ("'a#b'  # no b", Annotated[Literal["a#b"], Field(description="no b")]),
        ("str(pattern='#+')", Annotated[str, Field(pattern="#+")]),
    ],
)
def test_ways_to_write(spec: Any, form: Any) -> None:
    assert _schema(type_of(spec)) == _schema(form)


def test_objects_nest_and_keep_order() -> None:
    spec = {"z": "int", "analysis of A": "str  # first", "items": [{"sku": "str"}], "a": {"b": [1]}}

    class items(TypedDict):  # noqa: N801
        sku: str

    class a(TypedDict):  # noqa: N801
        b: Literal[1]

    expected = TypedDict(  # pyright: ignore
        "Answer",
        {
            "z": int,
            "analysis of A": Annotated[str, Field(description="first")],
            "items": list[items],
            "a": a,
        },
    )
    assert _schema(type_of(spec)) == _schema(expected)
    answer = spec_of(spec).read('{"a":{"b":1},"items":[{"sku":"x"}],"analysis of A":"","z":1}')
    assert list(answer) == list(spec)
    assert answer["items"] == [{"sku": "x"}]


def test_bounds_on_dates_are_checked() -> None:
    reader = spec_of({"day": "date(ge='2020-01-01')"}).read
    assert reader('{"day": "2020-01-01"}') == {"day": datetime.date(2020, 1, 1)}
    with pytest.raises(Exception, match=r"\$\.day"):
        reader('{"day": "2019-12-31"}')


MISTAKES: list[tuple[Any, str]] = [
    ({"age": "itn"}, r"""^\$\.age: 'itn', column 1: unknown type "itn"; did you mean "int"\?"""),
    ({"age": "int | strr"}, r"""column 7: unknown type "strr"; did you mean "str"\?"""),
    ({"é": "'é' | strr"}, r"column 7: unknown"),
    ({"age": "  strr"}, r"column 3: unknown"),
    ("string", r'write "str"'),
    ("Integer", r'write "int"'),
    ("object", r'write "dict\[str, Any\]"'),
    ("Email", r'write "EmailStr"'),
    ("qqqqqq", r"the names are str, int"),
    ("Array[int]", r'unknown type "Array"; write "list"'),
    ({"tags": ["str"]}, r'^\$\.tags: .*write "list\[str\]"'),
    (["int | None"], r'write "list\[int \| None\]"'),
    ({1: "int"}, r"^\$: the name of a field is a text, not 1"),
    ({}, r'without fields; write "dict\[str, Any\]"'),
    ({"a": {"b c": {}}}, r"^\$\.a\['b c'\]: a dict without fields"),
    ({"a": []}, r"^\$\.a: an enumeration needs"),
    ({"a": ["x", "y", "x"]}, r"^\$\.a: 'x' comes 2 times"),
    ({"a": [1, 1.0]}, r"1 comes 2 times"),
    ({"a": [float("nan")]}, r"nan has no form in JSON"),
    ({"a": ["x", ["y"]]}, r"a list holds either one dict"),
    ({"a": [{"b": "int"}, {"c": "int"}]}, r"a list holds either one dict"),
    ({"a": ["x", b"y"]}, r"b'y' is no value of an enumeration"),
    ({"items": [{"sku": "st"}]}, r'^\$\.items\[\*\]\.sku: .*did you mean "str"'),
    ({"a": int}, r'^\$\.a: .* in quotes: "int"'),
    ({"a": 5}, r"^\$\.a: 5 is no type; write a type word"),
    ("", r"a type is missing"),
    (" # only a comment", r"a type is missing"),
    ("int\nint", r"is one line"),
    ("int |", r"not a type \(invalid syntax"),
    ("int)", r"column 4: not a type"),
    ("int\0", r"not a type"),
    ("'\ud800'", r"not a type"),
    ("[str]", r'write "list\[...\]"'),
    ("{'a': int}", r"write an object as a dict, not in a string"),
    ("datetime.date", r'write "date", without the module'),
    ("1 + 2", r"no type"),
    ("f'a'", r"no type"),
    ("b'a'", r"no value; write a quoted text or a number"),
    ("-int", r"no value"),
    ("...", r"no value"),
    ("__import__('os')", r"unknown type"),
    ("Optional", r'"Optional" needs its members'),
    ("Optional[int, str]", r"2 members where 1 belong"),
    ("list[int, str]", r"2 members where 1 belong"),
    ("dict[str]", r"1 members where 2 belong"),
    ("tuple[()]", r"needs its members"),
    ("str[int]", r'"str" takes no members'),
    ("set[list[int]]", r"cannot be in a set"),
    ("dict[list[int], str]", r"no type of a key"),
    ("'a' | 'b' | 'a'", r"'a' comes 2 times"),
    ("Literal['a', int]", r"column 14: no value"),
    ("Literal[1e999]", r"inf has no form in JSON"),
    ("int(pattern='a')", r'int has no constraint "pattern"; it takes gt, ge'),
    ("int(**x)", r"int has no constraint"),
    ("UUID(min_length=3)", r'UUID has no constraint "min_length"; it takes none'),
    ("tuple[int, str](max_length=1)", r"it takes none"),
    ("int(5)", r"a constraint goes by name"),
    ("(int | None)(ge=0)", r"constraints go on one type"),
    ("int(ge='a')", r"ge cannot be 'a'"),
    ("int(ge=0.5)", r"ge cannot be 0.5"),
    ("int(ge=True)", r"ge cannot be True"),
    ("float(le=1e999)", r"le cannot be inf"),
    ("int(ge=int)", r"no value"),
    ("int(ge=1, ge=2)", r'"ge" comes twice'),
    ("int(ge=5, le=3)", r"no value has ge above le"),
    ("int(multiple_of=0)", r"does not work"),
    ("int(strict='yes')", r"strict cannot be 'yes'"),
    ("date(ge='soon')", r"ge cannot be 'soon'"),
    ("str(min_length=3, max_length=2)", r"no value has min_length above max_length"),
    ("str(max_length=-1)", r"max_length cannot be -1"),
    ("str(max_length=99999999999999999999)", r"does not work"),
    ("str(pattern=5)", r"pattern cannot be 5"),
    ("str(pattern='(?=a)')", r"look-around"),
    ("str(pattern='[')", r"unclosed"),
]


@pytest.mark.parametrize(("spec", "message"), MISTAKES)
def test_mistakes_are_named(spec: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        type_of(spec)


def _nested(core: Any, wrap: Callable[[Any], Any], depth: int) -> Any:
    for _ in range(depth):
        core = wrap(core)
    return core


def _holding_itself() -> Any:
    spec: dict[str, Any] = {}
    spec["self"] = spec
    return spec


@pytest.mark.parametrize(
    "spec",
    [
        _nested("int", lambda spec: {"a": spec}, 100),
        _nested("int", lambda spec: [{"a": spec}], 10_000),
        _nested("int", lambda word: f"list[{word}]", 100),
        _nested("int", lambda word: f"list[{word}]", 10_000),
        _holding_itself(),
        "x" * 1_000_000,
        "(" * 90_000,
        "-" * 90_000 + "1",
        " | ".join("1" * 20_000),
        "a." * 40_000 + "b",
        "int" + "(ge=1)" * 15_000,
        "a if b else " * 8_000 + "c",
    ],
    ids=range(12),
)
def test_what_is_too_large_is_refused(spec: Any) -> None:
    with pytest.raises(SpecError):
        spec_of(spec)


def test_large_specs_that_work() -> None:
    deep = spec_of(_nested({"a": "int"}, lambda spec: {"a": spec}, 29))
    value = _nested(7, lambda inner: {"a": inner}, 30)
    assert deep.read(json.dumps(value)) == value
    wide = spec_of({"word": [f"value {number}" for number in range(50_000)]})
    assert wide.read('{"word": "value 49999"}') == {"word": "value 49999"}
