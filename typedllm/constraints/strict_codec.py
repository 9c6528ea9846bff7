"""Values as a strict schema has them, and back: what was left out is written as null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import jsonschema_rs

from typedllm.constraints.strict import Normal
from typedllm.constraints.strict_writing import nullable
from typedllm.spec.dialects import LATEST, URIS
from typedllm.spec.keywords import walk
from typedllm.spec.validators import validator_of

__all__ = ["Codec"]

Schema = Mapping[str, Any]


class Codec:
    """The way from a value of a normal form to that of its strict schema, and back.

    Attributes:
        changes: whether there is anything to change at all.
    """

    def __init__(self, normal: Normal) -> None:
        """Look for what may be left out.

        Args:
            normal: the form.
        """
        self._normal = normal
        self._dropped: dict[int, frozenset[str]] = {}
        self._validators: dict[int, jsonschema_rs.Validator] = {}
        self.changes = False
        for part in (normal.root, *normal.definitions.values()):
            for _, found in walk(part):
                if found.get("type") == "object":
                    self._read(found)

    def _read(self, part: Schema) -> None:
        optional = list(part["properties"].keys() - set(part["required"]))
        self.changes = self.changes or bool(optional)
        self._dropped[id(part)] = frozenset(
            name for name in optional if not nullable(part["properties"][name], self._normal)
        )

    def encode(self, value: Any) -> Any:
        """Return a value with null for each property that was left out.

        Args:
            value: valid for the form.
        """
        return self._changed(self._normal.root, value, encode=True)

    def decode(self, value: Any) -> Any:
        """Return a value without the nulls that stand for what is left out.

        Args:
            value: an answer; where it is not valid, as much of it is changed as can be.
        """
        return self._changed(self._normal.root, value, encode=False)

    def _changed(self, schema: Schema, value: Any, *, encode: bool) -> Any:
        part = self._normal.target(schema)
        if "anyOf" in part:
            return self._in_branch(part["anyOf"], value, encode=encode)
        if part.get("type") == "object" and isinstance(value, dict):
            return self._object(part, cast(dict[str, Any], value), encode=encode)
        if part.get("type") == "array" and isinstance(value, list):
            places: Sequence[Schema] = part.get("prefixItems", ())
            rest = part["items"]
            return [
                self._changed(places[index], item, encode=encode)
                if index < len(places)
                else item
                if rest is False
                else self._changed(rest, item, encode=encode)
                for index, item in enumerate(cast(list[Any], value))
            ]
        return value

    def _object(self, part: Schema, value: dict[str, Any], *, encode: bool) -> dict[str, Any]:
        inner: Mapping[str, Schema] = part["properties"]
        if encode:
            return {
                name: self._changed(inner[name], value[name], encode=True)
                if name in value
                else None
                for name in inner
            }
        dropped = self._dropped[id(part)]
        return {
            name: self._changed(inner[name], item, encode=False) if name in inner else item
            for name, item in value.items()
            if item is not None or name not in dropped
        }

    def _in_branch(self, branches: Sequence[Schema], value: Any, *, encode: bool) -> Any:
        if not isinstance(value, dict | list):
            return value
        value = cast(Any, value)
        likely = [branch for branch in branches if self._may_be(branch, value)]
        if len(likely) == 1:
            return self._changed(likely[0], value, encode=encode)
        for branch in likely:
            changed = self._changed(branch, value, encode=encode)
            if self._validator(branch).is_valid(value if encode else changed):
                return changed
        return self._changed(likely[0], value, encode=encode) if likely else value

    def _may_be(self, schema: Schema, value: Any) -> bool:
        """Whether a value looks like one of a schema: its type, its names, its constants."""
        part = self._normal.target(schema)
        if "anyOf" in part:
            return any(self._may_be(branch, value) for branch in part["anyOf"])
        if isinstance(value, list):
            return part.get("type") == "array"
        if part.get("type") != "object":
            return False
        found = cast(dict[str, Any], value)
        inner: Mapping[str, Schema] = part["properties"]
        if not found.keys() <= inner.keys():
            return False
        return all(
            name in found and found[name] in inner[name].get("enum", [found[name]])
            for name in part["required"]
        )

    def _validator(self, part: Schema) -> jsonschema_rs.Validator:
        found = self._validators.get(id(part))
        if found is None:
            whole = {**part, "$defs": self._normal.definitions, "$schema": URIS[LATEST]}
            found = self._validators[id(part)] = validator_of(whole)
        return found
