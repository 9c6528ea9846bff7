"""`typedllm batch` as a process: stopped by Ctrl-C, killed at any moment, and run again."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest

from typedllm.batch.journal_report import status
from typedllm.errors import JournalError

ROOT = Path(__file__).resolve().parents[2]
ROWS = 1500
TEXTS = [f"My card {number} is lost. Was there a fee?" for number in range(ROWS)]
TOPICS = ["card", "fees", "transfer"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals"),
]


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """The embedded model asked about the texts, greedily."""
    (folder / "in.csv").write_text("\n".join(["text", *TEXTS]))
    command = [sys.executable, "-m", "typedllm", "batch", "in.csv", "--temperature", "0"]
    command += ["--type", json.dumps({"topic": TOPICS, "urgent": "bool"}), *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
    )


def finished(journal: Path) -> int:
    """How many rows the journal of a running batch has."""
    try:
        return status(journal).valid
    except JournalError:  # not made yet
        return 0


def wait_for(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    while process.poll() is None and not reached():
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()


def answers(path: Path) -> list[list[str]]:
    """What is in each row, but for the confidence, whose last digit a batch of other rows moves."""
    with path.open(encoding="utf-8", newline="") as file:
        return [[*row[:3], *row[4:]] for row in csv.reader(file)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(folder, "--out", "out.csv")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"{ROWS:,} of {ROWS:,} rows (100%)" in error
    found = answers(folder / "out.csv")
    assert found[0] == ["text", "topic", "urgent", "clipped", "error"]
    assert [row[0] for row in found[1:]] == TEXTS
    return found


def test_killed_in_the_middle_and_run_again(undisturbed: list[list[str]], tmp_path: Path) -> None:
    journal, chance = tmp_path / "run.db", random.Random(5)
    options = ["--out", "out.csv", "--journal", "run.db"]
    kept = 0
    for _ in range(3):
        process = start(tmp_path, *options)
        least = kept + chance.randrange(1, 300)
        wait_for(process, lambda least=least: finished(journal) >= least)
        process.kill()
        process.communicate(timeout=60)
        assert not (tmp_path / "out.csv").exists()
        kept = finished(journal)
        assert kept >= least  # nothing that was finished is lost
    process = start(tmp_path, *options)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"not asked: journal {kept:,}" in error
    assert answers(tmp_path / "out.csv") == undisturbed
    assert not (tmp_path / "out.part.csv").exists()
    assert finished(journal) == ROWS


def test_ctrl_c_says_how_to_go_on(undisturbed: list[list[str]], tmp_path: Path) -> None:
    options = ["--out", "out.csv", "--journal", "run.db", "--quiet"]
    process = start(tmp_path, *options)
    wait_for(process, lambda: finished(tmp_path / "run.db") >= 30)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error == "interrupted; what is finished is in run.db: to go on, run the same again\n"
    process = start(tmp_path, *options)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, "")
    assert answers(tmp_path / "out.csv") == undisturbed


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_ctrl_c_without_a_journal_keeps_what_is_written(ending: str, tmp_path: Path) -> None:
    part = tmp_path / f"out.part.{ending}"
    process = start(tmp_path, "--out", f"out.{ending}", "--quiet")
    wait_for(process, part.exists)  # which is made when the first answer is there
    time.sleep(0.5)  # for some more
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error == (
        f"interrupted; the rows so far are in {part};"
        " with --journal FILE the same command would go on\n"
    )
    read = pyarrow.csv.read_csv if ending == "csv" else pyarrow.parquet.read_table
    found = read(part)
    assert 1 <= found.num_rows < ROWS
    assert found["text"].to_pylist() == TEXTS[: found.num_rows]
    assert set(found["topic"].to_pylist()) <= set(TOPICS)
    assert not (tmp_path / f"out.{ending}").exists()


def test_the_example_runs() -> None:
    command = ["sh", str(ROOT / "examples" / "batch.sh"), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "rows: 300" in done.stdout
    assert "300 of 300 rows (100%), not asked: journal 100" in done.stderr
    assert "300 rows are in" in done.stderr
