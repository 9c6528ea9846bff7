"""A file with a line of JSON for each inference: what was asked, and what came back."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import weakref
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from typedllm.engines.base import Engine
from typedllm.errors import TypedLLMError, UsageError
from typedllm.observers.observed import OnReply
from typedllm.observers.redaction import Redaction
from typedllm.records import Constraint, Failure, Message, Reply, Request, Sampling

__all__ = ["InferenceLog"]

# JSON leaves them as they are, and many a reader of lines takes them for the end of one.
_LINE_ENDS: Final = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}


class InferenceLog:
    """An observer that appends a line of JSON to a file for each inference.

    A line has `time` (of sending, ISO 8601, UTC), `engine`, `model`, `messages` (or `prompt` for
    raw text), `constraint` (its kind, or null), `sampling` (what was set), `seconds`, and either
    `reply` (`text`, `finish_reason`, `usage`) or `error` (`type`, `message`, and `status`,
    `request_id`, `retryable` of an `EngineError`). Lines are in order of the replies.

    Keys and other secrets are taken out, see `typedllm.observers.redaction`; prompts and answers
    are not, so the file is made readable by its owner only. It is opened for each line: it may be
    moved away at any time, and written by many threads and processes at once.
    """

    def __init__(self, path: str | Path, *, secrets: Iterable[str] = ()) -> None:
        """Name the file, and make it and its folder if they are not there.

        Args:
            path: the file; one that is there is appended to.
            secrets: texts that are taken out wherever they occur, such as the API key in use.

        Raises:
            UsageError: when the file cannot be written.
        """
        self._redaction = Redaction(secrets)
        self._lock = threading.Lock()
        self._torn = False
        try:
            self._path = Path(path).absolute()  # whatever the working folder is later
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._append(b"")
        except (OSError, TypeError, ValueError) as error:
            raise UsageError(f"the log {path!r} cannot be written: {error}") from error
        _logs.add(self)

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def sent(self, request: Request, engine: Engine) -> OnReply:
        """Note the time of a request; its line is written with the reply.

        Args:
            request: what is sent.
            engine: where to.
        """
        time = datetime.now(UTC).isoformat(timespec="milliseconds")

        def on_reply(reply: Reply, seconds: float) -> None:
            entry = {
                "time": time,
                "engine": engine.traits.name,
                "model": engine.model,
                **_asked(request),
                "constraint": _kind(request.constraint),
                "sampling": _chosen(request.sampling),
                "seconds": round(seconds, 6),
                **_answered(reply),
            }
            text = json.dumps(self._redaction.value(entry), ensure_ascii=False)
            # A lone surrogate becomes an escape, which is what JSON has for it.
            line = text.translate(_LINE_ENDS).encode("utf-8", "backslashreplace")
            self._append(line + b"\n")

        return on_reply

    def _append(self, line: bytes) -> None:
        with self._lock:
            rest = b"\n" + line if self._torn else line
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                while rest:  # one write, unless the disk is full in the middle of the line
                    rest = rest[os.write(file, rest) :]
                    self._torn = bool(rest)
            finally:
                os.close(file)


def _asked(request: Request) -> dict[str, Any]:
    messages = [part for part in request.prompt if isinstance(part, Message)]
    if messages:
        return {"messages": [{"role": part.role, "content": part.text} for part in messages]}
    return {"prompt": "".join(part.text for part in request.prompt)}


def _kind(constraint: Constraint | None) -> str | None:
    return None if constraint is None else type(constraint).__name__


def _chosen(sampling: Sampling) -> dict[str, Any]:
    values = ((each.name, getattr(sampling, each.name)) for each in dataclasses.fields(sampling))
    return {name: value for name, value in values if value is not None and value not in ((), {})}


def _answered(reply: Reply) -> dict[str, Any]:
    if isinstance(reply, Failure):
        return {"error": _described(reply.error)}
    usage = dataclasses.asdict(reply.usage)
    answer = {"text": reply.text, "finish_reason": reply.finish_reason, "usage": usage}
    return {"reply": answer}


def _described(error: TypedLLMError) -> dict[str, Any]:
    facts = {name: getattr(error, name, None) for name in ("status", "request_id", "retryable")}
    known = {name: fact for name, fact in facts.items() if fact is not None}
    return {"type": type(error).__name__, "message": str(error), **known}


_logs: weakref.WeakSet[InferenceLog] = weakref.WeakSet()


def _after_fork() -> None:
    """Make new locks in a child process: the thread that held one is not in it to let go."""
    for log in _logs:
        log._lock = threading.Lock()  # pyright: ignore[reportPrivateUsage]


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_after_fork)
