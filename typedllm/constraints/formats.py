"""Formats of strings, as expressions whose every text Pydantic and a strict validator accept."""

from __future__ import annotations

from functools import lru_cache

import jsonschema_rs

from typedllm.constraints import regexes, urls
from typedllm.constraints.excluding import excluding, in_any_case
from typedllm.constraints.hosts import EMAIL_DOMAIN, HOSTNAME, IDN_HOSTNAME, IPV4, IPV6
from typedllm.grammar.characters import merged
from typedllm.grammar.pattern import parse_pattern
from typedllm.grammar.regular import Expr, concat

_YEAR = r"(?:000[1-9]|00[1-9]\d|0[1-9]\d{2}|[1-9]\d{3})"
_FOURTH = "(?:0[48]|[2468][048]|[13579][26])"  # of two digits: divisible by 4 and not 00
_DATE = (
    rf"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])"
    rf"|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))"
    rf"|(?:\d\d{_FOURTH}|{_FOURTH}00)-02-29)"
)
_HOUR_MINUTE = r"(?:[01]\d|2[0-3]):[0-5]\d"
_TIME = rf"{_HOUR_MINUTE}(?::[0-5]\d(?:\.\d{{1,6}})?)?"  # Python leaves out seconds that are 0
_OFFSET = rf"(?:Z|[+-]{_HOUR_MINUTE})"
_FULL_TIME = rf"{_HOUR_MINUTE}:[0-5]\d(?:\.\d{{1,9}})?"
_FULL_OFFSET = rf"(?:[Zz]|[+-]{_HOUR_MINUTE})"

_CLOCK = r"T(?:{h}{m}?{s}?|{m}{s}?|{s})".format(
    h=r"(?:(?:1?\d|2[0-3])H)", m=r"(?:[1-5]?\dM)", s=r"(?:[1-5]?\d(?:\.\d{1,6})?S)"
)
_DAYS = r"(?:\d{1,3}D)"
_DURATION = rf"-?P(?:\d{{1,4}}Y{_DAYS}?(?:{_CLOCK})?|{_DAYS}(?:{_CLOCK})?|{_CLOCK})"
# A standard duration (RFC 3339) has no sign and no fraction, and no gap between its units.
# Together they stay below what Pydantic takes: 2^32 seconds and 999,999,999 days.
_STANDARD_CLOCK = r"T(?:{h}(?:{m}{s}?)?|{m}{s}?|{s})".format(
    h=r"(?:\d{1,6}H)", m=r"(?:\d{1,6}M)", s=r"(?:\d{1,8}S)"
)
_STANDARD_DATE = r"(?:{y}(?:{m}{d}?)?|{m}{d}?|{d})".format(
    y=r"(?:\d{1,6}Y)", m=r"(?:\d{1,6}M)", d=r"(?:\d{1,8}D)"
)
_STANDARD_DURATION = rf"P(?:\d{{1,6}}W|{_STANDARD_DATE}(?:{_STANDARD_CLOCK})?|{_STANDARD_CLOCK})"

_HEX = "[0-9A-Fa-f]"
_UUID = f"{_HEX}{{{{8}}}}-{_HEX}{{{{4}}}}-{{}}-{{}}-{_HEX}{{{{12}}}}"

# Every text of up to 32 characters besides its dots, and some of up to 64 with them.
_LOCAL = r"(?:{c}(?:\.?{c}){{0,31}}|{c}{{1,31}}\.{c}{{1,32}}|{c}{{1,64}})"
_ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_WIDE_ATOM = f"(?:{_ATOM}|[\x80-\U0010ffff])"

_POINTER = "(?:/(?:[^/~]|~[01])*)*"
_BASE64_END = "(?:{c}[AQgw]==|{c}{c}[AEIMQUYcgkosw048]=)?"
_SPECIAL_USE = ("arpa", "invalid", "local", "localhost", "onion", "test")  # refused by validators

