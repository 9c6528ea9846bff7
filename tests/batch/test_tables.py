"""Results as tables: what is written is what is read, by pyarrow and pandas themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import hypothesis.strategies as st
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    NaiveDatetime,
    TypeAdapter,
    computed_field,
    field_serializer,
    model_serializer,
)

from tests.constraints.specs import Case, drawn
from typedllm.batch.results import Results
from typedllm.batch.tables import ParquetWriter, arrow_schema, arrow_table
from typedllm.errors import EngineError, Invalid, MissingDependency, UsageError
from typedllm.records import JsonSchema, Result, Usage
from typedllm.spec.kinds import Choice
from typedllm.spec.spec import Spec, spec_of

BESIDE = [
    "unfit",
    "error_kind",
    "error",
    "attempts",
    "input_tokens",
    "output_tokens",
    "cost",
    "latency_s",
    "finish_reason",
    "clipped",
    "model",
    "metadata",
]


def written(values: list[Any], spec: Spec[Any], folder: Path) -> pa.Table:
    """The table that is read from a file of values."""
    path = folder / "out.parquet"
    Results([Result(value=value) for value in values], wall_s=1, spec=spec).to_parquet(path)
    return pq.read_table(path)


def values_of(table: pa.Table) -> list[pa.Field]:
    """The columns of the value."""
    return [field for field in table.schema if field.name not in ["id", *BESIDE]]


def read_back(table: pa.Table) -> list[Any]:
    """The values of a table, put together by field."""
    fields = values_of(table)
    whole = [field.name for field in fields] == ["value"]
    rows = []
    for row in table.to_pylist():
        found = {
            field.name: json.loads(row[field.name]) if is_json(field) else row[field.name]
            for field in fields
            if not is_json(field) or row[field.name] is not None
        }
        unfit = json.loads(row["unfit"] or "{}")
        rows.append((found | unfit).get("value") if whole else found | unfit)
    return rows


def is_json(field: pa.Field) -> bool:
    return (field.metadata or {}).get(b"typedllm") == b"json"


def same(read: Any, plain: Any) -> bool:
    """Whether a value of Arrow is that of JSON; null is one that is not there."""
    match read:
        case dict():
            names = [*read, *plain] if isinstance(plain, dict) else []
            return (bool(names) and all(same(read.get(n), plain.get(n)) for n in names)) or (
                read == plain
            )
        case list():
            return len(read) == len(plain) and all(map(same, read, plain))
        case datetime():
            return read == datetime.fromisoformat(plain.upper())
        case date() | time():
            return read == type(read).fromisoformat(plain)
        case Decimal():
            return read == Decimal(plain)
        case _:
            return read == plain and isinstance(read, bool) == isinstance(plain, bool)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(3))
def test_what_is_written_is_read(chunk: int, tmp_path: Path):
    columns = Counter[str]()

    def check(case: Case, data: st.DataObject) -> None:
        plain = data.draw(st.lists(case.values, min_size=1, max_size=3))
        adapter = TypeAdapter(case.type)
        spec = spec_of(case.type)
        values = [spec.read(json.dumps(value)) for value in plain]
        table = written(values, spec, tmp_path)
        assert table.schema.equals(arrow_schema(spec), check_metadata=True)
        for read, value in zip(read_back(table), values, strict=True):
            told = adapter.dump_python(value, mode="json", by_alias=True, round_trip=True)
            assert same(read, told), (read, told)
        assert table["unfit"].null_count == len(table)
        columns.update("json" if is_json(field) else "typed" for field in values_of(table))
        if case.schema_decides:
            schema = spec_of(JsonSchema(adapter.json_schema()))
            table = written(plain, schema, tmp_path)
            for read, value in zip(read_back(table), plain, strict=True):
                assert same(read, value), (read, value)

    drawn(500 + chunk, 60, check)
    assert min(columns["json"], columns["typed"]) > 10


KINDS: dict[str, tuple[dict[str, Any], pa.DataType | None]] = {
    "text": ({"type": "string"}, pa.string()),
    "whole": ({"type": "integer"}, pa.int64()),
    "real": ({"type": ["number", "null"]}, pa.float64()),
    "yes": ({"type": "boolean"}, pa.bool_()),
    "day": ({"type": "string", "format": "date"}, pa.date32()),
    "moment": ({"type": "string", "format": "date-time"}, pa.timestamp("us", tz="UTC")),
    "hour": ({"type": "string", "format": "time"}, pa.string()),
    "color": ({"enum": ["red", "green", None]}, pa.string()),
    "size": ({"enum": [1, 2]}, pa.int64()),
    "mixed": ({"enum": [1, "a"]}, None),
    "fixed": ({"const": True}, pa.bool_()),
    "maybe": ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, pa.int64()),
    "either": ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, None),
    "any": ({}, None),
    "never": (False, None),  # pyright: ignore
    "nothing": ({"type": "null"}, None),
    "days": (
        {"type": "array", "items": {"$ref": "#/$defs/day"}},
        pa.list_(pa.field("element", pa.date32())),
    ),
    "pair": (
        {"type": "array", "prefixItems": [{"type": "integer"}] * 2, "items": False},
        pa.list_(pa.field("element", pa.int64())),
    ),
    "uneven": ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]}, None),
    "open list": ({"type": "array"}, None),
    "part": (
        {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}},
        pa.struct([("a", pa.int64()), ("b", pa.string())]),
    ),
    "dict": ({"type": "object", "additionalProperties": {"type": "integer"}}, None),
    "holds a dict": ({"type": "object", "properties": {"a": {"type": "object"}}}, None),
    "self": ({"$ref": "#"}, None),
    "elsewhere": ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, None),
    "large": ({"type": "integer", "maximum": 2**63}, None),
    "all of one": ({"allOf": [{"type": "integer"}]}, pa.int64()),
}
SCHEMA = {
    "type": "object",
    "properties": {name: schema for name, (schema, _) in KINDS.items()},
    "$defs": {"day": {"type": "string", "format": "date"}},
}


def test_each_kind_of_field_has_its_type():
    found = {field.name: field for field in arrow_schema(spec_of(JsonSchema(SCHEMA)))}
    assert list(found) == ["id", *KINDS, *BESIDE]
    for name, (_, kind) in KINDS.items():
        assert is_json(found[name]) == (kind is None), name
        assert found[name].type == (kind or pa.string()), name


TEXTS = [
    "2024-02-30",
    "20240101",
    "2024-01-01",
    "2024-01-01T00:00:00Z",
    "2024-01-01t00:00:00.1234567z",
    "2024-01-01T23:59:60Z",
    "0001-01-01T00:00:00+01:00",
    "2024-01-01T00:00:00.5000000+02:00",
    "10:30",
    "\ud800",
]
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**53 + 1, 10**400]),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=3) | st.sampled_from(TEXTS),
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "c", "é"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.mark.slow
@given(st.lists(JSON, max_size=4))
@example(
    [*TEXTS, [], {}, {"a": 1}, {"a": 1, "c": 2}, {"a": "x"}, ["2024-01-01", None], [1.0, None]]
)
@example([1, 1.0, True, 1.5, 2**63, 2**53 + 1, 10**400, -(2**63), "x", None, [[1]], [{"a": 1}]])
def test_no_json_is_lost_or_changed_whatever_the_columns_are(drawn_values: list[Any]):
    plain = [dict.fromkeys([*KINDS, "other", "id"], value) for value in drawn_values]
    table = arrow_table([Result(value=value) for value in plain], spec_of(JsonSchema(SCHEMA)))
    table.validate(full=True)
    for read, value in zip(read_back(table), plain, strict=True):
        assert same(read, value), (read, value)


@given(JSON)
def test_nor_where_there_is_one_column(plain: Any):
    kinds: list[Any] = [Choice(["a"]), None, *({"type": kind} for kind in ("integer", "array"))]
    for kind in kinds:
        spec = spec_of(JsonSchema(kind)) if isinstance(kind, dict) else spec_of(kind)
        for found in (spec, None):
            table = arrow_table([Result(value=plain)], found)
            assert table.column_names == ["id", "value", *BESIDE]
            assert same(read_back(table)[0], plain)


class Item(BaseModel):
    sku: str
    count: int | None = None


class Invoice(BaseModel):
    model_config = ConfigDict(extra="allow")

    id: int
    value_id: str = ""
    error: str | None = None
    money: Annotated[Decimal, Field(max_digits=6, decimal_places=2)] = Decimal(0)
    exact: Decimal = Decimal(0)
    zoned: AwareDatetime | None = None
    naive: NaiveDatetime | None = None
    either: datetime | None = None
    hour: time | None = None
    lasts: timedelta | None = None
    items: list[Item] = []


def test_the_columns_of_a_model():
    kinds = {field.name: str(field.type) for field in arrow_schema(spec_of(Invoice))}
    assert list(kinds.items())[:12] == [
        ("id", "string"),
        ("value_value_id", "int64"),
        ("value_id", "string"),
        ("value_error", "string"),
        ("money", "decimal128(6, 2)"),
        ("exact", "string"),
        ("zoned", "timestamp[us, tz=UTC]"),
        ("naive", "timestamp[us]"),
        ("either", "string"),
        ("hour", "time64[us]"),
        ("lasts", "string"),
        ("items", "list<element: struct<sku: string, count: int64>>"),
    ]
    assert list(kinds)[12:] == BESIDE


def test_a_model_keeps_what_its_columns_can_hold_and_names_what_they_cannot(tmp_path: Path):
    east = timezone(timedelta(hours=2))
    whole = Invoice(
        id=7,
        value_id="x",
        money=Decimal("1.5"),
        exact=Decimal("0.10"),
        zoned=datetime(2024, 1, 1, 1, tzinfo=east),
        naive=datetime(2024, 1, 1, 1),
        either=datetime(2024, 1, 1, 1, tzinfo=east),
        hour=time(10, 30),
        lasts=timedelta(hours=1),
        items=[Item(sku="a"), Item(sku="b", count=2)],
    )
    odd = Invoice.model_construct(
        id=2**63, money=Decimal("0.001"), hour=time(10, tzinfo=east), other=[1], items=[]
    )
    first, second = written([whole, odd], spec_of(Invoice), tmp_path).to_pylist()
    assert first["value_value_id"] == 7 and first["value_id"] == "x"
    assert (first["money"], first["exact"]) == (Decimal("1.50"), "0.10")
    assert first["zoned"] == whole.zoned and first["naive"] == whole.naive
    assert (first["either"], first["lasts"]) == ("2024-01-01T01:00:00+02:00", "PT1H")
    assert first["items"] == [{"sku": "a", "count": None}, {"sku": "b", "count": 2}]
    assert first["unfit"] is None and first["error"] is None and first["value_error"] is None
    assert json.loads(second["unfit"]) == {
        "id": 2**63,
        "money": "0.001",
        "hour": "10:00:00+02:00",
        "other": [1],
    }
    assert second["value_value_id"] is second["money"] is second["hour"] is None


def test_fields_go_by_the_names_that_are_read_and_computed_ones_stay_out(tmp_path: Path):
    class Named(BaseModel):
        age: int = Field(alias="Age of it")

        @computed_field
        @property
        def double(self) -> int:
            return self.age * 2

    table = written([Named.model_validate({"Age of it": 3})], spec_of(Named), tmp_path)
    assert table["Age of it"].to_pylist() == [3] and table["unfit"].to_pylist() == [None]


def test_a_serializer_of_the_callers_may_write_what_it_likes(tmp_path: Path):
    class Short(BaseModel):
        day: date
        n: int

        @field_serializer("day")
        def year(self, day: date) -> int:
            return day.year

    class Text(BaseModel):
        n: int

        @model_serializer
        def text(self) -> str:
            return f"n={self.n}"

    class Broken(BaseModel):
        n: int

        @model_serializer
        def broken(self) -> str:
            raise RuntimeError

    for value, unfit in [
        (Short(day=date(2024, 1, 1), n=1), {"day": 2024}),
        (Text(n=1), {"value": "n=1"}),
        (Broken(n=1), {"value": "Broken(n=1)"}),
    ]:
        (row,) = written([value], spec_of(type(value)), tmp_path).to_pylist()
        assert json.loads(row["unfit"]) == unfit


ITEM = "struct<sku: string, count: int64>"


class Pair(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    ("kind", "value", "column", "cell"),
    [
        (str, "é", "string", "é"),
        (Choice(["a", "b"]), "a", "string", "a"),
        (Literal["a", "b"], "a", "string", "a"),
        ("date", date(2024, 1, 1), "date32[day]", date(2024, 1, 1)),
        ("list[float]", [1.0, 2.5], "list<element: double>", [1.0, 2.5]),
        (Pair, Pair(1, 2), "list<element: int64>", [1, 2]),
        (set[int], {3}, "list<element: int64>", [3]),
        (
            Item | None,
            Item(sku="a"),
            "struct<sku: string, count: int64>",
            {"sku": "a", "count": None},
        ),
        (Item | None, None, "struct<sku: string, count: int64>", None),
        (dict[str, int], {"a": 1}, "string", '{"a":1}'),
        (int | str, "é", "string", '"é"'),
    ],
)
def test_what_is_no_object_is_in_one_column(
    kind: Any, value: Any, column: str, cell: Any, tmp_path: Path
):
    table = written([value], spec_of(kind), tmp_path)
    assert str(table.schema.field("value").type) == column
    assert table["value"].to_pylist() == [cell] and table["unfit"].to_pylist() == [None]


def test_types_without_end_are_json():
    branching: dict[str, Any] = {"$defs": {"t0": {"type": "integer"}}, "type": "object"}
    for level in range(1, 40):  # 2^39 columns, written out
        part = {"$ref": f"#/$defs/t{level - 1}"}
        fields = {"type": "object", "properties": {"a": part, "b": part}}
        branching["$defs"][f"t{level}"] = fields
    branching["properties"] = {"deep": {"$ref": "#/$defs/t39"}, "flat": {"$ref": "#/$defs/t3"}}
    loop = {"$ref": "#/$defs/loop"}
    branching["$defs"]["loop"] = {"anyOf": [{"type": "null"}, loop]}
    branching["properties"]["loop"] = loop
    schema = arrow_schema(spec_of(JsonSchema(branching)))
    assert is_json(schema.field("deep")) and is_json(schema.field("loop"))
    assert not is_json(schema.field("flat"))


def test_tuples_of_older_drafts():
    whole = {"type": "integer"}
    of: dict[str, Any] = {
        "same": {"type": "array", "items": [whole, whole], "additionalItems": whole},
        "other": {"type": "array", "items": [whole], "additionalItems": {"type": "string"}},
    }
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}
    found = arrow_schema(spec_of({**schema, "properties": of}))
    assert str(found.field("same").type) == "list<element: int64>" and is_json(found.field("other"))


ERRORS = [EngineError("down"), Invalid("$.n: expected int \ud800", raw="x")]


def mixed() -> Results[Any]:
    usage = Usage(input_tokens=9, output_tokens=4, cost=0.25)
    rows: list[Result[Any]] = [
        Result(
            value={"n": 2**60 + 1, "ok": True},
            id="a\ud800",
            usage=usage,
            attempts=2,
            latency_s=0.5,
            finish_reason="landing",
            clipped=("$.n",),
            model="scripted",
            metadata={"page": 1, "bytes": b"\xff", "odd": "\ud800"},
        ),
        *[Result(error=error, id="b") for error in ERRORS],
        Result(value={"n": None, "ok": None}),
    ]
    return Results(rows, wall_s=1, spec=spec_of({"n": "int | None", "ok": "bool | None"}))


def test_errors_stand_in_their_place_with_all_that_is_known(tmp_path: Path):
    mixed().to_parquet(tmp_path / "out.parquet")
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["error_kind"] for row in rows] == [None, "EngineError", "Invalid", None]
    assert [row["error"] for row in rows] == [None, "down", "$.n: expected int \\ud800", None]
    assert [row["n"] for row in rows] == [2**60 + 1, None, None, None]
    first = rows[0]
    assert first["id"] == "a\\ud800" and first["cost"] == 0.25 and rows[1]["cost"] is None
    assert (first["input_tokens"], first["output_tokens"], first["attempts"]) == (9, 4, 2)
    assert (first["latency_s"], first["finish_reason"]) == (0.5, "landing")
    assert (first["clipped"], first["model"]) == (["$.n"], "scripted")
    assert json.loads(first["metadata"]) | {"bytes": 0} == {"page": 1, "bytes": 0, "odd": "\ud800"}
    assert rows[1]["metadata"] is None and rows[3]["id"] is None


def test_pandas_keeps_the_types():
    frame = mixed().to_pandas()
    assert list(frame.columns) == ["id", "n", "ok", *BESIDE]
    assert str(frame["n"].dtype) == "int64[pyarrow]" and frame["n"][0] == 2**60 + 1
    assert frame["n"].isna().tolist() == [False, True, True, True]
    assert frame["ok"][0] is True or frame["ok"][0] == True  # noqa: E712
    assert frame["error_kind"].dropna().tolist() == ["EngineError", "Invalid"]


def test_the_schema_does_not_depend_on_the_results(tmp_path: Path):
    spec = spec_of({"n": "int", "day": "date"})
    for name, rows in {"none": [], "errors": [Result(error=ERRORS[0])]}.items():
        Results(rows, wall_s=0, spec=spec).to_parquet(tmp_path / name)
        table = pq.read_table(tmp_path / name)
        assert table.schema.equals(arrow_schema(spec), check_metadata=True)
        assert len(table) == len(rows)
        assert Results(rows, wall_s=0, spec=spec).to_pandas().shape == (len(rows), 15)


@pytest.mark.parametrize(("module", "verb"), [("pyarrow", "to_parquet"), ("pandas", "to_pandas")])
def test_what_is_missing_is_named(
    module: str, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependency, match=rf"{module} .*pip install 'typedllm\[tables\]'"):
        getattr(mixed(), verb)(*[tmp_path / "out.parquet"][: verb == "to_parquet"])
    assert list(tmp_path.iterdir()) == []


def test_a_file_has_its_name_when_it_is_whole(tmp_path: Path):
    path = tmp_path / "out.parquet"
    path.write_text("old")
    with ParquetWriter(path, spec_of({"n": "int"})) as writer:
        for number in range(20_000):
            writer.add(Result(value={"n": number}))
        assert path.read_text() == "old"
    writer.close()
    file = pq.ParquetFile(path)
    assert file.num_row_groups == 3 and file.metadata.num_rows == 20_000
    assert file.read()["n"].to_pylist() == list(range(20_000))
    assert list(tmp_path.iterdir()) == [path]


def test_long_rows_make_short_groups(tmp_path: Path):
    path = tmp_path / "out.parquet"
    with ParquetWriter(path, spec_of(str)) as writer:
        for _ in range(20):
            writer.add(Result(value="a" * 2_000_000, raw="a" * 2_000_000))
    assert pq.ParquetFile(path).num_row_groups == 3


def test_a_file_that_is_given_up_leaves_nothing(tmp_path: Path):
    path = tmp_path / "out.parquet"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), ParquetWriter(path, None) as writer:
        writer.add(Result(value={"n": 1}))
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"nowhere/out\.parquet: cannot be written \(No such file"):
        ParquetWriter(tmp_path / "nowhere" / "out.parquet", None)
    with pytest.raises(UsageError, match="is a folder; name a file in it"):
        ParquetWriter(tmp_path, None)
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import random, resource, signal, sys
from typedllm.batch.tables import ParquetWriter
from typedllm.errors import UsageError
from typedllm.records import Result
from typedllm.spec.spec import spec_of
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    with ParquetWriter(sys.argv[1], spec_of("float")) as writer:
        for _ in range(int(sys.argv[2])):
            writer.add(Result(value=random.random()))
except UsageError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("rows", [8_000, 20_000])
def test_a_full_disk_is_told_and_leaves_nothing(rows: int, tmp_path: Path):
    path = tmp_path / "out.parquet"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path), str(rows)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{path}: cannot be written (File too large)\n"
    assert list(tmp_path.iterdir()) == []
