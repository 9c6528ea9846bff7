"""Formats of strings, as expressions whose every text Pydantic and a strict validator accept."""

from __future__ import annotations

from functools import lru_cache

from typedllm.grammar.characters import Ranges, complement, intersection, merged
from typedllm.grammar.pattern import parse_pattern
from typedllm.grammar.regular import (
    NOTHING,
    Expr,
    alt,
    chars,
    concat,
    literal,
    repeat,
)

_YEAR = r"(?:000[1-9]|00[1-9]\d|0[1-9]\d{2}|[1-9]\d{3})"
_FOURTH = "(?:0[48]|[2468][048]|[13579][26])"  # of two digits: divisible by 4 and not 00
_DATE = (
    rf"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])"
    rf"|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))"
    rf"|(?:\d\d{_FOURTH}|{_FOURTH}00)-02-29)"
)
_HOUR_MINUTE = r"(?:[01]\d|2[0-3]):[0-5]\d"
_TIME = rf"{_HOUR_MINUTE}(?::[0-5]\d(?:\.\d{{1,6}})?)?"  # Python leaves out seconds that are 0
_FULL_TIME = rf"{_HOUR_MINUTE}:[0-5]\d(?:\.\d{{1,6}})?"
_OFFSET = rf"(?:Z|[+-]{_HOUR_MINUTE})"

_CLOCK = r"T(?:{h}{m}?{s}?|{m}{s}?|{s})".format(
    h=r"(?:(?:1?\d|2[0-3])H)", m=r"(?:[1-5]?\dM)", s=r"(?:[1-5]?\d(?:\.\d{1,6})?S)"
)
_DAYS = r"(?:\d{1,3}D)"
_DURATION = rf"-?P(?:\d{{1,4}}Y{_DAYS}?(?:{_CLOCK})?|{_DAYS}(?:{_CLOCK})?|{_CLOCK})"
# A standard duration (RFC 3339) has no sign and no fraction, and no gap between its units.
_STANDARD_CLOCK = r"T(?:\d{1,2}H(?:\d{1,2}M(?:\d{1,2}S)?)?|\d{1,2}M(?:\d{1,2}S)?|\d{1,2}S)"
_STANDARD_DURATION = (
    rf"P(?:\d{{1,3}}W|(?:\d{{1,3}}D|\d{{1,2}}M(?:\d{{1,3}}D)?|\d{{1,3}}Y(?:\d{{1,2}}M(?:\d{{1,3}}D)?)?)"
    rf"(?:{_STANDARD_CLOCK})?|{_STANDARD_CLOCK})"
)

_HEX = "[0-9a-f]"
_UUID = f"{_HEX}{{{{8}}}}-{_HEX}{{{{4}}}}-{{}}-{{}}-{_HEX}{{{{12}}}}"
_BYTE = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = rf"(?:{_BYTE}\.){{3}}{_BYTE}"
_GROUP = rf"{_HEX}{{1,4}}"
_IPV6 = "(?:" + "|".join(
    [
        rf"(?:{_GROUP}:){{7}}{_GROUP}",
        rf"(?:{_GROUP}:){{1,7}}:",
        *(rf"(?:{_GROUP}:){{1,{7 - n}}}(?::{_GROUP}){{1,{n}}}" for n in range(1, 7)),
        rf":(?::{_GROUP}){{1,7}}",
        "::",
    ]
) + ")"  # fmt: skip

# No two hyphens in a row, which also keeps punycode (xn--) out.
_LABEL = r"[a-z0-9](?:-?[a-z0-9]){0,30}"
_LOCAL = r"[A-Za-z0-9_+-]{1,30}(?:\.[A-Za-z0-9_+-]{1,30}){0,1}"
_PATH_CHAR = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-F]{2})"
_PORT = r":(?:6553[0-5]|655[0-2]\d|65[0-4]\d{2}|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3})"
# With all of %.. escapes this stays below the 2,083 characters that Pydantic allows.
_PATH = rf"(?:/(?:{_PATH_CHAR}|/){{0,255}})?"
_AFTER_PATH = rf"(?:\?(?:{_PATH_CHAR}|[/?]){{0,255}})?(?:#(?:{_PATH_CHAR}|[/?]){{0,63}})?"
_AFTER_HOST = rf"(?:{_PORT})?{_PATH}{_AFTER_PATH}"
# The last label begins with a letter: one of digits alone would be read as an IPv4 address.
_HOST = rf"(?:{_IPV4}|(?:{_LABEL}\.){{0,3}}[a-z](?:-?[a-z0-9]){{0,30}})"

