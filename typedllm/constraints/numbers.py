"""Expressions for numbers in a range, written without an exponent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache

from typedllm.grammar.regular import (
    EMPTY,
    NOTHING,
    Expr,
    alt,
    chars,
    concat,
    literal,
    optional,
    repeat,
    words,
)

_EXACT = 9  # powers of ten of a bound whose multiples are computed exactly
_MOST_MULTIPLES = 1_000  # multiples in a range that are listed one by one


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Bounds of a number; None is open.

    Attributes:
        low: the lower bound.
        high: the upper bound.
        low_open: whether the lower bound itself is left out.
        high_open: whether the upper bound itself is left out.
    """

    low: Decimal | None = None
    high: Decimal | None = None
    low_open: bool = False
    high_open: bool = False


def _digit(low: int, high: int) -> Expr:
    return chars([(48 + low, 48 + high)]) if low <= high else NOTHING


def _digits(least: int, most: int) -> Expr:
    return repeat(_digit(0, 9), least, most)


@lru_cache(maxsize=1024)
def integers(bounds: Range, most_digits: int) -> Expr:
    """Canonical integers (no leading zeros, no `-0`) in a range.

    Args:
        bounds: the range; fractions are rounded inwards.
        most_digits: bound on the digits where a side is open.
    """
    edge = 10**most_digits - 1
    low = -edge if bounds.low is None else _ceiling(bounds.low, bounds.low_open)
    high = edge if bounds.high is None else -_ceiling(bounds.high.copy_negate(), bounds.high_open)
    if bounds.low is not None and bounds.high is None:
        high = max(high, low + edge)  # a bound of the caller's beyond the digits is kept
    if bounds.high is not None and bounds.low is None:
        low = min(low, high - edge)
    if low > high:
        return NOTHING
    positive = _naturals(max(low, 0), high) if high >= 0 else NOTHING
    negative = _naturals(max(-high, 1), -low) if low < 0 else NOTHING
    return alt(positive, concat(literal("-"), negative))


def _ceiling(value: Decimal, is_open: bool) -> int:
    whole = int(value.to_integral_value(rounding="ROUND_CEILING"))
    return whole + 1 if is_open and whole == value else whole


def _naturals(low: int, high: int) -> Expr:
    """Canonical integers from low to high, both at least 0."""
    if low > high:
        return NOTHING
    if low == 0:
        return alt(literal("0"), _naturals(1, high))
    first, last = len(str(low)), len(str(high))
    out: list[Expr] = []
    if low != 10 ** (first - 1):  # the sizes that are there only in part come one by one
        out.append(_same_size(str(low), str(min(high, 10**first - 1))))
        first += 1
    if first <= last and high != 10**last - 1:
        out.append(_same_size(str(10 ** (last - 1)), str(high)))
        last -= 1
    if first <= last:
        out.append(concat(_digit(1, 9), _digits(first - 1, last - 1)))
    return alt(*out)


@lru_cache(maxsize=4096)
def _same_size(low: str, high: str) -> Expr:
    """Digit strings of one length from low to high."""
    first, last, rest = int(low[0]), int(high[0]), len(low) - 1
    if low[1:] == "0" * rest and high[1:] == "9" * rest:
        return concat(_digit(first, last), _digits(rest, rest))
    if first == last:
        return concat(literal(low[0]), _same_size(low[1:], high[1:]))
    return alt(
        concat(literal(low[0]), _same_size(low[1:], "9" * rest)),
        concat(_digit(first + 1, last - 1), _digits(rest, rest)),
        concat(literal(high[0]), _same_size("0" * rest, high[1:])),
    )


