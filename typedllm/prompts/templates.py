"""Prompt templates: Jinja over named values, rendered so that its own words are told from values.

A template makes either the messages of a conversation, or the raw text that a model is given where
its first comment says `makes: raw`. Messages are its blocks `system`, `user` and `assistant`
(`user_2`, ... for further turns); without such a block all of it is one message of the user.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

import jinja2
from jinja2 import meta, nodes
from jinja2.runtime import Context
from pydantic import BaseModel
from pydantic_core import to_json

from typedllm.errors import TemplateError
from typedllm.records import Message, Role, Segment
from typedllm.templating.finding import Found, Kind, find, header_of
from typedllm.templating.sandbox import Sandbox, cause, compiling
from typedllm.templating.sizes import check_made
from typedllm.templating.steps import bounded, spend, steps_for

__all__ = ["Rendered", "Template", "as_json", "template", "template_of"]

Rendered: TypeAlias = tuple[Message, ...] | tuple[Segment, ...]
"""What a template makes: messages, or the segments of raw text."""

_BLOCK: Final = re.compile(r"(system|user|assistant)(_\d+)?")
_MAKES: Final = ("messages", "raw")
_DEFINED: Final = ("defined", "undefined")
_DEFAULT: Final = ("default", "d")
_TURN: Final = "(turn)"  # a filter whose name no template can write


class _Value(str):
    """Text that a template puts in, told from the template's own words by its type."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


class _Turn(str):
    """The place where a message of a role begins; the empty one is where it ends."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


@jinja2.pass_context  # so that it is not worked out beforehand, to plain text
def _turned(context: Context, role: str) -> _Turn:
    return _Turn(role)


def _finalized(value: object) -> str:
    if isinstance(value, _Turn):
        return value
    text = _Value(_written(value))
    spend(1 + steps_for(len(text)))
    return text


def _captured(pieces: Iterable[str]) -> str:
    return "".join(piece for piece in pieces if not isinstance(piece, _Turn))


def _written(value: object) -> str:
    """A value as text: texts and numbers as they are, what has parts as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        check_made("a value", cast(object, value))
        return as_json(cast(object, value))
    if isinstance(value, BaseModel) or (
        dataclasses.is_dataclass(value) and not isinstance(value, type)
    ):
        return as_json(value)
    return str(value)


def as_json(value: object) -> str:
    """Write a value as JSON, the same in every process.

    Args:
        value: of any kind; what JSON does not know is written as its text.

    Raises:
        ValueError: when it holds itself, or text that cannot be written.
    """
    return to_json(_ordered(value), fallback=str, bytes_mode="base64").decode()


def _ordered(value: object) -> object:
    """A value whose sets are lists in order: their own order is another in each process."""
    match value:
        case dict():
            pairs = cast(dict[object, object], value)
            return {key: _ordered(part) for key, part in pairs.items()}
        case list() | tuple():
            return [_ordered(part) for part in cast(Sequence[object], value)]
        case set() | frozenset():
            return sorted(map(_ordered, cast(set[object], value)), key=repr)
        case _:
            return value


class _Folders(jinja2.FileSystemLoader):
    """Finds what a template includes, and follows no link out of its folders."""

    def get_source(self, environment: jinja2.Environment, template: str) -> Any:
        found = super().get_source(environment, template)
        path = Path(found[1]).resolve()
        if not any(path.is_relative_to(Path(root).resolve()) for root in self.searchpath):
            raise jinja2.TemplateNotFound(template)
        return found


class _Prompts(Sandbox):
    """The sandbox of prompt templates: blocks that are named as roles are messages."""

    concat = staticmethod(_captured)  # of what is not put out at once, as {{ super() }}

    def __init__(self, folders: Sequence[Path]) -> None:
        super().__init__(loader=_Folders([str(folder) for folder in folders]), finalize=_finalized)
        self.filters |= {_TURN: _turned}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _refuse(tree, (nodes.Import, nodes.FromImport), "import", "a template cannot import files")
        words = "what it says could not be told from values; use {{ value | filter }}"
        _refuse(tree, (nodes.FilterBlock,), "filter", words)
        _refuse(tree, (nodes.CallBlock,), "call", words)
        _refuse(tree, (nodes.EvalContextModifier,), "autoescape", words)
        for block in tree.find_all(nodes.Block):
            role = _BLOCK.fullmatch(block.name)
            if role is not None:
                block.body = [_turn(role[1]), *block.body, _turn("")]
        return tree


def _refuse(tree: nodes.Template, kinds: tuple[type[nodes.Node], ...], word: str, why: str) -> None:
    for found in tree.find_all(kinds):
        raise jinja2.TemplateSyntaxError(f"{{% {word} %}} is not allowed: {why}", found.lineno)


