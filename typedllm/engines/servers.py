"""Start a model server of vLLM, SGLang or TensorRT-LLM, wait for it, and end it whole.

A server runs in a session of its own: Ctrl-C in a terminal does not reach it, and whatever
processes it starts can be found and ended with it.
"""

from __future__ import annotations

import atexit
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NoReturn, Self

from typedllm._checks import check_number
from typedllm._terminal import printable
from typedllm.engines.server_commands import ServerCommand, bound_port
from typedllm.errors import EngineError, MissingDependency, UsageError

__all__ = ["Server", "start_server"]

_GRACE_S: Final = 10.0  # for a server that was asked to end
_LEFT_BEHIND_S: Final = 1.0  # for its children, once it has ended
_TAIL_LINES: Final = 20
_TAIL_BYTES: Final = 1 << 20  # of a log, searched for what went wrong
_CAUSE: Final = re.compile(r"\b\w+(Error|Exception): ")  # the last line of a traceback


# What a log says, and what to change; the first that is found counts.
_ADVICE: Final = (
    (r"address already in use", "the port was taken meanwhile: name another one"),
    (
        r"out of memory|OutOfMemory|no available memory for the cache"
        r"|larger than the available KV cache|less than desired GPU memory|bad_alloc",
        "there is not enough memory: take a smaller model, more GPUs, or a shorter context "
        "(--max-model-len of vLLM, --context-length of SGLang, --max_seq_len of TensorRT-LLM)",
    ),
    (
        r"not a valid model identifier|Repository ?Not ?Found|Invalid repository ID"
        r"|is not a local folder|Repo id must|couldn't connect to 'https://huggingface\.co'",
        "there is no such model, or no way to it: name a folder or an id of the Hugging Face hub "
        "(HF_TOKEN opens private ones)",
    ),
    (r"unrecognized arguments|No such option", "the server does not take one of the arguments"),
    (r"No module named 'ray'|ray is not installed", "several nodes need Ray: pip install ray"),
)


