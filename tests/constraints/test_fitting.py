"""Limits fitted to a budget: all that may be written ends in it, and was allowed before."""

from __future__ import annotations

import random
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from tests.constraints.specs import Chain, Tree, drawn
from tests.constraints.walking import compiled, grammar
from typedllm.constraints.fitting import cut_short, fitted, least_budget
from typedllm.grammar.closing import shortest, steps
from typedllm.grammar.drawing import random_text
from typedllm.grammar.expression import expression
from typedllm.grammar.regular import (
    Alt,
    Both,
    Chars,
    Concat,
    Distinct,
    Expr,
    Ordered,
    Repeat,
    Words,
    chain,
    matches,
)
from typedllm.grammar.sizes import longest
from typedllm.grammar.tree import Array, Literals, Member, Node, Object, OneOf, Text
from typedllm.records import Grammar, JsonSchema, Limits
from typedllm.spec.kinds import Choice, Regex

BUDGETS = (8, 50, 150, 400, 1000)
CHUNKS = [0, *(pytest.param(chunk, marks=pytest.mark.slow) for chunk in range(1, 6))]


def longest_text(expr: Expr) -> bytes:
    """A longest text of an expression that has one, greedy in an intersection."""

    def most(part: Expr) -> int:
        size = longest(part)
        assert size is not None
        return size

    match expr:
        case Words(words, start, stop, depth):
            return max(words[start:stop], key=len)[depth:]
        case Chars(ranges, seen):
            return chr(ranges[-1][1]).encode()[len(seen) :]
        case Concat():
            return b"".join(map(longest_text, chain(expr)))
        case Alt(branches):
            return longest_text(max(branches, key=most))
        case Repeat(inner, _, bound):
            assert bound is not None
            return longest_text(inner) * bound
        case Distinct(words, between, _, bound):
            return between.join(sorted(words, key=len)[-bound:])
        case Ordered(keys, values, picks, depth):
            found = [keys[pick] + longest_text(values[pick]) for pick in picks]
            return b",".join(found)[depth:]
        case Both():
            return longest_walk(expr)
        case _:
            raise AssertionError(expr)


def longest_walk(expr: Expr) -> bytes:
    text = b""
    while True:
        ways = [way for way in steps(expr) if shortest(way[1]) is not None]
        if not ways:
            return text
        more, expr = max(ways, key=lambda way: len(way[0]))
        text += more


def has_intersection(node: Node) -> bool:
    match node:
        case Text(pattern, _, most):
            return pattern is not None and most is not None
        case Array(prefix, item, _, _, _):
            return any(map(has_intersection, (*prefix, *([] if item is None else [item]))))
        case Object(members, entries, _, _, _):
            nodes = [member.node for member in members]
            return any(map(has_intersection, [*nodes, *(n for pair in entries for n in pair)]))
        case OneOf(branches):
            return any(map(has_intersection, branches))
        case _:
            return False


def check(full: Grammar, budget: int, rng: random.Random) -> bool:
    """Whether a grammar fits; what may be written then ends in the budget and was allowed."""
    found = fitted(full, budget)
    least = least_budget(full.root)
    assert (found is None) == (least is None or least > budget)
    if found is None:
        return False
    assert fitted(full, budget) is found
    fit, before = expression(found.root), expression(full.root)
    most = longest(fit)
    assert most is not None and most <= budget
    text = longest_text(fit).decode()
    if not has_intersection(found.root):
        assert len(text.encode()) == most
    for written in (text, *(random_text(found.root, rng) for _ in range(3))):
        assert len(written.encode()) <= budget
        assert matches(fit, written), written
        assert matches(before, written), written
        cut_short(full, found, written)
    return True


@pytest.mark.slow
@pytest.mark.parametrize("chunk", CHUNKS)
def test_whatever_is_written_ends_in_the_budget_and_was_allowed(chunk: int) -> None:
    rng = random.Random(chunk)
    fits: list[bool] = []
    drawn(
        chunk, 60, lambda case, _: fits.append(check(grammar(case.type), rng.choice(BUDGETS), rng))
    )
    assert sum(fits) > 10


SCHEMAS: list[dict[str, Any]] = [
    {"type": "array", "prefixItems": [{"type": "string"}, {"const": 1}], "maxItems": 90},
    {"type": "array", "prefixItems": [{"type": "string"}], "items": {"const": 1}, "minItems": 3},
    {"type": "object", "additionalProperties": {"const": 1}, "minProperties": 2},
    {"type": "object", "additionalProperties": {"const": 1}, "maxProperties": 100},
    {
        "type": "object",
        "properties": {name: {"type": "string"} for name in "abc"},
        "required": ["b"],
        "additionalProperties": {"type": "integer"},
        "minProperties": 3,
        "maxProperties": 9,
    },
    {
        "type": "object",
        "patternProperties": {"^x": {"type": "string"}, "^y+$": {"type": "boolean"}},
        "additionalProperties": False,
    },
    {"type": "string", "allOf": [{"pattern": "^a"}, {"pattern": "b$"}], "minLength": 3},
    {"type": "string", "pattern": "^(?!ab)[a-z]*$", "maxLength": 500},
    {"type": "array", "uniqueItems": True, "items": {"enum": list(range(40))}, "minItems": 2},
]


