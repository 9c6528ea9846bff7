"""OpenAI's Batch API, and the form of its files, which is vLLM's too.

A job is written down under a key of ours before it is handed in, and the key goes into the batch's
metadata. So one whose name at OpenAI did not reach us is found in the list of batches, and none is
run twice; all that a crash can leave behind is a file that was uploaded, which OpenAI deletes after
30 days.

Source: https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from typedllm.engines.dialects import Dialect, dialect_of_model
from typedllm.engines.http_errors import refusal_of
from typedllm.engines.job_service import Answers, Ended, Job, JobLimits, json_bytes, lost
from typedllm.engines.openai_answers import completion_of
from typedllm.engines.openai_protocol import MALFORMED, malformed
from typedllm.engines.openai_requests import request_of
from typedllm.errors import EngineError, TypedLLMError, UsageError
from typedllm.records import Reply, Request

if TYPE_CHECKING:
    from typedllm.engines.openai_files import OpenAIFiles

__all__ = ["OPENAI_LIMITS", "OpenAIBatches", "answer_of", "batch_lines"]

OPENAI_LIMITS: Final = JobLimits(requests=50_000, size=200_000_000)
"""https://platform.openai.com/docs/guides/batch#rate-limits"""

_KEY: Final = "typedllm_job"  # in a batch's metadata
_SKEW_S: Final = 3600  # between their clock and ours
_LATER: Final = frozenset({"batch_expired", "server_error", "rate_limit_exceeded"})
_FULL: Final = "token_limit_exceeded"  # other batches wait, too


def batch_lines(job: Job, bodies: Iterable[bytes]) -> Iterator[bytes]:
    """Write the file of a job.

    Args:
        job: the job.
        bodies: of its requests, by their places.
    """
    for place, body in enumerate(bodies):
        custom_id, url = job.custom_id(place).encode(), job.endpoint.encode()
        yield b'{"custom_id":"%b","method":"POST","url":"%b","body":%b}\n' % (custom_id, url, body)


def answer_of(line: bytes, server: str, hide: Callable[[str], str] = str) -> tuple[str, Any]:
    """Read a line of the answers' file, or of that of the errors.

    Args:
        line: of the file.
        server: what it is called in messages.
        hide: takes secrets out of what the server says of an error.

    Returns:
        The request's custom id, and its answer's JSON or the error that it came to.

    Raises:
        EngineError: when it is no such line.
    """
    try:
        said = json.loads(line)
        response: Mapping[str, Any] = said.get("response") or {}
        status = int(response.get("status_code") or 0)
        if status == 200:
            return said["custom_id"], response["body"]
        return said["custom_id"], _refusal(said.get("error"), response, status, server, hide)
    except MALFORMED as error:
        raise malformed(server, error) from None


def _refusal(
    given: object,
    response: Mapping[str, Any],
    status: int,
    server: str,
    hide: Callable[[str], str],
) -> TypedLLMError:
    """The error of one request: the server's of the batch, or the one of the endpoint."""
    body: object = response.get("body") or given
    error = _fields(_fields(body).get("error")) or _fields(body)
    told = hide(str(error.get("message") or body))
    if status:
        headers = {"x-request-id": str(response.get("request_id") or "")}
        return refusal_of(server, status, error, told, headers)
    return EngineError(f"{server}: {told}", retryable=error.get("code") in _LATER)