class Server:
    """A server process with all its children; as a context manager it closes itself.

    Attributes:
        url: where it answers, ending in `/v1`.
        model: the name that requests give the model.
        log: the file with what it prints.
    """

    def __init__(self, command: ServerCommand, *, log: Path | None = None) -> None:
        """Start the process; it is not ready yet.

        Args:
            command: how.
            log: the file for what it prints, written anew; None for one in a temporary folder.

        Raises:
            UsageError: when the port is taken, or the address is not of this machine.
            MissingDependency: when the server is not installed.
        """
        if os.name != "posix":
            raise UsageError("model servers are started on Linux and macOS only")
        _check_installed(command)
        bound_port(command.host, command.port)
        self._command = command
        # A wildcard is an address to listen on, not one to connect to.
        self._host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(command.host, command.host)
        shown = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"http://{shown}:{command.port}/v1"
        self.model = command.model
        self.log = log or Path(tempfile.mkdtemp(prefix="typedllm-")) / "server.log"
        self._owner = os.getpid()
        self._closed = False
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                command.arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**command.environment, **os.environ},
                start_new_session=True,
            )
        atexit.register(self.close)

    def wait_until_ready(self, timeout_s: float = 600.0) -> None:
        """Wait until the server answers; whatever else happens, it is closed.

        Args:
            timeout_s: seconds to wait at most.

        Raises:
            EngineError: when it ends before, or is not ready in time; with the end of its log.
        """
        try:
            check_number("timeout_s", timeout_s, above_least=True)
            deadline = time.monotonic() + timeout_s
            while self._get("/health") is None:
                if self._process.poll() is not None:
                    raise self._failure(f"ended with {self._status()} before it was ready")
                if time.monotonic() >= deadline:
                    raise self._failure(f"is not ready after {timeout_s:g} s; allow a longer time")
                time.sleep(0.1)
            self.model = self._served_model()
        except BaseException:
            self.close()
            raise

    def wait(self) -> NoReturn:
        """Wait until the server ends by itself, which is an error.

        Raises:
            EngineError: with the end of its log.
        """
        self._process.wait()
        raise self._failure(f"ended by itself with {self._status()}")

    def close(self) -> None:
        """End the server and every process of its session; a second call does nothing."""
        if self._closed or os.getpid() != self._owner:  # a fork's copy has nothing to end
            return
        try:
            # The server alone is asked, as it ends its children in their order.
            self._process.terminate()
            self._process.wait(_GRACE_S)
            deadline = time.monotonic() + _LEFT_BEHIND_S
            while _session(self._process.pid) and time.monotonic() < deadline:
                time.sleep(0.02)
        except subprocess.TimeoutExpired:
            pass  # it is killed below
        finally:  # after a second Ctrl-C, too
            _kill_session(self._process.pid)
            self._process.wait()
            self._closed = True
            atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _get(self, path: str) -> bytes | None:
        """The body of the answer, or None when there is no answer of status 200."""
        # Not urllib, which would ask a proxy that the environment names.
        connection = http.client.HTTPConnection(self._host, self._command.port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.read() if response.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def _served_model(self) -> str:
        """The name the server itself gives the model, which differs with `--served-model-name`."""
        try:
            listed: Any = json.loads(self._get("/v1/models") or "{}")
            return str(listed["data"][0]["id"])
        except (ValueError, LookupError, TypeError):
            return self._command.model

    def _status(self) -> str:
        code = self._process.returncode
        return f"status {code}" if code >= 0 else f"signal {-code} ({signal.strsignal(-code)})"

    def _failure(self, what: str) -> EngineError:
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
        found = (tip for pattern, tip in _ADVICE if re.search(pattern, text, re.IGNORECASE))
        advice = next(found, None)
        if advice is None and self._process.returncode == -signal.SIGKILL:
            advice = "most likely the system ran out of memory: take a smaller model"
        said = f"{self._command.name} {what}{'; ' + advice if advice else ''}; its log: {self.log}"
        lines = text.splitlines()
        # An engine that fails says why before its server does; then that is not in the tail.
        causes = [line for line in lines[:-_TAIL_LINES] if _CAUSE.search(line)]
        tail = map(printable, [*causes[-1:], *lines[-_TAIL_LINES:]])
        return EngineError("\n".join([said, *tail]))


def start_server(
    command: ServerCommand, *, timeout_s: float = 600.0, log: Path | None = None
) -> Server:
    """Start a model server and wait until it answers; use it in a `with`, which ends it.

    Args:
        command: how, as `server_command` makes it.
        timeout_s: seconds to wait for it at most.
        log: the file for what it prints, written anew; None for one in a temporary folder.

    Raises:
        UsageError: when the port is taken, or the server is not installed.
        EngineError: when it ends before it is ready, or takes too long; with the end of its log.
    """
    server = Server(command, log=log)
    server.wait_until_ready(timeout_s)
    return server


def _check_installed(command: ServerCommand) -> None:
    program, *rest = command.arguments
    if rest[:1] == ["-m"]:
        program = rest[1].partition(".")[0]
        found = find_spec(program) is not None
    else:
        found = shutil.which(program) is not None
    if not found:
        raise MissingDependency(f"{program} is not installed; install it: {command.install}")


def _session(leader: int) -> list[int]:
    """The living processes of a session; where there is no /proc, its group as a negative id."""
    processes = Path("/proc")
    if not (processes / "self" / "stat").is_file():
        try:
            os.killpg(leader, 0)
        except OSError:
            return []
        return [-leader]
    found: list[int] = []
    for stat in processes.glob("[0-9]*/stat"):
        try:  # after the name, which is in brackets: state, parent, group, session
            state, _, _, session, *_ = stat.read_text("utf-8", "replace").rpartition(")")[2].split()
        except (OSError, ValueError):  # it ended meanwhile
            continue
        if int(session) == leader and state not in "ZX":
            found.append(int(stat.parent.name))
    return found


def _kill_session(leader: int) -> None:
    for _ in range(100):  # a process that is starting another may need a second look
        left = _session(leader)
        if not left:
            return
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)
