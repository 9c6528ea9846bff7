"""Where each value of a JSON text stands, by path."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from typedllm.output.scan import DEEPEST, Lexeme, lexemes
from typedllm.paths import ROOT, child

_SCALAR = re.compile(r"-?[0-9][0-9.eE+-]*+|true|false|null|NaN|-?Infinity")
_LITERALS = ("true", "false", "null", "NaN", "-Infinity", "Infinity")
_JSON_SPACE = " \t\n\r"


def spans(text: str) -> dict[str, tuple[int, int]]:
    """Return the character span of each value of a JSON text, by path.

    A text that is cut anywhere has the values that it begins: one that is cut ends where the text
    ends. Of a repeated key the last value counts, as for Pydantic. Linear in the length of the text
    and of the paths.

    Args:
        text: a JSON document, or the beginning of one.

    Returns:
        `(start, end)` by path such as `$.items[1].sku`, in the order of the text, each value after
        the one that holds it; empty when the text is not JSON, as far as it goes, or is nested
        deeper than 200 levels.
    """
    scanner = _Scanner(text)
    for lexeme in lexemes(text):
        if not scanner.takes(lexeme):
            return {}
    return {} if scanner.root is None else _by_path(scanner.root)


@dataclass(slots=True)
class _Value:
    start: int
    end: int
    children: dict[str | int, _Value] = field(default_factory=dict["str | int", "_Value"])


@dataclass(slots=True)
class _Open:
    """A container that is being read, with the key of the member to come if it is an object."""

    value: _Value
    closer: str
    key: str = ""


class _Scanner:
    """A push-down automaton over the tokens of one JSON text.

    `expected` holds what may come next: `v` a value, `k` a key, else the mark itself.
    """

    def __init__(self, text: str) -> None:
        self.root: _Value | None = None
        self._length = len(text)
        self._stack: list[_Open] = []
        self._expected = "v"

    def takes(self, lexeme: Lexeme) -> bool:
        """Whether the text, up to and with this token, begins a JSON document."""
        match lexeme.kind:
            case "space":
                return not lexeme.text.strip(_JSON_SPACE)
            case "mark":
                return self._mark(lexeme)
            case "string" | "cut":
                if lexeme.text[0] != '"':
                    return False
                return self._key(lexeme) if "k" in self._expected else self._scalar(lexeme)
            case "word":
                return self._is_scalar(lexeme) and self._scalar(lexeme)
            case _:
                return False

    def _mark(self, lexeme: Lexeme) -> bool:
        mark = lexeme.text
        if mark in "{[":
            return self._opening(lexeme)
        if mark not in self._expected:
            return False
        if mark == ":":
            self._expected = "v"
        elif mark == ",":
            self._expected = "k" if self._stack[-1].closer == "}" else "v"
        else:
            self._stack.pop().value.end = lexeme.end
            self._after_value()
        return True

    def _opening(self, lexeme: Lexeme) -> bool:
        if "v" not in self._expected or len(self._stack) == DEEPEST:
            return False
        value = _Value(lexeme.start, self._length)  # until it closes
        self._add(value)
        is_object = lexeme.text == "{"
        self._stack.append(_Open(value, "}" if is_object else "]"))
        self._expected = "k}" if is_object else "v]"
        return True

    def _scalar(self, lexeme: Lexeme) -> bool:
        if "v" not in self._expected:
            return False
        self._add(_Value(lexeme.start, lexeme.end))
        self._after_value()
        return True

    def _key(self, lexeme: Lexeme) -> bool:
        if lexeme.kind == "string":
            try:
                self._stack[-1].key = json.loads(lexeme.text)
            except ValueError:
                return False
        self._expected = ":"
        return True

    def _is_scalar(self, lexeme: Lexeme) -> bool:
        if _SCALAR.fullmatch(lexeme.text):
            return True
        return lexeme.end == self._length and any(
            literal.startswith(lexeme.text) for literal in _LITERALS
        )

    def _add(self, value: _Value) -> None:
        if not self._stack:
            self.root = value
            return
        holder = self._stack[-1]
        key = holder.key if holder.closer == "}" else len(holder.value.children)
        holder.value.children[key] = value

    def _after_value(self) -> None:
        self._expected = f",{self._stack[-1].closer}" if self._stack else ""


def _by_path(root: _Value) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    waiting = [(ROOT, root)]
    while waiting:
        path, value = waiting.pop()
        found[path] = (value.start, value.end)
        waiting.extend((child(path, key), each) for key, each in reversed(value.children.items()))
    return found
