"""Numbers in a range, against arithmetic."""

from __future__ import annotations

import json
import math
from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from tests.constraints.specs import canonical
from tests.constraints.walking import compiled, grammar
from typedllm.constraints.numbers import Range, decimals, integers, multiples
from typedllm.grammar.closing import shortest
from typedllm.grammar.expression import expression
from typedllm.grammar.regular import NOTHING, Expr, matches
from typedllm.records import JsonSchema, Limits

FREE = Range()
_whole = st.integers(-300, 300) | st.integers(-(10**40), 10**40)
_fractions = st.decimals(-300, 300, places=3) | st.sampled_from(
    [Decimal("0"), Decimal("0.1"), Decimal("-0.30"), Decimal("1e-7"), Decimal("12345.678901")]
)


def _ranges(values: st.SearchStrategy[Decimal]) -> st.SearchStrategy[Range]:
    def made(ends: list[Decimal], keep: tuple[bool, bool], is_open: tuple[bool, bool]) -> Range:
        low, high = sorted(ends)
        return Range(
            low=low if keep[0] else None,
            high=high if keep[1] else None,
            low_open=keep[0] and is_open[0],
            high_open=keep[1] and is_open[1],
        )

    flags = st.tuples(st.booleans(), st.booleans())
    return st.builds(made, st.lists(values, min_size=2, max_size=2), flags, flags)


def inside(bounds: Range, value: Decimal) -> bool:
    low, high = bounds.low, bounds.high
    above = low is None or (value > low if bounds.low_open else value >= low)
    below = high is None or (value < high if bounds.high_open else value <= high)
    return above and below


def edges(bounds: Range) -> list[Decimal]:
    return [edge for edge in (bounds.low, bounds.high) if edge is not None]


@given(_ranges(_whole.map(Decimal)), st.integers(-(10**17), 10**17))
def test_integers_of_a_range(bounds: Range, other: int) -> None:
    expr = integers(bounds, 18)
    around = [int(edge) + step for edge in edges(bounds) for step in (-1, 0, 1)]
    for value in (*around, 0, 1, -1, other):
        assert matches(expr, str(value)) == inside(bounds, Decimal(value)), value


@given(_ranges(_fractions))
def test_fractions_as_bounds_of_integers_are_rounded_inwards(bounds: Range) -> None:
    expr = integers(bounds, 18)
    for value in {math.floor(edge) + step for edge in edges(bounds) for step in (-1, 0, 1)}:
        assert matches(expr, str(value)) == inside(bounds, Decimal(value)), value


@given(
    _ranges(_fractions.map(lambda value: Decimal(repr(float(value))))),
    st.decimals(-400, 400, places=4),
)
def test_decimals_of_a_range(bounds: Range, other: Decimal) -> None:
    expr = decimals(bounds, 18, 15)
    around = [
        edge + Decimal(step) for edge in edges(bounds) for step in ("-1e-9", "0", "1e-9", "1", "-1")
    ]
    for value in (*around, Decimal(0), other, other.to_integral_value()):
        written = (
            f"{value.normalize():f}".replace("-0", "0") if value == 0 else f"{value.normalize():f}"
        )
        assert matches(expr, written) == inside(bounds, value), (value, written)
        if "." not in written:
            assert matches(expr, f"{written}.00") == inside(bounds, value)


@given(st.floats(-1e15, 1e15), st.booleans())
@example(0.0, True)
@example(0.0, False)
@example(0.1, True)
@example(5e-324, True)
def test_an_exclusive_bound_leaves_out_what_is_read_as_the_bound(edge: float, upper: bool) -> None:
    key = "exclusiveMaximum" if upper else "exclusiveMinimum"
    root = grammar(JsonSchema({"type": "number", key: edge})).root
    expr = expression(root)
    text = shortest(expr)
    assert text is not None
    assert (float(text) < edge) if upper else (float(text) > edge)
    for value in (edge, math.nextafter(edge, math.inf), math.nextafter(edge, -math.inf)):
        written = canonical(value)
        if matches(expr, written):
            assert (value < edge) if upper else (value > edge)
        # Digits that a double has no room for are read as the bound itself.
        assert not matches(expr, f"{Decimal(repr(edge)):f}")


