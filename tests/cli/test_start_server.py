"""`typedllm start-server` as a process of its own: what it prints, how it ends, what it leaves."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from tests.processes import left_of
from typedllm.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
START = [sys.executable, "-m", "typedllm", "start-server"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

# In the place of `trtllm-serve`: this tests the command, not that server.
STAND_IN = """#!{python}
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

if sys.argv[1] == "broken":
    sys.exit("No such option: --wrong")

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "bin" / "trtllm-serve"
    script.parent.mkdir()
    script.write_text(STAND_IN.format(python=sys.executable))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    """Starts the command with a free port; ends it in any case."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [*START, "--port", "0", "--log", str(tmp_path / "log"), *arguments]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT))
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)


def server_of(process: subprocess.Popen[str]) -> int:
    (child,) = psutil.Process(process.pid).children()
    assert os.getsid(child.pid) == child.pid
    return child.pid


def test_a_dry_run_is_a_line_for_a_shell() -> None:
    command = ["start-server", "--model", "a b", "--port", "9000", "--dry-run"]
    result = CliRunner().invoke(app, [*command, "--gpus", "2", "--", "--max-model-len", "4096"])
    assert result.exit_code == 0
    assert result.stderr == ""
    (line,) = result.stdout.splitlines()
    words = shlex.split(line)
    assert words[:2] == ["env", "VLLM_USE_V2_MODEL_RUNNER=0"]
    start = words.index(sys.executable)
    module = ["-m", "vllm.entrypoints.openai.api_server", "--model", "a b"]
    assert words[start + 1 : start + 5] == module
    assert words[-2:] == ["--max-model-len", "4096"]
    result = CliRunner().invoke(app, [*command, "--server-type", "trtllm", "--no-guided"])
    assert result.stdout == "trtllm-serve 'a b' --host 127.0.0.1 --port 9000 --tp_size 1\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--model"),
        (["--model", "m", "--server-type", "tgi"], "'vllm', 'sglang', 'trtllm'"),
        (["--model", "m", "--gpus", "0"], "--gpus"),
        (["--model", "m", "--nodes", "none"], "--nodes"),
        (["--model", "m", "--port", "70000"], "--port"),
        (["--model", "m", "--timeout-s", "0"], "--timeout-s"),
        (["--model", "m", "--host", "203.0.113.1", "--port", "0"], "203.0.113.1"),
        (["--model", "m", "other"], "what is 'other'? The model is --model"),
        (["--model", "m", "--server-type", "sglang", "--nodes", "2"], "--dist-init-addr"),
        (["--model", "m", "--server-type", "sglang", "--port", "0"], "pip install sglang"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["start-server", *arguments])
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert words in line


@pytest.mark.usefixtures("stand_in")
def test_a_taken_port_is_a_mistake() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = ["start-server", "--model", "m", "--server-type", "trtllm", "--port", port]
        result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert f"port {port}" in result.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_it_prints_the_url_and_ends_on_a_signal(
    name: str, status: int, started: Any, tmp_path: Path
) -> None:
    process = started("--model", "m", "--server-type", "trtllm")
    url = process.stdout.readline().strip()
    session = server_of(process)
    process.send_signal(getattr(signal, name))
    out, error = process.communicate(timeout=60)
    assert (out, process.returncode) == ("", status)
    lines = error.splitlines()
    assert lines[:2] == ["waiting for TensorRT-LLM to load m", f"its log: {tmp_path / 'log'}"]
    assert lines[2].startswith("ready after ")
    assert lines[3:] == [f'LLM("openai:m", base_url="{url}")', "the server has ended"]
    assert left_of(session) == []


@pytest.mark.slow
@pytest.mark.usefixtures("stand_in")
def test_a_server_that_fails_is_status_1_with_its_log(started: Any, tmp_path: Path) -> None:
    process = started("--model", "broken", "--server-type", "trtllm")
    out, error = process.communicate(timeout=60)
    assert (out, process.returncode) == ("", 1)
    *_, tail, line = error.splitlines()
    assert tail == "No such option: --wrong"
    assert line == (
        "error: TensorRT-LLM ended with status 1 before it was ready; the server does not take "
        f"one of the arguments; its log: {tmp_path / 'log'}"
    )