def _turn(role: str) -> nodes.Output:
    return nodes.Output([nodes.Filter(nodes.Const(role), _TURN, [], [], None, None)])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Template:
    """A prompt template, ready to be rendered.

    Attributes:
        name: for messages.
        description: one line from its first comment.
        variables: the values that it needs.
        optional: the values that it uses where they are there.
        makes: messages, or the raw text that a model is given.
        text: as it was written.
        names: every name in it.
        includes: whether it has parts in other files, whose names are not among these.
    """

    name: str
    description: str
    variables: tuple[str, ...]
    optional: tuple[str, ...]
    makes: Literal["messages", "raw"]
    text: str
    names: frozenset[str]
    includes: bool
    _blank: tuple[str, ...]
    _code: jinja2.Template

    def uses(self, variable: str) -> bool:
        """Whether a value is one of those that the template may show.

        Args:
            variable: its name.
        """
        return variable in self.variables or variable in self.optional

    def render(self, values: Mapping[str, object]) -> Rendered:
        """Put values into the template.

        Texts and numbers are put in as they are; lists, mappings, models and dataclasses as JSON.

        Args:
            values: by name; those that the template does not use are left out.

        Returns:
            Messages or raw segments, of which the template's own words are trusted.

        Raises:
            TemplateError: when a value is missing, with what is there; when the template fails, is
                not allowed to do what it does, or takes too many steps.
        """
        missing = [name for name in self.variables if name not in values]
        if missing:
            there = ", ".join(sorted(values)) or "nothing"
            raise TemplateError(f"{self.name} needs {', '.join(missing)}; there is {there}")
        given = {**dict.fromkeys(self._blank), **values}
        try:
            with bounded():
                pieces = list(self._code.generate(given))
        except Exception as error:  # a template can raise anything
            raise TemplateError(f"{self.name}: {_reason(error, values)}") from cause(error)
        if self.makes == "raw":
            segments = tuple(_segments(pieces))
            if not segments:
                raise TemplateError(f"{self.name}: it makes no text of these values")
            return segments
        return tuple(self._messages(pieces))

    def _messages(self, pieces: Sequence[str]) -> Iterable[Message]:
        if not any(isinstance(piece, _Turn) for piece in pieces):
            yield Message(role="user", content=_trimmed(_segments(pieces)))
            return
        inside: list[str] = []
        role = ""
        for piece in pieces:
            if isinstance(piece, _Turn):
                if role:
                    content = _trimmed(_segments(inside))
                    yield Message(role=cast(Role, role), content=content)
                role, inside = piece, []
            elif role:
                inside.append(piece)
            elif piece.strip():
                raise TemplateError(
                    f"{self.name}: {piece.strip()[:40]!r} stands outside of the blocks system, user"
                    " and assistant"
                )


def _segments(pieces: Iterable[str]) -> Iterable[Segment]:
    for piece in pieces:
        if piece and not isinstance(piece, _Turn):
            trusted = not isinstance(piece, _Value)
            yield Segment(text=piece if trusted else str.__str__(piece), trusted=trusted)


def _trimmed(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """Segments without the space that the template itself has at the edges."""
    found = list(segments)
    while found and found[0].trusted and not found[0].text.strip():
        del found[0]
    while found and found[-1].trusted and not found[-1].text.strip():
        del found[-1]
    if found and found[0].trusted:
        found[0] = Segment(text=found[0].text.lstrip(), trusted=True)
    if found and found[-1].trusted:
        found[-1] = Segment(text=found[-1].text.rstrip(), trusted=True)
    return tuple(found)


def _reason(error: Exception, values: Mapping[str, object]) -> str:
    match error:
        case jinja2.UndefinedError():
            return f"{error.message}; there is {', '.join(sorted(values)) or 'nothing'}"
        case jinja2.TemplateNotFound():
            return f"it includes {error.name!r}, which is in none of its folders"
        case jinja2.TemplateSyntaxError():
            return f"line {error.lineno}: {error.message}"
        case RecursionError():
            return "it calls or includes itself without an end"
        case _:
            return str(error) or type(error).__name__


def template(source: str | Path, kind: Kind = "prompts") -> Template:
    """Find a prompt template.

    Args:
        source: a name such as `generic/default`, a path, or the text of a template; see
            `typedllm.templating.finding.find`.
        kind: the sort of template that a name is of.

    Raises:
        TemplateError: when there is none of that name, or it is not valid Jinja.
    """
    return _compiled(find(source, kind))


def template_of(text: str) -> Template:
    """Make a prompt template of a text, which may be a single word.

    Args:
        text: Jinja.

    Raises:
        TemplateError: when it is not valid Jinja.
    """
    return _compiled(find(f"{text}\n", "prompts"))


@lru_cache(maxsize=256)
def _compiled(found: Found) -> Template:
    name, header = found.name, header_of(found)
    environment = _Prompts(found.folders)
    with compiling(name):
        code = environment.from_string(found.text)
        tree = environment.parse(found.text)
    blank = tuple[str, ...](header.get("optional") or ())
    tested = _tested(tree)
    needed = meta.find_undeclared_variables(tree) - tested - set(blank)
    makes = header.get("makes", "messages")
    if makes not in _MAKES:
        raise TemplateError(f"{name}: makes: expected {' or '.join(_MAKES)}, got {makes!r}")
    return Template(
        name=name,
        description=header.get("description", ""),
        variables=tuple(header.get("variables") or sorted(needed)),
        optional=(*blank, *sorted(tested)),
        makes=cast(Any, makes),
        text=found.text,
        names=frozenset(each.name for each in tree.find_all(nodes.Name)),
        includes=any(tree.find_all((nodes.Include, nodes.Extends))),
        _blank=blank,
        _code=code,
    )


def _tested(tree: nodes.Template) -> set[str]:
    """Variables that a template itself asks for whether they are there."""
    tests = [test.node for test in tree.find_all(nodes.Test) if test.name in _DEFINED]
    filters = [each.node for each in tree.find_all(nodes.Filter) if each.name in _DEFAULT]
    return {node.name for node in (*tests, *filters) if isinstance(node, nodes.Name)}