@pytest.mark.parametrize("text", ["", "-", "01", "-0", "+1", "1.", ".5", "1e5", "1.0", " 1", "0x1"])
def test_what_is_no_canonical_integer(text: str) -> None:
    assert not matches(integers(FREE, 18), text)


@pytest.mark.parametrize("text", ["", "-", "01", "00.5", "+1", "1.", ".5", "1e5", "1E-5", "1,5"])
def test_what_is_no_plain_decimal(text: str) -> None:
    assert not matches(decimals(FREE, 18, 15), text)


def test_digits_are_bounded_where_the_caller_left_them_open() -> None:
    assert matches(integers(FREE, 3), "-999")
    assert not matches(integers(FREE, 3), "1000")
    # A bound of the caller's beyond the digits is kept, and there is something above it.
    assert matches(integers(Range(low=Decimal(5000)), 3), "5999")
    assert matches(integers(Range(high=Decimal(-5000)), 3), "-5999")
    assert matches(decimals(FREE, 2, 1), "-99.9")
    assert not matches(decimals(FREE, 2, 1), "9.99")
    assert matches(decimals(Range(low=Decimal("123.5")), 2, 1), "1000.5")
    assert not matches(decimals(Range(low=Decimal("123.5")), 2, 1), "123.4")


@pytest.mark.parametrize(
    ("bounds", "expr"),
    [
        (Range(low=Decimal(3), high=Decimal(2)), integers),
        (Range(low=Decimal("0.1"), high=Decimal("0.9")), integers),
        (Range(low=Decimal(1), high=Decimal(2), low_open=True, high_open=True), integers),
    ],
)
def test_an_empty_range_is_nothing(bounds: Range, expr: object) -> None:
    assert integers(bounds, 18) is NOTHING
    assert decimals(Range(low=Decimal(3), high=Decimal(2)), 18, 15) is NOTHING


def _is_multiple(expr: Expr, divisor: Decimal, bounds: Range, value: Decimal) -> None:
    expected = value % divisor == 0 and inside(bounds, value)
    assert matches(expr, f"{value:f}") == expected, value


@given(
    st.sampled_from([1, 2, 3, 5, 7, 10, 20, 25, 100, 125, 250, 1000]),
    _ranges(st.integers(-300, 300).map(Decimal)),
)
def test_whole_multiples(divisor: int, bounds: Range) -> None:
    expr = multiples(Decimal(divisor), bounds, 18, pointed=False)
    if expr is None:
        assert None in (bounds.low, bounds.high)
        return
    for value in range(-320, 321):
        _is_multiple(expr, Decimal(divisor), bounds, Decimal(value))


@given(
    st.sampled_from(["0.5", "0.25", "0.1", "0.01", "0.125", "1.5", "0.3"]).map(Decimal),
    _ranges(st.integers(-9, 9).map(Decimal)),
)
def test_multiples_of_a_fraction(divisor: Decimal, bounds: Range) -> None:
    expr = multiples(divisor, bounds, 18, pointed=True)
    if expr is None:
        low, high = bounds.low, bounds.high
        assert low is None or high is None or (high - low) / divisor > 1000
        return
    for step in range(-10_000, 10_001, 125):
        value = (Decimal(step) / 1000).normalize()
        if value != 0:
            _is_multiple(expr, divisor, bounds, value)
    assert matches(expr, "0") == matches(expr, "0.0") == inside(bounds, Decimal(0))


def test_multiples_of_what_no_double_is_stay_small() -> None:
    # The remainder of 123456789.3 by 0.1 is 0.0999..., which Pydantic refuses.
    tenths = JsonSchema({"type": "number", "multipleOf": 0.1})
    assert "multiples of 0.1 of at most 6 digits before the point" in compiled(tenths).plan.limits
    expr = expression(grammar(tenths).root)
    assert matches(expr, "-123456.7")
    assert not matches(expr, "1234567.8")
    wide = JsonSchema({"type": "number", "multipleOf": 0.1, "minimum": 10**7, "maximum": 10**7 + 1})
    assert not compiled(wide).plan.guaranteed
    assert matches(expression(grammar("float(multiple_of=0.25)").root), "123456789012.75")