@lru_cache(maxsize=1024)
def decimals(bounds: Range, most_digits: int, fraction_digits: int) -> Expr:
    """Plain decimals in a range, with or without a fraction.

    Args:
        bounds: the range. Reading a decimal as a double keeps order, so a bound that is a double
            holds after reading; one that is left out becomes the next double inside.
        most_digits: bound on the digits before the point where a side is open.
        fraction_digits: most digits after the point.
    """
    low, high = bounds.low, bounds.high
    if low is not None and bounds.low_open:
        low = _next_double(low, math.inf)
    if high is not None and bounds.high_open:
        high = _next_double(high, -math.inf)
    zero = Decimal(0)
    positive = negative = NOTHING
    if high is None or high >= 0:
        positive = _magnitudes(max(low or zero, zero), high, most_digits, fraction_digits)
    if low is None or low <= 0:
        # copy_negate, since a minus sign rounds to the context's 28 digits.
        most = None if low is None else low.copy_negate()
        least = max((high or zero).copy_negate(), zero)
        negative = _magnitudes(least, most, most_digits, fraction_digits)
    if positive is negative:
        return concat(optional(literal("-")), positive)
    return alt(positive, concat(literal("-"), negative))


def _next_double(value: Decimal, towards: float) -> Decimal:
    return Decimal(repr(math.nextafter(float(value), towards)))


def _magnitudes(low: Decimal, high: Decimal | None, most_digits: int, places: int) -> Expr:
    """Decimals from low (at least 0) to high, or without bound but in their digits."""
    low_whole, low_places = _split(low)
    above = _pointed(_fraction(low_places, None, places))
    if high is None:
        most = max(most_digits, len(str(low_whole)) + 1)
        free = _pointed(_fraction(None, None, places))
        if not low_places:
            return concat(_naturals(low_whole, 10**most - 1), free)
        more = concat(_naturals(low_whole + 1, 10**most - 1), free)
        return alt(concat(literal(str(low_whole)), above), more)
    if low > high:
        return NOTHING
    high_whole, high_places = _split(high)
    if low_whole == high_whole:
        inside = _fraction(low_places, high_places, places)
        return concat(literal(str(low_whole)), _pointed(inside))
    free = _pointed(_fraction(None, None, places))
    below = _pointed(_fraction(None, high_places, places))
    return alt(
        concat(literal(str(low_whole)), above),
        concat(_naturals(low_whole + 1, high_whole - 1), free),
        concat(literal(str(high_whole)), below),
    )


def _split(value: Decimal) -> tuple[int, str]:
    whole, _, places = f"{value:f}".partition(".")
    return int(whole), places.rstrip("0")


def _pointed(fraction: tuple[bool, Expr]) -> Expr:
    """A fraction with its point, or nothing where a fraction of 0 is allowed."""
    whole, some = fraction
    pointed = concat(literal("."), some)
    return optional(pointed) if whole else pointed


def _fraction(low: str | None, high: str | None, places: int) -> tuple[bool, Expr]:
    """Whether a fraction of 0 is inside the edges, and the digit strings that are.

    An edge is the digits of a bound that are still to come; None is no bound.
    """
    return not (low or "").strip("0"), _more_digits(low or None, high, places)


@lru_cache(maxsize=4096)
def _more_digits(low: str | None, high: str | None, places: int) -> Expr:
    if places == 0:
        return NOTHING
    if low is None and high is None:
        return _digits(1, places)
    if low is None and not (high or "").strip("0"):
        return repeat(literal("0"), 1, places)
    first = int(low[0]) if low else 0
    last = 9 if high is None else int(high[:1] or 0)
    out: list[Expr] = []
    if first == last:
        out.append(_digit_and_more(first, (low or "")[1:], _rest(high), places))
    else:
        if low:
            out.append(_digit_and_more(first, low[1:], None, places))
            first += 1
        if high is not None:
            out.append(_digit_and_more(last, None, high[1:], places))
            last -= 1
        out.append(concat(_digit(first, last), _digits(0, places - 1)))
    return alt(*out)


def _rest(edge: str | None) -> str | None:
    return None if edge is None else edge[1:]


