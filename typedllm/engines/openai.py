"""The openai engine: OpenAI, and every server that speaks its protocol (the rows of `dialects`)."""

from __future__ import annotations

from functools import partial
from typing import Final
from urllib.parse import quote

from typedllm.engines.dialects import DIALECTS, Dialect, traits_for
from typedllm.engines.grammar_texts import FirstUse
from typedllm.engines.openai_client import OpenAIClient
from typedllm.engines.openai_requests import completion_of, request_of
from typedllm.errors import EngineError, TypedLLMError, UsageError
from typedllm.records import Failure, Reply, Request
from typedllm.settings import provider_key

__all__ = ["OpenAIEngine", "open_azure", "open_server"]

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
        self._dialect = dialect
        self._client = client
        self.model = model
        self.capacity = _IN_FLIGHT
        self.traits = traits_for(dialect, model)
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
            answer = await self._client.post(path, body)
        except TypedLLMError as error:
            return Failure(error=error)
        return completion_of(answer, self._dialect.name)

    async def close(self) -> None:
        """Close the connections."""
        self._closed = True
        await self._client.close()


def open_server(
    name: str, model: str, *, base_url: str | None = None, api_key: str | None = None
) -> OpenAIEngine:
    """Open a model of a server.

    Args:
        name: a row of `DIALECTS`.
        model: as the server calls it.
        base_url: of its API, with `/v1`; None for where the provider has it.
        api_key: None for the one that the environment has for the provider, which is sent to the
            provider's own address and no other.

    Raises:
        UsageError: when there is no model, or no key for a provider that needs one.
    """
    dialect = DIALECTS[name]
    _check_model(name, model)
    if base_url is None and api_key is None and dialect.key_variable is not None:
        api_key = _key(name, dialect.key_variable)
    url = base_url or dialect.base_url or ""
    client = OpenAIClient(url, api_key, server=name, key_header=dialect.key_header)
    return OpenAIEngine(dialect, model, client)


def open_azure(
    model: str,
    *,
    azure_endpoint: str | None = None,
    api_version: str | None = None,
    api_key: str | None = None,
) -> OpenAIEngine:
    """Open a deployment of Azure OpenAI.

    The URLs are those of
    https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle.

    Args:
        model: the deployment.
        azure_endpoint: of the resource, such as `https://my-name.openai.azure.com`.
        api_version: such as `2024-10-21`; None for the v1 API, which has none.
        api_key: None for the one in `AZURE_OPENAI_API_KEY`.

    Raises:
        UsageError: when there is no deployment, no endpoint or no key.
    """
    dialect = DIALECTS["azure"]
    _check_model("azure", model)
    if not azure_endpoint:
        raise UsageError(
            'azure: no endpoint; give engine_args={"azure_endpoint":'
            ' "https://my-name.openai.azure.com"}'
        )
    assert dialect.key_variable is not None
    key = api_key or _key("azure", dialect.key_variable)
    root = f"{azure_endpoint.rstrip('/').removesuffix('/openai')}/openai"
    client = OpenAIClient(
        f"{root}/deployments/{quote(model, safe='')}" if api_version else f"{root}/v1",
        key,
        server="azure",
        key_header=dialect.key_header,
        query={"api-version": api_version} if api_version else None,
    )
    return OpenAIEngine(dialect, model, client)


def _check_model(name: str, model: str) -> None:
    if not model:
        raise UsageError(f'{name}: no model; write it after a colon, as in LLM("{name}:a-model")')


def _key(name: str, variable: str) -> str:
    key = provider_key(variable)
    if key is None:
        raise UsageError(f"{name}: no key; give api_key=, or set {variable} in the environment")
    return key
