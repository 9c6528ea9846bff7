"""Anthropic's Message Batches API.

A batch there takes no name of ours, but its answers bear the names of its requests, and those hold
the key under which the job was written down before it was handed in. So one whose name at Anthropic
did not reach us is looked for among the batches of as many requests that were made at that time;
where there is one that still runs, its end is waited for, since only then it tells whose it is.

Source: https://platform.claude.com/docs/en/build-with-claude/batch-processing
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from typing import Any, BinaryIO, Final, TypeVar

from typedllm._require import require
from typedllm.engines.anthropic_client import open_anthropic
from typedllm.engines.connection import Connection, check_sendable
from typedllm.engines.instructor_engine import arguments_of
from typedllm.engines.instructor_errors import translated
from typedllm.engines.instructor_providers import Provider
from typedllm.engines.job_service import Answers, Ended, Job, JobLimits, json_bytes, lines_of, lost
from typedllm.engines.openai_protocol import MALFORMED
from typedllm.engines.per_loop import PerLoop
from typedllm.errors import EngineError, TypedLLMError, UsageError
from typedllm.records import Failure, Reply, Request

__all__ = ["ANTHROPIC_LIMITS", "AnthropicBatches", "Clients", "given_client", "own_clients"]

T = TypeVar("T")

ANTHROPIC_LIMITS: Final = JobLimits(requests=100_000, size=256_000_000)
"""https://platform.claude.com/docs/en/build-with-claude/batch-processing#batch-limitations"""

