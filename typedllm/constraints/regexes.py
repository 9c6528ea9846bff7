"""Regular expressions in ECMAScript's syntax, as an expression.

Source: ECMA-262, "Patterns", with the `u` flag.
"""

from __future__ import annotations

from typedllm.grammar.pattern import parse_pattern
from typedllm.grammar.regular import Expr, alt, concat, literal, repeat

_HEX = "[0-9A-Fa-f]"
_HIGH = f"[5-9A-Ca-cE-Fe-f]{_HEX}{{3}}"  # of \u....; surrogates begin with D
_DEPTH = 3  # of nested groups


def _upwards(characters: str, between: str) -> list[str]:
    """Patterns of two characters in order, the second not before the first."""
    return [f"{char}{between}[{char}-{characters[-1]}]" for char in characters]


_PROPERTY = (
    "(?:L[ulmto]?|M[nce]?|N[dlo]?|P[cdseifo]?|S[mcko]?|Z[slp]?|C[cf]?"
    "|Script=(?:Latin|Greek|Cyrillic|Han|Hiragana|Katakana|Hangul|Arabic|Hebrew))"
)
_ESCAPE = (
    r"\\(?:[dDwWsSnrtfv]|[\^$\\.*+?()\[\]{}|/ !\x22#%&',:;<=>@_`~-]"
    rf"|x{_HEX}{{2}}|u[0-4]{_HEX}{{3}}|u{_HIGH}|c[A-Za-z]|[pP]\{{{_PROPERTY}\}})"
)
# Not every pair of letters: that many states are more than llguidance keeps beside a length.
_RANGE = "|".join(
    [
        *_upwards("0123456789", "-"),
        "a-[a-z]|[a-z]-z|A-[A-Z]|[A-Z]-Z|[ !]-~|[а-яА-Я]-я|А-Я|[À-Ö]-[Ö-ÿ]",
        rf"\\u[0-4]{_HEX}{{3}}-\\u{_HIGH}",
    ]
)
# A hyphen stands first or last, where it is no range.
_CLASS = rf"\[\^?-?(?:{_RANGE}|[^\\\]-]|{_ESCAPE})*-?\]"
_COUNTS = "|".join(
    [
        r"\d{1,4},?|\d,[1-9]\d{1,3}|[1-9]\d,[1-9]\d{2,3}",
        *_upwards("0123456789", ","),
        *(f"1{pair}" for pair in _upwards("0123456789", ",1")),
        *(rf"{tens}\d,[{tens + 1}-9]\d" for tens in range(1, 9)),
    ]
)
_COUNT = rf"(?:[*+?]|\{{(?:{_COUNTS})\}})\??"
_ATOM = rf"(?:[^\^$\\*+?()\[\]{{}}|]|{_ESCAPE}|{_CLASS})"
_ASSERTION = r"[\^$|]|\\[bB]"


def regex() -> Expr:
    """Regular expressions."""
    atom, assertion, counted = _whole(_ATOM), _whole(_ASSERTION), _whole(f"(?:{_COUNT})?")
    body = repeat(alt(assertion, concat(atom, counted)))
    for _ in range(_DEPTH - 1):
        body = repeat(alt(assertion, concat(alt(atom, _group(body)), counted)))
    # What looks around is never counted; it stands outside of groups, to keep this small.
    look_around = concat(_whole(r"\(\?<?[=!]"), body, literal(")"))
    return repeat(alt(assertion, look_around, concat(alt(atom, _group(body)), counted)))


def _group(body: Expr) -> Expr:
    return concat(_whole(r"\((?:\?:)?"), body, literal(")"))


def _whole(pattern: str) -> Expr:
    return parse_pattern(f"^(?:{pattern})$")
