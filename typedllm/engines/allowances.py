"""What the headers of a response say of a quota, and who hears them.

OpenAI: https://platform.openai.com/docs/guides/rate-limits; Azure, Groq and others use its names.
Anthropic: https://docs.anthropic.com/en/api/rate-limits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias, cast

__all__ = ["KINDS", "Allowance", "Kind", "allowances_of", "headers_came", "hearer"]

Kind: TypeAlias = Literal["requests", "tokens", "input_tokens", "output_tokens"]
KINDS: Final[tuple[Kind, ...]] = ("requests", "tokens", "input_tokens", "output_tokens")

hearer: Final[ContextVar[Callable[[Mapping[str, str]], None] | None]] = ContextVar(
    "hearer", default=None
)
"""What is called with the headers of each response, in the context of who sends."""

_KIND: Final = "requests|tokens|input-tokens|output-tokens"
_WHAT: Final = "limit|remaining|reset"
_NAME: Final = re.compile(
    rf"x-ratelimit-(?P<what>{_WHAT})-(?P<kind>{_KIND})"
    rf"|anthropic-ratelimit-(?P<kind_>{_KIND})-(?P<what_>{_WHAT})"
)
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowance:
    """How much of one thing a service still takes.

    Attributes:
        remaining: requests or tokens that it would take at once.
        limit: the most that ever remains; None where it does not say.
        reset_s: seconds after which that much remains again; None where it does not say.
    """

    remaining: float
    limit: float | None = None
    reset_s: float | None = None


def allowances_of(headers: Mapping[str, str], now: datetime | None = None) -> dict[Kind, Allowance]:
    """Read what headers say of a quota; what makes no sense is left out, such as Azure's -1.

    Args:
        headers: of a response.
        now: the time of day, where a time is said; None is the clock's.
    """
    found: dict[str, dict[str, float]] = {}
    for name in headers:
        match = _NAME.fullmatch(name.lower()) if "ratelimit" in name.lower() else None
        if match is None:
            continue
        kind, what = match["kind"] or match["kind_"], match["what"] or match["what_"]
        value = (_seconds if what == "reset" else _number)(headers[name], now)
        if value is not None:
            found.setdefault(kind.replace("-", "_"), {})[what] = value
    return {
        cast(Kind, kind): Allowance(
            remaining=told["remaining"],
            limit=told.get("limit") or None,  # of nothing: Azure's, where it does not know
            reset_s=told.get("reset"),
        )
        for kind, told in found.items()
        if "remaining" in told
    }


def headers_came(headers: Mapping[str, str]) -> None:
    """Have the headers of a response heard, where somebody hears.

    Args:
        headers: of any response, refusals included.
    """
    hears = hearer.get()
    if hears is not None:
        hears(headers)


def _number(text: str, now: datetime | None) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None


def _seconds(text: str, now: datetime | None) -> float | None:
    """A duration, such as `6m0s`, `20ms` or plain seconds; or what is left until a time."""
    plain = _number(text, now)
    if plain is not None:
        return plain
    if text and not _PART.sub("", text):
        return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    left = at.replace(tzinfo=at.tzinfo or UTC) - (now or datetime.now(UTC))
    return max(0.0, left.total_seconds())
