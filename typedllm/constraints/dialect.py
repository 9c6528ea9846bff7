"""A spec as the JSON Schema that a remote API takes, and its answers back in the spec's own form.

What APIs call strict is a subset: the root is an object, every property is required, no other
property is allowed, and few keywords are known. A spec is rewritten to it: what is no object is
wrapped as `{"value": ...}`, what may be left out is null instead, and what cannot be said is
checked after. `Lowered.reading` undoes it before an answer is read (in `outcomes.read`), so that
`Result.raw` stays what the model wrote.

Sources: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas for the subset
(as of February 2026: https://jsonschemaprofiles.unitvectorylabs.com/schemas/openai), and for Azure
https://learn.microsoft.com/azure/ai-services/openai/how-to/structured-outputs; those of other APIs
stand at their rows of `RULES`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, TypeVar, cast

from typedllm.constraints.combined import ASSERTING, note_the_rest
from typedllm.constraints.conflicts import conflicts
from typedllm.constraints.plan import Notes, Part, Plan
from typedllm.constraints.strict import Normal, Unsaid, normal_form
from typedllm.constraints.strict_codec import Codec
from typedllm.constraints.strict_facets import SchemaRules, is_anchored, note_enumeration
from typedllm.constraints.strict_writing import check_size, hinted, strict_schema, unions
from typedllm.errors import SpecError, UsageError
from typedllm.records import JsonSchema, Limits, Traits
from typedllm.spec.keywords import ANNOTATIONS, walk
from typedllm.spec.kinds import Choice, Regex
from typedllm.spec.spec import Spec

__all__ = ["RULES", "Lowered", "lower_spec"]

T = TypeVar("T")

_BOUNDS: Final = frozenset(
    {"pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    | {"minItems", "maxItems"}
)
_DATES: Final = frozenset({"date-time", "time", "date"})
_FORMATS: Final = _DATES | {"duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
RULES: Final = {
    rules.name: rules
    for rules in (
        SchemaRules(
            name="openai",
            keywords=_BOUNDS,
            formats=_FORMATS,
            properties=5_000,
            depth=10,
            enum_values=1_000,
            characters=120_000,
            large_enum_characters=15_000,
        ),
        SchemaRules(
            name="azure",
            properties=100,
            depth=5,
            enum_values=500,
            characters=15_000,
            large_enum_characters=7_500,
        ),
        # https://platform.claude.com/docs/en/build-with-claude/structured-outputs
        SchemaRules(
            name="anthropic",
            keywords=frozenset({"minItems"}),
            least_items=1,
            formats=_FORMATS | {"uri"},
            enum_case=False,
            recursion=False,
            unions=16,
        ),
        # https://ai.google.dev/api/generate-content#generationconfig, at responseJsonSchema
        SchemaRules(
            name="gemini",
            sent=frozenset({"minimum", "maximum", "minItems", "maxItems"}),
            formats=_DATES,
            enum_kinds=frozenset({"string", "integer", "number"}),
            recursion=False,
        ),
        # https://docs.cohere.com/docs/structured-outputs
        SchemaRules(
            name="cohere",
            formats=_DATES | {"uuid"},
            empty_objects=False,
        ),
        # Servers of which only the structure is relied on: a converter of theirs may drop a bound,
        # or read it so that the model can no longer write a quote.
        SchemaRules(name="structure"),
        SchemaRules(name="asked", loose="it is up to the provider that is chosen to enforce it"),
        SchemaRules(name="called", loose="few servers enforce what a function takes"),
        SchemaRules(name="tool", loose="the arguments of a tool are not enforced"),
        SchemaRules(name="hint", loose="only that the answer is JSON is enforced", in_prompt=True),
    )
}


_WRAPPED: Final = re.compile(r'\s*\{\s*"value"\s*:(.*)\}\s*', re.DOTALL)
_WRAPPING: Final = 'wrapped in {"value": ...}, since a strict schema is of an object'


@dataclass(frozen=True, slots=True, eq=False)
class Lowered(JsonSchema):
    """A JSON Schema as an API takes it, and the way back from its answers.

    Attributes:
        strict: whether it is within the strict subset.
        enforced: whether an answer is sure to be JSON of its structure.
        wrapped: whether the value stands in `{"value": ...}`.
        plain: whether the value is a text that is read without its quotes.
        codec: what is written otherwise than in the spec, if anything.
    """

    strict: bool = True
    enforced: bool = True
    wrapped: bool = False
    plain: bool = False
    codec: Codec | None = None

    def encode(self, value: Any) -> Any:
        """Return what the model has to write for a value.

        Args:
            value: plain JSON that is valid for the spec.
        """
        value = value if self.codec is None else self.codec.encode(value)
        return {"value": value} if self.wrapped else value

    def decode(self, text: str) -> str:
        """Return the text of an answer as the spec has it; a text that is no such JSON as it is.

        Args:
            text: what the model wrote.
        """
        if not self.wrapped and self.codec is None:
            return text
        try:
            value: Any = json.loads(text)
            json.dumps(value).encode()
        except (ValueError, RecursionError):
            return text
        inner = self.unwrapped(value)
        if self.plain:
            return inner if isinstance(inner, str) else text
        decoded = inner if self.codec is None else self.codec.decode(inner)
        if decoded == inner:
            # Not printed anew, which would take digits from a number.
            found = None if inner is value else _WRAPPED.fullmatch(text)
            return found[1].strip() if found else text
        return json.dumps(decoded, ensure_ascii=False)

    def decoded(self, value: Any) -> Any:
        """Return a value as the spec has it.

        Args:
            value: what the model wrote, or the part of it that came.
        """
        inner = self.unwrapped(value)
        return inner if self.codec is None else self.codec.decode(inner)

    def item(self, text: str) -> str:
        """Return the text of an item of a list as the spec has it.

        Args:
            text: what the model wrote; one that is no JSON is returned as it is.
        """
        if self.codec is None:
            return text
        try:
            value: Any = json.loads(text)
        except (ValueError, RecursionError):
            return text
        (decoded,) = self.codec.decode([value])
        return text if decoded == value else json.dumps(decoded, ensure_ascii=False)

    def unwrapped(self, value: Any) -> Any:
        """Return what stands in `{"value": ...}`, where the answer has to be wrapped so.

        Args:
            value: an answer, or the part of it that came.
        """
        found = cast(dict[str, Any], value) if isinstance(value, dict) else {}
        return found["value"] if self.wrapped and list(found) == ["value"] else cast(Any, value)

    def places(self, found: Mapping[str, T]) -> dict[str, T]:
        """Return what was found by path in an answer, by the spec's own paths.

        Args:
            found: by path, such as `$.value.age`.
        """
        if not self.wrapped or "$.value" not in found:
            return dict(found)
        return {f"${path[len('$.value') :]}": each for path, each in found.items() if path != "$"}

    def reading(self, spec: Spec[T]) -> Spec[T]:
        """Return the spec with a reader of answers that follow this schema.

        Args:
            spec: what was lowered to it.
        """
        return _reading(self, spec)


@lru_cache(maxsize=256)
def _reading(lowered: Lowered, spec: Spec[T]) -> Spec[T]:
    def read(text: str, context: Any = None) -> T:
        return spec.read(lowered.decode(text), context)

    return replace(spec, read=read)


def lower_spec(spec: Spec[Any], traits: Traits, limits: Limits) -> tuple[Lowered | None, Plan]:
    """Lower a spec to the JSON Schema that an engine takes.

    Args:
        spec: the spec; no `Lark`.
        traits: of the engine; its `dialect` names a row of `RULES`.
        limits: bounds for what the spec leaves open.

    Returns:
        The schema, or None for plain text; and the plan of it.

    Raises:
        SpecError: when nothing satisfies the spec, or it is larger than the API allows.
        UsageError: when there is no such dialect.
    """
    rules = RULES.get(traits.dialect or "")
    if rules is None:
        raise UsageError(
            f"the engine {traits.name} names the dialect {traits.dialect!r}; there are"
            f" {', '.join(RULES)}"
        )
    notes = Notes()
    source = spec.source
    if isinstance(source, Choice):
        notes.rewritten("#", "options", _WRAPPING)
        note_enumeration(source.options, "options", "#", notes, rules)
        lowered = _of_text({"enum": list(source.options)}, rules)
    elif isinstance(source, Regex):
        pattern = f"^(?:{source.pattern})$"
        lowered = None
        if "pattern" in rules.keywords and is_anchored(pattern):
            notes.rewritten("#", "pattern", _WRAPPING)
            lowered = _of_text({"type": "string", "pattern": pattern}, rules)
        else:
            notes.checked("#", "pattern", f"{traits.name} takes no such pattern")
    elif spec.schema is None:
        return None, Plan(engine=traits.name, parts=())
    else:
        lowered, notes = _of_schema(spec.schema, rules, limits, traits.name)
    parts = notes.parts
    if rules.loose:
        parts = tuple(_loosened(part, f"{traits.name}: {rules.loose}") for part in parts)
    return lowered, Plan(
        engine=traits.name,
        parts=parts,
        limits=notes.limits,
        ending=None if lowered is None else "may be cut",
    )


def _loosened(part: Part, reason: str) -> Part:
    held = part.status in ("by construction", "rewritten")
    return replace(part, status="checked after", reason=reason) if held else part


def _of_text(schema: dict[str, Any], rules: SchemaRules) -> Lowered | None:
    if rules.in_prompt:  # plain text needs no JSON around it
        return None
    normal = Normal(root=schema, definitions={})
    written = _wrapped(strict_schema(normal, rules))
    check_size(written, rules)
    return Lowered(written, enforced=not rules.loose, wrapped=True, plain=True)


def _of_schema(
    schema: Mapping[str, Any], rules: SchemaRules, limits: Limits, engine: str
) -> tuple[Lowered, Notes]:
    notes = Notes()
    if reasons := conflicts(schema):
        raise SpecError(f"no value satisfies the output type: {'; '.join(reasons)}")
    try:
        normal = normal_form(schema, limits, notes, rules)
    except Unsaid as unsaid:
        return _open(schema, unsaid, engine)
    note_the_rest(schema, notes)
    written = strict_schema(normal, rules)
    wrapped = written.get("type") != "object"
    if wrapped:
        words = [word for word in schema if word in ASSERTING]
        word = "type" if "type" in schema else words[0]
        notes.rewritten("#", word, _WRAPPING)
        written = _wrapped(written)
    check_size(written, rules)
    if rules.unions is not None and unions(written) > rules.unions:
        told = f"more than {rules.unions} places of several types, or that may be null"
        return _open(schema, Unsaid("#", next(iter(schema)), told), engine)
    codec = Codec(normal)
    lowered = Lowered(
        written,
        enforced=not rules.loose,
        wrapped=wrapped,
        codec=codec if codec.changes else None,
    )
    return lowered, notes


def _open(schema: Mapping[str, Any], unsaid: Unsaid, engine: str) -> tuple[Lowered, Notes]:
    """The schema as it is, of which nothing is enforced."""
    notes = Notes()
    place = f"{unsaid.pointer} {unsaid.keyword}"
    reason = f"{engine} gets it as a hint: no strict schema says {place}: {unsaid.reason}"
    for pointer, part in walk(schema):
        for word in part:
            if word in ANNOTATIONS or word not in ASSERTING:
                notes.annotation(pointer, word, "" if word in ANNOTATIONS else "no known keyword")
            else:
                own = (pointer, word) == (unsaid.pointer, unsaid.keyword)
                notes.checked(pointer, word, f"{unsaid.reason}; sent as a hint" if own else reason)
        for checked in part.get("x-typedllm", {}).get("checked", ()):
            notes.checked(pointer, "x-typedllm", checked)
    written, wrapped = hinted(schema)
    return Lowered(written, strict=False, enforced=False, wrapped=wrapped), notes


def _wrapped(schema: dict[str, Any]) -> dict[str, Any]:
    """An object that has the schema's value as its property, its definitions kept at the root."""
    inner = {word: value for word, value in schema.items() if word != "$defs"}
    definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    return {
        "type": "object",
        "properties": {"value": inner},
        "required": ["value"],
        "additionalProperties": False,
        **definitions,
    }