def _fields(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


class OpenAIBatches:
    """Runs jobs as OpenAI's batches."""

    def __init__(
        self, dialect: Dialect, model: str, client: OpenAIFiles, limits: JobLimits
    ) -> None:
        """Call nothing yet.

        Args:
            dialect: of the server.
            model: as it calls it.
            client: calls it.
            limits: of a job.
        """
        self._dialect = dialect_of_model(dialect, model)
        self._model = model
        self._client = client
        self.name = dialect.name
        self.address = client.base_url
        self.limits = limits

    def written(self, request: Request) -> tuple[str, bytes]:
        """Write a request as its endpoint takes it.

        Args:
            request: what to ask.
        """
        path, body = request_of(request, self._model, self._dialect)
        return f"/v1{path}", json_bytes(body, self.name)

    def lines(self, job: Job, bodies: Iterable[bytes]) -> Iterator[bytes]:
        """Write a job, a request a line.

        Args:
            job: the job.
            bodies: of its requests, by their places.
        """
        return batch_lines(job, bodies)

    async def submit(self, job: Job, file: BinaryIO) -> str:
        """Upload the file of a job, and make a batch of it.

        Args:
            job: the job.
            file: its lines.
        """
        uploaded = await self._client.upload(f"{job.key}.jsonl", file, purpose="batch")
        batch = {
            "input_file_id": uploaded,
            "endpoint": job.endpoint,
            "completion_window": "24h",
            "metadata": {_KEY: job.key},
        }
        return self._id(await self._client.post("/batches", batch))

    async def find(self, job: Job) -> str | None:
        """Look for a job among the batches that were made since it was written down.

        Args:
            job: which may have been handed in.
        """
        after = ""
        while True:
            page = await self._client.get(f"/batches?limit=100{after}")
            try:
                batches: list[Mapping[str, Any]] = page["data"]
                for batch in batches:
                    if _fields(batch.get("metadata")).get(_KEY) == job.key:
                        return batch["id"]
                if not page.get("has_more") or batches[-1]["created_at"] < job.made - _SKEW_S:
                    return None
                after = f"&after={batches[-1]['id']}"
            except MALFORMED as error:
                raise malformed(self.name, error) from None

    async def ended(self, job: Job) -> Ended | None:
        """Ask about a batch.

        Args:
            job: one that was handed in.
        """
        batch = await self._client.get(f"/batches/{job.id}")
        try:
            status = str(batch["status"])
            if status not in ("completed", "failed", "expired", "cancelled"):
                return None
            if status == "failed":
                return self._failed(job, batch)
            names = [batch.get(f"{kind}_file_id") for kind in ("output", "error")]
        except MALFORMED as error:
            raise malformed(self.name, error) from None
        why, again = {
            "completed": ("its files leave this request out", True),
            "expired": ("it expired before it came to this request", True),
            "cancelled": ("it was cancelled before it came to this request", False),
        }[status]
        files = [name for name in names if name]
        return Ended(lost(job, self.name, why, again=again), partial(self._answers, files))

    def read(self, request: Request, answer: Any) -> Reply:
        """Read an answer of the endpoint.

        Args:
            request: what was asked.
            answer: its JSON.
        """
        return completion_of(answer, self.name)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _answers(self, files: Iterable[str]) -> Answers:
        for file in files:
            async for line in self._client.lines(file):
                if line.strip():
                    yield answer_of(line, self.name, self._client.hide)

    def _failed(self, job: Job, batch: Mapping[str, Any]) -> Ended:
        """What came of a batch whose file was refused: the lines to blame, and the others."""
        errors = cast("list[Mapping[str, Any]]", _fields(batch.get("errors")).get("data") or [])
        blamed = {
            job.custom_id(each["line"] - 1): UsageError(
                f"{self.name} refuses the request: {self._client.hide(str(each.get('message')))}"
            )
            for each in errors
            if each.get("line")
        }
        told = self._client.hide("; ".join(str(each.get("message")) for each in errors[:3]))
        full = any(each.get("code") == _FULL for each in errors)
        if full:
            told += "; where one job alone is too much, lower job_requests in engine_args"
        again = bool(blamed) or full
        return Ended(
            lost(job, self.name, f"it failed: {told}", again=again), partial(_told, blamed)
        )

    def _id(self, batch: Any) -> str:
        try:
            return str(batch["id"])
        except MALFORMED as error:
            raise malformed(self.name, error) from None


async def _told(errors: Mapping[str, TypedLLMError]) -> Answers:
    for custom_id, error in errors.items():
        yield custom_id, error
