"""The seam between jobs and whoever runs them: a provider's batch API, or a folder of files."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
)
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, TypeAlias

from pydantic_core import to_json

from typedllm._checks import check_number
from typedllm.errors import EngineError, TypedLLMError, UsageError
from typedllm.records import Reply, Request

__all__ = ["Answers", "Ended", "Job", "JobLimits", "JobService", "json_bytes", "lines_of", "lost"]

Answers: TypeAlias = AsyncGenerator[tuple[str, Any]]
"""The custom id of a request, and the JSON of its answer or the error that it came to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Requests to one endpoint that a provider runs in its own time.

    Attributes:
        key: our name for it, of letters and digits; later ones sort after earlier ones.
        endpoint: of the provider's API, such as `/v1/chat/completions`.
        requests: how many there are.
        made: when, in seconds since 1970.
        id: the provider's name for it; None while that is not known.
    """

    key: str
    endpoint: str
    requests: int
    made: float
    id: str | None = None

    def custom_id(self, place: int) -> str:
        """Name one of the requests, by its place from 0."""
        return f"{self.key}-{place}"

    def place(self, custom_id: object) -> int | None:
        """Read the place of a request from its name; None for another job's, or for no name."""
        key, _, place = str(custom_id).rpartition("-")
        return int(place) if key == self.key and place.isdecimal() else None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobLimits:
    """What fits into one job.

    Attributes:
        requests: how many of them.
        size: bytes of the file that holds them.
    """

    requests: int
    size: int

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: naming the one that is out of its range.
        """
        check_number("job_requests", self.requests, least=1, whole=True)
        check_number("job_bytes", self.size, least=1, whole=True)


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has ended.

    Attributes:
        rest: the error of each request that has no answer.
        answers: reads the answers, in any order; called again where reading broke off.
    """

    rest: TypedLLMError
    answers: Callable[[], Answers]


class JobService(Protocol):
    """Who runs jobs.

    What fails is raised as a `TypedLLMError`; one that is retryable is tried again.

    Attributes:
        name: of the engine.
        address: where it is; requests of another address are others.
        limits: what fits into one job.
    """

    name: str
    address: str
    limits: JobLimits

    def written(self, request: Request) -> tuple[str, bytes]:
        """Write a request: its endpoint, and its body in JSON."""
        ...

    def lines(self, job: Job, bodies: Iterable[bytes]) -> Iterator[bytes]:
        """Write a job, in pieces."""
        ...

    async def submit(self, job: Job, file: BinaryIO) -> str:
        """Hand a job in, and return the provider's name for it."""
        ...

    async def find(self, job: Job) -> str | None:
        """Look for a job that may have been handed in, and return the provider's name for it."""
        ...

    async def ended(self, job: Job) -> Ended | None:
        """Say what came of a job; None while it runs."""
        ...

    def read(self, request: Request, answer: Any) -> Reply:
        """Read the JSON of an answer."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


def json_bytes(body: object, whose: str) -> bytes:
    """Write the body of a request.

    Args:
        body: to be JSON.
        whose: the engine.

    Raises:
        UsageError: when it is none.
    """
    try:
        return to_json(body)
    except ValueError as error:
        raise UsageError(f"{whose}: the request is no JSON: {error}") from error


async def lines_of(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of a file that comes in pieces.

    HTTP clients' own lines also end at U+2028 and the like, which JSON holds as they are.

    Args:
        chunks: the pieces.
    """
    begun: list[bytes] = []
    async for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            yield b"".join([*begun, line])
            begun.clear()
        begun.append(rest)
    if last := b"".join(begun):
        yield last


def lost(job: Job, whose: str, why: str, *, again: bool) -> EngineError:
    """Make the error of a request that has no answer, in a job that has ended.

    Args:
        job: the job.
        whose: the engine.
        why: such as `it expired before it came to this request`.
        again: whether to ask again.
    """
    return EngineError(f"{whose}: no answer in the job {job.id}: {why}", retryable=again)
