"""How the engines of OpenAI's protocol are opened: from a model's name and a caller's options.

Common to all of them are the options of `Connection`, and in their place `client`, a caller's own
`openai.OpenAI` or `openai.AsyncOpenAI`, see `OpenAIClient`. The openai package is imported when one
is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

from typedllm.engines.base import Engine
from typedllm.engines.connection import Connection, Verify, checked_url
from typedllm.engines.dialects import DIALECTS, Dialect, dialect_with
from typedllm.engines.keys import check_model, key_of
from typedllm.errors import UsageError

if TYPE_CHECKING:
    from typedllm.engines.openai_client import OpenAIClient, ReadyClient

__all__ = ["client_for", "open_azure", "open_server", "open_vllm_server"]

C = TypeVar("C", bound="OpenAIClient")

_VLLM: Final = "the vLLM server"
_VLLM_URL: Final = "http://localhost:8000/v1"


def open_server(
    name: str,
    model: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    headers: Mapping[str, str] | None = None,
    proxy: str | None = None,
    verify: Verify | None = None,
    connect_timeout_s: float | None = None,
    client: ReadyClient | None = None,
    sends: str | None = None,
) -> Engine:
    """Open a model of a server.

    Args:
        name: a row of `DIALECTS`.
        model: as the server calls it.
        base_url: of its API, with `/v1`; None for where the provider has it.
        api_key: None for the one that the environment has for the provider, which is sent to the
            provider's own address and no other.
        headers: sent with every request.
        proxy: the URL of an HTTP proxy; None for what the environment names.
        verify: which certificates of servers are trusted, see `Connection`.
        connect_timeout_s: seconds for the server to take the connection; None is 10.
        client: a caller's own client, in place of all that is above.
        sends: how a constraint is said, for a server that is unlike its row, see `Dialect`.

    Raises:
        UsageError: when there is no model, no key for a provider that needs one, or an option that
            is wrong or says what `client` says.
    """
    check_model(name, model)
    dialect = _dialect(name, sends)
    given = _given(
        base_url=base_url,
        api_key=api_key,
        headers=headers,
        proxy=proxy,
        verify=verify,
        connect_timeout_s=connect_timeout_s,
    )
    from typedllm.engines.openai_client import OpenAIClient

    return _engine(dialect, model, client_for(dialect, OpenAIClient, client, given))


def client_for(
    dialect: Dialect, kind: type[C], client: ReadyClient | None, given: Mapping[str, Any]
) -> C:
    """Make what calls a provider's server.

    Args:
        dialect: the server.
        kind: what to make.
        client: a caller's own client; None to make one.
        given: the options of `Connection` that a caller gave.

    Raises:
        UsageError: when there is no key for a provider that needs one, or an option that is wrong
            or says what `client` says.
    """
    if client is not None:
        _check_alone(dialect.name, given)
        return kind(client, server=dialect.name)
    made: dict[str, Any] = {"base_url": dialect.base_url or "", **given}
    if not given.keys() & {"base_url", "api_key"} and dialect.key_variable is not None:
        made["api_key"] = key_of(dialect.name, dialect.key_variable)
    return kind(Connection(**made, key_header=dialect.key_header), server=dialect.name)


def open_azure(
    model: str,
    *,
    azure_endpoint: str | None = None,
    api_version: str | None = None,
    api_key: str | None = None,
    headers: Mapping[str, str] | None = None,
    proxy: str | None = None,
    verify: Verify | None = None,
    connect_timeout_s: float | None = None,
    client: ReadyClient | None = None,
    sends: str | None = None,
) -> Engine:
    """Open a deployment of Azure OpenAI.

    The URLs are those of
    https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle.

    Args:
        model: the deployment.
        azure_endpoint: of the resource, such as `https://my-name.openai.azure.com`.
        api_version: such as `2024-10-21`; None for the v1 API, which has none.
        api_key: None for the one in `AZURE_OPENAI_API_KEY`.
        headers: as in `open_server`, like those that follow.
        proxy: the same.
        verify: the same.
        connect_timeout_s: the same.
        client: the same; such as an `openai.AzureOpenAI` that signs in by Entra ID.
        sends: the same.

    Raises:
        UsageError: when there is no deployment, no endpoint or no key, or an option that is wrong
            or says what `client` says.
    """
    check_model("azure", model)
    dialect = _dialect("azure", sends)
    given = _given(
        api_key=api_key,
        headers=headers,
        proxy=proxy,
        verify=verify,
        connect_timeout_s=connect_timeout_s,
    )
    place = _given(azure_endpoint=azure_endpoint, api_version=api_version)
    if client is not None:
        return _engine(dialect, model, _ready("azure", client, {**place, **given}))
    if api_key is None and dialect.key_variable is not None:
        given["api_key"] = key_of("azure", dialect.key_variable)
    given |= _azure_urls(model, **place)
    return _engine(dialect, model, _reached("azure", given, key_header=dialect.key_header))


def open_vllm_server(
    model: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    headers: Mapping[str, str] | None = None,
    proxy: str | None = None,
    verify: Verify | None = None,
    connect_timeout_s: float | None = None,
    client: ReadyClient | None = None,
    backend: str | None = None,
) -> Engine:
    """Open a model of a vLLM server, which is met at once.

    Args:
        model: as the server calls it; empty for the first that it has.
        base_url: of its API, with `/v1`; None is `http://localhost:8000/v1`.
        api_key: where it wants one.
        headers: as in `open_server`, like those that follow.
        proxy: the same.
        verify: the same.
        connect_timeout_s: the same.
        client: the same; an async one is met, and so is used, on typedllm's own event loop.
        backend: `guidance` where the server is known to run on it.

    Raises:
        UsageError: for a server that is too old or has no such model, or an option that is wrong
            or says what `client` says.
        EngineError: when the server does not answer.
    """
    from typedllm.engines.vllm_server import VllmServerEngine

    given = _given(
        base_url=base_url,
        api_key=api_key,
        headers=headers,
        proxy=proxy,
        verify=verify,
        connect_timeout_s=connect_timeout_s,
    )
    if client is not None:
        return VllmServerEngine(model, _ready(_VLLM, client, given), backend=backend)
    given.setdefault("base_url", _VLLM_URL)
    return VllmServerEngine(model, _reached(_VLLM, given), backend=backend)


def _given(**options: Any) -> dict[str, Any]:
    return {option: value for option, value in options.items() if value is not None}


def _dialect(name: str, sends: str | None) -> Dialect:
    return DIALECTS[name] if sends is None else dialect_with(DIALECTS[name], sends)


def _azure_urls(
    model: str, *, azure_endpoint: str | None = None, api_version: str | None = None
) -> dict[str, Any]:
    if not azure_endpoint:
        raise UsageError(
            'azure: no endpoint; give engine_args={"azure_endpoint":'
            ' "https://my-name.openai.azure.com"}'
        )
    root = f"{checked_url('azure_endpoint', azure_endpoint).removesuffix('/openai')}/openai"
    if not api_version:
        return {"base_url": f"{root}/v1"}
    query = {"api-version": api_version}
    return {"base_url": f"{root}/deployments/{quote(model, safe='')}", "query": query}


def _engine(dialect: Dialect, model: str, client: OpenAIClient) -> Engine:
    from typedllm.engines.openai import OpenAIEngine

    return OpenAIEngine(dialect, model, client)


def _reached(server: str, given: Mapping[str, Any], **more: Any) -> OpenAIClient:
    from typedllm.engines.openai_client import OpenAIClient

    return OpenAIClient(Connection(**given, **more), server=server)


def _ready(server: str, client: ReadyClient, given: Mapping[str, object]) -> OpenAIClient:
    from typedllm.engines.openai_client import OpenAIClient

    _check_alone(server, given)
    return OpenAIClient(client, server=server)


def _check_alone(server: str, given: Mapping[str, object]) -> None:
    for option in given:
        raise UsageError(
            f"{server}: client= says where and how the server is reached, and {option}= says it"
            " too; give one of them"
        )
