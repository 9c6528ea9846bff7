"""`typedllm batch` as a process: stopped by Ctrl-C, killed at any moment, and run again."""

from __future__ import annotations

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
MESSAGES = ROOT / "examples" / "data" / "messages.csv"
ROWS = 300
SPEC = '{"topic": ["card", "fees", "transfer"], "urgent": "bool"}'

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals"),
]


def start(folder: Path, *options: str, rows: Path = MESSAGES) -> subprocess.Popen[str]:
    """The embedded model asked about the messages, greedily, with a journal or without."""
    command = [sys.executable, "-m", "typedllm", "batch", str(rows), "--column", "text"]
    command += ["--type", SPEC, "--temperature", "0", *options]
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


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(folder, "--out", "out.csv")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"{ROWS} of {ROWS} rows (100%)" in error
    return (folder / "out.csv").read_bytes()


def test_killed_in_the_middle_and_run_again(undisturbed: bytes, tmp_path: Path) -> None:
    journal, chance = tmp_path / "run.db", random.Random(5)
    options = ["--out", "out.csv", "--journal", "run.db"]
    kept = 0
    for _ in range(3):
        process = start(tmp_path, *options)
        least = kept + chance.randrange(20, 80)
        wait_for(process, lambda least=least: finished(journal) >= least)
        process.kill()
        process.communicate(timeout=60)
        assert not (tmp_path / "out.csv").exists()
        assert finished(journal) >= least  # nothing that was reported is lost
        kept = finished(journal)
    process = start(tmp_path, *options)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"not asked: journal {kept}" in error
    assert (tmp_path / "out.csv").read_bytes() == undisturbed
    assert not (tmp_path / "out.part.csv").exists()
    assert finished(journal) == ROWS


def test_ctrl_c_says_how_to_go_on(undisturbed: bytes, tmp_path: Path) -> None:
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
    assert (tmp_path / "out.csv").read_bytes() == undisturbed


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_ctrl_c_without_a_journal_keeps_what_is_written(ending: str, tmp_path: Path) -> None:
    rows, part = tmp_path / "in.csv", tmp_path / f"out.part.{ending}"
    texts = [f"My card {number} is lost." for number in range(3000)]
    rows.write_text("\n".join(["text", *texts]))
    process = start(tmp_path, "--out", f"out.{ending}", "--quiet", rows=rows)
    wait_for(process, part.exists)  # which is made when the first answer is there
    time.sleep(0.5)  # for some more
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    read = pyarrow.csv.read_csv if ending == "csv" else pyarrow.parquet.read_table
    found = read(part)
    assert 1 <= found.num_rows < 3000
    assert error == (
        f"interrupted; the first {found.num_rows:,} rows are in {part};"
        " with --journal FILE the same command would go on\n"
    )
    assert found["text"].to_pylist() == texts[: found.num_rows]
    assert set(found["topic"].to_pylist()) <= {"card", "fees", "transfer"}
    assert not (tmp_path / f"out.{ending}").exists()
