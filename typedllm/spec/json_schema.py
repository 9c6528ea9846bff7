"""The JSON Schema of a Python type, with notes where the type says more than JSON Schema can.

Pydantic writes the schema; the notes, under the key `x-typedllm`, come from its core schema. They
are objects with `kind` (a finer format or container) and `checked` (a rule that only running the
type's own validator decides).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema as cs

NOTE = "x-typedllm"

_Function: TypeAlias = (
    cs.AfterValidatorFunctionSchema
    | cs.BeforeValidatorFunctionSchema
    | cs.WrapValidatorFunctionSchema
)
_NUMBER_KEYWORDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
_BOUNDS = ("gt", "ge", "lt", "le", "now_op")


def json_schema_of(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    """The annotated JSON Schema (2020-12) of what a type accepts.

    Args:
        adapter: the type.

    Raises:
        pydantic.errors.PydanticInvalidForJsonSchema: when the type has no JSON form.
    """
    return adapter.json_schema(mode="validation", schema_generator=_Annotated)


def _noted(schema: JsonSchemaValue, **notes: Any) -> JsonSchemaValue:
    found = {key: value for key, value in notes.items() if value is not None}
    return {**schema, NOTE: {**schema.get(NOTE, {}), **found}} if found else schema


def _checked(schema: JsonSchemaValue, reason: str) -> JsonSchemaValue:
    reasons = [*schema.get(NOTE, {}).get("checked", []), reason]
    return _noted(schema, checked=reasons)


def _bounded(schema: JsonSchemaValue, core: Mapping[str, Any]) -> JsonSchemaValue:
    names = [name for name in _BOUNDS if core.get(name) is not None]
    return _checked(schema, f"the bounds {', '.join(names)}") if names else schema


class _Annotated(GenerateJsonSchema):
    """Pydantic's generator, which keeps what it would otherwise drop."""

    def decimal_schema(self, schema: cs.DecimalSchema) -> JsonSchemaValue:
        core = cast(Mapping[str, Any], schema)
        number: JsonSchemaValue = {"type": "number"}
        for name, keyword in _NUMBER_KEYWORDS.items():
            if core.get(name) is not None:
                number[keyword] = float(core[name])
        return _noted(
            number,
            kind="decimal",
            max_digits=schema.get("max_digits"),
            decimal_places=schema.get("decimal_places"),
        )

    def date_schema(self, schema: cs.DateSchema) -> JsonSchemaValue:
        return _bounded(super().date_schema(schema), schema)

    def time_schema(self, schema: cs.TimeSchema) -> JsonSchemaValue:
        zone = schema.get("tz_constraint")
        kind = "python-time" if zone is None else _by_zone(zone, "time")
        return _bounded(_noted(super().time_schema(schema), kind=kind), schema)

    def datetime_schema(self, schema: cs.DatetimeSchema) -> JsonSchemaValue:
        zone = schema.get("tz_constraint")
        kind = "datetime" if zone is None else _by_zone(zone, "datetime")
        return _bounded(_noted(super().datetime_schema(schema), kind=kind), schema)

    def timedelta_schema(self, schema: cs.TimedeltaSchema) -> JsonSchemaValue:
        return _bounded(_noted(super().timedelta_schema(schema), kind="timedelta"), schema)

    def url_schema(self, schema: cs.UrlSchema) -> JsonSchemaValue:
        schemes = schema.get("allowed_schemes")
        return _noted(super().url_schema(schema), kind="url", schemes=schemes)

    def multi_host_url_schema(self, schema: cs.MultiHostUrlSchema) -> JsonSchemaValue:
        schemes = schema.get("allowed_schemes")
        noted = _noted(super().multi_host_url_schema(schema), kind="url", schemes=schemes)
        return _checked(noted, "the parts that this kind of URL must have")

    def bytes_schema(self, schema: cs.BytesSchema) -> JsonSchemaValue:
        return _noted(super().bytes_schema(schema), kind="bytes")

    def str_schema(self, schema: cs.StringSchema) -> JsonSchemaValue:
        changes = [n for n in ("strip_whitespace", "to_lower", "to_upper") if schema.get(n)]
        bounds = [n for n in ("pattern", "min_length", "max_length") if schema.get(n) is not None]
        written = super().str_schema(schema)
        if changes and bounds:
            return _checked(written, f"{', '.join(bounds)} after {', '.join(changes)}")
        return written

    def complex_schema(self, schema: cs.ComplexSchema) -> JsonSchemaValue:
        return _checked(super().complex_schema(schema), "a complex number")

    def set_schema(self, schema: cs.SetSchema) -> JsonSchemaValue:
        return _noted(super().set_schema(schema), kind="set")

    def frozenset_schema(self, schema: cs.FrozenSetSchema) -> JsonSchemaValue:
        return _noted(super().frozenset_schema(schema), kind="set")

    def dict_schema(self, schema: cs.DictSchema) -> JsonSchemaValue:
        written = super().dict_schema(schema)
        keys = self.generate_inner(schema["keys_schema"]) if "keys_schema" in schema else {}
        return _noted(written, kind="dict", keys=keys or None)

    def function_after_schema(self, schema: cs.AfterValidatorFunctionSchema) -> JsonSchemaValue:
        return _validated(super().function_after_schema(schema), schema)

    def function_before_schema(self, schema: cs.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        return _validated(super().function_before_schema(schema), schema)

    def function_wrap_schema(self, schema: cs.WrapValidatorFunctionSchema) -> JsonSchemaValue:
        return _validated(super().function_wrap_schema(schema), schema)

    def function_plain_schema(self, schema: cs.PlainValidatorFunctionSchema) -> JsonSchemaValue:
        return _checked({}, _name_of(schema["function"]["function"]))

    def is_instance_schema(self, schema: cs.IsInstanceSchema) -> JsonSchemaValue:
        return self.handle_invalid_for_json_schema(schema, f"instances of {schema['cls']}")

    def model_fields_schema(self, schema: cs.ModelFieldsSchema) -> JsonSchemaValue:
        return _noted(super().model_fields_schema(schema), kind="fields")

    def dataclass_args_schema(self, schema: cs.DataclassArgsSchema) -> JsonSchemaValue:
        return _noted(super().dataclass_args_schema(schema), kind="fields")

    def typed_dict_schema(self, schema: cs.TypedDictSchema) -> JsonSchemaValue:
        return _noted(super().typed_dict_schema(schema), kind="fields")

    def model_schema(self, schema: cs.ModelSchema) -> JsonSchemaValue:
        written = super().model_schema(schema)
        hook = schema["cls"].model_post_init if schema.get("post_init") else None
        return written if hook is None or _is_pydantic(hook) else _checked(written, _name_of(hook))

    def dataclass_schema(self, schema: cs.DataclassSchema) -> JsonSchemaValue:
        written = super().dataclass_schema(schema)
        hook = getattr(schema["cls"], "__post_init__", None) if schema.get("post_init") else None
        return written if hook is None else _checked(written, _name_of(hook))


def _by_zone(zone: object, kind: str) -> str:
    return f"naive-{kind}" if zone == "naive" else f"aware-{kind}"


def _validated(written: JsonSchemaValue, schema: _Function) -> JsonSchemaValue:
    function = schema["function"]["function"]
    return written if _is_pydantic(function) else _checked(written, _name_of(function))


def _is_pydantic(function: Any) -> bool:
    # Pydantic's own types are validated by functions too, which their formats here satisfy.
    module: str = getattr(function, "__module__", "") or ""
    return module == "pydantic" or module.startswith(("pydantic.", "pydantic_core."))


def _name_of(function: Any) -> str:
    function = getattr(function, "func", function)  # of a functools.partial
    name: str = getattr(function, "__qualname__", type(function).__qualname__)
    return f"the validator {name.replace('<locals>.', '')}"
