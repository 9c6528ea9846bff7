"""Draws output types of every kind, with JSON values that are valid for them."""

from __future__ import annotations

import base64
import enum
import json
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Literal, NotRequired, Union
from uuid import UUID

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as with_seed
from pydantic import (
    AnyUrl,
    AwareDatetime,
    Base64Bytes,
    BaseModel,
    EmailStr,
    Field,
    HttpUrl,
    NaiveDatetime,
    create_model,
)
from typing_extensions import TypedDict


@dataclass(frozen=True, slots=True)
class Case:
    """An output type, and JSON values of it within the default limits.

    Attributes:
        type: the type.
        values: plain JSON values that are valid for it.
        schema_decides: whether JSON Schema agrees with Pydantic on what is valid.
    """

    type: Any
    values: st.SearchStrategy[Any]
    schema_decides: bool = True


class Chain(BaseModel):
    """A recursive type with one way on."""

    name: str
    next: Chain | None = None


class Tree(BaseModel):
    """A recursive type with many ways on."""

    value: int
    children: list[Tree] = []


class Left(BaseModel):
    """One side of a mutual recursion."""

    right: Right | None


class Right(BaseModel):
    """The other side."""

    left: list[Left]


class Color(enum.Enum):
    """An enumeration of mixed values."""

    RED = "red"
    BLUE = 'b"l\\ue'
    TWO = 2
    HALF = 0.5


class Side(enum.Enum):
    """An enumeration of texts."""

    LEFT = 'le"ft'
    RIGHT = "right"


def _letters() -> st.SearchStrategy[str]:
    return st.text(max_size=30)


