"""References by URI and anchor, written as pointers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urldefrag, urljoin

from typedllm.spec.keywords import mapped, subschemas

_MOVED = ("$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef")


def localized(root: Mapping[str, Any], draft: int) -> Mapping[str, Any]:
    """A schema whose references into itself are all written as JSON pointers.

    References by `$id`, `id` and anchors are resolved as RFC 3986 has it; a dynamic reference is
    one to the only anchor of its name. What points elsewhere is left as it is.

    Args:
        root: the whole schema.
        draft: 4, 6, 7, 19 or 20.
    """
    word = "id" if draft == 4 else "$id"
    text = str(root)
    if not any(f"'{other}'" in text for other in (*_MOVED, word)):
        return root
    return _Identifiers(root, word).rewritten(root, "#", "")


class _Identifiers:
    """The URIs that name parts of one schema."""

    def __init__(self, root: Mapping[str, Any], word: str) -> None:
        self._word = word
        self._places: dict[str, str] = {}
        self._collect(root, "#", "")
        self._places.setdefault("", "#")

    def _collect(self, schema: object, pointer: str, base: str) -> None:
        waiting = [(schema, pointer, base)]
        while waiting:
            part, pointer, base = waiting.pop()
            if not isinstance(part, Mapping):
                continue
            found = cast(Mapping[str, Any], part)
            base = self._based(found, base)
            if self._identifier(found) or pointer == "#":
                self._places.setdefault(urldefrag(base).url, pointer)
            for word in ("$anchor", "$dynamicAnchor"):
                if isinstance(found.get(word), str):
                    self._places.setdefault(f"{urldefrag(base).url}#{found[word]}", pointer)
            if urldefrag(self._identifier(found)).fragment:  # up to draft 7 an id may be an anchor
                self._places.setdefault(base, pointer)
            waiting += [(inner, pointer + steps, base) for _, steps, inner in subschemas(found)]

    def rewritten(self, schema: object, pointer: str, base: str) -> Any:
        """A copy of a schema with its references as pointers into the whole."""
        if not isinstance(schema, Mapping):
            return schema
        found = dict(cast(Mapping[str, Any], schema))
        base = self._based(found, base)
        for word in ("$ref", "$dynamicRef", "$recursiveRef"):
            target = self._pointer(found[word], base) if isinstance(found.get(word), str) else None
            if target is not None:
                del found[word]
                found["$ref"] = target
        return mapped(found, lambda inner, steps: self.rewritten(inner, pointer + steps, base))

    def _pointer(self, reference: str, base: str) -> str | None:
        url, fragment = urldefrag(urljoin(base, reference))
        if f"{url}#{fragment}" in self._places:
            return self._places[f"{url}#{fragment}"]
        if url not in self._places or (fragment and not fragment.startswith("/")):
            return None
        return self._places[url] + fragment

    def _based(self, schema: Mapping[str, Any], base: str) -> str:
        return urljoin(base, self._identifier(schema))

    def _identifier(self, schema: Mapping[str, Any]) -> str:
        found = schema.get(self._word)
        return found if isinstance(found, str) else ""
