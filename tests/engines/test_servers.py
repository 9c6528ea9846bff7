"""Model servers: their command lines; real little servers, started, waited for and ended whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from typedllm.engines import server_commands
from typedllm.engines.server_commands import ServerCommand, server_command
from typedllm.engines.servers import Server
from typedllm.errors import EngineError, MissingDependency, UsageError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs sessions of processes")

# Answers like a model server, after a start like one's: with a child, which ignores SIGTERM.
SERVING = """
import json, signal, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child])

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"data": [{"id": "served"}]}).encode()
        self.send_response(200 if self.path in ("/health", "/v1/models") else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""
SILENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
time.sleep(600)
"""


def command(script: str, *, host: str = "127.0.0.1") -> ServerCommand:
    port = server_commands.bound_port(host, 0)
    return ServerCommand(
        arguments=(sys.executable, "-c", script, host, str(port)), host=host, port=port, model="m"
    )


def session(leader: int) -> list[int]:
    """The living processes of the session that a process led."""
    found: list[int] = []
    for process in psutil.process_iter():
        try:
            alive = process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
            if alive and os.getsid(process.pid) == leader:
                found.append(process.pid)
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
    return found


def leader_of(server: Server) -> int:
    return server._process.pid


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    gone = server_commands._GPU_TOOLS
    monkeypatch.setattr(shutil, "which", lambda name: None if name in gone else which(name))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")


VLLM = (
    f"{sys.executable} -m vllm.entrypoints.openai.api_server --model M --host 127.0.0.1 --port 9000"
)
SGLANG = f"{sys.executable} -m sglang.launch_server --model-path M --host 127.0.0.1 --port 9000"
TRTLLM = "trtllm-serve M --host 127.0.0.1 --port 9000"
GUIDED = [
    "--structured-outputs-config",
    '{"backend": "guidance", "disable_any_whitespace": true}',
    "--logits-processors",
    "typedllm.engines.vllm_landing:LandingProcessor",
]
YAML = Path(server_commands.__file__).with_name("trtllm.yaml")
COMPACT = "--grammar-backend llguidance --constrained-json-disable-any-whitespace"


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("vllm", 1, 1), [*VLLM.split(), *GUIDED]),
        (("vllm", 4, 1), [*VLLM.split(), "--tensor-parallel-size", "4", *GUIDED]),
        (
            ("vllm", 1, 2),
            f"{VLLM} --pipeline-parallel-size 2 --distributed-executor-backend ray".split()
            + GUIDED,
        ),
        (("sglang", 1, 1), f"{SGLANG} --tp 1 --nnodes 1 {COMPACT}".split()),
        (("sglang", 4, 1), f"{SGLANG} --tp 4 --nnodes 1 {COMPACT}".split()),
        (
            ("trtllm", 1, 1),
            [*f"{TRTLLM} --tp_size 1 --extra_llm_api_options".split(), str(YAML)],
        ),
        (
            ("trtllm", 8, 2),
            [
                *f"mpirun -n 16 trtllm-llmapi-launch {TRTLLM} --tp_size 16".split(),
                *("--extra_llm_api_options", str(YAML)),
            ],
        ),
    ],
)
def test_the_command_lines(given: tuple[str, int, int], expected: list[str]) -> None:
    kind, gpus, nodes = given
    made = server_command("M", kind, gpus=gpus, nodes=nodes, port=9000)  # type: ignore[arg-type]
    assert list(made.arguments) == expected
    assert YAML.read_text().splitlines()[-1] == "guided_decoding_backend: llguidance"
    assert dict(made.environment) == ({"VLLM_USE_V2_MODEL_RUNNER": "0"} if kind == "vllm" else {})


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("vllm", f"{VLLM} --dtype half"),
        ("sglang", f"{SGLANG} --tp 1 --nnodes 1 --dtype half"),
        ("trtllm", f"{TRTLLM} --tp_size 1 --dtype half"),
    ],
)
def test_unguided_is_the_servers_own_defaults(kind: str, expected: str) -> None:
    made = server_command("M", kind, port=9000, guided=False, extra=["--dtype", "half"])  # type: ignore[arg-type]
    assert " ".join(made.arguments) == expected
    assert made.environment == {}


@pytest.mark.usefixtures("gpu")
def test_sglang_on_several_nodes_needs_an_address() -> None:
    with pytest.raises(UsageError, match=r"--dist-init-addr HOST:PORT"):
        server_command("M", "sglang", gpus=2, nodes=2)
    for extra in (["--dist-init-addr", "a:5000"], ["--dist-init-addr=a:5000"]):
        made = server_command("M", "sglang", gpus=2, nodes=2, port=9000, extra=extra)
        words = f"{SGLANG} --tp 4 --nnodes 2 --node-rank 0 {COMPACT}".split()
        assert list(made.arguments) == [*words, *extra]


@pytest.mark.usefixtures("no_gpu")
def test_vllm_without_a_gpu() -> None:
    made = server_command("M", port=9000)
    assert list(made.arguments) == [*VLLM.split(), *GUIDED, "--enforce-eager"]
    assert made.environment == {"VLLM_USE_V2_MODEL_RUNNER": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}
    assert "--enforce-eager" not in server_command("M", "sglang", port=9000).arguments


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"server_type": "tgi"}, "vllm, sglang, trtllm"),
        ({"model": ""}, "folder"),
        ({"gpus": 0}, "gpus"),
        ({"nodes": 1.5}, "nodes"),
        ({"port": 70_000}, "port"),
        ({"host": "203.0.113.1"}, "203.0.113.1"),
    ],
)
def test_what_cannot_be_is_found_before_the_start(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        server_command(**{"model": "M", **options})  # type: ignore[arg-type]


def test_what_is_not_installed_is_named() -> None:
    made = server_command("M", "sglang")
    with pytest.raises(MissingDependency, match=r"sglang is not installed.* pip install sglang"):
        Server(made)


def test_a_taken_port_is_found_before_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        made = ServerCommand(
            arguments=(sys.executable, "-c", "pass"), host="127.0.0.1", port=port, model="m"
        )
        with pytest.raises(UsageError, match=f"port {port} of '127.0.0.1'.*in use.*another port"):
            Server(made, log=tmp_path / "log")
    assert not (tmp_path / "log").exists()


@pytest.mark.slow
def test_a_server_answers_and_is_ended_with_its_children(tmp_path: Path) -> None:
    made = command(SERVING)
    with Server(made, log=tmp_path / "log") as server:
        server.wait_until_ready(60)
        assert server.url == f"http://127.0.0.1:{made.port}/v1"
        assert server.model == "served"
        assert len(session(leader_of(server))) == 2
    assert session(leader_of(server)) == []
    server.close()  # a second time does nothing
    assert "GET /health" in server.log.read_text()


def test_a_log_has_a_folder_of_its_own() -> None:
    with Server(command("print('started', flush=True); import time; time.sleep(600)")) as server:
        while not server.log.stat().st_size:
            time.sleep(0.01)
        assert server.log.read_text() == "started\n"
        assert server.log.parent.stat().st_mode & 0o077 == 0
    shutil.rmtree(server.log.parent)


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")])
def test_the_url_can_be_connected_to(host: str, shown: str, tmp_path: Path) -> None:
    if ":" in host and not _has_ipv6():
        pytest.skip("no IPv6 on this system")
    made = command("import time; time.sleep(600)", host=host)
    with Server(made, log=tmp_path / "log") as server:
        assert server.url == f"http://{shown}:{made.port}/v1"


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.slow
def test_a_proxy_of_the_environment_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with Server(command(SERVING), log=tmp_path / "log") as server:
        server.wait_until_ready(60)


@pytest.mark.parametrize(
    ("printed", "advice"),
    [
        ("RuntimeError: CUDA out of memory. Tried to allocate 2 GiB", "smaller model"),
        ("OSError: x is not a local folder and is not a valid model identifier", "no such model"),
        ("error: unrecognized arguments: --fast", "does not take one of the arguments"),
        ("OSError: [Errno 98] Address already in use", "another one"),
    ],
)
def test_a_server_that_dies_is_an_error_with_its_log(
    printed: str, advice: str, tmp_path: Path
) -> None:
    lines = "".join(f"print('line {number}');" for number in range(30))
    script = f"{lines}print({printed!r}); print('\\x1b[31mred'); raise SystemExit(3)"
    server = Server(command(script), log=tmp_path / "log")
    with pytest.raises(EngineError) as caught:
        server.wait_until_ready(60)
    said, *tail = str(caught.value).splitlines()
    assert said.startswith("the server ended with status 3 before it was ready; ")
    assert advice in said
    assert said.endswith(f"its log: {tmp_path / 'log'}")
    assert len(tail) == 20
    assert tail[-2:] == [printed, "\\x1b[31mred"]


def test_the_cause_is_shown_where_it_is_far_from_the_end(tmp_path: Path) -> None:
    lines = "".join(f"print('line {number}');" for number in range(30))
    script = f"print('ImportError: tried'); print('ValueError: the cause'); {lines}"
    server = Server(command(script), log=tmp_path / "log")
    with pytest.raises(EngineError) as caught:
        server.wait_until_ready(60)
    said, cause, *tail = str(caught.value).splitlines()
    assert said == f"the server ended with status 0 before it was ready; its log: {server.log}"
    assert cause == "ValueError: the cause"
    assert tail == [f"line {number}" for number in range(10, 30)]


def test_a_server_that_is_killed_may_have_had_no_memory(tmp_path: Path) -> None:
    script = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    server = Server(command(script), log=tmp_path / "log")
    with pytest.raises(EngineError, match=r"signal 9 \(Killed\).*out of memory"):
        server.wait_until_ready(60)


@pytest.mark.slow
def test_a_server_that_ends_later_is_an_error(tmp_path: Path) -> None:
    with Server(command(SERVING), log=tmp_path / "log") as server:
        server.wait_until_ready(60)
        killing = threading.Timer(0.2, os.kill, (leader_of(server), signal.SIGTERM))
        killing.start()
        with pytest.raises(EngineError, match="ended by itself with signal 15"):
            server.wait()
    assert session(leader_of(server)) == []


@pytest.mark.slow
def test_a_server_that_is_not_ready_in_time_is_ended(tmp_path: Path) -> None:
    server = Server(command(SILENT), log=tmp_path / "log")
    started = time.monotonic()
    with pytest.raises(EngineError, match=r"not ready after 0\.5 s"):
        server.wait_until_ready(0.5)
    assert time.monotonic() - started < 10
    assert session(leader_of(server)) == []


def test_a_server_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typedllm.engines.servers._GRACE_S", 0.2)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SERVING
    with Server(command(deaf), log=tmp_path / "log") as server:
        server.wait_until_ready(60)
    assert session(leader_of(server)) == []


@pytest.fixture
def interrupted_after() -> Iterator[Callable[[float], None]]:
    timers: list[threading.Timer] = []

    def after(seconds: float) -> None:
        timers.append(threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)))
        timers[-1].start()

    yield after
    for timer in timers:
        timer.join()


@pytest.mark.slow
def test_ctrl_c_while_it_waits_ends_it(
    tmp_path: Path, interrupted_after: Callable[[float], None]
) -> None:
    server = Server(command(SILENT), log=tmp_path / "log")
    interrupted_after(0.3)
    with pytest.raises(KeyboardInterrupt):
        server.wait_until_ready(60)
    assert session(leader_of(server)) == []


def test_a_second_ctrl_c_kills_it_at_once(
    tmp_path: Path, interrupted_after: Callable[[float], None]
) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SERVING
    server = Server(command(deaf), log=tmp_path / "log")
    server.wait_until_ready(60)
    started = time.monotonic()
    interrupted_after(0.3)
    with pytest.raises(KeyboardInterrupt):
        server.close()
    assert time.monotonic() - started < 5
    assert session(leader_of(server)) == []


@pytest.mark.slow
def test_a_program_that_ends_takes_its_server_along(tmp_path: Path) -> None:
    made = command(SERVING)
    script = f"""
import os
from pathlib import Path
from typedllm.engines.server_commands import ServerCommand
from typedllm.engines.servers import Server
server = Server(
    ServerCommand(arguments={made.arguments!r}, host="127.0.0.1", port={made.port}, model="m"),
    log=Path({str(tmp_path / "log")!r}),
)
server.wait_until_ready(60)
if os.fork() == 0:
    raise SystemExit  # a fork that ends is no reason to end the server
os.wait()
print(server._process.pid, server._process.poll(), flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    leader, status = done.stdout.split()
    assert status == "None"
    assert session(int(leader)) == []


def test_the_callers_environment_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAKEN", "theirs")
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    made = command(script)
    made = ServerCommand(
        arguments=made.arguments,
        host=made.host,
        port=made.port,
        model="m",
        environment={"TAKEN": "ours", "FREE": "ours"},
    )
    with Server(made, log=tmp_path / "log") as server, pytest.raises(EngineError):
        server.wait()
    seen = json.loads(server.log.read_text())
    assert (seen["TAKEN"], seen["FREE"]) == ("theirs", "ours")
