"""The types of Arrow that hold the values of a spec, each value as it is or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal
from typing import Any, Final, TypeAlias, cast

from pydantic_core import to_json

from typedllm._require import require
from typedllm.constraints.identifiers import localized
from typedllm.constraints.references import References
from typedllm.spec.dialects import dialect_of
from typedllm.spec.spec import Spec

__all__ = [
    "UNFIT",
    "Column",
    "columns_of",
    "json_column",
    "json_text",
    "list_of",
    "pyarrow",
    "text_column",
]

Cell: TypeAlias = Callable[[Any], Any]
Schema: TypeAlias = Mapping[str, Any]

UNFIT: Final = (TypeError, ValueError, ArithmeticError)
"""What is raised for a value that a column cannot hold."""

_DEEPEST: Final = 32  # levels of a column
_LARGEST: Final = 1_000  # parts of a column
_INT64: Final = -(2**63), 2**63 - 1
_MOST_DIGITS: Final = 38  # of a decimal128
_CLOCK: Final = r"\d\d:\d\d(?::\d\d(?:\.\d{1,6}0*)?)?"  # microseconds at the finest
_TIME: Final = re.compile(_CLOCK)
_NAIVE: Final = re.compile(rf"\d{{4}}-\d\d-\d\d[Tt ]{_CLOCK}")
_AWARE: Final = re.compile(rf"\d{{4}}-\d\d-\d\d[Tt ]{_CLOCK}(?:[Zz]|[+-]\d\d:\d\d)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A type of Arrow, and the way into it.

    Attributes:
        type: the Arrow type.
        cell: makes what pyarrow takes of a value as plain JSON that is not None; raises one of
            `UNFIT` when the type cannot hold exactly that value.
        is_json: whether it is text that is JSON.
    """

    type: Any
    cell: Cell
    is_json: bool = False


def pyarrow() -> Any:
    """Import pyarrow.

    Raises:
        MissingDependency: when it is not installed.
    """
    return require("pyarrow", "tables")


def columns_of(spec: Spec[Any]) -> dict[str, Column] | Column:
    """Work out the columns of a spec's values.

    Bool, int64, float64, string, date32, time64, timestamp, decimal128, lists of these and structs
    of these are taken from the JSON Schema. A datetime is a timestamp where the type says whether
    it has a time zone (then in UTC) or none; one that may have either is text. What has no single
    type of these is JSON text: a dict, a union, a recursive type, an integer with a bound beyond 64
    bits, and a list or object with such a part.

    Args:
        spec: what was asked for.

    Returns:
        By name of the field for an object with known fields, else a single one.
    """
    if spec.schema is None:
        return text_column()
    root = localized(spec.schema, dialect_of(spec.schema))
    types = _Types(root)
    whole = types.followed(root)
    fields = whole.get("properties")
    if whole.get("type") != "object" or not fields:
        return types.column(root)
    return {name: types.column(field) for name, field in fields.items()}


def list_of(kind: Any) -> Any:
    """An Arrow type of lists, whose items have the name that Parquet gives them.

    Args:
        kind: the Arrow type of the items.
    """
    pa = pyarrow()
    return pa.list_(pa.field("element", kind))


def text_column() -> Column:
    """A column of text."""
    return Column(type=pyarrow().string(), cell=_text)


def json_column() -> Column:
    """A column of JSON text."""
    return Column(type=pyarrow().string(), cell=json_text, is_json=True)


def json_text(value: Any) -> str:
    """Write a value as JSON that any column of text can hold.

    Args:
        value: any; what has no JSON form is written as its text, and what is not finite too.
    """
    try:
        written = to_json(value, fallback=str, bytes_mode="base64", inf_nan_mode="strings")
    except ValueError:  # a lone surrogate, which only an escape can write
        return json.dumps(value, default=str)
    return written.decode()


class _NoType(Exception):
    """No type of Arrow holds what a schema allows."""


