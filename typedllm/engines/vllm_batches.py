"""vLLM's batch runner, whose requests and answers are files in a folder.

A job is a file `KEY.in.jsonl`, and waits for `KEY.out.jsonl` beside it. Whoever has the machine for
it, a person or a scheduler, makes the one from the other:

```
vllm run-batch -i KEY.in.jsonl -o KEY.out.jsonl --model MODEL
```

Source: https://docs.vllm.ai/en/latest/features/batch_api/ (the form is OpenAI's)
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from typedllm.engines.job_service import Answers, Ended, Job, JobLimits, json_bytes, lost
from typedllm.engines.openai_batches import answer_of, batch_lines
from typedllm.engines.openai_protocol import messages_of
from typedllm.engines.vllm_requests import Asked, body_of, completion_of
from typedllm.errors import EngineError, UnsupportedConstraint, UsageError
from typedllm.records import Message, Reply, Request

__all__ = ["VLLM_LIMITS", "VllmBatches"]

VLLM_LIMITS: Final = JobLimits(requests=50_000, size=200_000_000)
"""The runner reads a file as a whole, and starts all its requests at once."""

_NAME: Final = "vllm-batch"
_STILL_S: Final = 60  # a file that lacks lines and has not grown for so long is all there will be
_ENDPOINT: Final = "/v1/chat/completions"  # the only one of the runner that writes text
_CONTEXT: Final = 1 << 30  # tokens; which it is, is the runner's to know


class VllmBatches:
    """Has jobs run by whoever looks after a folder."""

    def __init__(self, model: str, folder: Path, limits: JobLimits, *, guidance: bool) -> None:
        """Make the folder, if it is not there.

        Args:
            model: as the runner calls it.
            folder: for the files.
            limits: of a job.
            guidance: whether the runner is known to be on vLLM's guidance backend.

        Raises:
            UsageError: when there can be no such folder.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"folder={str(folder)!r} cannot be made: {error}") from error
        self._folder = folder
        self._asked = Asked(model=model, context=_CONTEXT, guidance=guidance, lands=False)
        self.name = _NAME
        self.address = str(folder.resolve())
        self.limits = limits

    def written(self, request: Request) -> tuple[str, bytes]:
        """Write a request as the endpoint of chats takes it.

        Args:
            request: what to ask.

        Raises:
            UsageError: for raw text, which the runner does not take, and what a server refuses too.
        """
        if request.labels:
            raise UnsupportedConstraint(f"the engine {_NAME} scores no labels")
        if not isinstance(request.prompt[0], Message):
            raise UsageError(
                f"{_NAME} takes no raw text: ask with messages, without chat_template="
            )
        body = {**body_of(request, self._asked), "messages": messages_of(request)}
        return _ENDPOINT, json_bytes(body, _NAME)

    def lines(self, job: Job, bodies: Iterable[bytes]) -> Iterator[bytes]:
        """Write a job, a request a line.

        Args:
            job: the job.
            bodies: of its requests, by their places.
        """
        return batch_lines(job, bodies)

    async def submit(self, job: Job, file: BinaryIO) -> str:
        """Put the file of a job into the folder.

        Args:
            job: the job.
            file: its lines.
        """
        await asyncio.to_thread(self._put, self._path(job, "in"), file)
        return job.key

    async def find(self, job: Job) -> str | None:
        """Look for the file of a job.

        Args:
            job: which may have been handed in.
        """
        return job.key if self._path(job, "in").exists() else None

    async def ended(self, job: Job) -> Ended | None:
        """Look for the answers; a file that is being written is left until all lines are there.

        Args:
            job: one that was handed in.
        """
        path = self._path(job, "out")
        if not await asyncio.to_thread(_is_whole, path, job.requests):
            return None
        rest = lost(job, _NAME, f"{path.name} leaves this request out", again=True)
        return Ended(rest, partial(self._answers, path))

    def read(self, request: Request, answer: Any) -> Reply:
        """Read an answer of the endpoint.

        Args:
            request: what was asked.
            answer: its JSON.
        """
        return completion_of(answer, [request], self._asked)[0]

    async def close(self) -> None:
        """Do nothing: no file is open."""

    def _path(self, job: Job, kind: str) -> Path:
        return self._folder / f"{job.key}.{kind}.jsonl"

    def _put(self, path: Path, file: BinaryIO) -> None:
        begun = path.with_suffix(".part")
        try:
            with begun.open("wb") as copy:
                shutil.copyfileobj(file, copy)
            begun.replace(path)  # so that nobody takes it before it is whole
        except OSError as error:
            begun.unlink(missing_ok=True)
            raise EngineError(f"{_NAME}: {path} cannot be written: {error}") from error

    async def _answers(self, path: Path) -> Answers:
        try:
            with path.open("rb") as file:
                for line in file:
                    if line.strip():
                        yield answer_of(line, _NAME)
        except OSError as error:
            raise EngineError(f"{_NAME}: {path} cannot be read: {error}") from error


def _is_whole(path: Path, lines: int) -> bool:
    try:
        with path.open("rb") as file:
            found = sum(line.endswith(b"\n") for line in file)
        return found >= lines or time.time() - path.stat().st_mtime > _STILL_S
    except FileNotFoundError:
        return False
