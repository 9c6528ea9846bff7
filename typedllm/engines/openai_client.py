"""Calls to a server that speaks OpenAI's protocol, by the openai package, and what its errors mean.

The package's typed methods cost twice the time of its plain `post`, and its retries are off: there
is one loop for those, in `attempts`.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias, cast

import httpx2
import openai
from openai import AsyncOpenAI, AsyncStream, DefaultAioHttpClient, OpenAI
from pydantic_core import to_json

from typedllm.engines.allowances import headers_came
from typedllm.engines.connection import Connection, check_sendable, checked_url
from typedllm.engines.http_errors import hidden, moved, no_answer, refusal_of
from typedllm.engines.per_loop import PerLoop
from typedllm.errors import EngineError, TypedLLMError, UsageError

__all__ = ["OpenAIClient", "ReadyClient"]

ReadyClient: TypeAlias = OpenAI | AsyncOpenAI
# uvicorn ends a connection after 5 idle seconds; one that the client still takes for open is lost
_LIMITS: Final = type(openai.DEFAULT_CONNECTION_LIMITS)(
    max_connections=1000, max_keepalive_connections=1000, keepalive_expiry=4
)
# the codes of errors that come as events, where they are words
_STATUSES: Final[Mapping[str, int]] = {
    "content_filter": 400,
    "context_length_exceeded": 400,
    "rate_limit_exceeded": 429,
}
# What the package tells of this machine, at the cost of a tenth of a call's time. It is left out
# here and not in the options of each call, which the package copies twice.
_UNSAID: Final[Mapping[str, Any]] = {
    f"X-Stainless-{name}": openai.Omit()
    for name in ("Arch", "Async", "Lang", "OS", "Package-Version", "Runtime", "Runtime-Version")
}


class OpenAIClient:
    """A server; usable from several event loops, with connections of each its own.

    Attributes:
        base_url: ends without a slash, such as `http://localhost:8000/v1`.
        api_key: by which the server knows the caller.
    """

    def __init__(self, reached: Connection | ReadyClient, *, server: str) -> None:
        """Prepare to call a server; nothing is called yet.

        Args:
            reached: how; or a caller's own client of the package, which keeps its settings but
                tries nothing again, and is not closed here. One that is not async is called in
                threads, of which asyncio has a few; an async one serves only the event loop that
                first uses it, which for the sync methods of an `LLM` is typedllm's own.
            server: what it is called in messages.

        Raises:
            UsageError: when `reached` is none of these, its URL is not one of http or https, or its
                key is none that can be sent.
        """
        self._server = server
        self._clients: PerLoop[AsyncOpenAI] | None = None
        self._options: Any = {}
        self._ready: ReadyClient | None = None
        self._home: asyncio.AbstractEventLoop | None = None  # of an async one that is ready
        given = cast(object, reached)  # whatever the hints say
        if isinstance(given, Connection):
            self.base_url, self.api_key = given.base_url, given.api_key
            self._secrets = {"key": given.api_key or "", **given.headers, **(given.query or {})}
            self._options = _options(given)
            self._clients = PerLoop(partial(_open, given, given.trust()), AsyncOpenAI.close)
        elif isinstance(given, ReadyClient):
            self._ready = given.with_options(max_retries=0)
            self.base_url = checked_url("the base_url of client=", str(given.base_url))
            self.api_key = given.api_key
            check_sendable("the api_key of client=", given.api_key)
            self._secrets = {"key": given.api_key}
        else:
            raise UsageError(
                "client: expected an openai.OpenAI or openai.AsyncOpenAI (or Azure's), got"
                f" {type(given).__name__}"
            )

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send a body of JSON, and return the one that comes back.

        Args:
            path: after `base_url`, with a slash before it; or a whole URL.
            body: what to send.

        Raises:
            TypedLLMError: what went wrong, and on whose side.
        """
        return await self._called("post", path, **self._sent(body))

    async def get(self, path: str) -> Any:
        """Return the JSON that the server has at a path.

        Args:
            path: as in `post`.

        Raises:
            TypedLLMError: what went wrong, and on whose side.
        """
        return await self._called("get", path)

    async def stream(self, path: str, body: Mapping[str, Any], take: Callable[[Any], None]) -> None:
        """Send a body of JSON, and take the events that come back, until the server ends them.

        Args:
            path: as in `post`.
            body: what to send; it asks for a stream.
            take: called with the JSON of each event, for a client that is not async in a thread;
                what it raises ends the stream.

        Raises:
            TypedLLMError: what went wrong, and on whose side; or what `take` raised.
        """
        client, path = self._client(), self._url(path)
        sent: dict[str, Any] = {**self._sent(body), "options": self._options}
        sent |= {"cast_to": object, "stream": True}
        try:
            if isinstance(client, OpenAI):
                sent["stream_cls"] = openai.Stream[object]
                await _in_thread(lambda: client.post(path, **sent), self._check_events, take)
                return
            async with await client.post(path, stream_cls=AsyncStream[object], **sent) as events:
                self._check_events(events.response.headers)
                async for event in events:
                    take(event)
            return
        except TypedLLMError:
            raise
        except Exception as error:
            failure = self._translated(error)
        raise failure

    def hide(self, text: str) -> str:
        """Take out of a text what was given as a secret.

        Args:
            text: what the server told in another way than as the refusal of a call.
        """
        return hidden(text, self._secrets, {})

    async def close(self) -> None:
        """Close all connections, but those of a caller's own client."""
        if self._clients is not None:
            await self._clients.close()

    async def _called(self, method: str, path: str, **sent: Any) -> Any:
        client, path = self._client(), self._url(path)
        call: Callable[[], Any] = partial(
            getattr(client, method), path, cast_to=httpx2.Response, options=self._options, **sent
        )
        try:
            response = await (asyncio.to_thread(call) if isinstance(client, OpenAI) else call())
            headers_came(response.headers)
            return response.json()
        except Exception as error:  # a caller's client may run a caller's code
            failure = self._translated(error)
        raise failure  # out here, without its cause, which holds the request and so the key

    def _url(self, path: str) -> str:
        """A path as the package takes it: whole, since it takes long to join one to its own URL."""
        # Azure's client looks into the path
        return path if self._ready or not path.startswith("/") else f"{self.base_url}{path}"

    def _sent(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A body as the package takes it: printed, since it copies one before it prints it."""
        try:
            content = to_json(body)
        except ValueError as error:
            raise UsageError(f"{self._server}: the request is no JSON: {error}") from error
        # Azure's client, and whoever hooks into one, looks into the body
        return {"content": content} if self._ready is None else {"body": dict(body)}

    def _check_events(self, headers: Mapping[str, str]) -> None:
        headers_came(headers)
        kind = headers.get("content-type", "").partition(";")[0]
        if kind.endswith(("html", "json")):  # some say text/plain
            raise EngineError(f"{self._server} answered with {kind}, which is no stream of events")

    def _client(self) -> ReadyClient:
        if self._clients is not None:
            return self._clients.get()
        assert self._ready is not None  # one of the two is there
        if isinstance(self._ready, AsyncOpenAI):
            loop = asyncio.get_running_loop()
            self._home = self._home or loop
            if self._home is not loop:
                raise UsageError(
                    f"{self._server}: client= is an async client, whose connections belong to the"
                    " event loop that it was first used on; give an openai.OpenAI, or use the LLM"
                    " on one event loop alone"
                )
        return self._ready

    def _translated(self, error: Exception) -> TypedLLMError:
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
            begun = getattr(error, "doc", "").lstrip().startswith(("{", "["))  # and then cut
            return EngineError(
                f"{self._server} answered with what is no JSON: {error}", retryable=begun
            )
        if isinstance(error, httpx2.TransportError):  # in the middle of a stream
            return no_answer(self._server, self.base_url, error, str(error) or repr(error))
        if not isinstance(error, openai.APIError):
            return EngineError(
                f"{self._server}: the client failed: {type(error).__name__}: {error}"
            )
        request = error.request
        hide = partial(hidden, headers=request.headers, query=request.url.params)
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__ or error
            return no_answer(self._server, self.base_url, error, hide(str(cause) or repr(cause)))
        if type(error) is openai.APIError:  # in a stream
            return self._broken_off(error, hide(str(error)))
        if not isinstance(error, openai.APIStatusError):
            return EngineError(f"{self._server}: {hide(str(error))}")
        told, headers = hide(_message(error)), error.response.headers
        headers_came(headers)
        return refusal_of(self._server, error.status_code, error.body, told, headers)

    def _broken_off(self, error: openai.APIError, told: str) -> TypedLLMError:
        """What an error means that comes as an event; its code may be that of an HTTP status."""
        given: object = error.code
        status = _STATUSES.get(given) if isinstance(given, str) else given
        if isinstance(status, int):
            return refusal_of(self._server, status, error.body, told, {})
        return EngineError(f"{self._server} broke off its answer: {told}", retryable=True)


async def _in_thread(
    ask: Callable[[], openai.Stream[object]],
    check: Callable[[Mapping[str, str]], None],
    take: Callable[[Any], None],
) -> None:
    """Take the events of a client that is not async, until nobody waits for them any more."""
    given_up = threading.Event()

    def run() -> None:
        with ask() as events:
            check(events.response.headers)
            for event in events:
                if given_up.is_set():
                    return
                take(event)

    try:
        await asyncio.to_thread(run)
    finally:
        given_up.set()


def _open(connection: Connection, trust: ssl.SSLContext | bool) -> AsyncOpenAI:
    key = connection.api_key or "none"  # the package wants one in any case
    headers = dict(connection.headers)
    if connection.key_header is not None:
        headers.setdefault(connection.key_header, key)
    if "authorization" in headers:
        headers["Authorization"] = headers.pop("authorization")  # in place of the package's own
    client = AsyncOpenAI(
        api_key=key,
        base_url=connection.base_url,
        max_retries=0,
        default_headers={**headers, **_UNSAID},
        default_query=connection.query,
        timeout=openai.Timeout(None, connect=connection.connect_timeout_s),  # else: `timeout_s`
        http_client=DefaultAioHttpClient(
            limits=_LIMITS,
            proxy=connection.proxy,
            verify=trust,
            follow_redirects=False,  # the headers are for this server alone
        ),
    )
    host = client.base_url.host
    if not host.endswith((".openai.com", ".openai.azure.com")):
        # what the environment has for OpenAI is for no other server
        client.organization = client.project = None
    return client


def _options(connection: Connection) -> Any:
    """What each call leaves out: the key as a bearer's, where another header takes it."""
    if connection.key_header is None or "authorization" in connection.headers:
        return {}
    # the package takes it only here
    return {"headers": {"Authorization": openai.Omit()}}


def _message(error: openai.APIStatusError) -> str:
    body = error.body
    if isinstance(body, dict):
        fields = cast("dict[str, Any]", body)
        found: Any = fields.get("message") or fields.get("error") or fields.get("detail")
        if isinstance(found, dict):
            found = cast("dict[str, Any]", found).get("message", found)
        if found:
            return str(found)
    return moved(error.response.headers) or error.message
