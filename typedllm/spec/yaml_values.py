"""YAML as JSON values, built from the parser's events so that nothing recurses.

Source: YAML 1.2.2, section 10.3 (the core schema), and YAML 1.1's merge keys.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

import yaml

__all__ = ["NotJson", "value_of"]

_MOST_REPEATED = 1_000_000  # values that aliases stand for, all together
_TAGS: Final = "tag:yaml.org,2002:"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SCALARS: Final[dict[str, tuple[type, ...]]] = {
    "null": (type(None),),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
}


class NotJson(ValueError):
    """YAML that is not JSON in another writing.

    Attributes:
        line: where, from 1.
    """

    def __init__(self, message: str, event: Any) -> None:
        super().__init__(message)
        self.line: int = event.start_mark.line + 1


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come."""

    value: list[Any] | dict[str, Any]
    anchor: str | None
    size_before: int
    key: str | None = None
    merging: bool = False
    merged: dict[str, Any] = field(default_factory=dict[str, Any])


def value_of(text: str, most_levels: int) -> Any:
    """The one value of a YAML text, of JSON's types.

    Args:
        text: the text. Anchors, aliases and merge keys are resolved.
        most_levels: how deep lists and mappings may nest as they are written.

    Raises:
        NotJson: when a key comes twice or is no scalar, a tag or number is not JSON's, an alias
            stands for what holds it, aliases stand for more than a million values, or it nests too
            deep.
        yaml.YAMLError: when it is no YAML.
    """
    parse = cast(Any, yaml).parse  # its stubs say nothing of its result
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where it was built
    return _Builder(most_levels).build(parse(text, Loader=loader))


class _Builder:
    def __init__(self, most_levels: int) -> None:
        self._most_levels = most_levels
        self._open: list[_Open] = []
        self._documents: list[Any] = []
        self._anchored: dict[str, tuple[Any, int]] = {}
        self._size = 0
        self._repeated = 0

    def build(self, events: Iterator[Any]) -> Any:
        for event in events:
            match event:
                case yaml.ScalarEvent():
                    self._scalar(event)
                case yaml.AliasEvent():
                    self._alias(event)
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    self._start(event)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._end(event)
                case yaml.DocumentStartEvent() if self._documents:
                    raise NotJson("a second document begins; a schema is one document", event)
                case _:
                    pass
        return self._documents[0] if self._documents else None

    def _scalar(self, event: Any) -> None:
        self._size += 1
        parent = self._open[-1] if self._open else None
        if parent is not None and isinstance(parent.value, dict) and not _has_key(parent):
            # A name is taken as it is written: `on`, `200` and `null` are names like others.
            name: str = event.value
            self._key(parent, name, event, merging=name == "<<" and bool(event.implicit[0]))
            value: Any = name
        else:
            value = _resolved(event)
            self._add(value, event)
        if event.anchor is not None:
            self._anchored[event.anchor] = (value, 1)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchored:
            raise NotJson(f"*{event.anchor} stands for nothing, or for what holds it", event)
        value, size = self._anchored[event.anchor]
        self._size += size
        self._repeated += size
        if self._repeated > _MOST_REPEATED:
            raise NotJson(f"aliases stand for more than {_MOST_REPEATED:,} values", event)
        self._add(value, event)

    def _start(self, event: Any) -> None:
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", f"{_TAGS}{'map' if is_mapping else 'seq'}"):
            raise NotJson(f"the tag {event.tag} is not JSON's", event)
        if len(self._open) == self._most_levels:
            raise NotJson(f"nested deeper than {self._most_levels} levels", event)
        empty: list[Any] | dict[str, Any] = {} if is_mapping else []
        self._open.append(_Open(empty, event.anchor, self._size))
        self._size += 1

    def _end(self, event: Any) -> None:
        done = self._open.pop()
        value = {**done.merged, **done.value} if isinstance(done.value, dict) else done.value
        if done.anchor is not None:
            self._anchored[done.anchor] = (value, self._size - done.size_before)
        self._add(value, event)

    def _add(self, value: Any, event: Any) -> None:
        if not self._open:
            self._documents.append(value)
            return
        parent = self._open[-1]
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif parent.merging:
            _merge(parent, value, event)
        elif parent.key is not None:
            parent.value[parent.key] = value
            parent.key = None
        elif isinstance(value, str):
            self._key(parent, value, event, merging=False)
        else:
            raise NotJson("a key is a text", event)

    @staticmethod
    def _key(parent: _Open, name: str, event: Any, *, merging: bool) -> None:
        if merging:
            parent.merging = True
        elif name in parent.value:
            raise NotJson(f'the key "{name}" comes twice in one object', event)
        else:
            parent.key = name


def _has_key(parent: _Open) -> bool:
    return parent.merging or parent.key is not None


def _merge(parent: _Open, value: Any, event: Any) -> None:
    parent.merging = False
    sources = cast(list[Any], value if isinstance(value, list) else [value])
    for source in sources:
        if not isinstance(source, dict):
            raise NotJson("<< merges a mapping, or a list of them", event)
        for name, inner in cast(dict[str, Any], source).items():
            parent.merged.setdefault(name, inner)  # the first one that has it counts


def _resolved(event: Any) -> Any:
    text: str = event.value
    tag: str | None = event.tag
    if tag is None:
        return _plain(text, event) if event.implicit[0] else text
    kind = tag.removeprefix(_TAGS)
    if tag == "!" or kind == "str":
        return text
    value = _plain(text, event)
    if kind not in _SCALARS or not isinstance(value, _SCALARS[kind]):
        raise NotJson(f'"{text}" with the tag {tag} is not JSON\'s', event)
    return value


def _plain(text: str, event: Any) -> Any:
    """A scalar without quotes, by the core schema."""
    if text in _NULLS:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _NOT_FINITE.fullmatch(text):
        raise NotJson(f"{text} is no JSON number", event)
    if not _FLOAT.fullmatch(text):
        return text
    try:
        number = int(text) if _INT.fullmatch(text) else float(text)
    except ValueError as error:  # Python limits the digits of integers
        raise NotJson("a number of too many digits", event) from error
    if not math.isfinite(number):
        raise NotJson(f"{text} is no JSON number", event)
    return number
