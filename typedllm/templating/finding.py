"""Finds templates: by name in the caller's folder and the package's, by path, or given as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

import yaml

from typedllm._resources import folder
from typedllm.errors import TemplateError
from typedllm.settings import templates_folder

__all__ = ["Found", "Kind", "find", "header_of", "is_file", "template_names"]

Kind: TypeAlias = Literal["prompts", "models", "instructions"]
"""Templates of prompts, of the chat formats of model families, of what is said about the answer."""

_ENDING: Final = ".j2"
_TEXT: Final = re.compile(r"\{[{%#]|\n")  # a name has none of these
_HEADER: Final = re.compile(r"\s*\{#-?(.*?)-?#\}", re.DOTALL)
_LONGEST: Final = 10_000  # characters of a header
_TEXTS: Final = ("description", "makes")
_LISTS: Final = ("variables", "optional", "marks")


@dataclass(frozen=True, slots=True)
class Found:
    """A template as it stands in a file or was given.

    Attributes:
        name: for messages.
        text: Jinja.
        folders: where what it includes is looked up.
    """

    name: str
    text: str
    folders: tuple[Path, ...]


def find(template: str | Path, kind: Kind) -> Found:
    """Find a template.

    Args:
        template: a name such as `generic/default` (with or without `.j2`), looked up first in the
            folder that `TYPEDLLM_TEMPLATES` names, then in the package's own; or the path of a
            file, as a `Path` or ending with `.j2`; or the text of a template, which is known by a
            brace of Jinja's or a line end.
        kind: which sort is meant.

    Raises:
        TemplateError: when there is none, with the nearest name.
    """
    given = cast(object, template)
    if not isinstance(given, str | Path):
        raise TemplateError(f"a template is a name, a path or a text, not {given!r:.60}")
    if isinstance(template, str):
        if _TEXT.search(template):
            return Found("the template", template, tuple(_roots()))
        for root in _roots():
            for place in (root / kind, root):
                path = place / (template.removesuffix(_ENDING) + _ENDING)
                if is_file(path) and path.resolve().is_relative_to(root.resolve()):
                    return Found(template, _read(path), (root / kind, *_roots()))
    path = Path(template)
    if path.suffix == _ENDING and is_file(path):
        return Found(str(path), _read(path), (path.parent, *_roots()))
    if isinstance(template, Path):
        raise TemplateError(f"{path}: there is no such file of the ending {_ENDING}")
    known = list(template_names(kind))
    near = get_close_matches(template[:100], known, n=1)
    mend = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    raise TemplateError(f"no template is called {template[:100]!r}; {mend}")


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name may be longer than any file's.

    Args:
        path: of any length.
    """
    try:
        return path.is_file()
    except OSError:
        return False


def template_names(kind: Kind) -> Iterator[str]:
    """Yield the names of the templates of a sort, the caller's own first, none twice."""
    names: dict[str, None] = {}
    for root in _roots():
        found = [(root / kind, path) for path in (root / kind).rglob(f"*{_ENDING}")]
        if kind == "prompts":  # which may lie in the folder itself too
            found += [(root, path) for path in root.glob(f"*{_ENDING}")]
        for home, path in sorted(found):
            names[path.relative_to(home).as_posix().removesuffix(_ENDING)] = None
    yield from names


def _roots() -> Iterator[Path]:
    own = templates_folder()
    if own is not None:
        if not own.is_dir():
            raise TemplateError(f"TYPEDLLM_TEMPLATES: {own} is no folder; put it right or unset it")
        yield own
    yield folder("templates")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"{path}: cannot be read: {error}") from error


def header_of(found: Found) -> dict[str, Any]:
    """What the first comment of a template says, as YAML.

    Its keys are `description`; `variables`, those that the template needs; `optional`, those that
    it uses where they are there; `makes`, which is `messages` or `raw`; and `marks`, texts that
    open or end a turn and are no special tokens.

    Args:
        found: the template.

    Raises:
        TemplateError: when the comment is no YAML, or has another key.
    """
    name, text = found.name, found.text
    comment = _HEADER.match(text)
    if comment is None:
        return {}
    if len(comment[1]) > _LONGEST:
        raise TemplateError(f"{name}: its first comment has more than {_LONGEST:,} characters")
    try:
        read: object = yaml.load(comment[1], yaml.BaseLoader)  # lists, mappings and text
    except (yaml.YAMLError, RecursionError) as error:
        raise TemplateError(f"{name}: its first comment is not YAML: {error}") from error
    if not isinstance(read, dict):
        return {"description": comment[1].strip()}
    header = cast(dict[str, Any], read)
    for key, value in header.items():
        _check_header(name, str(key), value)
    return header


def _check_header(name: str, key: str, value: object) -> None:
    if key in _TEXTS and not isinstance(value, str):
        raise TemplateError(f"{name}: {key}: expected a text")
    if key in _LISTS:
        parts = cast(list[object], value) if isinstance(value, list) else [None]
        if value != "" and not all(isinstance(part, str) for part in parts):
            raise TemplateError(f"{name}: {key}: expected a list of texts, such as [question]")
    elif key not in _TEXTS:
        known = ", ".join(sorted((*_TEXTS, *_LISTS)))
        raise TemplateError(f"{name}: its first comment has the key {key!r}; known are {known}")