@pytest.mark.parametrize("divisor", ["5", "0.5"])
def test_an_exclusive_bound_at_the_divisor(divisor: str) -> None:
    bounds = Range(low=Decimal(divisor), low_open=True)
    assert multiples(Decimal(divisor), bounds, 18, pointed=True) is None
    closed = multiples(Decimal(divisor), Range(low=Decimal(divisor)), 18, pointed=True)
    assert closed is not None
    assert matches(closed, divisor)
    assert not matches(closed, "0")


def test_many_multiples_in_a_range_are_not_listed() -> None:
    wide = Range(low=Decimal(0), high=Decimal(1001))
    assert multiples(Decimal(1), wide, 18, pointed=False) is integers(wide, 18)
    assert multiples(Decimal("0.5"), wide, 18, pointed=True) is None
    assert multiples(Decimal(2), Range(low=Decimal(-2)), 18, pointed=False) is None


@pytest.mark.parametrize("divisor", ["1e-300", "1e300", "1e-11"])
def test_multiples_that_cannot_be_computed_exactly_are_left_to_checking(divisor: str) -> None:
    assert multiples(Decimal(divisor), FREE, 18, pointed=True) is None
    for kind in ("integer", "number"):
        plan = compiled(JsonSchema({"type": kind, "multipleOf": float(divisor)})).plan
        assert [part.keyword for part in plan.parts if part.status == "checked after"] == [
            "multipleOf"
        ]


@pytest.mark.parametrize(
    ("bounds", "inside_it", "outside"),
    [
        ({"minimum": 10**400, "maximum": 10**400 + 5}, 10**400 + 3, 10**400 + 6),
        ({"minimum": -(10**30) - 7}, -(10**30) - 7, -(10**30) - 8),
        ({"maximum": 10**30 + 1}, 10**30 + 1, 10**30 + 2),
        ({"minimum": 0, "exclusiveMinimum": 0}, 1, 0),
        ({"minimum": 5, "exclusiveMinimum": 0}, 5, 4),
        ({"maximum": 5, "exclusiveMaximum": 5}, 4, 5),
        ({"maximum": 5, "exclusiveMaximum": 9}, 5, 6),
    ],
    ids=range(7),
)
def test_bounds_of_any_size_are_exact(bounds: dict[str, int], inside_it: int, outside: int) -> None:
    expr = expression(grammar(JsonSchema({"type": "integer", **bounds})).root)
    assert matches(expr, str(inside_it))
    assert not matches(expr, str(outside))


@given(st.integers(1, 6), st.integers(0, 4), st.floats(-1000, 1000))
def test_limits_bound_the_digits(whole: int, fraction: int, value: float) -> None:
    limits = Limits(integer_digits=whole, fraction_digits=fraction)
    made = compiled(float, limits)
    written = canonical(value)
    before, _, after = written.lstrip("-").partition(".")
    fits = len(before) <= whole and (len(after) <= fraction or not after.strip("0"))
    root = grammar(float, limits).root
    if len(after) <= fraction:
        assert matches(expression(root), written) == fits
    assert any(f"at most {whole} digits" in limit for limit in made.plan.limits)


@given(st.decimals(-99, 99, places=2))
def test_a_decimal_of_some_digits(value: Decimal) -> None:
    schema = {"a": "Decimal(max_digits=3, decimal_places=1)"}
    expr = expression(grammar(schema).root)
    written = f'{{"a":{value.normalize():f}}}'
    digits = len(f"{abs(value).normalize():f}".replace(".", "").lstrip("0"))
    places = max(-value.normalize().as_tuple().exponent, 0)  # type: ignore[operator]
    assert matches(expr, written) == (places <= 1 and digits <= 3) or value == 0
    assert json.loads(written)["a"] == float(value)