_PATTERNS: dict[str, str] = {
    "date": _DATE,
    "time": _FULL_TIME + _FULL_OFFSET,
    "date-time": rf"{_DATE}[Tt]{_FULL_TIME}{_FULL_OFFSET}",
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
        f"uuid{version}": _UUID.format(f"{version}{_HEX}{{3}}", f"[89abAB]{_HEX}{{3}}")
        for version in range(1, 9)
    },
    "ipv4": IPV4,
    "ipv6": IPV6,
    "hostname": HOSTNAME,
    "idn-hostname": IDN_HOSTNAME,
    "idn-email": rf"{_LOCAL.format(c=_WIDE_ATOM)}@{IDN_HOSTNAME}",
    **urls.PATTERNS,
    "json-pointer": _POINTER,
    "relative-json-pointer": rf"(?:0|[1-9]\d*)(?:#|{_POINTER})",
    "base64": r"(?:[A-Za-z0-9+/]{4})*" + _BASE64_END.format(c="[A-Za-z0-9+/]"),
    "base64url": r"(?:[A-Za-z0-9_-]{4})*" + _BASE64_END.format(c="[A-Za-z0-9_-]"),
}

KNOWN = frozenset(("email", "regex", "uri", *_PATTERNS))

_NO_LEAP_SECONDS = "without leap seconds, nanoseconds at the finest"
_HOST_LENGTHS = "up to three labels of 63 characters, six of 31 or 15 of 15, none of them xn--"
_SCRIPTS = "labels of one larger script, of up to 14 (East Asian) or 28 letters"
# What a grammar keeps out although the format allows it, for the Plan.
NARROWED: dict[str, str] = {
    "email": "ASCII, without quotes; up to ten labels of 15 letters or five of 31, not xn--",
    "uri": "ports up to 65535; of http, ws, ftp and file: with //, hosts of letters, digits, -, _",
    "url": "ASCII URLs, path and query of 255 characters each",
    "hostname": _HOST_LENGTHS,
    "idn-hostname": f"{_HOST_LENGTHS}; {_SCRIPTS}",
    "idn-email": f"addresses without quotes; hosts: {_HOST_LENGTHS}; {_SCRIPTS}",
    "regex": "groups up to three deep, look-around outside them, ranges from a or to z, no names",
    "timedelta": "below 10,000 years, written as Python writes it",
    "duration": "up to six digits a unit, eight of days and seconds",
    "time": _NO_LEAP_SECONDS,
    "date-time": f"from the year 1, {_NO_LEAP_SECONDS}",
}

_NO_VALUE = "\x00 not a value \\"  # of any format
_VALIDATORS = {
    4: jsonschema_rs.Draft4Validator,
    6: jsonschema_rs.Draft6Validator,
    7: jsonschema_rs.Draft7Validator,
    19: jsonschema_rs.Draft201909Validator,
    20: jsonschema_rs.Draft202012Validator,
}


@lru_cache(maxsize=256)
def asserted(name: str, draft: int) -> bool:
    """Whether validation checks a format; one that it does not check is an annotation.

    Args:
        name: the format.
        draft: 4, 6, 7, 19 (2019-09) or 20 (2020-12), as `jsonschema_rs.CanonicalSchema.draft`.
    """
    validator = _VALIDATORS[draft]({"format": name}, validate_formats=True)
    return not validator.is_valid(_NO_VALUE)


@lru_cache(maxsize=256)
def format_expr(name: str) -> Expr:
    """The texts of a format, without quotes.

    Args:
        name: one of `KNOWN`.
    """
    match name:
        case "email":
            return _email()
        case "uri":
            return urls.uri()
        case "regex":
            return regexes.regex()
        case _:
            return parse_pattern(f"^(?:{_PATTERNS[name]})$")


@lru_cache(maxsize=256)
def url_expr(schemes: tuple[str, ...]) -> Expr:
    """URLs of some schemes; of those of the web where none is named."""
    return urls.url(schemes)


def _email() -> Expr:
    before = parse_pattern(f"^{_LOCAL.format(c=_ATOM)}@{EMAIL_DOMAIN}$")
    top = excluding(_SPECIAL_USE, merged([(ord("a"), ord("z"))]), 2, 24)
    return concat(before, in_any_case(top))
