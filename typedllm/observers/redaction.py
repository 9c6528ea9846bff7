"""Secrets taken out of what is logged: keys known by their form, by their name, or literally.

It errs on the side of taking out too much. The forms are those that the services document and that
secret scanners such as gitleaks look for.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast
from urllib.parse import quote

from typedllm.errors import UsageError

__all__ = ["REDACTED", "Redaction"]

REDACTED: Final = "[redacted]"
"""What stands in the place of a secret."""

_SHORTEST: Final = 6  # a shorter api_key is a placeholder (`x`, `EMPTY`), common in other text
_DEEPEST: Final = 32  # levels of an option's value; a value may hold itself

# A key begins a word, or follows an escape: a line break in JSON, a blank in a URL.
_START: Final = r"(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt])|(?<=%[0-9A-Fa-f][0-9A-Fa-f]))"

# Each ends where no letter or digit follows, so that what follows does not become a word's start;
# and each takes linear time, whatever the text.
_KEYS: Final = (
    r"sk-(?:[\w-]{16,}|(?=[\w-]*\d)[\w-]{6,})",  # OpenAI, Anthropic, OpenRouter, DeepSeek, ...
    r"AIza[\w-]{16,}",  # Google
    r"ya29\.[\w.-]{16,}",  # Google OAuth
    r"(?:xai|pplx|key)-[A-Za-z0-9]{16,}[\w-]*",  # xAI, Perplexity, Mailgun and its like
    r"(?:nvapi|glpat|xox[abeprs])-[\w-]{16,}",  # NVIDIA, GitLab, Slack
    r"(?:hf|gsk|r8|gh[oprsu])_[A-Za-z0-9]{16,}[\w-]*",  # Hugging Face, Groq, Replicate, GitHub
    r"(?:github_pat|[rs]k_live|[rs]k_test)_\w{16,}[\w-]*",  # GitHub, Stripe
    r"(?:AKIA|ASIA)[A-Z0-9]{16}[\w-]*",  # AWS
    r"eyJ[\w-]{8,512}\.[\w-]{8,}\.[\w-]*",  # JSON Web Tokens
)
_KEY: Final = re.compile(f"{_START}(?:{'|'.join(_KEYS)})", re.ASCII)

_IS: Final = r"[\s\"'\\]{0,8}[:=][\s\"'\\]{0,8}"  # between a name and its value, JSON or not
_TOKEN: Final = r"[\w.~+/=-]"
_CREDENTIAL: Final = r"(?:access|api|auth|client|private|secret)[-_ ]?(?:key|secret|token)"
_AFTER_WORDS: Final = tuple(
    re.compile(pattern, re.ASCII | re.IGNORECASE)
    for pattern in (
        rf"(authorization{_IS}(?:basic|bearer|digest|negotiate|token|apikey)\s+)[^\s\"',;}}\\]+",
        rf"(authorization{_IS})[^\s\"',;}}\\]{{16,}}",
        rf"{_START}(bearer\s{{1,8}})(?:{_TOKEN}{{20,}}|(?={_TOKEN}*\d){_TOKEN}{{6,}})",
        rf"({_CREDENTIAL}{_IS}){_TOKEN}{{16,}}",
        r"(://[^\s/:@]{0,256}:)[^\s/@]+(?=@)",  # a password in a URL
    )
)

_NAME: Final = re.compile(
    r"(?:access|api|private)[-_ ]?key|authori[sz]ation|cookie|credential|passphrase|passw|secret"
    r"|(?<![a-z])(?:o?auth|pwd)$|token$",  # max_tokens is no secret
    re.IGNORECASE,
)


class Redaction:
    """Takes secrets out of texts and of option values."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Say which secrets are known.

        Args:
            secrets: texts that are taken out wherever they occur, also as JSON or a URL writes
                them; those of fewer than 6 characters count as placeholders and stay.

        Raises:
            UsageError: when it is a single text, or one of them is no text.
        """
        if isinstance(secrets, str | bytes):
            raise UsageError("secrets: expected a list of texts, got one text; write [text]")
        self._literal: re.Pattern[str] | None = None
        if written := {form for secret in secrets for form in _forms(secret)}:
            # the longest first, of which another one may be the beginning
            longest_first = sorted(written, key=lambda form: (-len(form), form))
            self._literal = re.compile("|".join(map(re.escape, longest_first)))

    def text(self, text: str) -> str:
        """Return a text without its secrets."""
        if self._literal is not None:
            text = self._literal.sub(REDACTED, text)
        for pattern in _AFTER_WORDS:
            text = pattern.sub(rf"\1{REDACTED}", text)
        return _KEY.sub(REDACTED, text)

    def value(self, value: object) -> Any:
        """Return a value as plain JSON data without its secrets.

        A mapping's values whose names say that they are secret (`api_key`, `Authorization`,
        `password`, `hf_token`, ...) are taken out whole, and so is the second of a pair whose
        first is such a name. What JSON has no way to write is given as its `repr`.
        """
        return self._plain(value, 0)

    def _plain(self, value: object, depth: int) -> Any:
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else repr(value)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes | bytearray):
            return self.text(value.decode("utf-8", "replace"))
        if depth >= _DEEPEST:
            return "..."  # not its repr, in which names would no longer be seen
        if isinstance(value, Mapping):
            items = cast("Mapping[object, object]", value).items()
            return {
                self.text(_word(name)): self._named(name, item, depth + 1) for name, item in items
            }
        if isinstance(value, list | tuple | set | frozenset):
            members = list(cast("Iterable[object]", value))
            if len(members) == 2 and isinstance(value, list | tuple):
                name, item = members
                return [self._plain(name, depth + 1), self._named(name, item, depth + 1)]
            return [self._plain(member, depth + 1) for member in members]
        return self.text(repr(value))

    def _named(self, name: object, value: object, depth: int) -> Any:
        empty = value is None or isinstance(value, bool)
        named = isinstance(name, str | bytes) and _NAME.search(_word(name))
        return REDACTED if named and not empty else self._plain(value, depth)


def _word(name: object) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def _forms(secret: object) -> set[str]:
    if not isinstance(secret, str):
        raise UsageError(f"secrets: expected texts, got one of type {type(secret).__name__}")
    if len(secret) < _SHORTEST:
        return set()
    as_json = (json.dumps(secret, ensure_ascii=ascii)[1:-1] for ascii in (True, False))
    return {secret, *as_json, quote(secret, safe="", errors="replace")}
