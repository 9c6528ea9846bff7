"""Strings and numbers of a JSON Schema as nodes of the tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from typedllm.constraints.formats import KNOWN, NARROWED, asserted, format_expr, url_expr
from typedllm.constraints.numbers import Range, decimals, integers, multiples
from typedllm.constraints.plan import Notes
from typedllm.grammar.closing import shortest
from typedllm.grammar.complexity import TooComplex
from typedllm.grammar.expression import text_content
from typedllm.grammar.pattern import NotRegular, parse_pattern, parse_widely
from typedllm.grammar.regular import (
    ANY,
    NOTHING,
    Alt,
    Both,
    Chars,
    Concat,
    Expr,
    Not,
    Nothing,
    Repeat,
    Words,
    alt,
    both,
    chain,
    chars,
    concat,
    difference,
    repeat,
    words,
)
from typedllm.grammar.tree import Node, Scalar, Text
from typedllm.records import Limits

Schema = Mapping[str, Any]

_DRAFTS = (4, 6, 7, 19, 20)
_ASCII = chars([(0, 127)])
_SMALL_DIGITS = 6  # of a double whose remainder is still seen to be small by Pydantic
_MOST_DIGITS = 500  # of a bound; every double has fewer
_EXACT_DIGITS = 15  # decimal digits that a JSON number keeps when it is read as a double


def string(
    schema: Schema, kind: str | None, pointer: str, notes: Notes, limits: Limits
) -> Node | None:
    """The node of a string schema, or None when nothing satisfies it."""
    name = kind if kind in KNOWN else str(schema.get("format", ""))
    least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
    if kind == "bytes":
        return _bytes(schema, name, pointer, notes)
    pattern = _formatted(schema, name, kind, pointer, notes)
    found = facets(schema) or Facets(patterns=(), excluded=(), formats=(), words=())
    for written in found.patterns:
        pattern = _all_of(pattern, _written(written, pointer, notes))
    for other in found.formats[1:] if "format" in schema else found.formats:
        pattern = _all_of(pattern, _formatted({"format": other}, other, None, pointer, notes))
    pattern = _without(pattern, found, pointer, notes)
    if most is None and pattern is None and limits.string_length is not None:
        most = max(limits.string_length, least)
        notes.limit(f"strings of at most {most} characters")
    notes.held(pointer, [word for word in ("minLength", "maxLength") if word in schema])
    return _text(pattern, least, None if most is None else int(most), pointer, notes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facets:
    """What a rewritten schema asks of a string beside its length.

    Attributes:
        patterns: all of which are found in it.
        excluded: patterns of which none is found in it.
        formats: all of which it has.
        words: texts that it is not.
    """

    patterns: tuple[str, ...]
    excluded: tuple[str, ...]
    formats: tuple[str, ...]
    words: tuple[str, ...]


def facets(schema: Schema) -> Facets | None:
    """Read the facets of a string, or None where a part of `allOf` or `not` says something else.

    Args:
        schema: a schema of strings.
    """
    parts: list[Schema] = [schema, *schema.get("allOf", ())]
    denied: list[Schema] = [part["not"] for part in parts if "not" in part]
    inner = [part.keys() for part in parts[1:]] + [part.keys() for part in denied]
    if any(not keys <= {"pattern", "format", "not", "type"} for keys in inner[: len(parts) - 1]):
        return None
    if any(
        not keys <= {"pattern", "enum", "const"} or len(keys) > 1
        for keys in inner[len(parts) - 1 :]
    ):
        return None
    values = [v for part in denied for v in (*part.get("enum", ()), part.get("const"))]
    return Facets(
        patterns=tuple(part["pattern"] for part in parts if "pattern" in part),
        excluded=tuple(part["pattern"] for part in denied if "pattern" in part),
        formats=tuple(part["format"] for part in parts if "format" in part),
        words=tuple(value for value in values if isinstance(value, str)),
    )


def _all_of(pattern: Expr | None, other: Expr | None) -> Expr | None:
    if pattern is None or other is None:
        return other if pattern is None else pattern
    return both(pattern, other)


def _without(pattern: Expr | None, found: Facets, pointer: str, notes: Notes) -> Expr | None:
    """A pattern without what is excluded."""
    excluded = [words(found.words)]
    for written in found.excluded:
        try:
            excluded.append(parse_widely(written))
        except NotRegular as error:
            notes.checked(pointer, "not", str(error))
    denied = alt(*excluded)
    if denied is not NOTHING:
        pattern = difference(repeat(ANY) if pattern is None else pattern, denied)
    return pattern


def _text(
    pattern: Expr | None, least: int, most: int | None, pointer: str, notes: Notes
) -> Node | None:
    if pattern is not None and (least or most is not None):
        pattern, least, most = _resized(pattern, least, most)
    node = Text(pattern=pattern, min_length=least, max_length=most)
    try:
        possible = shortest(text_content(node)) is not None
    except TooComplex as error:
        notes.checked(pointer, "pattern", f"together with the length: {error}")
        return Text(min_length=least, max_length=most)
    if not possible:
        notes.rule_out(pointer, "no string has this pattern, format and length")
        return None
    return node


def _resized(pattern: Expr, least: int, most: int | None) -> tuple[Expr, int, int | None]:
    """A pattern and a length, made one where a single repeated character is all that varies."""
    fewest, largest = _lengths(pattern)
    least = least if least > fewest else 0
    most = None if most is None or (largest is not None and largest <= most) else most
    if not least and most is None:
        return pattern, 0, None
    parts = chain(pattern)
    lengths = [_lengths(part) for part in parts]
    varying = [i for i, (low, high) in enumerate(lengths) if low != high]
    part = parts[varying[0]] if len(varying) == 1 else None
    if not (isinstance(part, Repeat) and isinstance(part.inner, Chars)):
        return pattern, least, most
    fixed = fewest - part.least
    low = max(part.least, least - fixed)
    high = part.most
    if most is not None:
        high = most - fixed if high is None else min(high, most - fixed)
    possible = high is None or high >= 0
    parts[varying[0]] = repeat(part.inner, low, high) if possible else NOTHING
    return concat(*parts), 0, None


def _lengths(expr: Expr) -> tuple[int, int | None]:
    """The least and the most characters of the texts of a pattern; None is without bound."""
    match expr:
        case Nothing():
            return 0, 0
        case Words(found, _, _, _):
            sizes = [len(word.decode()) for word in found]
            return min(sizes), max(sizes)
        case Concat():
            found = [_lengths(part) for part in chain(expr)]
            bounds = [high for _, high in found if high is not None]
            most = sum(bounds) if len(bounds) == len(found) else None
            return sum(low for low, _ in found), most
        case Alt(branches):
            found = [_lengths(branch) for branch in branches]
            bounds = [high for _, high in found if high is not None]
            most = max(bounds) if len(bounds) == len(found) else None
            return min(low for low, _ in found), most
        case Repeat(inner, least, most):
            low, high = _lengths(inner)
            return low * least, None if most is None or high is None else high * most
        case Not():
            return 0, None
        case Both(left, right):
            (low, high), (other_low, other_high) = _lengths(left), _lengths(right)
            bounds = [bound for bound in (high, other_high) if bound is not None]
            return max(low, other_low), min(bounds, default=None)
        case _:
            return 1, 1  # a character


def _formatted(
    schema: Schema, name: str, kind: str | None, pointer: str, notes: Notes
) -> Expr | None:
    if kind == "url":
        notes.limit(NARROWED["url"])
        notes.held(pointer, [word for word in ("format",) if word in schema])
        schemes = schema["x-typedllm"].get("schemes")
        return url_expr(tuple(schemes or ()))
    if not name:
        return None
    if name in KNOWN:
        if name in NARROWED:
            notes.limit(f"{name}: {NARROWED[name]}")
        notes.held(pointer, [word for word in ("format",) if word in schema])
        return format_expr(name)
    if any(asserted(name, draft) for draft in _DRAFTS):
        notes.checked(pointer, "format", f"no grammar for {name!r}")
    else:
        notes.annotation(pointer, "format", f"{name!r} is no format that is checked")
    return None


def _written(pattern: str, pointer: str, notes: Notes) -> Expr | None:
    try:
        found = parse_pattern(pattern)
    except NotRegular as error:
        notes.checked(pointer, "pattern", str(error))
        return None
    notes.held(pointer, ["pattern"])
    if any(mark in pattern for mark in ("\\d", "\\w", "\\s", "\\D", "\\W", "\\S", ".")):
        notes.limit(r"patterns: \d, \w and \s are ASCII, . is no line end")
    return found


def _bytes(schema: Schema, name: str, pointer: str, notes: Notes) -> Node:
    lengths = [word for word in ("minLength", "maxLength") if word in schema]
    notes.held(pointer, ["format"])
    if name in KNOWN:
        for word in lengths:
            notes.checked(pointer, word, "counted after decoding")
        return Text(pattern=format_expr(name))
    notes.held(pointer, lengths)
    if not lengths:
        return Text()
    notes.limit("bytes of a bounded length: ASCII")  # a length counts bytes, a pattern characters
    most = schema.get("maxLength")
    least = int(schema.get("minLength", 0))
    return Text(pattern=repeat(_ASCII, least, None if most is None else int(most)))


def number(
    schema: Schema, kind: str | None, pointer: str, notes: Notes, limits: Limits
) -> Node | None:
    """The node of a number or integer schema, or None when nothing satisfies it."""
    bounds = _range(schema, pointer, notes)
    whole, fraction = limits.integer_digits, limits.fraction_digits
    if kind == "decimal":
        whole, fraction, bounds = _decimal(schema["x-typedllm"], bounds)
    is_integer = schema.get("type") == "integer" or fraction == 0
    if bounds.low is None or bounds.high is None:
        notes.limit(
            f"{'integers' if is_integer else 'numbers'} of at most {whole} digits"
            + ("" if is_integer else " before the point")
        )
    if not is_integer:
        notes.limit(f"numbers of at most {fraction} digits after the point, without an exponent")
    expr: Expr | None = None
    if "multipleOf" in schema:
        divisor = Decimal(repr(schema["multipleOf"]))
        expr = _multiples(divisor, bounds, whole, is_integer, notes)
        if expr is None:
            notes.checked(pointer, "multipleOf", "no small grammar for these multiples")
        else:
            notes.held(pointer, ["multipleOf"])
    if expr is None:
        expr = integers(bounds, whole) if is_integer else decimals(bounds, whole, fraction)
    if expr is NOTHING:
        notes.rule_out(pointer, "no number is inside these bounds")
        return None
    return Scalar(expr)


def _multiples(
    divisor: Decimal, bounds: Range, whole: int, is_integer: bool, notes: Notes
) -> Expr | None:
    if is_integer and divisor != divisor.to_integral_value():
        return None
    if Decimal(float(divisor)) != divisor:  # as of a tenth, which no double is
        whole = min(whole, _SMALL_DIGITS)
        if any(bound and bound.adjusted() >= whole for bound in (bounds.low, bounds.high)):
            return None
        notes.limit(f"multiples of {divisor} of at most {whole} digits before the point")
    return multiples(divisor, bounds, whole, pointed=not is_integer)


def _range(schema: Schema, pointer: str, notes: Notes) -> Range:
    def bound(keyword: str) -> Decimal | None:
        value = schema.get(keyword)
        if value is None or isinstance(value, bool):
            return None
        number = Decimal(repr(value))
        if not number.is_finite():  # a Python type may have such a bound
            notes.checked(pointer, keyword, "no finite number")
            return None
        if number.adjusted() >= _MOST_DIGITS:
            raise TooComplex(f"{pointer} has a {keyword} of more than {_MOST_DIGITS} digits")
        notes.held(pointer, [keyword])
        return number

    flags = [word for word in ("exclusiveMinimum", "exclusiveMaximum") if schema.get(word) is True]
    notes.held(pointer, flags)  # of draft 4, which makes the other bound exclusive
    low, over = bound("minimum"), bound("exclusiveMinimum")
    high, under = bound("maximum"), bound("exclusiveMaximum")
    low_open = over is not None and (low is None or over >= low)
    high_open = under is not None and (high is None or under <= high)
    return Range(
        low=over if low_open else low,
        high=under if high_open else high,
        low_open=low_open or "exclusiveMinimum" in flags,
        high_open=high_open or "exclusiveMaximum" in flags,
    )


def _decimal(note: Mapping[str, Any], bounds: Range) -> tuple[int, int, Range]:
    """Digits before and after the point, and the range that they leave of the bounds."""
    digits = min(note.get("max_digits") or _EXACT_DIGITS, _EXACT_DIGITS)
    places = note.get("decimal_places")
    fraction = min(digits // 3 if places is None else places, digits)
    whole = digits - fraction
    edge = Decimal(10) ** whole - Decimal(10) ** -fraction
    low, high = bounds.low, bounds.high
    if low is None or low < -edge:
        low, bounds = -edge, Range(high=high, high_open=bounds.high_open)
    if high is None or high > edge:
        high, bounds = edge, Range(low=low, low_open=bounds.low_open)
    narrowed = Range(low=low, high=high, low_open=bounds.low_open, high_open=bounds.high_open)
    return whole, fraction, narrowed
