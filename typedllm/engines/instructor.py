"""How the engines that go through instructor are opened; their SDKs are imported here alone.

instructor hands each call to the provider's SDK, whichever kind of client that has: sync or async,
of the provider's own API or of a cloud that has it too. Its retries and those of the SDKs are off:
there is one loop for those, in `attempts`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import iscoroutinefunction, signature
from typing import Any, Final

from typedllm._checks import nearest
from typedllm._require import require
from typedllm.engines.anthropic_client import open_anthropic
from typedllm.engines.anthropic_messages import IN_BODY
from typedllm.engines.connection import Connection, check_sendable
from typedllm.engines.instructor_calls import quietly
from typedllm.engines.instructor_engine import InstructorEngine
from typedllm.engines.instructor_errors import said
from typedllm.engines.instructor_providers import PROVIDERS
from typedllm.engines.keys import check_model, key_of
from typedllm.engines.per_loop import PerLoop
from typedllm.errors import MissingDependency, UsageError

__all__ = ["open_any", "open_provider"]

_EXTRA: Final = "remote"
_SAME: Final = {  # instructor's names of the providers that have an engine of their own
    "anthropic": "anthropic",
    "google": "gemini",
    "gemini": "gemini",
    "cohere": "cohere",
}
_NO_RETRIES: Final = {"attempts": 1}
# by the name that aiohttp has for it, and by httpx's: the key is for this server alone
_NO_REDIRECTS: Final = {"allow_redirects": False, "follow_redirects": False}


@dataclass(frozen=True, slots=True)
class _Opened:
    """A client of instructor's, and how it is closed."""

    client: Any
    close: Callable[[], Awaitable[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sdk:
    """A provider's SDK.

    Attributes:
        make: opens a client, by key, address and headers.
        wrap: makes a client of instructor's out of one that was given, its retries off.
        options: the names of further options of a call.
    """

    make: Callable[[str, str, Mapping[str, str]], _Opened]
    wrap: Callable[[Any], Any]
    options: Callable[[], Collection[str]]


def open_provider(
    name: str,
    model: str,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    headers: Mapping[str, str] | None = None,
    client: Any = None,
) -> InstructorEngine:
    """Open a model of a provider.

    Args:
        name: a row of `PROVIDERS` that has an address.
        model: as the provider calls it.
        api_key: None for the one that the environment has for the provider, which is sent to the
            provider's own address and no other.
        base_url: of its API; None for where the provider has it.
        headers: sent with every call.
        client: a ready-made one of the provider's SDK, sync or async, or of instructor's; it is not
            closed with the engine.

    Raises:
        UsageError: when there is no model, no key, or no such client.
        MissingDependency: when the SDK is not installed.
    """
    provider, sdk = PROVIDERS[name], _SDKS[name]
    check_model(name, model)
    require("instructor", _EXTRA)
    options = sdk.options()
    if client is not None:
        _check_alone(name, api_key=api_key, base_url=base_url, headers=headers)
        wrapped = _wrapped(name, client, sdk.wrap)
        return InstructorEngine(
            provider, model, lambda: wrapped, known=options, sent=_key_of_client(client)
        )
    if api_key is None and base_url is None:
        api_key = key_of(name, *provider.key_variables)
    reached = Connection(
        base_url=base_url or provider.base_url, api_key=api_key, headers=headers or {}
    )
    make = partial(sdk.make, api_key or "none", reached.base_url, reached.headers)
    clients = PerLoop(make, lambda opened: opened.close())
    return InstructorEngine(
        provider,
        model,
        lambda: clients.get().client,
        known=options,
        close=clients.close,
        base_url=reached.base_url,
        sent={"key": api_key or "", **reached.headers},
        prices=None if base_url else provider.prices,
    )


def open_any(
    model: str, *, api_key: str | None = None, base_url: str | None = None, client: Any = None
) -> InstructorEngine:
    """Open a model of any provider that instructor knows.

    What has an engine of its own is opened as that one. Of the others, plain text is read where
    they answer in OpenAI's form.

    Args:
        model: `provider/model`, as `instructor.from_provider` takes it.
        api_key: None for the one that the provider's SDK finds in the environment.
        base_url: of its API, where the SDK takes one.
        client: a ready-made one of the provider's SDK, or of instructor's; it is not closed with
            the engine.

    Raises:
        UsageError: when there is no such provider, with those that there are, or no key.
        MissingDependency: when instructor or the provider's SDK is not installed.
    """
    name, _, rest = model.partition("/")
    if not rest:
        raise UsageError('instructor: no model; write LLM("instructor:provider/model")')
    if name in _SAME:
        options: Any = {"api_key": api_key, "base_url": base_url, "client": client}
        return open_provider(_SAME[name], rest, **options)
    known = require("instructor.auto_client", _EXTRA).supported_providers
    if name not in known:
        near, told = nearest(name, known), ", ".join(known)
        raise UsageError(f"instructor knows no provider {name!r}{near}, but {told}")
    provider = PROVIDERS["instructor"]
    if client is not None:
        _check_alone("instructor", api_key=api_key, base_url=base_url)
        wrapped = _wrapped(name, client, partial(_by_name, name, rest))
        return InstructorEngine(provider, model, lambda: wrapped, sent=_key_of_client(client))
    if api_key is not None:
        check_sendable("api_key", api_key)
    given = {"api_key": api_key, "base_url": base_url}
    make = partial(_from_provider, model, {k: v for k, v in given.items() if v is not None})
    sent = {"key": api_key or ""}
    try:
        opened = make()  # what is wrong is told now
    except Exception as error:
        message = f"instructor cannot open {model}: {said(error, sent)}"
        kind = MissingDependency if "nstall it with" in message else UsageError
        raise kind(message) from None
    sent |= _key_of_client(opened.client, "the key that the environment has for it")
    clients = PerLoop(make, lambda opened: opened.close())
    return InstructorEngine(
        provider, model, lambda: clients.get().client, close=clients.close, sent=sent
    )


def _from_provider(model: str, options: Mapping[str, str]) -> _Opened:
    make: Any = require("instructor", _EXTRA).from_provider
    client: Any = quietly(partial(make, model, async_client=True, **options))
    sdk: Any = client.client
    if hasattr(sdk, "max_retries"):
        sdk.max_retries = 0

    async def close() -> None:
        if iscoroutinefunction(getattr(sdk, "close", None)):
            await sdk.close()

    return _Opened(client, close)


def _wrapped(name: str, client: Any, wrap: Callable[[Any], Any]) -> Any:
    """A client of instructor's, or one made of an SDK's."""
    instructor = require("instructor", _EXTRA)
    if isinstance(client, instructor.Instructor):  # the async one is of this class too
        return client
    try:
        return quietly(partial(wrap, client))
    except Exception as error:
        kind = f"{type(client).__module__}.{type(client).__qualname__}"
        raise UsageError(f"{name}: client= is a {kind}; {said(error, {})}") from None


def _by_name(name: str, model: str, client: Any) -> Any:
    make = getattr(require("instructor", _EXTRA), f"from_{name}", None)
    if make is None:
        raise UsageError(f"give one of instructor's own, from its function for {name}")
    return make(_without_retries(client), model=model)


def _without_retries(client: Any) -> Any:
    return client.with_options(max_retries=0) if hasattr(client, "with_options") else client


def _key_of_client(client: Any, place: str = "the api_key of client=") -> dict[str, str]:
    """The key that a client sends, where it tells that."""
    key: object = getattr(client, "api_key", None)
    if not isinstance(key, str):
        return {}
    check_sendable(place, key)
    return {"key": key}


def _check_alone(name: str, **options: object) -> None:
    for option, value in options.items():
        if value is not None:
            raise UsageError(f"{name}: client= has its own {option}; give only one of them")


def _open_anthropic(key: str, url: str, headers: Mapping[str, str]) -> _Opened:
    client = open_anthropic(key, url, headers)
    return _Opened(_wrap_anthropic(client), client.close)


def _wrap_anthropic(client: Any) -> Any:
    return require("instructor", _EXTRA).from_anthropic(_without_retries(client))


def _anthropic_options() -> Collection[str]:
    create = require("anthropic.resources", _EXTRA).AsyncMessages.create
    return {*signature(create).parameters, *IN_BODY}


def _open_gemini(key: str, url: str, headers: Mapping[str, str]) -> _Opened:
    genai: Any = require("google.genai", _EXTRA)
    client = genai.Client(
        vertexai=False,
        api_key=key,
        http_options={
            "base_url": url,
            "headers": dict(headers),
            "retry_options": _NO_RETRIES,
            "async_client_args": _NO_REDIRECTS,
        },
    )

    async def close() -> None:
        await client.aio.aclose()
        client.close()

    return _Opened(_wrap_gemini(client), close)


def _wrap_gemini(client: Any) -> Any:
    return require("instructor", _EXTRA).from_genai(client, use_async=True)


def _gemini_options() -> Collection[str]:
    return require("google.genai.types", _EXTRA).GenerateContentConfig.model_fields


def _open_cohere(key: str, url: str, headers: Mapping[str, str]) -> _Opened:
    http: Any = require("httpx", _EXTRA).AsyncClient(headers=dict(headers), timeout=None)
    client = require("cohere", _EXTRA).AsyncClientV2(
        key, base_url=url, httpx_client=http, log_warning_experimental_features=False
    )
    return _Opened(_wrap_cohere(client), http.aclose)


def _wrap_cohere(client: Any) -> Any:
    return require("instructor", _EXTRA).from_cohere(client)


def _cohere_options() -> Collection[str]:
    return signature(require("cohere", _EXTRA).AsyncClientV2.chat).parameters


_SDKS: Final = {
    "anthropic": _Sdk(make=_open_anthropic, wrap=_wrap_anthropic, options=_anthropic_options),
    "gemini": _Sdk(make=_open_gemini, wrap=_wrap_gemini, options=_gemini_options),
    "cohere": _Sdk(make=_open_cohere, wrap=_wrap_cohere, options=_cohere_options),
}
