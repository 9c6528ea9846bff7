"""Judging, row by row, as far as it is there."""
# ruff: noqa: N802 - a test is named as its row

from __future__ import annotations

import json

from pydantic import BaseModel

from typedllm import LLM, parse


class Verdict(BaseModel):
    strengths: str
    score: int


def test_J8_raw_string_or_parsed_object() -> None:
    with LLM("embedded") as llm:
        result = llm.run("Judge this answer: Paris is in France.", Verdict)
    assert isinstance(result.value, Verdict)
    assert isinstance(result.raw, str) and json.loads(result.raw) == result.value.model_dump()
    assert parse(result.raw, Verdict).value == result.value  # and back, from raw text alone