_EXTRA: Final = "remote"
_PATH: Final = "/v1/messages"
_SKEW_S: Final = 600  # between their clock and ours
_UPLOAD_S: Final = 3600  # most that handing in takes
_PIECE: Final = 1 << 18  # bytes
_STATUSES: Final[Mapping[str, int]] = {  # https://platform.claude.com/docs/en/api/errors
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Clients:
    """How the API is reached.

    Attributes:
        get: gives the running event loop's `AsyncAnthropic`.
        close: closes those that are ours.
        address: of the API.
        secrets: the key and the headers that are sent, which are kept out of messages.
    """

    get: Callable[[], Any]
    close: Callable[[], Awaitable[None]]
    address: str
    secrets: Mapping[str, str]


def own_clients(reached: Connection) -> Clients:
    """Make clients, one for each event loop.

    Args:
        reached: where the API is, and the key and headers for it.
    """
    make = partial(open_anthropic, reached.api_key, reached.base_url, reached.headers)
    clients: PerLoop[Any] = PerLoop(make, lambda client: client.close())
    secrets = {"key": reached.api_key or "", **reached.headers}
    return Clients(get=clients.get, close=clients.close, address=reached.base_url, secrets=secrets)


def given_client(client: Any) -> Clients:
    """Take a caller's own client, which is not closed here.

    Args:
        client: an `anthropic.AsyncAnthropic`.

    Raises:
        UsageError: when it is something else.
        MissingDependency: when the SDK is not installed.
    """
    if not isinstance(client, require("anthropic", _EXTRA).AsyncAnthropic):
        kind = type(client).__name__
        raise UsageError(f"client: expected an anthropic.AsyncAnthropic, got {kind}")
    own = client.with_options(max_retries=0)

    async def leave() -> None:
        """Leave it open."""

    key = str(client.api_key or "")
    check_sendable("the api_key of client=", key)
    address = str(client.base_url).rstrip("/")
    return Clients(get=lambda: own, close=leave, address=address, secrets={"key": key})


class AnthropicBatches:
    """Runs jobs as Anthropic's batches of messages."""

    def __init__(
        self, provider: Provider, model: str, clients: Clients, limits: JobLimits, *, poll_s: float
    ) -> None:
        """Call nothing yet.

        Args:
            provider: as requests are made for it.
            model: as it calls it.
            clients: call it.
            limits: of a job.
            poll_s: seconds between looks at a batch that may be a job's.
        """
        self._provider = provider
        self._model = model
        self._clients = clients
        self._poll_s = poll_s
        self._known = signature(
            require("anthropic.resources", _EXTRA).AsyncMessages.create
        ).parameters
        self.name = provider.name
        self.address = clients.address
        self.limits = limits

    def written(self, request: Request) -> tuple[str, bytes]:
        """Write a request as the Messages API takes it.

        Args:
            request: what to ask.
        """
        arguments = arguments_of(request, self._provider, self._model, known=self._known)
        turns: list[dict[str, str]] = arguments["messages"]
        system = [turn["content"] for turn in turns if turn["role"] == "system"]
        arguments["messages"] = [turn for turn in turns if turn["role"] != "system"]
        if system:
            arguments["system"] = "\n\n".join(system)
        return _PATH, json_bytes(arguments, self.name)

    def lines(self, job: Job, bodies: Iterable[bytes]) -> Iterator[bytes]:
        """Write a job, which is one body for all requests.

        Args:
            job: the job.
            bodies: of its requests, by their places.
        """
        yield b'{"requests":['
        for place, body in enumerate(bodies):
            comma, custom_id = b"," if place else b"", job.custom_id(place).encode()
            yield b'%b{"custom_id":"%b","params":%b}' % (comma, custom_id, body)
        yield b"]}"

    async def submit(self, job: Job, file: BinaryIO) -> str:
        """Make a batch of a job.

        Args:
            job: the job.
            file: the body.
        """
        return await self._called(self._made(file))

    async def find(self, job: Job) -> str | None:
        """Look for a job among the batches of its time and size.

        Args:
            job: which may have been handed in.
        """
        return await self._called(self._found(job))

    async def ended(self, job: Job) -> Ended | None:
        """Ask about a batch.

        Args:
            job: one that was handed in.
        """
        if not await self._called(self._has_ended(job)):
            return None
        rest = lost(job, self.name, "its answers leave this request out", again=True)
        return Ended(rest, partial(self._answers, job))

    def read(self, request: Request, answer: Any) -> Reply:
        """Read a message.

        Args:
            request: what was asked.
            answer: its JSON.
        """
        try:
            return self._provider.completion(answer)
        except MALFORMED as error:
            return Failure(error=self._malformed(error))

    async def close(self) -> None:
        """Close the connections, but those of a client that was given."""
        await self._clients.close()

    @property
    def _batches(self) -> Any:
        return self._clients.get().messages.batches

    async def _made(self, file: BinaryIO) -> str:
        length = str(file.seek(0, os.SEEK_END))
        file.seek(0)
        headers = {"Content-Type": "application/json", "Content-Length": length}
        batch = await self._clients.get().post(
            f"{_PATH}/batches",
            cast_to=object,
            content=_pieces(file),
            options={"headers": headers},
        )
        return str(batch["id"])

    async def _has_ended(self, job: Job) -> bool:
        batch = await self._batches.retrieve(job.id)
        if batch.processing_status == "ended" and batch.archived_at is not None:
            raise EngineError(f"{self.name}: its answers are deleted", status=404)
        return batch.processing_status == "ended"

    async def _found(self, job: Job) -> str | None:
        async for batch in self._batches.list(limit=100):
            made_s = batch.created_at.timestamp() - job.made
            if made_s < -_SKEW_S:
                break
            requests = sum(batch.request_counts.model_dump().values())
            if requests != job.requests or made_s > _UPLOAD_S + _SKEW_S:
                continue
            if await self._is_of(replace(job, id=batch.id)):
                return batch.id
        return None

    async def _is_of(self, job: Job) -> bool:
        """Whether a batch is that of a job, which it says once it has ended."""
        while (ended := await self.ended(job)) is None:
            await asyncio.sleep(self._poll_s)
        async with aclosing(ended.answers()) as answers:
            async for custom_id, _ in answers:
                return job.place(custom_id) is not None
        return False

    async def _answers(self, job: Job) -> Answers:
        async with aclosing(self._results(job)) as results:
            while (found := await self._called(anext(results, None))) is not None:
                yield found

    async def _results(self, job: Job) -> Answers:
        found = await self._batches.results(job.id)
        try:
            async for line in lines_of(found.http_response.aiter_bytes()):
                if line.strip():
                    said = json.loads(line)
                    yield said["custom_id"], self._answer(job, said["result"])
        finally:
            await found.close()

    def _answer(self, job: Job, result: Mapping[str, Any]) -> Any:
        match result["type"]:
            case "succeeded":
                return result["message"]
            case "errored":
                error = result["error"]["error"]
                status = _STATUSES.get(error["type"], 500)
                return self._translated(_Refused(status, error["message"]))
            case "expired":
                return lost(job, self.name, "it expired before it came to this request", again=True)
            case _:
                why = "it was cancelled before it came to this request"
                return lost(job, self.name, why, again=False)

    async def _called(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except TypedLLMError:
            raise
        except MALFORMED as error:  # the SDK's own errors are none of these
            failure: TypedLLMError = self._malformed(error)
        except Exception as error:
            failure = self._translated(error)
        raise failure  # out here, without its cause, which holds the request and so the key

    def _translated(self, error: Exception) -> TypedLLMError:
        return translated(error, self.name, self.address, self._clients.secrets)

    def _malformed(self, error: Exception) -> EngineError:
        return EngineError(f"what came from {self.name} is no answer of its API: {error!r:.200}")


class _Refused(Exception):
    """What an errored request of a batch says, in the form of the SDK's errors."""

    def __init__(self, status_code: int, message: str) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.message = message


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece
