"""An output type from the command line: text, a file, a type in a module, or a ready-made name."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

from typedllm.errors import SpecError, UsageError

if TYPE_CHECKING:
    from typedllm.client.options import AnyType

__all__ = ["HELP", "field_names", "read_output_type"]

HELP: Final = (
    'The output type: a dict as JSON or Python text, such as \'{"name": "str"}\'; a type word,'
    " such as 'int | None'; a .json or .yaml file with a dict or a JSON Schema, or one schema in"
    " it, as in api.yaml#/components/schemas/Order; module:Type or path.py:Type; or a name from"
    " `typedllm schemas`."
)
_IN_MODULE = re.compile(r"(?P<home>.+\.py|[\w.]+):(?P<name>[A-Za-z_][\w.]*)")
_NAME = re.compile(r"[\w/-]+")


def read_output_type(text: str) -> AnyType:
    """Find the output type that a text names, and check it.

    Args:
        text: see `HELP`.

    Raises:
        UsageError: when it is none of these, or the file, module or type cannot be had.
    """
    from typedllm.spec.schemas import schema, schema_names
    from typedllm.spec.spec import spec_of

    text = text.strip()
    if text in schema_names():
        return cast("AnyType", schema(text))
    try:
        output_type = cast("AnyType", _found(text))
        spec_of(output_type)
    except SpecError as error:
        raise SpecError(f"the output type: {_no_name(text)}{error}") from error
    return output_type


def _no_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        return ""
    from typedllm.spec.schemas import schema_names

    close = get_close_matches(text, schema_names(), n=1)
    meant = f' (did you mean "{close[0]}"?)' if close else ""
    return f'no ready-made one is called "{text}"{meant}, and as a type word: '


def field_names(output_type: AnyType) -> tuple[str, ...] | None:
    """Return the names of the fields of an output type, or None when it is no object.

    Args:
        output_type: as `read_output_type` gives it.
    """
    from typedllm.spec.spec import spec_of

    spec = spec_of(output_type)
    part = spec.schema or {}
    definitions: Mapping[str, Any] = part.get("$defs", {})
    # A recursive model is a reference to its own definition.
    if "properties" not in part and "$ref" in part:
        part = definitions.get(str(part["$ref"]).removeprefix("#/$defs/"), {})
    fields: Mapping[str, Any] | None = part.get("properties")
    return None if fields is None else tuple(fields)


def _found(text: str) -> Any:
    if text.startswith(("{", "[")):
        return _literal(text)
    from typedllm.spec.schemas import is_file, schema

    if is_file(text):
        found = schema(text)
        # A whole file may also hold a dict of the spec language.
        return found if "#" in text else dict(found.schema)
    if match := _IN_MODULE.fullmatch(text):
        return _attribute(match["home"], match["name"])
    return text


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise SpecError(
            f"neither JSON ({reason}) nor a Python literal; names and type words stand in quotes:"
            ' {"age": "int"}'
        ) from error


def _attribute(home: str, name: str) -> Any:
    try:
        found: Any = _script(Path(home)) if home.endswith(".py") else _module(home)
    except UsageError:
        raise
    except Exception as error:  # whatever the caller's own code raises
        raise UsageError(f"{home} cannot be imported: {type(error).__name__}: {error}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{home} has no {name}")
        found = getattr(found, part)
    return found


def _module(name: str) -> ModuleType:
    folder = str(Path.cwd())
    if folder not in sys.path:  # an installed command starts without it, unlike python -m
        sys.path.insert(0, folder)
    return importlib.import_module(name)


def _script(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    made = importlib.util.spec_from_file_location(path.stem, path)
    assert made is not None and made.loader is not None  # a .py file has a loader
    module = importlib.util.module_from_spec(made)
    sys.modules[path.stem] = module  # Pydantic looks there for the types that a type names
    made.loader.exec_module(module)
    return module
