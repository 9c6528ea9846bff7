"""Of an answer that is not valid, only the bad parts are asked for again; the good ones stay."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, PositiveInt, model_validator

from typedllm import LLM, Invalid, JsonSchema, PromptTooLong, Sampling, Scripted
from typedllm.attempts import Policy
from typedllm.constraints.dialect import Lowered
from typedllm.engines.scripted import TRAITS
from typedllm.records import Completion, Message, Request, Traits, Usage

ASKED = Traits(name="asked", takes=frozenset(), ending="may be cut", logprobs=False)
STRICT = Traits(
    name="strict",
    takes=frozenset({JsonSchema}),
    ending="may be cut",
    logprobs=False,
    dialect="openai",
)


class Item(BaseModel):
    sku: str
    price: Decimal = Field(ge=0)
    note: str | None = None


class Customer(BaseModel):
    name: str
    age: int


class Order(BaseModel):
    customer: Customer
    items: list[Item]
    paid: bool = False


def answers(
    replies: Sequence[object], output_type: Any, traits: Traits = ASKED, repairs: int = 2
) -> tuple[Any, list[Request]]:
    """The result of a call on an engine that gives these replies, and what it was sent."""
    engine = Scripted(list(replies), traits=traits)
    result = LLM(engine, policy=Policy(repairs=repairs)).run("Read this.", output_type)
    return result, engine.requests


def told(request: Request) -> list[str]:
    """The turns after the first two."""
    assert isinstance(request.prompt[0], Message)
    return [part.text for part in request.prompt[2:]]


def test_only_the_bad_item_is_asked_for_and_the_others_stay_as_they_were():
    first = '[{"sku":"a","price":1.10},{"sku":"b","price":-1},{"sku":"c","price":3}]'
    result, sent = answers([first, {"part1": {"sku": "b", "price": 2}}], list[Item])
    assert result.value == [
        Item(sku="a", price=Decimal("1.10")),
        Item(sku="b", price=Decimal(2)),
        Item(sku="c", price=Decimal(3)),
    ]
    assert result.raw == first.replace('{"sku":"b","price":-1}', '{"sku":"b","price":2}')
    assert result.coercions == ("took the part $[1] from a later answer",)
    assert result.attempts == 2 == len(sent)
    shown, asked = told(sent[1])
    assert json.loads(shown) == json.loads(first)
    assert "part1, in place of $[1]:" in asked and "$[1].price: expected" in asked
    assert "$[0]" not in asked


def test_a_bad_member_is_asked_for_where_others_hold_much():
    items = [{"sku": f"s{n}", "price": n} for n in range(20)]
    first = {"customer": {"name": "Ada", "age": "old"}, "items": items}
    result, sent = answers([first, {"part1": {"name": "Ada", "age": 36}}], Order)
    assert result.value.customer.age == 36
    assert len(result.value.items) == 20
    assert "in place of $.customer" in told(sent[1])[1]


def test_a_missing_member_is_put_in():
    result, _ = answers(
        [{"items": [{"sku": "a", "price": 1}]}, {"part1": {"name": "Ada", "age": 3}}], Order
    )
    assert result.value.customer == Customer(name="Ada", age=3)


@pytest.mark.parametrize(
    "first",
    [
        {"name": "Ada", "age": "old"},  # nothing large to keep
        "no JSON",
        [{"name": "Ada"}],
    ],
)
def test_the_whole_is_asked_for_where_there_is_nothing_to_keep(first: object):
    result, sent = answers([first, {"name": "Ada", "age": 36}], Customer)
    assert result.value == Customer(name="Ada", age=36)
    assert result.coercions == ()
    assert "Answer again, in full" in told(sent[1])[1]


def test_the_whole_is_asked_for_where_a_rule_is_about_all_of_it():
    class Total(BaseModel):
        items: list[int]
        total: int

        @model_validator(mode="after")
        def adds_up(self) -> Total:
            if sum(self.items) != self.total:
                raise ValueError("the items do not add up to the total")
            return self

    good = {"items": [1, 2], "total": 3}
    result, sent = answers([{"items": [1, 2], "total": 4}, good], Total)
    assert result.value.total == 3
    assert "Answer again, in full" in told(sent[1])[1]


def test_parts_that_are_bad_again_are_asked_for_again_and_then_given_up():
    first = [{"sku": "a", "price": 1}, {"sku": "b", "price": -1}, {"sku": "c", "price": -2}]
    second = {"part1": {"sku": "b", "price": 5}, "part2": {"sku": "c", "price": -3}}
    result, sent = answers([first, second, {"part1": {"sku": "c", "price": 6}}], list[Item])
    assert [item.price for item in result.value] == [1, 5, 6]
    assert result.coercions == (
        "took the part $[1] from a later answer",
        "took the part $[2] from a later answer",
    )
    assert "$[1]" not in told(sent[2])[1]
    result, sent = answers([first, second, "nothing"], list[Item])
    assert isinstance(result.error, Invalid)
    assert [issue.path for issue in result.error.issues] == ["$[2].price"]
    assert result.attempts == 3


def test_the_usage_of_all_attempts_is_counted():
    def reply(text: str, tokens: int) -> Completion:
        usage = Usage(input_tokens=10, output_tokens=tokens)
        return Completion(text=text, finish_reason="stop", usage=usage)

    replies = [reply('[1,"x",3]', 5), reply('{"part1":2}', 3)]
    result, _ = answers(replies, list[int])
    assert result.value == [1, 2, 3]
    assert result.usage == Usage(input_tokens=20, output_tokens=8)


def test_an_api_gets_a_schema_of_the_parts_and_its_own_form_of_the_answer():
    first = {"value": [{"sku": "a", "price": "1", "note": None}, {"sku": "b", "price": "-1"}]}
    second = {"part1": {"sku": "b", "price": "2", "note": None}}
    result, sent = answers([first, second], list[Item], STRICT)
    assert [item.price for item in result.value] == [1, 2]
    constraint = sent[1].constraint
    assert isinstance(constraint, Lowered)
    assert list(constraint.schema["properties"]) == ["part1"]
    shown = json.loads(told(sent[1])[0])
    assert list(shown) == ["value"] and len(shown["value"]) == 2


def test_a_grammar_guides_the_parts_too():
    def even(value: int) -> int:
        if value % 2:
            raise ValueError("odd")
        return value

    from typing import Annotated

    from pydantic import AfterValidator

    engine = Scripted(["[2,4,5,8]", '{"part1":6}'], traits=TRAITS)
    result = LLM(engine).run("x", list[Annotated[int, AfterValidator(even)]])
    assert result.value == [2, 4, 6, 8]
    assert engine.requests[1].constraint is not None


@pytest.mark.parametrize("traits", [ASKED, STRICT])
@given(data=st.data())
def test_whatever_is_bad_the_good_items_are_kept(traits: Traits, data: st.DataObject):
    prices = data.draw(st.lists(st.integers(-3, 3), min_size=2, max_size=6))
    if not any(price >= 0 for price in prices) or all(price >= 0 for price in prices):
        return
    items = [
        {"sku": f"s{place}", "price": str(price), "note": None}
        for place, price in enumerate(prices)
    ]

    def reply(request: Request) -> object:
        if len(request.prompt) == 2:
            return {"value": items} if traits is STRICT else items
        bad = [item for item in items if int(item["price"] or 0) < 0]
        # the parts are named in the order of their places
        return {f"part{n}": {**item, "price": "9"} for n, item in enumerate(bad, start=1)}

    result = LLM(Scripted(reply, traits=traits)).run("x", list[Item])
    assert result.attempts == 2
    assert [int(item.price) for item in result.unwrap()] == [p if p >= 0 else 9 for p in prices]
    assert [item.sku for item in result.unwrap()] == [f"s{n}" for n in range(len(prices))]


def test_parts_that_are_cut_spoil_nothing_and_get_more_tokens():
    def cut(text: str) -> Completion:
        return Completion(text=text, finish_reason="length", usage=Usage(output_tokens=5))

    first = [{"sku": "a", "price": 1}, {"sku": "b", "price": -1}]
    replies = [first, cut('{"part1":{"sku":"b"'), {"part1": {"sku": "b", "price": 2}}]
    engine = Scripted(replies, traits=ASKED)
    result = LLM(engine, sampling=Sampling(max_tokens=5)).run("x", list[Item])
    assert [item.price for item in result.unwrap()] == [1, 2]
    assert [request.sampling.max_tokens for request in engine.requests] == [5, 5, 20]


def test_what_asking_for_its_parts_does_not_mend_is_asked_for_as_a_whole():
    good = {"1": [1], "2": [2]}
    result, sent = answers(
        [{"x": [1], "2": [2]}, {"part1": [1]}, good], dict[int, list[int]], repairs=3
    )
    assert result.value == {1: [1], 2: [2]}
    assert "Answer again, in full" in told(sent[2])[1]


def test_what_was_changed_about_the_first_text_is_told_too():
    first = "Here: [{'sku': 'a', 'price': 1}, {'sku': 'b', 'price': -1}]"
    result, _ = answers([first, {"part1": {"sku": "b", "price": 2}}], list[Item])
    assert any("quotes" in step for step in result.coercions)
    assert result.coercions[-1] == "took the part $[1] from a later answer"


def test_a_repair_that_the_model_has_no_room_for_leaves_what_was_wrong():
    too_long = PromptTooLong("the prompt is too long")
    result, sent = answers([[1, "x", 3], too_long], list[int])
    assert isinstance(result.error, Invalid) and len(sent) == 2


def test_labels_are_scored_as_of_the_whole_answer():
    class Ticket(BaseModel):
        topic: Literal["a", "b"]
        notes: list[PositiveInt]

    traits = replace(ASKED, scores=True)

    def reply(request: Request) -> object:
        if request.labels:
            usage = Usage(input_tokens=1)
            return Completion(text="", finish_reason="stop", usage=usage, scores=(-0.1, -2.0))
        if len(request.prompt) == 2:
            return {"topic": "a", "notes": [1, -2, 3]}
        return {"part1": 2}

    engine = Scripted(reply, traits=traits)
    result = LLM(engine).run("x", Ticket, distribution=["$.topic"])
    assert result.unwrap().notes == [1, 2, 3]
    assert engine.requests[-1].labels and engine.requests[-1].prompt == engine.requests[0].prompt


def test_parts_have_names_in_any_script():
    spec = {"नाम": "list[int]", "other": "list[str]"}
    result, sent = answers([{"नाम": [1, "x"], "other": ["a"]}, {"part1": 2}], spec)
    assert result.value == {"नाम": [1, 2], "other": ["a"]}
    assert "in place of $.नाम[1]" in told(sent[1])[1]
