"""The engines of batch APIs: what is asked at the same time becomes a job, done within a day.

Whoever is asked, jobs take their time, and so do the repairs of answers that were not valid: they
form the next job. What is known of jobs may be kept in a file. A process that asks the same again,
however the last one ended, then gets the answers of its jobs, be they done or not, for as long as
the provider keeps them: equal requests in their order, and those anew that failed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from typedllm.engines.grammar_texts import FirstUse
from typedllm.engines.job_desk import Desk, Pace
from typedllm.engines.job_service import JobService
from typedllm.engines.job_store import JobStore
from typedllm.engines.per_loop import PerLoop
from typedllm.errors import EngineError, TypedLLMError
from typedllm.records import Failure, Reply, Request, Traits

__all__ = ["JobsEngine"]


class JobsEngine:
    """Asks one model by jobs."""

    encoder = None

    def __init__(
        self, service: JobService, model: str, traits: Traits, *, store: JobStore, pace: Pace
    ) -> None:
        """Prepare to ask a model; nothing is called yet.

        Args:
            service: runs the jobs.
            model: as the service calls it.
            traits: of the engine.
            store: knows the jobs; it is closed with the engine.
            pace: of the jobs.
        """
        self._service = service
        self._store = store
        self._desks = PerLoop(partial(Desk, service, store, pace), Desk.close)
        self.model = model
        self.traits = traits
        self.capacity = service.limits.requests
        self.identity = {"address": service.address}
        self._first_use = FirstUse()
        self._closed = False

    async def send(self, request: Request) -> Reply:
        """Run one request, in a job with those that are asked at the same time.

        Cancelling this leaves the request in its job; sent again, it gets the answer of that.

        Args:
            request: what to ask; `sampling.extra` holds further fields of the provider's API.
        """
        if self._closed:
            message = f"the {self.traits.name} engine is closed; make a new one"
            return Failure(error=EngineError(message))
        request = replace(request, tell=None)  # a job tells nothing before its end
        written = partial(self._service.written, request)
        read = partial(self._service.read, request)
        try:
            await self._first_use.of(request.constraint, written)
            reply = None
            while reply is None:
                reply = await self._desks.get().ask(*written(), read)
        except TypedLLMError as error:
            return Failure(error=error)
        return reply

    async def close(self) -> None:
        """Close the connections and the store; jobs run on at the provider."""
        self._closed = True
        await self._desks.close()
        await self._service.close()
        self._store.close()