def _digit_and_more(digit: int, low: str | None, high: str | None, places: int) -> Expr:
    ends, more = _fraction(low, high, places - 1)
    return concat(_digit(digit, digit), optional(more) if ends else more)


def multiples(divisor: Decimal, bounds: Range, most_digits: int, *, pointed: bool) -> Expr | None:
    """Multiples of a number in a range, or None where they have no small expression.

    Args:
        divisor: a positive number.
        bounds: the range.
        most_digits: bound on the digits where a side is open.
        pointed: whether whole numbers may also be written with `.0`.
    """
    zero = optional(literal(".0")) if pointed else EMPTY
    edges = [bound for bound in (bounds.low, bounds.high, divisor) if bound is not None]
    if any(abs(edge.adjusted()) > _EXACT for edge in edges):
        return None
    with localcontext(prec=60):
        few = _listed_multiples(divisor, bounds)
    if few is not None:
        whole = words(f"{value:f}" for value in few if value == value.to_integral_value())
        broken = words(f"{value:f}" for value in few if value != value.to_integral_value())
        return alt(concat(whole, zero), broken)
    if divisor == divisor.to_integral_value():
        whole = _by_last_digits(int(divisor), bounds, most_digits)
        return None if whole is None else concat(whole, zero)
    return _by_fraction(divisor, bounds, most_digits)


def _listed_multiples(divisor: Decimal, bounds: Range) -> list[Decimal] | None:
    """All multiples in a range, or None where they are many."""
    if bounds.low is None or bounds.high is None:
        return None
    first = _ceiling(bounds.low / divisor, False)
    last = -_ceiling(-bounds.high / divisor, False)
    if last - first > _MOST_MULTIPLES:
        return None
    found = [divisor * factor for factor in range(first, last + 1)]
    return [value.normalize() for value in found if _inside(value, bounds)]


def _inside(value: Decimal, bounds: Range) -> bool:
    low, high = bounds.low, bounds.high
    if low is not None and (value < low or (bounds.low_open and value == low)):
        return False
    return high is None or not (value > high or (bounds.high_open and value == high))


def _by_last_digits(divisor: int, bounds: Range, most_digits: int) -> Expr | None:
    """Multiples of a divisor of a power of ten, which only the last digits decide."""
    if divisor == 1:
        return integers(bounds, most_digits)
    size = next((size for size in range(1, 4) if 10**size % divisor == 0), None)
    if size is None or bounds.high is not None or not _inside(Decimal(divisor), bounds):
        return None
    last = words(f"{value:0{size}}" for value in range(0, 10**size, divisor))
    short = words(str(value) for value in range(divisor, 10**size, divisor))
    positive = alt(short, concat(_digit(1, 9), _digits(0, most_digits - size - 1), last))
    return _mirrored(positive, literal("0"), bounds)


def _by_fraction(divisor: Decimal, bounds: Range, most_digits: int) -> Expr | None:
    """Multiples of a fraction of one, which only the digits after the point decide."""
    if 1 / divisor > _MOST_MULTIPLES or 1 % divisor:
        return None
    if bounds.high is not None or not _inside(divisor, bounds):
        return None
    whole = optional(literal(".0"))
    places = words(f"{divisor * factor:f}"[1:].rstrip("0") for factor in range(1, int(1 / divisor)))
    above_one = concat(_naturals(1, 10**most_digits - 1), alt(places, whole))
    zero = concat(literal("0"), whole)
    return _mirrored(alt(concat(literal("0"), places), above_one), zero, bounds)


def _mirrored(positive: Expr, zero: Expr, bounds: Range) -> Expr | None:
    """Multiples below, at and above zero, where the lower bound leaves only those choices."""
    if bounds.low is None:
        return alt(zero, positive, concat(literal("-"), positive))
    if bounds.low < 0:
        return None
    return alt(zero, positive) if bounds.low == 0 and not bounds.low_open else positive
