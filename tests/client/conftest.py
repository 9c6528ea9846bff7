"""The packaged model, opened once for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from typedllm import LLM


@pytest.fixture(scope="module")
def embedded_llm() -> Iterator[LLM]:
    with LLM("embedded") as llm:
        yield llm
