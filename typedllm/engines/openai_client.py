"""Calls to a server that speaks OpenAI's protocol, by the openai package, and what its errors mean.

The package's typed methods cost twice the time of its plain `post`, and its retries are off: there
is one loop for those, in `attempts`.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import openai
from openai import AsyncOpenAI, DefaultAioHttpClient
from pydantic_core import to_json

from typedllm.errors import EngineError, PromptTooLong, TypedLLMError, UsageError

__all__ = ["OpenAIClient"]

_TOO_LONG: Final = ("context length", "context_length_exceeded")
_RETRYABLE: Final = frozenset({408, 409, 429})
# uvicorn ends a connection after 5 idle seconds; one that the client still takes for open is lost
_LIMITS: Final = type(openai.DEFAULT_CONNECTION_LIMITS)(
    max_connections=1000, max_keepalive_connections=1000, keepalive_expiry=4
)


class OpenAIClient:
    """A server; usable from several event loops, with connections of each its own.

    Attributes:
        base_url: ends without a slash, such as `http://localhost:8000/v1`.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        *,
        server: str,
        key_header: str | None = None,
        query: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare to call a server; nothing is called yet.

        Args:
            base_url: of its API.
            api_key: None where it wants none.
            server: what it is called in messages.
            key_header: the header that takes the key; None is `Authorization`, as a bearer's.
            query: what each URL ends with after its `?`.

        Raises:
            UsageError: when the URL is not one of http or https.
        """
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UsageError(
                f"base_url={base_url!r} is no URL of http or https; write it like"
                " http://localhost:8000/v1"
            )
        self.base_url = base_url.rstrip("/")
        self._is_openai = (parts.hostname or "").endswith((".openai.com", ".openai.azure.com"))
        self._api_key = api_key or "none"  # the package wants one in any case
        self._options: Any = {}  # the package looks for `Omit` in those of each call
        if key_header is not None:
            headers = {"Authorization": openai.Omit(), key_header: self._api_key}
            self._options = {"headers": headers}
        self._query = query
        self._server = server
        self._clients: dict[asyncio.AbstractEventLoop, AsyncOpenAI] = {}
        weakref.finalize(self, _close, self._clients)  # who forgets to close it gets no warnings

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send a body of JSON, and return the one that comes back.

        Args:
            path: after `base_url`, with a slash before it; or a whole URL.
            body: what to send.

        Raises:
            TypedLLMError: what went wrong, and on whose side.
        """
        try:
            content = to_json(body)  # ahead of the package, which copies a body before it prints it
        except ValueError as error:
            raise UsageError(f"{self._server}: the request is no JSON: {error}") from error
        try:
            client, options = self._client(), self._options
            return await client.post(path, content=content, cast_to=object, options=options)
        except openai.OpenAIError as error:
            raise self._translated(error) from error
        except ValueError as error:  # it said that it is JSON
            raise EngineError(f"{self._server} answered with what is no JSON: {error}") from error

    async def get(self, path: str) -> Any:
        """Return the JSON that the server has at a path.

        Args:
            path: as in `post`.

        Raises:
            TypedLLMError: what went wrong, and on whose side.
        """
        try:
            return await self._client().get(path, cast_to=object, options=self._options)
        except openai.OpenAIError as error:
            raise self._translated(error) from error

    async def close(self) -> None:
        """Close all connections."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        _close(self._clients)
        if client is not None:
            await client.close()

    def _client(self) -> AsyncOpenAI:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            for other in [each for each in self._clients if each.is_closed()]:
                del self._clients[other]  # whose connections ended with it
            client = self._clients[loop] = AsyncOpenAI(
                api_key=self._api_key,
                base_url=self.base_url,
                max_retries=0,
                default_query=self._query,
                timeout=None,  # of a call: `timeout_s`
                http_client=DefaultAioHttpClient(limits=_LIMITS, timeout=None),
            )
            if not self._is_openai:  # what the environment has for OpenAI is for no other server
                client.organization = client.project = None
        return client

    def _translated(self, error: openai.OpenAIError) -> TypedLLMError:
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__ or error
            return EngineError(
                f"no answer from {self._server} at {self.base_url}: {cause}", retryable=True
            )
        if not isinstance(error, openai.APIStatusError):
            return EngineError(f"{self._server}: {error}")
        status, said = error.status_code, self._hidden(_message(error))
        if status == 400 and any(word in said for word in _TOO_LONG):
            return PromptTooLong(f"{self._server}: {said}")
        if status in (400, 422):
            return UsageError(f"{self._server} refuses the request: {said}")
        return EngineError(
            f"{self._server} answered with HTTP {status}: {said}",
            retryable=status in _RETRYABLE or status >= 500,
            retry_after_s=_retry_after_s(error),
            status=status,
            request_id=error.request_id,
        )

    def _hidden(self, text: str) -> str:
        """A text without the key, which some servers repeat."""
        return text.replace(self._api_key, "***") if len(self._api_key) > len("none") else text


def _close(clients: dict[asyncio.AbstractEventLoop, AsyncOpenAI]) -> None:
    """Have the connections of event loops closed, each by its own; those of ended ones are gone."""
    while clients:
        loop, client = clients.popitem()
        if loop.is_running():
            asyncio.run_coroutine_threadsafe(client.close(), loop)


def _message(error: openai.APIStatusError) -> str:
    body: Any = error.body
    if isinstance(body, dict):
        found: Any = body.get("message") or body.get("error") or body.get("detail")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        if isinstance(found, dict):
            found = found.get("message", found)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        if found:
            return str(found)  # pyright: ignore[reportUnknownArgumentType]
    return error.message


def _retry_after_s(error: openai.APIStatusError) -> float | None:
    try:
        return max(0.0, float(error.response.headers.get("retry-after", "")))
    except ValueError:
        return None