class _Types:
    """The Arrow types of the parts of one schema."""

    def __init__(self, root: Schema) -> None:
        self._pa = pyarrow()
        self._references = References(root)
        self._left = 0

    def column(self, schema: object) -> Column:
        """The column of a part: of its own type, or JSON text."""
        self._left = _LARGEST
        try:
            return self._typed(schema, 0)
        except _NoType:
            return json_column()

    def followed(self, schema: object) -> Schema:
        """A schema, or what it refers to."""
        seen = 0
        while isinstance(schema, Mapping):
            found = cast(Schema, schema)
            inner: Any = found.get("allOf", ())
            if isinstance(found.get("$ref"), str):
                if not self._references.resolves(found["$ref"]) or seen > _DEEPEST:
                    return {}
                schema = self._references.target(found["$ref"])
            elif len(inner) == 1 and "type" not in found:
                schema = inner[0]
            else:
                return found
            seen += 1
        return {}

    def _typed(self, schema: object, depth: int) -> Column:
        found = self.followed(schema)
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            raise _NoType
        options = found.get("anyOf", found.get("oneOf"))
        if "enum" in found or "const" in found:
            return self._enumerated(found.get("enum", [found.get("const")]))
        if options is not None:
            return self._same([each for each in options if not _is_null(each)], depth)
        match _kind(found):
            case "object":
                return self._struct(found, depth)
            case "array":
                return self._list(found, depth)
            case "string":
                return self._string(found)
            case "integer" if _fits(found):
                return Column(type=self._pa.int64(), cell=_integer)
            case "number" if _note(found) == "decimal":
                return self._decimal(found["x-typedllm"])
            case "number":
                return Column(type=self._pa.float64(), cell=_number)
            case "boolean":
                return Column(type=self._pa.bool_(), cell=_boolean)
            case _:
                raise _NoType

    def _enumerated(self, values: Sequence[object]) -> Column:
        match {type(value) for value in values if value is not None}:
            case kinds if kinds == {str}:
                return text_column()
            case kinds if kinds == {bool}:
                return Column(type=self._pa.bool_(), cell=_boolean)
            case kinds if kinds == {int}:
                return Column(type=self._pa.int64(), cell=_integer)
            case _:
                raise _NoType

    def _same(self, schemas: Sequence[object], depth: int) -> Column:
        """The column of parts that are all of one type."""
        columns = [self._typed(schema, depth + 1) for schema in schemas]
        if not columns or any(column.type != columns[0].type for column in columns):
            raise _NoType
        return columns[0]

    def _struct(self, schema: Schema, depth: int) -> Column:
        fields: Mapping[str, object] = schema.get("properties", {})
        if not fields or isinstance(schema.get("additionalProperties"), Mapping):
            raise _NoType
        columns = {name: self._typed(field, depth + 1) for name, field in fields.items()}
        kind = self._pa.struct([(name, column.type) for name, column in columns.items()])
        cells = [(name, column.cell) for name, column in columns.items()]
        names = columns.keys()

        def cell(value: Any) -> dict[str, Any]:
            found: dict[str, Any] = value
            if type(value) is not dict or not names >= found.keys():
                raise ValueError("no object of these fields")
            return {name: _filled(inner, found.get(name)) for name, inner in cells}

        return Column(type=kind, cell=cell)

    def _list(self, schema: Schema, depth: int) -> Column:
        items: Any = schema.get("items")
        first: Any = schema.get("prefixItems", [])
        if isinstance(items, list):  # before draft 2020-12
            first, items = cast(list[Any], items), schema.get("additionalItems")
        parts: list[Any] = [*first, *([items] if isinstance(items, Mapping) else [])]
        inner = self._same(parts, depth)
        item_cell = inner.cell

        def cell(value: Any) -> list[Any]:
            if type(value) is not list:
                raise ValueError("no list")
            return [_filled(item_cell, item) for item in cast(list[Any], value)]

        return Column(type=list_of(inner.type), cell=cell)

    def _string(self, schema: Schema) -> Column:
        match _note(schema) or schema.get("format"):
            case "date":
                return Column(type=self._pa.date32(), cell=_date)
            case "python-time" | "naive-time":
                return Column(type=self._pa.time64("us"), cell=_time)
            case "naive-datetime":
                return Column(type=self._pa.timestamp("us"), cell=_naive)
            case "aware-datetime" | "date-time":
                return Column(type=self._pa.timestamp("us", tz="UTC"), cell=_aware)
            case _:
                return text_column()

    def _decimal(self, note: Mapping[str, Any]) -> Column:
        places = note.get("decimal_places")
        digits = max(note.get("max_digits") or _MOST_DIGITS, places or 0)
        if places is None or digits > _MOST_DIGITS:
            return text_column()  # as Pydantic writes it, every digit
        step, context = Decimal(1).scaleb(-places), Context(prec=digits)

        def cell(value: Any) -> Decimal:
            exact = Decimal(value if type(value) is str else repr(value))
            rounded = exact.quantize(step, context=context)
            if rounded != exact:
                raise ValueError("more places than the column has")
            return rounded

        return Column(type=self._pa.decimal128(digits, places), cell=cell)


def _kind(schema: Schema) -> object:
    """The type of a schema beside null; None where there is no single one."""
    kinds: Any = schema.get("type")
    if not isinstance(kinds, list):
        return kinds
    others = [kind for kind in cast(list[object], kinds) if kind != "null"]
    return others[0] if len(others) == 1 else None


def _note(schema: Schema) -> str | None:
    return schema.get("x-typedllm", {}).get("kind")


def _is_null(schema: object) -> bool:
    return isinstance(schema, Mapping) and cast(Schema, schema).get("type") == "null"


def _fits(schema: Schema) -> bool:
    """Whether no bound of an integer says that it may have more than 64 bits."""
    bounds = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
    given = [schema[word] for word in bounds if isinstance(schema.get(word), int | float)]
    return all(_INT64[0] <= bound <= _INT64[1] for bound in given)


def _filled(cell: Cell, value: Any) -> Any:
    return None if value is None else cell(value)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("no text")
    if not value.isascii():
        value.encode()  # raises for a lone surrogate
    return value


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("no bool")
    return value


def _integer(value: Any) -> int:
    whole = int(value)  # 3.0 is an integer for JSON Schema
    if type(value) not in (int, float) or whole != value or not _INT64[0] <= whole <= _INT64[1]:
        raise ValueError("no integer of 64 bits")
    return whole


def _number(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is not int or int(float(value)) != value:
        raise ValueError("no double")
    return float(value)


def _date(value: Any) -> date:
    found = date.fromisoformat(value)
    if found.isoformat() != value:
        raise ValueError("written in another way")
    return found


def _time(value: Any) -> time:
    if not _TIME.fullmatch(value):
        raise ValueError("no time without a zone, to the microsecond")
    return time.fromisoformat(value)


def _naive(value: Any) -> datetime:
    if not _NAIVE.fullmatch(value):
        raise ValueError("no datetime without a zone, to the microsecond")
    return datetime.fromisoformat(value)


def _aware(value: Any) -> datetime:
    if not _AWARE.fullmatch(value):
        raise ValueError("no datetime with a zone, to the microsecond")
    return datetime.fromisoformat(value.upper()).astimezone(UTC)
