"""The command line as a process of its own: pipes, terminals, Ctrl-C; the demo and quickstart."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from typedllm.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
MESSAGES = ROOT / "examples" / "data" / "messages.csv"
TYPEDLLM = [sys.executable, "-m", "typedllm"]
TOPIC = ["--column", "text", "--spec", '{"topic": ["card", "fees"]}']

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals, terminals")


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.stderr
    return result.stdout


def start(*arguments: str | Path, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    command = [*TYPEDLLM, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=stdout, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True, cwd=ROOT
    )


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Runs the command line with a terminal for output and errors; returns what that shows."""
    import pty

    def run(*arguments: str | Path, status: int = 0) -> str:
        ours, theirs = pty.openpty()
        found: list[bytes] = []
        reader = threading.Thread(target=lambda: found.extend(read_all(ours)))
        reader.start()
        with os.fdopen(theirs, "w") as screen, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", screen)
            patch.setattr(sys, "stderr", screen)
            with pytest.raises(SystemExit) as ended:
                app([str(argument) for argument in arguments])
        reader.join()
        os.close(ours)
        assert ended.value.code == status
        return b"".join(found).decode()

    yield run


def read_all(descriptor: int) -> Iterator[bytes]:
    try:
        while data := os.read(descriptor, 4096):
            yield data
    except OSError:  # how Linux says that the other end is closed
        return


@pytest.mark.slow
def test_the_embedded_model_answers_with_confidence() -> None:
    process = start("extract", "-", "--spec", "person")
    out, error = process.communicate("Ada Lovelace is 36 years old.")
    assert (process.returncode, error) == (0, "")
    row = json.loads(out)
    assert list(row) == ["text", "name", "age", "email", "occupation", "confidence"]
    assert set(row["confidence"]) == {"$", "$.name", "$.age", "$.email", "$.occupation"}
    assert all(0 <= probability <= 1 for probability in row["confidence"].values())


def test_the_status_is_1_when_a_row_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,n\nx,1\n"y" z,2\n')
    process = start("extract", path, *TOPIC, "--model", "scripted")
    out, error = process.communicate()
    assert process.returncode == 1
    assert len(out.splitlines()) == 2
    assert error == "1 of 2 rows failed; their error says why\n"


def test_a_reader_that_leaves_early_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\n" + "x\n" * 5000)
    process = start("extract", path, *TOPIC, "--model", "scripted")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["text"] == "x"
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait() == 1


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "My card is lost."}\n' * 20_000)
    out = tmp_path / "out.jsonl"
    process = start("extract", path, *TOPIC, "--out", out)
    while process.poll() is None and not (out.exists() and out.stat().st_size):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error == "interrupted; the rows written so far are whole\n"
    lines = out.read_text().splitlines()
    assert 1 <= len(lines) < 20_000
    assert all("topic" in json.loads(line) for line in lines)


def test_a_terminal_gets_tables(terminal: Callable[..., str]) -> None:
    text = terminal("extract", MESSAGES, *TOPIC, "--model", "scripted", "--limit", "3")
    assert "topic" in text and "─" in text
    text = terminal("explain", "person")
    assert "how it holds" in text and "ending: landing" in text
    text = terminal("extract", "x", "--spec", "{'n': 'int'}", "--max-tokens", "1", status=1)
    assert "max_tokens is 1" in text


def test_a_file_gets_a_bar_on_the_terminal(terminal: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    text = terminal("extract", MESSAGES, *TOPIC, "--model", "scripted", "--out", out)
    assert "300/300" in text
    assert len(out.read_text().splitlines()) == 301


def test_confidence_is_shown_in_every_form() -> None:
    line = invoke("extract", "I am 36 years old.", "--spec", '{"age": "int"}')
    sure = json.loads(line)["confidence"]
    assert set(sure) == {"$", "$.age"}
    line = invoke("extract", "I am 36.", "--spec", "int", "--format", "csv").splitlines()[1]
    assert 0 <= float(line.split(",")[-3]) <= 1
    assert "%" in invoke("extract", "I am 36.", "--spec", "int", "--format", "table")


def test_the_messages_are_whole() -> None:
    with MESSAGES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["id"] for row in rows}) == len(rows) == 300
    assert all(row["text"] and row["category"] for row in rows)


@pytest.mark.slow
def test_the_quickstart_runs() -> None:
    path = ROOT / "examples" / "quickstart.py"
    assert len(path.read_text().splitlines()) < 60
    command = [sys.executable, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "Invoice(vendor=" in done.stdout
    assert "engine: embedded" in done.stdout


@pytest.mark.slow
def test_the_demo_runs() -> None:
    command = ["sh", str(ROOT / "examples" / "demo.sh"), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("$ typedllm extract") == 2
    assert "currency" in done.stdout