@pytest.mark.slow
@pytest.mark.parametrize("schema", SCHEMAS)
def test_schemas_end_in_the_budget_too(schema: dict[str, Any]) -> None:
    full = grammar(JsonSchema(schema))
    assert any([check(full, budget, random.Random(budget)) for budget in (*BUDGETS, 5000)])


@pytest.mark.slow
@pytest.mark.parametrize("output_type", [Tree, Chain, Any, dict, list[str], str | None, set[int]])
def test_more_tokens_never_hold_less(output_type: Any) -> None:
    full = grammar(output_type)
    sizes = [0]
    for budget in (20, 99, 100, 350, 1000, 3000, 9000, 50_000, 10**6):
        found = fitted(full, budget)
        if found is not None:
            sizes.append(longest(expression(found.root)) or 0)
            assert sizes[-1] <= budget
    assert sizes == sorted(sizes)
    assert sizes[-1] > 2000


def test_all_bounds_follow_one_factor_and_none_is_above_the_callers() -> None:
    full = grammar(
        {"name": "str", "code": "str(max_length=3)", "tags": "list[str]", "few": "list[int]"},
    )
    found = fitted(full, 3000)
    assert found is not None and isinstance(found.root, Object)
    name, code, tags, few = (member.node for member in found.root.members)
    assert isinstance(name, Text) and isinstance(tags, Array) and isinstance(few, Array)
    assert name.max_length is not None and 20 < name.max_length < 500
    assert isinstance(code, Text) and code.max_length == 3
    assert tags.item == name or isinstance(tags.item, Text)
    assert isinstance(tags.item, Text) and tags.item.max_length == name.max_length
    assert tags.max_items == few.max_items and tags.max_items is not None
    assert 1 < tags.max_items < 64
    assert isinstance(full.root, Object) and code is full.root.members[1].node


def test_what_is_there_twice_is_fitted_once() -> None:
    shared = Array(item=Text())
    root = Object(members=tuple(Member(name, shared) for name in "abc"))
    found = fitted(Grammar(root), 500)
    assert found is not None and isinstance(found.root, Object)
    nodes = {id(member.node) for member in found.root.members}
    assert len(nodes) == 1 and id(shared) not in nodes


def test_what_needs_no_bound_stays_the_same() -> None:
    full = grammar({"kind": "'a' | 'b'", "when": "date", "pair": "tuple[int, bool]"})
    found = fitted(full, 500)
    assert found is not None and found.root is full.root


def test_least_sizes_are_kept() -> None:
    kind = Annotated[list[Annotated[str, Field(min_length=5)]], Field(min_length=3, max_length=100)]
    full = grammar(kind)
    least = least_budget(full.root)
    assert least == 3 * (5 * 6 + 2) + 4
    assert fitted(full, least - 1) is None
    found = fitted(full, least)
    assert found is not None and isinstance(found.root, Array)
    assert (found.root.min_items, found.root.max_items) == (3, 3)
    assert found.root.item is not None and isinstance(found.root.item, Text)
    assert (found.root.item.min_length, found.root.item.max_length) == (5, 5)


def test_a_set_of_choices_keeps_its_least_size() -> None:
    full = grammar(Annotated[set[Literal["aaaa", "bbb", "cc", "d"]], Field(min_length=2)])
    assert least_budget(full.root) == len('["aaaa","bbb"]')
    found = fitted(full, 15)
    assert found is not None
    assert matches(expression(found.root), '["d","cc"]')
    assert not matches(expression(found.root), '["d","cc","bbb"]')


def test_an_object_keeps_its_least_entries() -> None:
    entry = (Text(), Literals(("1",)))
    optional = tuple(Member(name, Literals(("0",)), required=name == "a") for name in "ab")
    root = Object(members=optional, entries=(entry,), min_properties=4, max_properties=9)
    found = fitted(Grammar(root), 64)
    assert found is not None
    fit = expression(found.root)
    assert matches(fit, '{"a":0,"":1,"":1,"":1}')
    assert matches(fit, '{"a":0,"b":0,"":1,"":1}')
    assert not matches(fit, '{"a":0,"b":0,"":1}')
    assert not matches(fit, '{"a":0,"":1,"":1,"":1,"":1}')


def test_a_pattern_still_matches_something() -> None:
    full = grammar({"a": r"str(pattern='^(abc|de)+$')", "b": r"str(pattern='^x{20}y*$')"})
    found = fitted(full, 100)
    assert found is not None and isinstance(found.root, Object)
    a, b = (member.node for member in found.root.members)
    assert isinstance(a, Text) and isinstance(b, Text)
    assert a.max_length is not None and b.max_length is not None
    assert a.max_length >= 2 and b.max_length >= 20
    assert shortest(expression(found.root)) is not None
    assert 60 < len(longest_text(expression(found.root))) <= 100
    assert fitted(full, 30) is None


