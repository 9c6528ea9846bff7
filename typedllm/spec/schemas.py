"""Ready-made output types, loaded by name, and JSON Schemas from files."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from typedllm._resources import folder as resources
from typedllm.errors import SpecError
from typedllm.records import JsonSchema
from typedllm.spec.bundling import bundle
from typedllm.spec.documents import ENDINGS
from typedllm.spec.folders import Document, Folder, in_a_fragment, resolved
from typedllm.spec.keywords import ANNOTATIONS
from typedllm.spec.openapi import is_api

__all__ = ["is_file", "schema", "schema_names", "schemas_in"]

_FILE = re.compile(r"(?P<path>.*?\.(?:json|ya?ml))(?:#(?P<fragment>.*))?", re.I | re.S)


def schema(name: str | Path, *, folder: str | Path | None = None) -> JsonSchema:
    """Load an output type from the ready-made ones, or from a file.

    Args:
        name: the name of a ready-made schema, such as `judge/pairwise`; or the path of a JSON
            Schema: a `Path`, or a string that ends with `.json`, `.yaml` or `.yml`. After it may
            stand which schema of the file, as in `api.yaml#/components/schemas/Order`.
        folder: references to other files lead nowhere outside of it; that of the file when None.
            None is ever fetched from the network.

    Returns:
        A schema that refers to nothing outside itself. Schemas of OpenAPI 3.0 are written anew in
        the words of JSON Schema.

    Raises:
        SpecError: when there is no such schema or file, the file holds no JSON Schema, or a
            reference leads nowhere or outside of the folder.
    """
    if isinstance(name, Path) or is_file(name):
        path, fragment = _split(name)
        opened = _folder(path, folder)
        return JsonSchema(bundle(opened, opened.document(path), fragment))
    known = schema_names()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        meant = f'; did you mean "{close[0]}"?' if close else "."
        raise SpecError(
            f'no schema is named "{name}"{meant} The names are {", ".join(known)}; the path of a'
            f" file ends with {', '.join(ENDINGS)}"
        )
    return JsonSchema(json.loads((resources("schemas") / f"{name}.json").read_text("utf-8")))


def schema_names() -> list[str]:
    """Return the names of the ready-made schemas, sorted."""
    root = resources("schemas")
    paths = (path.relative_to(root) for path in root.rglob("*.json"))
    return sorted(path.as_posix().removesuffix(".json") for path in paths)


def is_file(name: str) -> bool:
    """Whether `schema` takes a name for the path of a file.

    Args:
        name: the name.
    """
    return _FILE.fullmatch(name) is not None


def schemas_in(
    path: str | Path, *, folder: str | Path | None = None
) -> Iterator[tuple[str, JsonSchema | SpecError]]:
    """Load every schema of a file: the file's own, its definitions, or those of an API.

    Args:
        path: of the file.
        folder: as in `schema`.

    Yields:
        The pointer of each, such as `#/$defs/Order`, and the schema, or why there is none.

    Raises:
        SpecError: when the file cannot be read, or holds no schema.
    """
    path = Path(path)
    opened = _folder(path, folder)
    document = opened.document(path)
    fragments = _fragments(document)
    if not fragments:
        raise SpecError(f"{path}: there is no schema in it")
    for fragment in fragments:
        try:
            yield f"#{fragment}", JsonSchema(bundle(opened, document, fragment))
        except SpecError as error:
            yield f"#{fragment}", error


def _split(name: str | Path) -> tuple[Path, str]:
    parts = _FILE.fullmatch(str(name))
    return (Path(name), "") if parts is None else (Path(parts["path"]), parts["fragment"] or "")


def _folder(path: Path, given: str | Path | None) -> Folder:
    return Folder(resolved(path).parent if given is None else Path(given))


def _fragments(document: Document) -> list[str]:
    whole = _object(document.content)
    says_something = not is_api(whole) and any(word not in ANNOTATIONS for word in whole)
    homes = {
        "/components/schemas": _object(_object(whole.get("components")).get("schemas")),
        "/definitions": _object(whole.get("definitions")),
        "/$defs": _object(whole.get("$defs")),
    }
    inner = [f"{home}/{in_a_fragment(name)}" for home, names in homes.items() for name in names]
    return ["", *inner] if says_something else inner


def _object(value: object) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}
