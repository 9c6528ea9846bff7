"""Ready-made output types, loaded by name, and JSON Schemas from files."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any, cast

from typedllm._resources import folder
from typedllm.errors import SpecError
from typedllm.records import JsonSchema

__all__ = ["schema", "schema_names"]

_ENDING = ".json"


def schema(name: str | Path) -> JsonSchema:
    """Load an output type from the ready-made ones, or from a file.

    Args:
        name: the name of a ready-made schema, such as `judge/pairwise`; or the path of a JSON
            Schema: a `Path`, or a string that ends with `.json`.

    Raises:
        SpecError: when there is no such schema or file, or the file holds no JSON Schema.
    """
    if isinstance(name, Path) or name.endswith(_ENDING):
        return _read(Path(name))
    known = schema_names()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        meant = f'; did you mean "{close[0]}"?' if close else "."
        raise SpecError(
            f'no schema is named "{name}"{meant} The names are {", ".join(known)}; the path of a'
            f" file ends with {_ENDING}"
        )
    return _read(folder("schemas") / f"{name}{_ENDING}")


def schema_names() -> list[str]:
    """Return the names of the ready-made schemas, sorted."""
    root = folder("schemas")
    paths = (path.relative_to(root) for path in root.rglob(f"*{_ENDING}"))
    return sorted(path.as_posix().removesuffix(_ENDING) for path in paths)


def _read(path: Path) -> JsonSchema:
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: the schema cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path}: no JSON: {error}") from error
    if not isinstance(content, dict):
        raise SpecError(f"{path}: a JSON Schema is an object, not {type(content).__name__}")
    return JsonSchema(cast(dict[str, Any], content))
