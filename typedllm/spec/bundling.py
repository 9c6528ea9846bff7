"""One schema that holds all it refers to, made of schemas in several files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from typedllm.errors import SpecError
from typedllm.spec.dialects import declared_dialect
from typedllm.spec.folders import Document, Folder, Place, in_a_fragment
from typedllm.spec.keywords import HOMES, mapped, walk
from typedllm.spec.openapi import is_api, modern

__all__ = ["bundle"]

_DYNAMIC = ("$dynamicRef", "$recursiveRef")
_ADDRESSES = frozenset(
    {"$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary"}
)
_ODD = re.compile(r"~[01]|[^\w.-]")  # what would have to be escaped in a pointer
_KEPT_AT_ROOT = frozenset({"$schema", "$id", "id"})


def bundle(folder: Folder, document: Document, fragment: str) -> dict[str, Any]:
    """Make one schema out of all that a schema refers to.

    Args:
        folder: where references are looked for.
        document: the document that holds the schema.
        fragment: which of its schemas, as a JSON pointer or an anchor; empty for the document.

    Returns:
        JSON Schema whose references are all `#` or `#/$defs/...`, with the definitions that are
        reached. What refers to nothing stays as it is.

    Raises:
        SpecError: naming the place, when there is no schema, or a reference leads to none.
    """
    root = folder.place(document, fragment)
    node: object = root.node
    if not isinstance(node, Mapping):
        place = root if root.pointer else document.path
        raise SpecError(f"{place}: a JSON Schema is an object, not {type(node).__name__}")
    schema = cast(Mapping[str, Any], node)
    if not fragment and is_api(document.content):
        raise SpecError(
            f"{document.path}: the description of an API; name one of its schemas, as in"
            f" {document.path.name}#/components/schemas/Order"
        )
    if not fragment and _stays(schema):
        return dict(schema)
    return _Bundle(folder, root).made()


def _stays(schema: Mapping[str, Any]) -> bool:
    """Whether a document is its own bundle: nothing refers, or what does depends on who asks."""
    parts = [part for _, part in walk(schema)]
    references = [part["$ref"] for part in parts if isinstance(part.get("$ref"), str)]
    if any(word in part for part in parts for word in _DYNAMIC):
        return all(reference.startswith("#") for reference in references)
    return not references


class _Bundle:
    """A bundle in the making; what is still to be copied waits in a list, so nothing recurses."""

    def __init__(self, folder: Folder, root: Place) -> None:
        self._folder = folder
        self._root = root
        self._definitions: dict[str, Any] = {}
        self._references = {(root.document.path, root.pointer): "#"}
        self._waiting: list[tuple[dict[str, Any], Place]] = []

    def made(self) -> dict[str, Any]:
        root = self._later(self._root)
        while self._waiting:
            copy, place = self._waiting.pop()
            copy.update(self._copied(place))
        declared: object = None
        content = self._root.document.content
        if self._root.pointer and isinstance(content, Mapping):
            declared = cast(Mapping[str, object], content).get("$schema")
        if declared_dialect(declared) is not None:
            root = {"$schema": declared, **root}
        return {**root, "$defs": self._definitions} if self._definitions else root

    def _later(self, place: Place) -> Any:
        if not isinstance(place.node, Mapping):
            return place.node  # true or false, or what the metaschema will name
        copy: dict[str, Any] = {}
        self._waiting.append((copy, place))
        return copy

    def _copied(self, place: Place) -> dict[str, Any]:
        own = {
            keyword: value
            for keyword, value in cast(Mapping[str, Any], place.node).items()
            if not self._is_dropped(keyword, value, place)
        }
        copied = mapped(own, lambda node, steps: self._later(place.inner(steps, node)))
        for word in _DYNAMIC:
            if word in copied:
                raise SpecError(f"{place}: {word} is not followed between files; write $ref")
        if isinstance(copied.get("$ref"), str):
            copied["$ref"] = self._reference(copied["$ref"], place)
        return modern(copied) if place.is_older_api else copied

    def _is_dropped(self, keyword: str, value: object, place: Place) -> bool:
        if keyword in HOMES:
            return isinstance(value, Mapping)
        kept = place is self._root and keyword in _KEPT_AT_ROOT
        return keyword in _ADDRESSES and isinstance(value, str | bool) and not kept

    def _reference(self, reference: str, origin: Place) -> str:
        """What refers to the same schema inside the bundle."""
        target = self._folder.follow(reference, origin)
        key = (target.document.path, target.pointer)
        if key not in self._references:
            ours, theirs = self._root.document, target.document
            if None not in (ours.dialect, theirs.dialect) and ours.dialect != theirs.dialect:
                raise SpecError(
                    f'{origin}: the reference "{reference}" leads to a schema of another draft;'
                    f" write the same $schema in {ours.path.name} and {theirs.path.name}"
                )
            name = self._name(target)
            self._references[key] = f"#/$defs/{in_a_fragment(name)}"
            self._definitions[name] = self._later(target)
        return self._references[key]

    def _name(self, target: Place) -> str:
        """A name for a definition: the one that it has, with a number where that is taken."""
        last = target.pointer.rpartition("/")[2] or target.document.path.stem
        name = wanted = _ODD.sub("_", last)
        number = 2
        while name in self._definitions:
            name, number = f"{wanted}_{number}", number + 1
        return name