_BASE64_END = "(?:{c}[AQgw]==|{c}{c}[AEIMQUYcgkosw048]=)?"
_SPECIAL_USE = ("arpa", "invalid", "local", "localhost", "onion", "test")  # refused by validators

_PATTERNS: dict[str, str] = {
    "date": _DATE,
    "time": _FULL_TIME + _OFFSET,
    "date-time": rf"{_DATE}T{_FULL_TIME}{_OFFSET}",
    "duration": _STANDARD_DURATION,
    "python-time": rf"{_TIME}{_OFFSET}?",
    "naive-time": _TIME,
    "aware-time": _TIME + _OFFSET,
    "datetime": rf"{_DATE}T{_TIME}{_OFFSET}?",
    "naive-datetime": rf"{_DATE}T{_TIME}",
    "aware-datetime": rf"{_DATE}T{_TIME}{_OFFSET}",
    "timedelta": _DURATION,
    "uuid": _UUID.format(f"{_HEX}{{4}}", f"{_HEX}{{4}}"),
    **{
        f"uuid{version}": _UUID.format(f"{version}{_HEX}{{3}}", f"[89ab]{_HEX}{{3}}")
        for version in range(1, 9)
    },
    "ipv4": _IPV4,
    "ipv6": _IPV6,
    "hostname": rf"{_LABEL}(?:\.{_LABEL}){{0,3}}",
    "uri": rf"(?:https?|ftp|wss?)://{_HOST}{_AFTER_HOST}",
    "base64": r"(?:[A-Za-z0-9+/]{4})*" + _BASE64_END.format(c="[A-Za-z0-9+/]"),
    "base64url": r"(?:[A-Za-z0-9_-]{4})*" + _BASE64_END.format(c="[A-Za-z0-9_-]"),
}

KNOWN = frozenset(("email", *_PATTERNS))

# What a grammar keeps out although the format allows it, for the Plan.
NARROWED: dict[str, str] = {
    "email": "ASCII addresses, two parts of 30 characters before the @, up to four labels after it",
    "uri": "ASCII URLs of http, https, ftp, ws and wss, path and query of 255 characters each",
    "url": "ASCII URLs, path and query of 255 characters each",
    "hostname": "lower case, up to four labels of 31 characters",
    "timedelta": "below 10,000 years, written as Python writes it",
    "duration": "up to three digits a unit",
    "ipv6": "lower case",
    "uuid": "lower case",
    "time": "without leap seconds, microseconds at the finest",
    "date-time": "without leap seconds, microseconds at the finest",
}


@lru_cache(maxsize=256)
def format_expr(name: str) -> Expr:
    """The texts of a format, without quotes.

    Args:
        name: one of `KNOWN`.
    """
    if name == "email":
        return _email()
    return parse_pattern(f"^(?:{_PATTERNS[name]})$")


@lru_cache(maxsize=256)
def url_expr(schemes: tuple[str, ...]) -> Expr:
    """URLs of some schemes."""
    return concat(alt(*map(literal, schemes)), parse_pattern(f"^://{_HOST}{_AFTER_HOST}$"))


def _email() -> Expr:
    before = parse_pattern(rf"^{_LOCAL}@(?:{_LABEL}\.){{1,3}}$")
    letters = merged([(97, 122)])
    top = excluding(_SPECIAL_USE, letters, 2, 20)
    return concat(before, top)


def excluding(names: tuple[str, ...], allowed: Ranges, least: int, most: int | None) -> Expr:
    """Texts of allowed characters that are none of some names.

    Args:
        names: the texts to leave out.
        allowed: the characters of all others.
        least: least number of characters.
        most: most characters, or None for open.
    """
    ends_here = "" not in names and least <= 0
    if most == 0 or not names:
        free = repeat(chars(allowed), max(least, 0), most)
        return free if not names or ends_here else NOTHING
    by_first: dict[str, list[str]] = {}
    for name in names:
        if name:
            by_first.setdefault(name[0], []).append(name[1:])
    firsts = merged((ord(char), ord(char)) for char in by_first)
    fewer = None if most is None else most - 1
    others = intersection(allowed, complement(firsts)) if firsts else allowed
    out = [concat(chars(others), repeat(chars(allowed), max(least - 1, 0), fewer))]
    for char, rest in by_first.items():
        if any(low <= ord(char) <= high for low, high in allowed):
            out.append(concat(literal(char), excluding(tuple(rest), allowed, least - 1, fewer)))
    if ends_here:
        out.append(repeat(chars(allowed), 0, 0))
    return alt(*out)
