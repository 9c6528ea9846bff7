"""The notes that typedllm adds to Pydantic's JSON Schema."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    AfterValidator,
    AwareDatetime,
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    EmailStr,
    Field,
    FutureDate,
    HttpUrl,
    InstanceOf,
    IPvAnyAddress,
    NaiveDatetime,
    PlainValidator,
    PostgresDsn,
    SecretStr,
    StringConstraints,
    TypeAdapter,
    WrapValidator,
)
from pydantic.errors import PydanticInvalidForJsonSchema

from typedllm.spec.json_schema import NOTE, json_schema_of


def note(kind: Any) -> dict[str, Any]:
    """The note at the root of a type's schema."""
    return json_schema_of(TypeAdapter(kind)).get(NOTE, {})


def check(value: Any) -> Any:
    return value


class Checker:
    def __call__(self, value: Any) -> Any:
        return value


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (int, {}),
        (str, {}),
        (date, {}),
        (EmailStr, {}),
        (SecretStr, {}),
        (IPvAnyAddress, {}),
        (time, {"kind": "python-time"}),
        (datetime, {"kind": "datetime"}),
        (AwareDatetime, {"kind": "aware-datetime"}),
        (NaiveDatetime, {"kind": "naive-datetime"}),
        (timedelta, {"kind": "timedelta"}),
        (bytes, {"kind": "bytes"}),
        (Base64Bytes, {"kind": "bytes"}),
        (set[int], {"kind": "set"}),
        (frozenset[int], {"kind": "set"}),
        (dict[str, int], {"kind": "dict", "keys": {"type": "string"}}),
        (dict, {"kind": "dict"}),
        (dict[Any, int], {"kind": "dict"}),
        (dict[int, int], {"kind": "dict", "keys": {"type": "integer"}}),
        (HttpUrl, {"kind": "url", "schemes": ["http", "https"]}),
        (Decimal, {"kind": "decimal"}),
        (
            Annotated[Decimal, Field(max_digits=5, decimal_places=2)],
            {"kind": "decimal", "max_digits": 5, "decimal_places": 2},
        ),
        (complex, {"checked": ["a complex number"]}),
        (Annotated[date, Field(ge=date(2024, 1, 1))], {"checked": ["the bounds ge"]}),
        (FutureDate, {"checked": ["the bounds now_op"]}),
        (
            Annotated[time, Field(gt=time(1), lt=time(2))],
            {"kind": "python-time", "checked": ["the bounds gt, lt"]},
        ),
        (
            Annotated[datetime, Field(le=datetime(2024, 1, 1))],
            {"kind": "datetime", "checked": ["the bounds le"]},
        ),
        (
            Annotated[timedelta, Field(gt=timedelta(0))],
            {"kind": "timedelta", "checked": ["the bounds gt"]},
        ),
        (Annotated[str, StringConstraints(strip_whitespace=True)], {}),
        (Annotated[str, StringConstraints(pattern="^a")], {}),
        (
            Annotated[str, StringConstraints(to_upper=True, max_length=3, min_length=1)],
            {"checked": ["min_length, max_length after to_upper"]},
        ),
        (Annotated[int, AfterValidator(check)], {"checked": ["the validator check"]}),
        (Annotated[int, BeforeValidator(check)], {"checked": ["the validator check"]}),
        (Annotated[int, PlainValidator(check)], {"checked": ["the validator check"]}),
        (Annotated[int, AfterValidator(Checker())], {"checked": ["the validator Checker"]}),
        (
            Annotated[int, AfterValidator(functools.partial(check))],
            {"checked": ["the validator check"]},
        ),
        (
            Annotated[int, AfterValidator(check), AfterValidator(Checker())],
            {"checked": ["the validator check", "the validator Checker"]},
        ),
    ],
)
def test_notes(kind: Any, expected: dict[str, Any]) -> None:
    found = note(kind)
    assert {name: value for name, value in found.items() if name in expected} == expected
    assert set(found) == set(expected)


def test_a_local_function_is_named_without_its_place() -> None:
    def inside(value: Any, handler: Callable[[Any], Any]) -> Any:
        return handler(value)

    reasons = note(Annotated[int, WrapValidator(inside)])["checked"]
    assert reasons == ["the validator test_a_local_function_is_named_without_its_place.inside"]


def test_numbers_of_decimals_are_kept() -> None:
    kind = Annotated[Decimal, Field(gt=Decimal("0.5"), le=9, multiple_of=Decimal("0.25"))]
    found = json_schema_of(TypeAdapter(kind))
    assert found == {
        "type": "number",
        "exclusiveMinimum": 0.5,
        "maximum": 9.0,
        "multipleOf": 0.25,
        NOTE: {"kind": "decimal"},
    }


def test_a_kind_of_url_with_parts_of_its_own_is_checked() -> None:
    found = note(PostgresDsn)
    assert found["kind"] == "url"
    assert "postgresql" in found["schemes"]
    assert found["checked"] == ["the parts that this kind of URL must have"]


class Model(BaseModel):
    x: int


class Hooked(Model):
    def model_post_init(self, context: Any, /) -> None: ...


class Private(Model):
    _cache: int = 0  # Pydantic's own hook sets it


@dataclasses.dataclass
class Data:
    x: int


@dataclasses.dataclass
class HookedData:
    x: int

    def __post_init__(self) -> None: ...


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        (Model, None),
        (Private, None),
        (Data, None),
        (Hooked, ["the validator Hooked.model_post_init"]),
        (HookedData, ["the validator HookedData.__post_init__"]),
    ],
)
def test_what_runs_after_a_class_is_made_is_checked(kind: type, reasons: list[str] | None) -> None:
    assert note(kind).get("checked") == reasons


def test_a_type_without_a_json_form_is_refused() -> None:
    class Opaque:
        pass

    with pytest.raises(PydanticInvalidForJsonSchema):
        json_schema_of(TypeAdapter(InstanceOf[Opaque]))


def test_a_schema_is_that_of_what_is_read() -> None:
    class Aliased(BaseModel):
        inside: int = Field(validation_alias="outside")
        level: Literal["a"] = "a"

    found = json_schema_of(TypeAdapter(Aliased))
    assert list(found["properties"]) == ["outside", "level"]
    assert found["required"] == ["outside"]
