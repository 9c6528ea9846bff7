"""Random weights, temperature 1.5 and 200 tokens: every answer is valid, on each local engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.end_to_end import ENGINES, SPECS, ask, complaints, random_weights
from typedllm import LLM

pytestmark = pytest.mark.slow

ROWS = 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_weights(tmp_path_factory.mktemp("random") / "model")


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_thousand_answers_are_valid(engine: str, folder: Path) -> None:
    async with LLM(f"{engine}:{folder}") as llm:
        assert all(llm.explain(spec).guaranteed for spec in SPECS.values())
        found = await ask(llm, ROWS)
    assert {name: len(results) for name, results in found.items()} == dict.fromkeys(SPECS, ROWS)
    wrong = {name: complaints(results, SPECS[name]) for name, results in found.items()}
    assert wrong == {name: [] for name in SPECS}
    endings = {row.finish_reason for results in found.values() for row in results}
    assert endings == {"stop", "landing"}