_chain = st.recursive(
    st.builds(lambda n: {"name": n, "next": None}, _letters()),
    lambda more: st.builds(lambda n, m: {"name": n, "next": m}, _letters(), more),
    max_leaves=3,
)
_tree = st.recursive(
    st.builds(lambda v: {"value": v, "children": []}, st.integers(-9, 9)),
    lambda more: st.builds(
        lambda v, m: {"value": v, "children": m}, st.integers(-9, 9), st.lists(more, max_size=2)
    ),
    max_leaves=3,
)
_dates = st.dates().map(date.isoformat)
_clock = st.times().map(time.isoformat)
_zoned = st.builds(
    lambda d, minutes: (
        f"{d.isoformat()}{'+' if minutes >= 0 else '-'}"
        f"{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    ),
    st.datetimes(),
    st.integers(-1439, 1439),
)
_domain = st.from_regex(r"\A[a-z]{1,12}\.(com|org|example)\Z")
_money = st.decimals(min_value=0, max_value=999, places=2).map(float)

SCALARS: list[Case] = [
    Case(int, st.integers(-(10**18) + 1, 10**18 - 1)),
    Case(Annotated[int, Field(ge=-17, le=250)], st.integers(-17, 250)),
    Case(Annotated[int, Field(gt=99)], st.integers(100, 10**17)),
    Case(Annotated[int, Field(lt=-3)], st.integers(-(10**17), -4)),
    Case(Annotated[int, Field(multiple_of=5)], st.integers(-(10**9), 10**9).map(lambda n: 5 * n)),
    Case(
        Annotated[int, Field(multiple_of=7, ge=0, le=99)], st.integers(0, 14).map(lambda n: 7 * n)
    ),
    Case(float, st.decimals(-(10**12), 10**12, places=3).map(float)),
    Case(Annotated[float, Field(ge=0, le=1)], st.decimals(0, 1, places=6).map(float)),
    Case(
        Annotated[float, Field(gt=-2.5, lt=100)],
        st.decimals("-2.499", "99.99", places=3).map(float),
    ),
    Case(Annotated[float, Field(multiple_of=0.25)], st.integers(-999, 999).map(lambda n: n / 4)),
    Case(
        Annotated[float, Field(multiple_of=0.1, ge=0, le=9)],
        st.integers(0, 90).map(lambda n: n / 10),
    ),
    Case(Annotated[float, Field(multiple_of=0.01)], st.integers(-999, 999).map(lambda n: n / 100)),
    Case(Decimal, _money),
    Case(Annotated[Decimal, Field(max_digits=5, decimal_places=2, ge=0)], _money),
    Case(
        Annotated[Decimal, Field(ge=-1, lt=2, decimal_places=1)],
        st.integers(-10, 19).map(lambda n: n / 10),
    ),
    Case(Annotated[Decimal, Field(max_digits=4)], st.decimals(-99, 99, places=1).map(float)),
    Case(bool, st.booleans()),
    Case(None, st.none()),
    Case(Annotated[str, Field(min_length=0)], _letters()),
    Case(Annotated[str, Field(max_length=20)], st.text(max_size=20)),
    Case(Annotated[str, Field(min_length=3, max_length=5)], st.text(min_size=3, max_size=5)),
    Case(Annotated[str, Field(pattern=r"^[A-Z]{2}\d{3}$")], st.from_regex(r"\A[A-Z]{2}[0-9]{3}\Z")),
    Case(
        Annotated[str, Field(pattern=r"^(ab|c\"d)*e?$", max_length=9)],
        st.from_regex(r'\A(ab|c"d){0,2}e?\Z'),
    ),
    Case(
        Annotated[str, Field(pattern=r"^a*b\w+$", min_length=4)],
        st.from_regex(r"\Aa{0,3}b[a-z0-9_]{3,9}\Z"),
    ),
    Case(Annotated[str, Field(pattern="x")], st.builds("{}x{}".format, _letters(), _letters())),
    Case(date, _dates),
    Case(time, _clock),
    Case(datetime, st.datetimes().map(datetime.isoformat)),
    Case(NaiveDatetime, st.datetimes().map(datetime.isoformat)),
    Case(AwareDatetime, _zoned),
    Case(
        timedelta,
        st.builds(
            "P{}DT{}H{}M{}S".format, st.integers(0, 364), *(st.integers(0, n) for n in (19, 59, 59))
        ),
    ),
    Case(UUID, st.uuids().map(str)),
    Case(EmailStr, st.builds("{}@{}".format, st.from_regex(r"\A[a-z]{1,9}\Z"), _domain)),
    Case(AnyUrl, st.builds("ftp://{}/a?b=c#d".format, _domain)),
    Case(HttpUrl, st.builds("https://{}:8080/a/b%20c".format, _domain)),
    Case(IPv4Address, st.ip_addresses(v=4).map(str)),
    Case(IPv6Address, st.ip_addresses(v=6).map(str)),
    Case(Base64Bytes, st.binary(max_size=20).map(lambda b: base64.b64encode(b).decode())),
    Case(bytes, _letters()),
    Case(
        Annotated[bytes, Field(min_length=2, max_length=4)], st.text("ab\n", min_size=2, max_size=4)
    ),
    Case(Color, st.sampled_from([member.value for member in Color])),
    Case(Literal["one", 'tw"o', "thrée", 4, True, None], st.sampled_from(["one", 'tw"o', 4, None])),
    Case(Chain, _chain),
    Case(Tree, _tree),
    Case(Left, st.just({"right": {"left": [{"right": None}]}})),
    Case(dict, st.dictionaries(_letters(), st.integers(-9, 9), max_size=3)),
    Case(Any, st.sampled_from([None, [1, {"a": ["b"]}], {"k": 2.5}, "text"]), schema_decides=False),
]


def _lists(inner: Case, bounds: tuple[int, int | None]) -> Case:
    least, most = bounds
    kind = Annotated[list[inner.type], Field(min_length=least, max_length=most)]
    values = st.lists(inner.values, min_size=least, max_size=4 if most is None else most)
    return Case(kind, values, inner.schema_decides)


_KEYS: list[tuple[Any, st.SearchStrategy[str]]] = [
    (str, _letters()),
    (int, st.integers(-99, 99).map(str)),
    (UUID, st.uuids().map(str)),
    (Side, st.sampled_from(['le"ft', "right"])),
    (bool, st.just("true")),
    (Literal["left", "right"], st.sampled_from(["left", "right"])),
    (Annotated[str, Field(pattern="^k[0-9]+$")], st.from_regex(r"\Ak[0-9]{1,3}\Z")),
]


def _dicts(inner: Case, key: tuple[Any, st.SearchStrategy[str]]) -> Case:
    kind, names = key
    # A dict of a few possible keys is written in the order of the keys.
    values = st.dictionaries(names, inner.values, max_size=3).map(
        lambda found: dict(sorted(found.items()))
    )
    return Case(dict[kind, inner.type], values, inner.schema_decides)


_COLORS = ["red", "green", "blue"]
_SETS = [
    Case(set[Literal["red", "green", "blue"]], st.lists(st.sampled_from(_COLORS), unique=True)),
    Case(
        Annotated[frozenset[Literal["red", "green", "blue"]], Field(min_length=2)],
        st.lists(st.sampled_from(_COLORS), unique=True, min_size=2),
    ),
    Case(set[bool], st.lists(st.booleans(), unique=True)),
    Case(set[int], st.lists(st.integers(-9, 9), unique=True, max_size=4), schema_decides=False),
]

_FIELDS = ["name", "age", 'qu"oted', "späce d", "spåce", "zip"]
_ABSENT = object()


@st.composite
def _objects(draw: st.DrawFn, inner: st.SearchStrategy[Case]) -> Case:
    names = draw(st.lists(st.sampled_from(_FIELDS), min_size=1, max_size=4, unique=True))
    fields = [(name, draw(inner), draw(st.booleans())) for name in names]
    kind: Any
    match draw(st.sampled_from(["model", "dataclass", "typed dict"])):
        case "model":
            kind = create_model(
                "Drawn",
                **{
                    f"f{index}": (case.type, Field(... if needed else None, alias=name))
                    for index, (name, case, needed) in enumerate(fields)
                },
            )
        case "dataclass":
            annotated = [
                (f"f{index}", case.type, Field(... if needed else None, alias=name))
                for index, (name, case, needed) in enumerate(fields)
            ]
            kind = dataclass(make_dataclass("Drawn", annotated, kw_only=True))
        case _:
            kind = TypedDict(
                "Drawn", {n: c.type if needed else NotRequired[c.type] for n, c, needed in fields}
            )
    parts = [
        case.values if needed else st.one_of(st.just(_ABSENT), case.values)
        for _, case, needed in fields
    ]
    values = st.tuples(*parts).map(
        lambda found: {n: v for n, v in zip(names, found, strict=True) if v is not _ABSENT}
    )
    return Case(kind, values, all(case.schema_decides for _, case, _ in fields))


def _tagged(first: Case, second: Case) -> Case:
    a = create_model("A", kind=(Literal["a"], ...), content=(first.type, ...))
    b = create_model("B", kind=(Literal["b"], ...), content=(second.type, ...))
    values = st.one_of(
        first.values.map(lambda v: {"kind": "a", "content": v}),
        second.values.map(lambda v: {"kind": "b", "content": v}),
    )
    kind = Annotated[a | b, Field(discriminator="kind")]
    return Case(kind, values, first.schema_decides and second.schema_decides)


def _unions(first: Case, second: Case) -> Case:
    values = st.one_of(first.values, second.values)
    kind = Union[first.type, second.type]  # noqa: UP007  # None is a type here too
    return Case(kind, values, first.schema_decides and second.schema_decides)


def _tuples(parts: list[Case]) -> Case:
    kind = tuple[tuple(case.type for case in parts)]
    values = st.tuples(*(case.values for case in parts)).map(list)
    return Case(kind, values, all(case.schema_decides for case in parts))


def _wider(inner: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    bounds = st.sampled_from([(0, None), (1, 3), (2, None), (0, 0)])
    return st.one_of(
        st.builds(_lists, inner, bounds),
        st.builds(_dicts, inner, st.sampled_from(_KEYS)),
        st.sampled_from(_SETS),
        _objects(inner),
        st.builds(_tagged, inner, inner),
        st.builds(_unions, inner, inner),
        st.builds(_unions, inner, st.just(Case(None, st.none()))),
        st.lists(inner, min_size=1, max_size=3).map(_tuples),
    )


def cases(depth: int = 4) -> st.SearchStrategy[Case]:
    """Cases nested to a depth."""
    drawn = st.sampled_from(SCALARS)
    for _ in range(depth - 1):
        drawn = st.one_of(drawn, _wider(drawn))
    return _wider(drawn)


def drawn(seed: int, count: int, body: Callable[[Case, st.DataObject], None]) -> None:
    """Run a body on drawn cases, the same for the same seed.

    Args:
        seed: the source of chance.
        count: number of cases.
        body: takes a case and, to draw values from it, Hypothesis's data.
    """

    @with_seed(seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(), st.data())
    def run(case: Case, data: st.DataObject) -> None:
        body(case, data)

    run()


def canonical(value: Any) -> str:
    """A JSON value as compact text, without exponents, with only the escapes that JSON demands."""
    match value:
        case dict():
            pairs = (f"{canonical(key)}:{canonical(inner)}" for key, inner in value.items())
            return "{" + ",".join(pairs) + "}"
        case list():
            return "[" + ",".join(map(canonical, value)) + "]"
        case float():
            return f"{Decimal(repr(value)):f}"
        case _:
            return json.dumps(value, ensure_ascii=False)
