"""The outline: a JSON Schema in one short line, to tell a model what to answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast
from urllib.parse import unquote

__all__ = ["outline"]

Schema: TypeAlias = Mapping[str, Any]

# What keeps the line bounded: levels of nesting, parts in all, characters of one text.
_MAX_DEPTH = 24
_MAX_PARTS = 2_000
_MAX_TEXT = 500

_ANY = "any"
_WORDS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "null"}
_FORMATS = {
    "date": "date",
    "date-time": "datetime",
    "time": "time",
    "duration": "timedelta",
    "uuid": "uuid",
    "email": "email",
    "uri": "url",
}
_NUMBER_BOUNDS = {
    "minimum": "ge",
    "exclusiveMinimum": "gt",
    "maximum": "le",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
}
_STRING_BOUNDS = {"minLength": "min_length", "maxLength": "max_length", "pattern": "pattern"}
_ARRAY_BOUNDS = {"minItems": "min_length", "maxItems": "max_length"}
_OBJECT_BOUNDS = {"minProperties": "min_length", "maxProperties": "max_length"}


def outline(schema: Mapping[str, Any]) -> str:
    """Write a JSON Schema as one short line in the manner of the spec language.

    `{"name": str, "age": int(ge=0) | null}`; references are written out where they stand, those
    that come back to themselves by name: `Node where Node = {"next": Node | null}`. What has no
    short form is `any`. Any value is taken: a wrong schema gives a poor line, never an error, and
    parts past a few thousand are `any` as well.

    Args:
        schema: a JSON Schema (2020-12), as Pydantic writes it.
    """
    first = _Writer(schema, recursive=frozenset())
    text = first.schema(schema)
    if not first.named:
        return text
    return _Writer(schema, recursive=frozenset(first.named)).line()


class _Writer:
    """Writes one outline; a second writer is told which references come back to themselves."""

    def __init__(self, root: Schema, *, recursive: frozenset[str]) -> None:
        self.root = root
        self.recursive = recursive
        self.named: dict[str, Any] = {}
        self._open: list[str] = []
        self._parts = 0
        self._depth = 0

    def line(self) -> str:
        """The whole line, with the definitions of what it names at the end."""
        text = self.schema(self.root)
        definitions: dict[str, str] = {}
        while waiting := [name for name in self.named if name not in definitions]:
            definitions[waiting[0]] = self.schema(self.named[waiting[0]])
        pairs = [f"{_name(reference)} = {written}" for reference, written in definitions.items()]
        return f"{text} where {', '.join(pairs)}" if pairs else text

    def schema(self, value: object) -> str:
        """One schema, with its description behind it."""
        self._parts += 1
        if not isinstance(value, Mapping) or self._parts > _MAX_PARTS or self._depth > _MAX_DEPTH:
            return _ANY
        schema = cast(Schema, value)
        self._depth += 1
        text = self._type(schema)
        self._depth -= 1
        description = schema.get("description")
        return f"{text} ({_cut(description)})" if isinstance(description, str) else text

    def _type(self, schema: Schema) -> str:
        reference, kind = schema.get("$ref"), schema.get("type")
        if isinstance(reference, str):
            return self._reference(reference)
        if "const" in schema:
            return self._literals([schema["const"]])
        if isinstance(values := schema.get("enum"), list):
            return self._literals(cast(list[object], values))
        for keyword, sign in (("anyOf", " | "), ("oneOf", " | "), ("allOf", " & ")):
            if isinstance(branches := schema.get(keyword), list):
                return self._joined(cast(list[object], branches), sign)
        if isinstance(kind, list):
            kinds = cast(list[object], kind)
            return self._joined([{**schema, "type": k, "description": None} for k in kinds], " | ")
        if kind == "object" or "properties" in schema:
            return self._object(schema)
        if kind == "array" or "prefixItems" in schema or "items" in schema:
            return self._array(schema)
        if kind == "string":
            return self._string(schema)
        word = _WORDS.get(kind, _ANY) if isinstance(kind, str) else _ANY
        return word + _bounds(schema, _NUMBER_BOUNDS if word in ("int", "float") else {})

    def _reference(self, reference: str) -> str:
        if reference in self._open or reference in self.recursive:
            self.named[reference] = _resolve(self.root, reference)
            return _name(reference)
        self._open.append(reference)
        text = self.schema(_resolve(self.root, reference))
        self._open.pop()
        return text

    def _literals(self, values: Sequence[object]) -> str:
        shown = values[: max(0, _MAX_PARTS - self._parts)]
        self._parts += len(shown)
        more = ["..."] if len(shown) < len(values) else []
        return " | ".join([*map(_literal, shown), *more]) or _ANY

    def _joined(self, branches: Sequence[object], sign: str) -> str:
        written = dict.fromkeys(self._each(branches))
        return _ANY if _ANY in written and sign == " | " else sign.join(written) or _ANY

    def _each(self, schemas: Iterable[object]) -> Iterable[str]:
        for schema in schemas:
            if self._parts > _MAX_PARTS:
                return
            yield self.schema(schema)

    def _string(self, schema: Schema) -> str:
        given = schema.get("format")
        word = _FORMATS.get(given, "str") if isinstance(given, str) else "str"
        return word + _bounds(schema, _STRING_BOUNDS)

    def _array(self, schema: Schema) -> str:
        if isinstance(prefix := schema.get("prefixItems"), list):
            return f"[{', '.join(self._each(cast(list[object], prefix)))}]"
        return f"[{self.schema(schema.get('items'))}]" + _bounds(schema, _ARRAY_BOUNDS)

    def _object(self, schema: Schema) -> str:
        given, needed = schema.get("properties"), schema.get("required")
        properties: Schema = cast(Schema, given) if isinstance(given, Mapping) else {}
        required = cast(list[object], needed) if isinstance(needed, list) else []
        texts = self._each(properties.values())
        parts = [
            f"{_literal(name)}{'' if name in required else '?'}: {text}"
            for name, text in zip(properties, texts, strict=False)
        ]
        others: list[object] = []
        if isinstance(patterns := schema.get("patternProperties"), Mapping):
            others.extend(cast(Schema, patterns).values())
        rest = schema.get("additionalProperties", given is None and not others)
        if isinstance(rest, Mapping) or (rest is True and not properties):
            others.append(cast(object, rest))
        keys = self.schema(schema["propertyNames"]) if "propertyNames" in schema else "str"
        parts.extend(f"{keys}: {text}" for text in self._each(others))
        return f"{{{', '.join(parts)}}}" + _bounds(schema, _OBJECT_BOUNDS)


def _bounds(schema: Schema, words: Mapping[str, str]) -> str:
    given = [(word, schema[keyword]) for keyword, word in words.items() if keyword in schema]
    said = [f"{word}={_cut(v) if isinstance(v, str) else _literal(v)}" for word, v in given]
    return f"({', '.join(said)})" if said else ""


def _literal(value: object) -> str:
    try:
        return _cut(json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError):
        return _ANY


def _cut(text: str) -> str:
    line = " ".join(text[: 2 * _MAX_TEXT].split())
    return line if len(line) <= _MAX_TEXT else f"{line[:_MAX_TEXT]}..."


def _name(reference: str) -> str:
    return _cut(reference.rsplit("/", 1)[-1].lstrip("#")) or "Root"


def _resolve(root: object, reference: str) -> object:
    """The schema a local reference points at (RFC 6901), or None."""
    place, found = reference.removeprefix("#"), root
    if not reference.startswith("#"):
        return None
    for part in place.split("/")[1:]:
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        found = cast(Schema, found).get(key) if isinstance(found, Mapping) else None
    return found
