"""Rows in their order: how far is read ahead, and which ids and errors go with them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from typedllm import LLM, Budget, Message, NotAsked, Scripted
from typedllm.cli.ordered import in_order
from typedllm.cli.tables import Row
from typedllm.records import Request


@pytest.mark.slow
def test_no_more_is_read_ahead_than_the_window_holds() -> None:
    read = most = 0

    def rows() -> Iterator[Row]:
        nonlocal read
        for read in range(1, 5001):
            yield Row(text=str(read))

    async def reply(request: Request) -> object:
        nonlocal most
        message = request.prompt[-1]
        assert isinstance(message, Message)
        if message.text == "1":  # which holds up all that are written after it
            last = -1
            while last != read:  # until nothing moves any more
                last = read
                await asyncio.sleep(0.2)
            most = read
        return True

    with LLM(Scripted(reply)) as llm:
        found = [row.text for row, _ in in_order(llm, rows(), bool)]
    assert found == [str(number) for number in range(1, 5001)]
    assert 64 <= most <= 1025  # the next is read before there is room for it


def test_ids_need_not_be_unlike() -> None:
    rows = [Row(text=str(at), id="same") for at in range(200)]
    with LLM(Scripted()) as llm:
        found = list(in_order(llm, rows, bool))
    assert [row for row, _ in found] == rows
    assert {result.id for _, result in found} == {"same"}


def test_a_row_that_cannot_be_read_says_so_when_the_budget_is_spent() -> None:
    rows = [Row(text="one two three"), *(Row(text=str(at)) for at in range(99)), Row(problem="bad")]
    with LLM(Scripted(capacity=1)) as llm:
        found = list(in_order(llm, rows, bool, budget=Budget(tokens=1)))
    first, *others, last = [result for _, result in found]
    assert first.ok
    assert all(isinstance(result.error, NotAsked) for result in others)
    assert str(last.error) == "bad"