@pytest.mark.parametrize(
    ("output_type", "budget"),
    [
        (int, 10),
        (Regex("a+"), 10**6),
        (Choice(["a", "a longer choice"]), 10),
        ({"name": "str", "birth": "datetime"}, 30),
    ],
)
def test_what_cannot_be_shortened_may_not_fit(output_type: Any, budget: int) -> None:
    assert fitted(grammar(output_type), budget) is None


def test_what_has_no_end_has_no_budget() -> None:
    assert least_budget(grammar(Regex("a+")).root) is None
    full = grammar(Any, Limits.none())
    least = least_budget(full.root)
    assert least is not None and fitted(full, least) is not None


class Item(BaseModel):
    name: str
    code: Annotated[str, Field(max_length=2)]


class Order(BaseModel):
    items: list[Item]
    note: str | None = None


def bounds_of(found: Grammar) -> tuple[int, int]:
    """The most characters of an open string and the most items of an open list."""
    assert isinstance(found.root, Object)
    items = found.root.members[0].node
    assert isinstance(items, Array) and isinstance(items.item, Object)
    name = items.item.members[0].node
    assert isinstance(name, Text)
    assert name.max_length is not None and items.max_items is not None
    return name.max_length, items.max_items


def test_strings_and_lists_at_a_fitted_limit_are_named() -> None:
    full = grammar(Order)
    found = fitted(full, 600)
    assert found is not None
    length, count = bounds_of(found)
    assert length > 2 and count > 1
    short, at = '"' + "x" * (length - 1) + '"', '"' + "é" * length + '"'

    def text(*names: str, note: str = "null") -> str:
        items = ",".join(f'{{"name":{name},"code":"ab"}}' for name in names)
        return f'{{"items":[{items}],"note":{note}}}'

    few = [short] * (count - 1)
    assert cut_short(full, found, text(*few)) == ()
    assert cut_short(full, found, text(*few, short)) == ("$.items",)
    assert cut_short(full, found, text(at, note=at)) == ("$.items[0].name", "$.note")
    assert cut_short(full, found, text(*few, at, note=short)) == (
        "$.items",
        f"$.items[{count - 1}].name",
    )
    assert cut_short(full, full, text(*few, at)) == ()
    assert cut_short(full, found, "no JSON") == ()


def fit(root: Node, budget: int) -> tuple[Grammar, Grammar]:
    full = Grammar(root)
    found = fitted(full, budget)
    assert found is not None
    return full, found


def test_the_branch_that_was_written_decides() -> None:
    kept = Object((Member("kind", Literals(('"a"',))), Member("of", Array((), Text(), 0, 1))))
    open_ = Object((Member("kind", Literals(('"b"',))), Member("of", Array(item=Literals(("1",))))))
    full, found = fit(OneOf((kept, open_)), 200)
    assert isinstance(found.root, OneOf)
    grown = found.root.branches[1]
    assert isinstance(grown, Object)
    array = grown.members[1].node
    assert isinstance(array, Array) and array.max_items is not None
    ones = ",".join(["1"] * array.max_items)
    assert cut_short(full, found, f'{{"kind":"b","of":[{ones}]}}') == ("$.of",)
    assert cut_short(full, found, '{"kind":"a","of":["x"]}') == ()
    # As is: where a server adds spaces no branch is known to be the one, so all may be.
    assert cut_short(full, found, f'{{"kind": "b", "of": [{ones}]}}') == ("$.of",)


def test_entries_and_keys_at_a_fitted_limit_are_named() -> None:
    full, found = fit(Object(entries=((Text(), Literals(("1",))),)), 1000)
    assert isinstance(found.root, Object) and isinstance(found.root.entries[0][0], Text)
    length, count = found.root.entries[0][0].max_length, found.root.max_entries
    assert length is not None and count is not None and count > 1
    keys = [f'"{index}":1' for index in range(count)]
    assert cut_short(full, found, f"{{{','.join(keys)}}}") == ("$",)
    assert cut_short(full, found, f"{{{','.join(keys[1:])}}}") == ()
    name = "k" * length
    assert cut_short(full, found, f'{{"{name}":1}}') == (f"$.{name}",)
    # A key that is repeated counts as often as it was written.
    again = ",".join(['"a":1'] * count)
    assert cut_short(full, found, f"{{{again}}}") == ("$",)


def test_a_pattern_that_goes_on_by_more_than_is_left_is_cut() -> None:
    pattern = compiled({"a": "str(pattern='^(abc)*$')"}).constraint
    assert isinstance(pattern, Grammar) and isinstance(pattern.root, Object)
    full, found = fit(pattern.root.members[0].node, 10)
    assert isinstance(found.root, Text)
    assert found.root.max_length in (7, 8)  # of which no text has so many
    assert cut_short(full, found, '"abcabc"') == ("$",)
    assert cut_short(full, found, '"abc"') == ()


def test_a_set_of_all_choices_is_not_cut() -> None:
    full = grammar(set[Literal["a", "b", "c"]])
    found = fitted(full, 10)
    assert found is not None
    assert cut_short(full, found, '["a","b"]') == ("$",)
    roomy = fitted(full, 100)
    assert roomy is not None
    assert cut_short(full, roomy, '["a","b","c"]') == ()
