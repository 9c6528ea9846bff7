"""JSON out of what models write for it: comments, single quotes, Python's constants, bare keys.

Each change is counted and named. Nothing is guessed: a missing bracket, quote or comma stays
missing, unlike with the repairing parsers, whose guesses change values without saying so.
"""

from __future__ import annotations

import json
import re
from collections import Counter

from typedllm.output.scan import DEEPEST, Lexeme, lexemes

_CONSTANTS = {"True": "true", "False": "false", "None": "null"}
_NAME = re.compile(r"[^\W\d][\w$-]*+")
_UNESCAPED = re.compile(r"""\\x[0-9a-fA-F]{2}|\\.|["\x00-\x1f]""", re.DOTALL)


def mend(text: str) -> tuple[str, tuple[str, ...]]:
    """Rewrite a text as JSON where it differs from it in one of a few plain ways.

    These are comments (`//`, `#`, `/* */`), commas before a closing bracket, strings in single
    quotes, characters in strings that JSON wants escaped, `True`, `False`, `None`, and keys without
    quotes. Linear in the length of the text.

    Args:
        text: something like JSON.

    Returns:
        The text, which is JSON if nothing else was wrong, and what was changed, in words; the text
        as it was and nothing where no such change applies.
    """
    changes: Counter[str] = Counter()
    parts: list[Lexeme] = []
    depth = 0
    for lexeme in lexemes(text):
        if lexeme.kind == "comment":
            changes["dropped a comment"] += 1
        elif lexeme.kind != "space":
            depth += (lexeme.text in "{[") - (lexeme.text in "}]")
            if depth > DEEPEST or not _may_follow(parts[-1].text if parts else "", lexeme):
                return text, ()
            parts.append(lexeme)
    written: list[str] = []
    for index, part in enumerate(parts):
        before = parts[index - 1].text if index else ""
        after = parts[index + 1].text if index + 1 < len(parts) else ""
        new, change = _rewritten(part, before, after)
        if change:
            changes[change] += 1
        written.append(new)
    if not changes:
        return text, ()
    named = (f"{change} ({n} times)" if n > 1 else change for change, n in changes.items())
    return " ".join(written), tuple(named)


def _may_follow(before: str, part: Lexeme) -> bool:
    """Whether a token can stand after another one in JSON; gives prose up at its second word."""
    if part.kind == "mark" and part.text not in "{[":
        return True
    return part.kind in ("mark", "string", "word") and before in ("", "{", "[", ",", ":")


def _rewritten(part: Lexeme, before: str, after: str) -> tuple[str, str]:
    """Return one token as JSON has it, and the change in words if there was one."""
    text = part.text
    if part.kind == "string":
        content = _UNESCAPED.sub(_escaped, text[1:-1])
        if text[0] == "'":
            return f'"{content}"', "put single quotes right"
        return f'"{content}"', "" if content == text[1:-1] else "escaped characters in a string"
    if part.kind == "word" and after == ":" and _NAME.fullmatch(text):
        return json.dumps(text), "put a key in quotes"
    if part.kind == "word" and text in _CONSTANTS:
        return _CONSTANTS[text], f"read {text} as {_CONSTANTS[text]}"
    if text == "," and after in ("}", "]") and before not in ("", "{", "[", ",", ":"):
        return "", "dropped a comma before a closing bracket"
    return text, ""


def _escaped(match: re.Match[str]) -> str:
    """Return an escape or a bare character of a string as JSON wants it."""
    found = match[0]
    if found == "\\'":
        return "'"
    if found.startswith("\\x") and len(found) > 2:
        return f"\\u00{found[2:]}"
    return found if found.startswith("\\") else json.dumps(found)[1:-1]
