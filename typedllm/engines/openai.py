"""The openai engine: OpenAI, and every server that speaks its protocol (the rows of `dialects`)."""

from __future__ import annotations

from functools import partial
from typing import Final

from typedllm.engines.dialects import Dialect, dialect_of_model, traits_for
from typedllm.engines.grammar_texts import FirstUse
from typedllm.engines.openai_answers import completion_of
from typedllm.engines.openai_client import OpenAIClient
from typedllm.engines.openai_requests import request_of
from typedllm.engines.openai_streams import streamed
from typedllm.engines.quotas import quota_of
from typedllm.errors import EngineError, TypedLLMError
from typedllm.records import Failure, Reply, Request

__all__ = ["OpenAIEngine"]

_IN_FLIGHT: Final = 64


class OpenAIEngine:
    """Talks to one model of one server; a request is one call."""

    encoder = None

    def __init__(self, dialect: Dialect, model: str, client: OpenAIClient) -> None:
        """Prepare to ask a model; nothing is called yet.

        Args:
            dialect: the server.
            model: as the server calls it.
            client: calls it.
        """
        self._dialect = dialect_of_model(dialect, model)
        self._client = client
        self._read = partial(completion_of, server=dialect.name)
        self.model = model
        self.capacity = _IN_FLIGHT
        self.traits = traits_for(self._dialect, model)
        # whoever else speaks the protocol has prices of its own
        at_home = dialect.base_url in (None, client.base_url)
        self.provider = dialect.provider if at_home else None
        self.quota = quota_of(client.base_url, model, client.api_key, in_flight=_IN_FLIGHT)
        self.identity = {"base_url": client.base_url, "sends": self._dialect.sends}
        self._first_use = FirstUse()
        self._closed = False

    async def send(self, request: Request) -> Reply:
        """Run one request.

        Args:
            request: what to ask; `sampling.extra` holds further fields of the server's API.
        """
        if self._closed:
            message = f"the {self._dialect.name} engine is closed; make a new one"
            return Failure(error=EngineError(message))
        try:
            make = partial(request_of, request, self.model, self._dialect)
            await self._first_use.of(request.constraint, make)
            path, body = make()
            if request.tell is not None:
                name = self._dialect.name
                return await streamed(
                    self._client, path, body, request.tell, server=name, read=self._read
                )
            answer = await self._client.post(path, body)
        except TypedLLMError as error:
            return Failure(error=error)
        return self._read(answer)

    async def close(self) -> None:
        """Close the connections."""
        self._closed = True
        await self._client.close()
