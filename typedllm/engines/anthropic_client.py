"""A client of Anthropic's SDK, as both engines of Anthropic have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typedllm._require import require
from typedllm.engines.allowances import headers_came

__all__ = ["open_anthropic"]


def open_anthropic(key: str | None, url: str, headers: Mapping[str, str]) -> Any:
    """Open an `anthropic.AsyncAnthropic`, which tries nothing again and sets no time limit.

    Args:
        key: None where the server wants none.
        url: of the API.
        headers: sent with every call.

    Raises:
        MissingDependency: when the SDK is not installed.
    """
    anthropic: Any = require("anthropic", "remote")

    async def hear(response: Any) -> None:
        headers_came(response.headers)

    return anthropic.AsyncAnthropic(
        api_key=key or "none",  # the SDK wants one in any case
        base_url=url,
        default_headers=dict(headers),
        max_retries=0,
        timeout=None,
        http_client=anthropic.DefaultAsyncHttpxClient(
            event_hooks={"response": [hear]},
            follow_redirects=False,  # the headers are for this server alone
        ),
    )
