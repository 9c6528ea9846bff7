"""Results as tables: one row a result, in columns whose types are fixed by the spec.

The columns are `id`; the fields of the value, or `value` where it is no object with known fields;
`unfit`; then `error_kind`, `error`, `attempts`, `input_tokens`, `output_tokens`, `cost`,
`latency_s`, `finish_reason`, `clipped`, `model` and `metadata`. A field with the name of one of the
others has `value_` before it. Columns of JSON text have `{"typedllm": "json"}` as their metadata.

Nothing is changed in silence: a part of a value that its column cannot hold exactly (an integer of
more than 64 bits, a time with nanoseconds, a field that the spec does not name) is in `unfit`, as a
JSON object by field, and its own column is null. Null stands for None, and for a field that is not
there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from typedllm._require import require
from typedllm._terminal import readable
from typedllm.batch.columns import (
    UNFIT,
    Column,
    columns_of,
    json_column,
    json_text,
    list_of,
    pyarrow,
)
from typedllm.errors import UsageError
from typedllm.records import JsonSchema, Result
from typedllm.spec.language import type_of
from typedllm.spec.spec import Spec

__all__ = ["ParquetWriter", "Rows", "arrow_schema", "arrow_table"]

_GROUP: Final = 8_192  # rows
_GROUP_CHARACTERS: Final = 16_000_000  # of answers and metadata, so that long ones are bounded too
_VALUE: Final = "value"
_JSON: Final = {"typedllm": "json"}


class Rows:
    """Turns results into rows of one schema.

    Attributes:
        schema: the Arrow schema.
    """

    __slots__ = ("_fields", "_names", "_plain", "_single", "schema")

    def __init__(self, spec: Spec[Any] | None) -> None:
        """Fix the columns.

        Args:
            spec: of the values; None where it is not known, and values are JSON text.

        Raises:
            MissingDependency: when pyarrow is not installed.
        """
        pa = pyarrow()
        found = json_column() if spec is None else columns_of(spec)
        self._single = isinstance(found, Column)
        self._fields = {_VALUE: found} if isinstance(found, Column) else found
        self._plain = _plain(spec)
        first, *others = _others(pa)
        self._names = _names(self._fields, [first.name, *(other.name for other in others)])
        values = [
            pa.field(self._names[field], column.type, metadata=_JSON if column.is_json else None)
            for field, column in self._fields.items()
        ]
        self.schema = pa.schema([first, *values, *others])

    def row(self, result: Result[Any]) -> dict[str, Any]:
        """What pyarrow takes as the row of a result, by column; those that are not there are null.

        Args:
            result: with a value of the spec, or an error.
        """
        usage, error = result.usage, result.error
        row = {
            "id": None if result.id is None else readable(result.id),
            "attempts": result.attempts,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cost": usage.cost,
            "latency_s": result.latency_s,
            "finish_reason": result.finish_reason,
            "clipped": [readable(path) for path in result.clipped],
            "model": None if result.model is None else readable(result.model),
            "metadata": json_text(dict(result.metadata)) if result.metadata else None,
        }
        if error is None:
            self._fill(row, result.value)
        else:
            row["error_kind"] = type(error).__name__
            row["error"] = readable(str(error))
        return row

    def _fill(self, row: dict[str, Any], value: object) -> None:
        try:
            plain = self._plain(value)
        except Exception:  # a serializer of the caller's type fails on it
            row["unfit"] = json_text({_VALUE: repr(value)})
            return
        if self._single:
            plain = {_VALUE: plain}
        elif type(plain) is not dict:
            row["unfit"] = json_text({_VALUE: plain})
            return
        unfit = dict[str, Any]()
        for field, part in cast(dict[str, Any], plain).items():
            if part is None and field in self._fields:
                continue
            try:
                row[self._names[field]] = self._fields[field].cell(part)
            except (KeyError, *UNFIT):
                unfit[field] = part
        if unfit:
            row["unfit"] = json_text(unfit)


def arrow_schema(spec: Spec[Any] | None) -> Any:
    """Return the `pyarrow.Schema` of the results of a spec.

    Args:
        spec: of the values; None where it is not known.

    Raises:
        MissingDependency: when pyarrow is not installed.
    """
    return Rows(spec).schema


def arrow_table(results: Iterable[Result[Any]], spec: Spec[Any] | None) -> Any:
    """Return results as a `pyarrow.Table`.

    Args:
        results: in the order of the rows.
        spec: of the values; None where it is not known.

    Raises:
        MissingDependency: when pyarrow is not installed.
    """
    rows = Rows(spec)
    return pyarrow().Table.from_pylist([rows.row(result) for result in results], rows.schema)


class ParquetWriter:
    """Writes results to a Parquet file as they come, some thousand rows in memory.

    The file is there when it is closed, and whole; up to then what is written has another name
    beside it, ending in `.part`. A `with` block that ends by an exception leaves no file.
    """

    def __init__(self, path: str | Path, spec: Spec[Any] | None) -> None:
        """Begin a file.

        Args:
            path: of the file; one that is there is replaced in the end.
            spec: of the values; None where it is not known.

        Raises:
            MissingDependency: when pyarrow is not installed.
            UsageError: when the file cannot be written.
        """
        self._path = Path(path)
        self._part = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        self._table = Rows(spec)
        self._rows = list[dict[str, Any]]()
        self._characters = 0
        if self._path.is_dir():
            raise UsageError(f"{self._path}: is a folder; name a file in it")
        try:
            self._file = self._part.open("wb")
        except OSError as error:
            raise self._unwritten(error) from error
        self._writer: Any = require("pyarrow.parquet", "tables").ParquetWriter(
            self._file, self._table.schema
        )

    def add(self, result: Result[Any]) -> None:
        """Write one more row.

        Args:
            result: the next.

        Raises:
            UsageError: when the file cannot be written.
        """
        row = self._table.row(result)
        self._rows.append(row)
        self._characters += len(result.raw or "") + len(row["metadata"] or "")
        if len(self._rows) >= _GROUP or self._characters >= _GROUP_CHARACTERS:
            try:
                self._write()
            except OSError as error:
                raise self._unwritten(error) from error

    def close(self) -> None:
        """Finish the file, and give it its name; again does nothing.

        Raises:
            UsageError: when the file cannot be written.
        """
        if self._file.closed:
            return
        try:
            self._write()
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self._path)
        except OSError as error:
            self._drop()
            raise self._unwritten(error) from error

    def _write(self) -> None:
        if self._rows:
            schema = self._table.schema
            self._writer.write_batch(pyarrow().RecordBatch.from_pylist(self._rows, schema))
            self._rows.clear()
            self._characters = 0

    def _drop(self) -> None:
        with suppress(OSError, ValueError):  # a writer left open would complain when it is freed
            self._writer.close()
        self._file.close()
        self._part.unlink(missing_ok=True)

    def _unwritten(self, error: OSError) -> UsageError:
        return UsageError(f"{self._path}: cannot be written ({error.strerror or error})")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._drop()


def _others(pa: Any) -> list[Any]:
    """The columns beside the value's: the first goes before those, the rest after them."""
    text, count, real = pa.string(), pa.int64(), pa.float64()
    return [
        pa.field("id", text),
        pa.field("unfit", text, metadata=_JSON),
        pa.field("error_kind", text),
        pa.field("error", text),
        pa.field("attempts", count),
        pa.field("input_tokens", count),
        pa.field("output_tokens", count),
        pa.field("cost", real),
        pa.field("latency_s", real),
        pa.field("finish_reason", text),
        pa.field("clipped", list_of(text)),
        pa.field("model", text),
        pa.field("metadata", text, metadata=_JSON),
    ]


def _names(fields: Collection[str], taken: Collection[str]) -> dict[str, str]:
    """The column of each field: of its name, if that is not taken."""
    used, names = {*fields, *taken}, dict[str, str]()
    for field in fields:
        name = field
        while name in (taken if name == field else used):
            name = f"{_VALUE}_{name}"
        used.add(name)
        names[field] = name
    return names


def _plain(spec: Spec[Any] | None) -> Callable[[Any], Any]:
    """What turns a value of a spec into plain JSON, in the form in which it is validated."""
    if spec is None:
        return lambda value: to_jsonable_python(value, fallback=str, bytes_mode="base64")
    source = spec.source
    if spec.schema is None or isinstance(source, JsonSchema):
        return lambda value: value
    form: Any = source
    if isinstance(source, str | list | Mapping):
        form = type_of(cast(object, source))
    adapter = TypeAdapter[Any](form)
    return lambda value: adapter.dump_python(
        value, mode="json", by_alias=True, round_trip=True, warnings=False
    )
