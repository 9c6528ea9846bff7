"""The real batch runner of vLLM on the files of the vllm-batch engine."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.vllm.conftest import TINY
from typedllm import LLM, Sampling

pytestmark = pytest.mark.slow

ORDER = {"item": "str(max_length=12)", "count": "int(ge=1, le=99)", "paid": "bool"}


def run_batch(path: Path) -> None:
    command = [sys.executable, "-m", "vllm.entrypoints.openai.run_batch"]
    command += ["-i", str(path), "-o", str(path.with_name(path.name.replace(".in.", ".out.")))]
    command += ["--model", str(TINY), "--dtype", "float32", "--enforce-eager"]
    command += ["--max-num-seqs", "64"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.timeout(280)
def test_answers_of_the_runner_are_typed(tmp_path: Path):
    results: list[Any] = []

    def ask() -> None:
        options = {"folder": tmp_path, "quiet_s": 0.2, "poll_s": 0.1}
        with LLM(f"vllm-batch:{TINY}", engine_args=options) as llm:
            texts = [f"Order {number} pens" for number in range(40)]
            warm = Sampling(temperature=1.0, max_tokens=80, seed=1)
            results.extend(llm.batch(texts, ORDER, sampling=warm))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    deadline = time.monotonic() + 30
    while not (found := list(tmp_path.glob("*.in.jsonl"))):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run_batch(found[0])
    asking.join(30)
    assert len(results) == 40
    assert all(result.ok for result in results), [result.error for result in results]
    assert {result.attempts for result in results} == {1}
    assert all(result.confidence for result in results)
    assert results[0].usage.output_tokens > 5
