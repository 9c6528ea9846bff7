"""What a dialect of JSON Schema for remote APIs knows, and its bounds on values of one type."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from typedllm.constraints.plan import Notes
from typedllm.grammar.complexity import TooComplex
from typedllm.grammar.pattern import NotRegular, parse_pattern
from typedllm.spec.keywords import BY_TYPE

__all__ = ["SchemaRules", "facets", "is_anchored", "kind_of", "note_enumeration"]

Schema = Mapping[str, Any]

_TRIVIAL: Final = {"minLength": 0, "minItems": 0, "minProperties": 0, "uniqueItems": False}
_ESCAPED: Final = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]", re.DOTALL)
_FANCY: Final = re.compile(r"\(\?[^:]|\\[1-9bBkpPcux]")
_STRUCTURE: Final = frozenset(
    {"items", "prefixItems", "additionalItems", "properties", "required", "additionalProperties"}
    | {"patternProperties"}
)
_REGULAR: Final = frozenset({"uuid", "ipv4", "ipv6"})  # the others have rules beyond a form
_KINDS: Final = frozenset({"string", "integer", "number", "boolean", "null"})
_PYTHON: Final = {  # types that take more than the format beside them says, or other than that
    "datetime": "a time without a zone is one too",
    "naive-datetime": "a time without a zone",
    "python-time": "a time without a zone is one too",
    "naive-time": "a time without a zone",
    "bytes": "bytes are text here",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemaRules:
    """A dialect of JSON Schema.

    Attributes:
        name: as `Traits.dialect` has it.
        keywords: bounds on values that are enforced.
        sent: further bounds that are taken, but not sure to be enforced.
        least_items: most that `minItems` may be; None is no limit.
        formats: values of `format` that are known.
        enum_kinds: types of the values that an enumeration may have.
        enum_case: whether an enumerated text is written with its own capitals.
        recursion: whether a definition may refer to itself.
        empty_objects: whether an object may have no properties.
        unions: most places that may be of several types; what has more is sent as a hint.
        properties: most properties in the whole schema; None is no limit, here and below.
        depth: most objects inside each other.
        enum_values: most values of enumerations in the whole schema.
        characters: most characters of all names and values of enumerations.
        large_enum_characters: most characters of an enumeration of more than 250 texts.
        loose: why none of it is sure to be enforced, if so.
        in_prompt: whether the schema is only told to the model.
    """

    name: str
    keywords: frozenset[str] = frozenset()
    sent: frozenset[str] = frozenset()
    least_items: int | None = None
    formats: frozenset[str] = frozenset()
    enum_kinds: frozenset[str] = _KINDS
    enum_case: bool = True
    recursion: bool = True
    empty_objects: bool = True
    unions: int | None = None
    properties: int | None = None
    depth: int | None = None
    enum_values: int | None = None
    characters: int | None = None
    large_enum_characters: int | None = None
    loose: str = ""
    in_prompt: bool = False

    def takes(self, word: str, value: Any) -> bool:
        """Whether a bound is sent.

        Args:
            word: its keyword.
            value: what it says.
        """
        if word == "format":
            return value in self.formats
        if word == "minItems" and self.least_items is not None and value > self.least_items:
            return False
        known = word in self.keywords or word in self.sent
        return known and (word != "pattern" or is_anchored(value))


def kind_of(value: object) -> str:
    """The type of a value, in JSON Schema's words.

    Args:
        value: no list and no object.
    """
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case _:
            return "string"


def note_enumeration(
    values: Sequence[object], word: str, pointer: str, notes: Notes, rules: SchemaRules
) -> None:
    """Note where not just the values of an enumeration are held.

    Args:
        values: of it.
        word: the keyword that lists them.
        pointer: of the schema that has it.
        notes: takes it.
        rules: of the dialect.
    """
    texts = [value for value in values if isinstance(value, str)]
    if not rules.enum_case and any(text.swapcase() != text for text in texts):
        notes.checked(pointer, word, "sent; but for capitals, which may be other ones")
    truths = {value for value in values if isinstance(value, bool)}
    if len(truths) == 1 and "boolean" not in rules.enum_kinds:
        notes.checked(pointer, word, f"the dialect {rules.name} lists no booleans")


def is_anchored(pattern: str) -> bool:
    """Whether a pattern is regular and of the whole text, which every server reads alike.

    Args:
        pattern: as in JSON Schema.
    """
    bare = _ESCAPED.sub("", pattern)  # no escape, and no class of characters
    if _FANCY.search(pattern) or not (bare.startswith("^") and bare.endswith("$")):
        return False
    depth = 0
    for character in bare:
        depth += (character == "(") - (character == ")")
        if character == "|" and depth == 0:
            return False
    try:
        parse_pattern(pattern)
    except (NotRegular, TooComplex):
        return False
    return True


def facets(
    schema: Schema, kind: str, pointer: str, notes: Notes, rules: SchemaRules
) -> dict[str, Any]:
    """The bounds that a schema sets on values of a type.

    Args:
        schema: where they stand.
        kind: the type.
        pointer: of the schema.
        notes: takes what becomes of each.
        rules: of the dialect.

    Returns:
        All of them, whether the dialect knows them or not, but for those of a format that a Python
        type goes beyond.
    """
    note: Mapping[str, Any] = schema.get("x-typedllm", {})
    found: dict[str, Any] = {}
    for word, value in _modern(schema).items():
        if word not in BY_TYPE[kind] or word in _STRUCTURE:
            continue
        if _TRIVIAL.get(word) == value:
            notes.held(pointer, [word])
        elif word == "format" and note.get("kind") in _PYTHON:
            notes.checked(pointer, word, _PYTHON[note["kind"]])
        else:
            found[word] = value
            _note(word, value, note, pointer, notes, rules)
    if note.get("max_digits") is not None or note.get("decimal_places") is not None:
        notes.checked(pointer, "x-typedllm", "the digits of a decimal number")
    return found


def _note(
    word: str, value: Any, note: Schema, pointer: str, notes: Notes, rules: SchemaRules
) -> None:
    """What becomes of one bound."""
    if word == "uniqueItems" and note.get("kind") == "set":
        notes.rewritten(pointer, word, "repeated items of a set are merged")
    elif word == "minItems" and note.get("kind") == "set" and value > 1:
        notes.checked(pointer, word, "repeated items of a set are merged")
    elif word == "format" and value in rules.formats:
        if value in _REGULAR:
            notes.held(pointer, [word])
        else:
            notes.checked(pointer, word, f"sent; servers hold {value} in outline only")
    elif word == "pattern" and word in rules.keywords and not is_anchored(value):
        notes.checked(pointer, word, "neither anchored nor sure to be read alike everywhere")
    elif word == "multipleOf" and word in rules.keywords and value != int(value):
        notes.checked(pointer, word, "sent; of fractions it is a matter of rounding")
    elif word in rules.sent:
        notes.checked(pointer, word, "sent; not sure to be enforced")
    elif rules.takes(word, value):
        notes.held(pointer, [word])
    else:
        exact = word == "format" or (word == "minItems" and rules.least_items is not None)
        what = f"{word} {value}" if exact else word
        notes.checked(pointer, word, f"the dialect {rules.name} has no {what}")


def _modern(schema: Schema) -> Schema:
    """A schema with exclusive bounds as they are since draft 6."""
    found = dict(schema)
    for word, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(found.get(word), bool) and found.pop(word) and bound in found:
            found[word] = found.pop(bound)
    return found
