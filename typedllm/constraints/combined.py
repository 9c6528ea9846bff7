"""Which schemas combine others, and what becomes of their keywords once they are rewritten."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from typedllm.constraints.plan import Notes
from typedllm.constraints.references import References
from typedllm.spec.dialects import URIS
from typedllm.spec.keywords import ANNOTATIONS, HOMES, TYPED, subschemas, walk
from typedllm.spec.validators import validator_of

Schema = Mapping[str, Any]

COMBINING = frozenset(
    {"allOf", "not", "if", "then", "else", "contains", "minContains", "maxContains"}
    | {"dependencies", "dependentRequired", "dependentSchemas"}
    | {"unevaluatedProperties", "unevaluatedItems", "$ref", "anyOf", "oneOf"}
    | {"$dynamicRef", "$recursiveRef"}
)
_ALONE = ("enum", "const", "$ref", "anyOf", "oneOf")  # one of these makes up a schema by itself


ASSERTING = TYPED | COMBINING | {"type", "enum", "const"}


def assertions(schema: Schema) -> list[str]:
    """The keywords of a schema that say which values are valid.

    Args:
        schema: the schema.
    """
    return [word for word in schema if word in ASSERTING]


def note_the_rest(schema: Schema, notes: Notes) -> None:
    """Note what becomes of the keywords that nothing has been noted of.

    Args:
        schema: the author's.
        notes: of all that has been held, rewritten and left to be checked.
    """
    for pointer, part in walk(schema):
        for word in part:
            if word in ANNOTATIONS or word not in ASSERTING:
                notes.annotation(pointer, word, "" if word in ANNOTATIONS else "no known keyword")
            elif not notes.has(pointer, word):
                other = "as $ref" if notes.has(pointer, "$ref") else "no value reaches it"
                notes.rewritten(pointer, word, other)


def enumerated(schema: Schema, base: str, pointer: str, draft: int, notes: Notes) -> list[Any]:
    """The values of an enumeration that are valid for what stands beside it.

    Args:
        schema: with the keyword `base`.
        base: `enum` or `const`.
        pointer: of the schema.
        draft: of JSON Schema.
        notes: takes what becomes of the other keywords.
    """
    values: list[Any] = list(schema["enum"]) if base == "enum" else [schema["const"]]
    rest = {k: v for k, v in schema.items() if k not in ANNOTATIONS and k != base}
    if '"$ref"' in json.dumps(rest):  # which only the whole schema can resolve
        for keyword in rest:
            notes.checked(pointer, keyword, f"stands beside {base}")
    elif rest:
        validator = validator_of({**rest, "$schema": URIS[draft]})
        values = [value for value in values if validator.is_valid(value)]
        notes.held(pointer, rest)
    return values


def combines(schema: Schema, words: Sequence[str], references: References) -> bool:
    """Whether a schema must be rewritten before it can be lowered keyword by keyword.

    Args:
        schema: the schema.
        words: its asserting keywords.
        references: of the whole schema.
    """
    if len(words) == 1 and words[0] == "allOf" and len(schema["allOf"]) == 1:
        return False
    bases = [word for word in words if word in _ALONE]
    if any(word in COMBINING and word not in _ALONE for word in words):
        return not set(words) <= {"then", "else"} and set(words) != {"if"}
    if not bases:
        return False
    if bases[0] in ("enum", "const"):
        return any(word in COMBINING for word in words)
    if len(words) > 1:
        return True
    return bases[0] == "oneOf" and not _told_apart(schema["oneOf"], references)


def _told_apart(branches: Sequence[object], references: References) -> bool:
    """Whether objects differ in a required property that is a constant in each of them."""
    tags: dict[str, list[set[str]]] = {}
    for branch in branches:
        for name, texts in _tags(branch, references):
            tags.setdefault(name, []).append(texts)
    return any(
        len(found) == len(branches) and len(set[str]().union(*found)) == sum(map(len, found))
        for found in tags.values()
    )


def _tags(branch: object, references: References) -> Iterator[tuple[str, set[str]]]:
    schema = _target(branch, references)
    if schema.get("type") != "object":
        return
    for name in schema.get("required", ()):
        values = _target(schema.get("properties", {}).get(name), references)
        given = [*values.get("enum", ())] + ([values["const"]] if "const" in values else [])
        if given:
            yield name, {json.dumps(value, sort_keys=True) for value in given}


def _target(schema: object, references: References) -> Schema:
    if not isinstance(schema, Mapping):
        return {}
    reference: object = cast(Schema, schema).get("$ref")
    if isinstance(reference, str) and references.resolves(reference):
        target = references.target(reference)
        return cast(Schema, target) if isinstance(target, Mapping) else {}
    return cast(Schema, schema)


def transfer(found: Notes, to: Notes, keywords: Sequence[tuple[str, str]]) -> None:
    """Note the keywords that a rewritten form was made of, by what became of the form.

    Args:
        found: what became of the form.
        to: takes a note for each keyword of the original.
        keywords: pointers and keywords of the original.
    """
    for pointer, word in keywords:
        to.rewritten(pointer, word, "together with what it is combined with")
    for part in found.parts:
        if part.status == "checked after":
            same = [at for at in keywords if at[1] == part.keyword]
            for pointer, word in same or [at for at in keywords if at[1] in COMBINING] or keywords:
                to.checked(pointer, word, part.reason)
    for limit in found.limits:
        to.limit(limit)
    to.impossible += found.impossible


def keywords_of(
    places: Sequence[tuple[str, object]], kept: set[str], root: References
) -> Iterator[tuple[str, str]]:
    """Pointers and keywords of schemas and of all in them, and of what they refer to.

    Args:
        places: pointers and the schemas there.
        kept: references whose targets are left out.
        root: references of the whole schema.
    """
    waiting, known = list(places), set[str]()
    while waiting:
        pointer, schema = waiting.pop()
        if pointer in known or not isinstance(schema, Mapping):
            continue
        known.add(pointer)
        found = cast(Schema, schema)
        for word in found:
            if word not in ANNOTATIONS:
                yield pointer, word
        below = [(pointer + s, inner) for w, s, inner in subschemas(found) if w not in HOMES]
        waiting += reversed(below)
        reference = found.get("$ref")
        if isinstance(reference, str) and reference not in kept and root.resolves(reference):
            waiting.append((reference, root.target(reference)))
