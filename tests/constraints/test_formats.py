"""Formats: whatever their expressions match, Pydantic and a strict validator accept."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import random
import uuid
from typing import Any

import hypothesis.strategies as st
import jsonschema_rs
import pydantic
import pytest
from hypothesis import given, settings

from tests.constraints.format_examples import EXAMPLES
from tests.constraints.walking import compiled, grammar
from tests.grammar.expressions import random_walk
from typedllm.constraints.excluding import in_any_case
from typedllm.constraints.formats import (
    KNOWN,
    NARROWED,
    asserted,
    excluding,
    format_expr,
    url_expr,
)
from typedllm.constraints.lark import print_lark
from typedllm.grammar.characters import merged
from typedllm.grammar.closing import reserve, shortest
from typedllm.grammar.drawing import random_text
from typedllm.grammar.expression import expression
from typedllm.grammar.regular import NOTHING, alt, chars, concat, literal, matches, repeat, words
from typedllm.grammar.tree import Text
from typedllm.records import JsonSchema

TYPES: dict[str, Any] = {
    "date": dt.date,
    "time": dt.time,
    "date-time": pydantic.AwareDatetime,
    "duration": dt.timedelta,
    "python-time": dt.time,
    "naive-time": dt.time,
    "aware-time": dt.time,
    "datetime": dt.datetime,
    "naive-datetime": pydantic.NaiveDatetime,
    "aware-datetime": pydantic.AwareDatetime,
    "timedelta": dt.timedelta,
    "uuid": uuid.UUID,
    **{f"uuid{version}": getattr(pydantic, f"UUID{version}") for version in (1, 3, 4, 5, 6, 7, 8)},
    "uuid2": uuid.UUID,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "uri": pydantic.AnyUrl,
    "base64": pydantic.Base64Bytes,
    "base64url": pydantic.Base64UrlBytes,
    "email": pydantic.EmailStr,
}
PLAIN = {  # of JSON Schema alone
    "hostname",
    "idn-email",
    "idn-hostname",
    "iri",
    "iri-reference",
    "json-pointer",
    "regex",
    "relative-json-pointer",
    "uri-reference",
    "uri-template",
}
DRAFTS = {
    4: jsonschema_rs.Draft4Validator,
    6: jsonschema_rs.Draft6Validator,
    7: jsonschema_rs.Draft7Validator,
    19: jsonschema_rs.Draft201909Validator,
    20: jsonschema_rs.Draft202012Validator,
}
STANDARD = sorted(name for name in KNOWN if asserted(name, 20))
ADAPTERS = {name: pydantic.TypeAdapter[Any](found) for name, found in TYPES.items()}
STRICT = [
    {name: DRAFTS[draft]({"format": name}, validate_formats=True) for name in STANDARD}
    for draft in DRAFTS
]


def is_valid(name: str, text: str) -> bool:
    """Whether the validators of every draft, and Pydantic where it has the type, take a text."""
    if name in ADAPTERS:
        try:
            ADAPTERS[name].validate_python(text)
        except pydantic.ValidationError:
            return False
    return name not in STANDARD or all(strict[name].is_valid(text) for strict in STRICT)


def test_every_format_is_tested() -> None:
    assert set(TYPES) | PLAIN == KNOWN
    assert set(NARROWED) <= KNOWN | {"url"}
    assert set(EXAMPLES) == set(STANDARD)


def test_which_formats_are_checked_depends_on_the_draft() -> None:
    assert {draft: asserted("duration", draft) for draft in DRAFTS} == {
        4: False,
        6: False,
        7: False,
        19: True,
        20: True,
    }
    assert [draft for draft in DRAFTS if asserted("json-pointer", draft)] == [6, 7, 19, 20]
    assert [draft for draft in DRAFTS if asserted("iri", draft)] == [7, 19, 20]
    assert all(asserted("date", draft) for draft in DRAFTS)
    assert not any(asserted(name, 20) for name in ("password", "uuid4", "int32", ""))


@settings(max_examples=10)
@given(st.integers(0, 2**32))
@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_text_of_a_format_is_valid(name: str, seed: int) -> None:
    rng = random.Random(seed)
    expr = format_expr(name)
    drawn = [json.loads(random_text(Text(pattern=expr), rng)) for _ in range(5)]
    for text in [*drawn, *(random_walk(expr, rng, length) for length in (5, 20, 60))]:
        assert is_valid(name, text), text


@pytest.mark.parametrize("name", STANDARD)
def test_a_grammar_of_a_format_is_small(name: str) -> None:
    root = Text(pattern=format_expr(name))
    assert len(print_lark(root)) < 20_000
    assert shortest(expression(root)) is not None
    assert reserve(expression(root)) <= 40  # bytes


@pytest.mark.parametrize("name", STANDARD)
def test_what_people_write_can_be_written(name: str) -> None:
    good, bad = EXAMPLES[name]
    for text in good:
        assert is_valid(name, text), text
        assert matches(format_expr(name), text), text
    for text in bad:
        assert not is_valid(name, text), text
        assert not matches(format_expr(name), text), text


@pytest.mark.parametrize("schemes", [("https",), ("redis", "rediss"), ("postgresql",), ()])
def test_every_url_of_some_schemes_is_valid(schemes: tuple[str, ...]) -> None:
    adapter = pydantic.TypeAdapter(pydantic.AnyUrl)
    rng = random.Random(1)
    for _ in range(100):
        text = random_walk(url_expr(schemes), rng, 60)
        scheme = adapter.validate_python(text).scheme
        assert scheme in (schemes or ("ftp", "http", "https", "ws", "wss"))


_ZONES = st.integers(-1439, 1439).map(lambda m: dt.timezone(dt.timedelta(minutes=m)))


@given(st.dates(), st.times(), st.datetimes(), st.datetimes(timezones=_ZONES), st.uuids())
def test_what_python_writes_can_be_written(
    day: dt.date, clock: dt.time, naive: dt.datetime, aware: dt.datetime, identity: uuid.UUID
) -> None:
    assert matches(format_expr("date"), day.isoformat())
    assert matches(format_expr("python-time"), clock.isoformat())
    assert matches(format_expr("naive-time"), clock.isoformat())
    assert matches(format_expr("datetime"), naive.isoformat())
    assert matches(format_expr("datetime"), aware.isoformat())
    assert matches(format_expr("naive-datetime"), naive.isoformat())
    assert matches(format_expr("aware-datetime"), aware.isoformat())
    assert not matches(format_expr("naive-datetime"), aware.isoformat())
    assert not matches(format_expr("aware-datetime"), naive.isoformat())
    assert matches(format_expr("date-time"), f"{naive.isoformat(timespec='microseconds')}Z")
    assert matches(format_expr("uuid"), str(identity))
    assert matches(format_expr("uuid"), str(identity).upper())


@given(st.timedeltas(dt.timedelta(days=-3_000_000), dt.timedelta(days=3_000_000)))
def test_what_pydantic_writes_of_a_duration_can_be_written(value: dt.timedelta) -> None:
    written = pydantic.TypeAdapter(dt.timedelta).dump_json(value).decode()[1:-1]
    assert matches(format_expr("timedelta"), written)


@given(st.ip_addresses(v=4), st.ip_addresses(v=6), st.binary(max_size=40))
def test_addresses_and_bytes_can_be_written(
    four: ipaddress.IPv4Address, six: ipaddress.IPv6Address, content: bytes
) -> None:
    import base64

    assert matches(format_expr("ipv4"), str(four))
    assert matches(format_expr("ipv6"), str(six))
    assert matches(format_expr("ipv6"), str(six).upper())
    assert matches(format_expr("base64"), base64.b64encode(content).decode())
    assert matches(format_expr("base64url"), base64.urlsafe_b64encode(content).decode())


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date", "2024-02-29", "2023-02-29"),
        ("date", "2000-02-29", "1900-02-29"),
        ("date", "0004-02-29", "0000-02-29"),
        ("date", "2024-12-31", "2024-04-31"),
        ("time", "23:59:59Z", "23:59:60Z"),
        ("date-time", "2024-05-17T10:30:00+05:30", "2024-05-17 10:30:00+05:30"),
        ("email", "john.doe+x@mail.example.com", "john..doe@example.com"),
        ("email", "a@b.tests", "a@b.test"),
        ("email", "a@b.loca", "a@b.local"),
        ("email", "a@b.co", "a@b.c"),
        ("uuid4", "00000000-0000-4000-8000-000000000000", "00000000-0000-3000-8000-000000000000"),
        ("duration", "P1Y2M3DT4H5M6S", "P1YT"),
        ("timedelta", "-P1DT2.5S", "P1W"),
        ("base64", "QQ==", "QR=="),
    ],
)
def test_examples(name: str, good: str, bad: str) -> None:
    assert matches(format_expr(name), good)
    assert not matches(format_expr(name), bad)


def test_a_url_stays_below_pydantics_length() -> None:
    # Else each of them would need an intersection with the length, which takes long.
    plan = compiled(pydantic.HttpUrl).plan
    assert plan.guaranteed
    longest = f"https://{'.'.join(['a' * 30] * 4)}:65535/{'%7E' * 255}?{'%7E' * 255}#{'%7E' * 63}"
    assert len(longest) < 2083
    assert matches(expression(grammar(pydantic.HttpUrl).root), f'"{longest}"')


def test_a_format_that_any_string_has_is_guaranteed() -> None:
    assert compiled(JsonSchema({"type": "string", "format": "password"})).plan.guaranteed


@given(
    st.sets(st.text("abc", max_size=4), max_size=4),
    st.integers(0, 3),
    st.none() | st.integers(0, 5),
    st.text("abcd", max_size=6),
)
def test_excluding_leaves_out_some_names_only(
    names: set[str], least: int, most: int | None, text: str
) -> None:
    allowed = merged([(ord("a"), ord("c"))])
    expr = excluding(tuple(names), allowed, least, most)
    expected = (
        text not in names
        and "d" not in text
        and least <= len(text)
        and (most is None or len(text) <= most)
    )
    assert matches(expr, text) == expected


def test_excluding_names_of_other_characters_leaves_nothing_out() -> None:
    allowed = merged([(ord("a"), ord("b"))])
    assert matches(excluding(("xyz", "é"), allowed, 0, None), "abba")
    assert excluding(("",), allowed, 0, 0) is NOTHING
    assert excluding((), allowed, 0, 0) is words([""])


@given(st.text("aBc+x", max_size=5))
def test_in_any_case_is_what_lower_case_says(text: str) -> None:
    lower = alt(repeat(concat(literal("a"), chars([(ord("b"), ord("c"))])), 1), words(["c+", "x"]))
    assert matches(in_any_case(lower), text) == matches(lower, text.lower())


def test_what_has_no_case_is_refused() -> None:
    with pytest.raises(TypeError, match="Nothing has no case"):
        in_any_case(NOTHING)
