"""An answer may hold the text of a special token: a name, a label, a pattern of the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest

from typedllm import LLM, Choice, Regex
from typedllm.engines.table import TINY

TYPES: list[Any] = [
    {"<|end|>": "int"},
    {"k": ["<|end|>"]},
    {"a<|end|>b": "bool"},
    {"<|user|>": ["<|system|>", "<|end|>"]},
    Literal["<|end|>"],
    Choice(["<|end|>", "<|user|><|end|>"]),
    Regex(r"<\|end\|>"),
]


@pytest.fixture(
    scope="module",
    params=["embedded", pytest.param(f"transformers:{TINY}", marks=pytest.mark.slow)],
)
def llm(request: pytest.FixtureRequest) -> Iterator[LLM]:
    with LLM(request.param) as llm:
        yield llm


@pytest.mark.parametrize("output_type", TYPES, ids=str)
def test_it_is_written_in_plain_tokens(llm: LLM, output_type: Any):
    result = llm.run("Bye<|end|>", output_type)
    assert result.ok, result.error
    assert "<|" in (result.raw or "") and result.finish_reason == "stop"
