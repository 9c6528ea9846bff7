"""A real instruct model in vLLM, made one that reasons; its process is killed in the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.engines.test_same_answer import CITIES, NAMES, Ticket
from tests.vllm.conftest import SMALL
from typedllm import LLM, EngineError, Sampling

pytestmark = pytest.mark.slow
ROWS = 24
# As Qwen's template has it: who does not want reasoning gets an empty one.
QUIET = (
    "{% if add_generation_prompt and '/no_think' in messages[0]['content'] %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def reasoning_folder(smollm2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2, two of whose unused tokens are the marks of reasoning."""
    folder = tmp_path_factory.mktemp("smollm2")
    for path in smollm2_folder.iterdir():
        if path.name.startswith("tokenizer") or path.suffix == ".jinja":
            shutil.copy(path, folder)
        else:
            (folder / path.name).symlink_to(path)
    tokenizer = folder / "tokenizer.json"
    text = tokenizer.read_text("utf-8")
    for old, new in (("<repo_name>", "<think>"), ("<file_sep>", "</think>")):
        assert f'"{old}"' in text
        text = text.replace(f'"{old}"', f'"{new}"')
    tokenizer.write_text(text, "utf-8")
    config = folder / "tokenizer_config.json"
    settings = json.loads(config.read_text("utf-8"))
    template = folder / "chat_template.jinja"
    if template.exists():
        template.write_text(template.read_text("utf-8") + QUIET, "utf-8")
    else:
        settings["chat_template"] += QUIET
    text = json.dumps(settings)
    config.write_text(
        text.replace("<repo_name>", "<think>").replace("<file_sep>", "</think>"), "utf-8"
    )
    return folder


@pytest.fixture(scope="module")
def llm(reasoning_folder: Path):
    options: dict[str, Any] = {
        "dtype": "bfloat16",
        "reasoning_parser": "deepseek_r1",
        "max_model_len": 2048,
        **SMALL,
    }
    with LLM(f"vllm:{reasoning_folder}", engine_args=options) as llm:
        yield llm


def texts(count: int) -> list[str]:
    return [
        f"{NAMES[n % len(NAMES)]} from {CITIES[n % len(CITIES)]}: my order {n} is late."
        for n in range(count)
    ]


def test_every_row_of_a_real_instruct_model_is_valid(llm: LLM):
    results = llm.batch(texts(ROWS), Ticket, system="/no_think", sampling=Sampling(max_tokens=48))
    assert all(isinstance(result.unwrap(), Ticket) for result in results)
    assert all(result.usage.output_tokens <= 48 for result in results)
    assert {result.finish_reason for result in results} <= {"stop", "landing"}
    assert len({result.raw for result in results}) > ROWS / 2  # it reads what it is given
    assert all(not result.reasoning for result in results)


def test_a_model_that_reasons_does_so_first_and_still_ends_in_time(llm: LLM):
    results = llm.batch(texts(6), Ticket, sampling=Sampling(max_tokens=150))
    for result in results:
        assert isinstance(result.unwrap(), Ticket)
        assert result.reasoning
        assert result.usage.output_tokens <= 150
        assert result.confidence is not None
        assert set(result.confidence) >= {"$", "$.topic", "$.refund"}


def test_the_rows_that_were_answered_are_kept_when_the_process_is_killed(llm: LLM):
    started = threading.Event()

    def kill() -> None:
        started.wait(100)
        for process in psutil.Process().children(recursive=True):
            if "EngineCore" in process.name() or "EngineCore" in " ".join(process.cmdline()):
                os.kill(process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    rows = [*(f"{n}?" for n in range(8)), *texts(150)]
    results = []
    for result in llm.iter_batch(
        rows, Ticket, system="/no_think", sampling=Sampling(max_tokens=40)
    ):
        results.append(result)
        started.set()
    killer.join()
    assert len(results) == len(rows)
    answered = [result for result in results if result.ok]
    lost = [result for result in results if not result.ok]
    assert answered
    assert lost
    assert all(isinstance(result.error, EngineError) for result in lost)
    before = time.monotonic()
    error = llm.run("And now?", int).error
    assert isinstance(error, EngineError)
    assert "open" in str(error)
    assert time.monotonic() - before < 10
