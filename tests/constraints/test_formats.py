"""Formats: whatever their expressions match, Pydantic and a strict validator accept."""

from __future__ import annotations

import datetime as dt
import ipaddress
import random
import uuid
from typing import Any

import hypothesis.strategies as st
import jsonschema_rs
import pydantic
import pytest
from hypothesis import given

from tests.constraints.walking import compiled, grammar
from tests.grammar.expressions import random_walk
from typedllm.constraints.formats import KNOWN, NARROWED, excluding, format_expr, url_expr
from typedllm.grammar.characters import merged
from typedllm.grammar.expression import expression
from typedllm.grammar.regular import NOTHING, matches, words
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
    "hostname": str,
}
# Formats of JSON Schema itself; the others are only Pydantic's.
STANDARD = frozenset(
    {"date", "time", "date-time", "duration", "uuid", "ipv4", "ipv6", "uri", "email", "hostname"}
)


def test_every_format_is_tested() -> None:
    assert set(TYPES) == KNOWN
    assert set(NARROWED) <= KNOWN | {"url"}


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_text_of_a_format_is_valid(name: str) -> None:
    adapter = pydantic.TypeAdapter[Any](TYPES[name])
    strict = jsonschema_rs.validator_for({"type": "string", "format": name}, validate_formats=True)
    rng = random.Random(name)
    expr = format_expr(name)
    for length in [5, 20, 60] * 50:
        text = random_walk(expr, rng, length)
        adapter.validate_python(text)
        assert name not in STANDARD or strict.is_valid(text), text


@pytest.mark.parametrize("schemes", [("https",), ("redis", "rediss"), ("postgresql",)])
def test_every_url_of_some_schemes_is_valid(schemes: tuple[str, ...]) -> None:
    adapter = pydantic.TypeAdapter(pydantic.AnyUrl)
    rng = random.Random(1)
    for _ in range(100):
        text = random_walk(url_expr(schemes), rng, 60)
        assert adapter.validate_python(text).scheme in schemes


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
    assert matches(format_expr("ipv6"), str(six)) or six.ipv4_mapped is not None
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
        ("uri", "https://example.com:65535/a//b?c=d/e#f", "https://example.com:65536/"),
        ("uri", "ftp://192.168.0.255/%7Euser", "ftp://1.2.3.456"),
        ("hostname", "a-b.example.com", "a--b.com"),
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


def test_a_format_without_a_grammar_is_said_so() -> None:
    plan = compiled(JsonSchema({"type": "string", "format": "iri"})).plan
    assert [(p.keyword, p.reason) for p in plan.parts if p.status == "checked after"] == [
        ("format", "no grammar for 'iri'")
    ]
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
