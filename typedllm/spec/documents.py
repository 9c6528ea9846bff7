"""JSON and YAML files, read as JSON: no dates, no `yes` that is true, nothing that explodes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, cast

from typedllm.errors import SpecError

__all__ = ["ENDINGS", "read_document"]

ENDINGS: Final = (".json", ".yaml", ".yml")
_MOST_BYTES = 50_000_000
_MOST_LEVELS = 1000


def read_document(path: Path) -> Any:
    """Read a file as a JSON value.

    Args:
        path: of a YAML file when it ends with `.yaml` or `.yml`, else of a JSON file. YAML is read
            with JSON's types alone: a date is a string, and so are `yes` and `on`.

    Raises:
        SpecError: naming the file and the line where it can be told, when it cannot be read, is
            larger than 50 MB, nests deeper than 1,000 levels, or holds a key twice or a value
            that JSON does not have.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SpecError(f"{path}: the schema cannot be read: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise SpecError(f"{path}: more than {_MOST_BYTES // 1_000_000} MB")
    value = _yaml(path, content) if path.suffix.lower() in ENDINGS[1:] else _json(path, content)
    if _deeper(value, _MOST_LEVELS):
        raise SpecError(f"{path}: nested deeper than {_MOST_LEVELS} levels")
    return value


def _json(path: Path, content: bytes) -> Any:
    try:
        return json.loads(
            content.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no_number
        )
    except RecursionError as error:
        raise SpecError(f"{path}: nested deeper than {_MOST_LEVELS} levels") from error
    except ValueError as error:
        raise SpecError(f"{path}: no JSON: {error}") from error


def _yaml(path: Path, content: bytes) -> Any:
    import yaml

    from typedllm.spec.yaml_values import NotJson, value_of

    try:
        return value_of(content.decode("utf-8-sig"), _MOST_LEVELS)
    except NotJson as error:
        raise SpecError(f"{path}: line {error.line}: {error}") from error
    except yaml.MarkedYAMLError as error:
        mark = cast(Any, error.problem_mark or error.context_mark)
        place = f"line {mark.line + 1}: " if mark else ""
        raise SpecError(f"{path}: no YAML: {place}{error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise SpecError(f"{path}: no YAML: {' '.join(str(error).split())}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f'the key "{twice}" comes twice in one object')
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def _deeper(value: object, most: int) -> bool:
    """Whether lists and objects nest deeper than so many levels."""
    level: list[object] = [value]
    for _ in range(most + 1):
        level = [inner for part in level for inner in _inside(part)]
        if not level:
            return False
    return True


def _inside(part: object) -> Iterable[object]:
    if isinstance(part, dict):
        return cast(dict[str, object], part).values()
    return cast(list[object], part) if isinstance(part, list) else ()
