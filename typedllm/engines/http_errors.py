"""What it means when a server over HTTP refuses or does not answer, whatever the protocol."""

from __future__ import annotations

import math
import re
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast

from typedllm.errors import EngineError, PromptTooLong, Refused, TypedLLMError, UsageError

__all__ = ["hidden", "moved", "no_answer", "refusal_of"]

_TOO_LONG: Final = ("context length", "context_length_exceeded")
_RETRYABLE: Final = frozenset({408, 409, 429})
_USER: Final = re.compile(r"//[^/@\s]+@")
# of a request: what HTTP clients set themselves; any other value may be a secret
_PLAIN: Final = re.compile(
    r"(accept.*|connection|content-.*|host|user-agent|x-stainless-.*|transfer-encoding)"
)
_LEAST: Final = 5  # characters; shorter texts stand everywhere, and are no secrets


def hidden(text: str, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """Take out of a text what may be a secret of the request, as some servers repeat it.

    Args:
        text: what came back.
        headers: that were sent.
        query: that was sent.
    """
    sent = [value for name, value in headers.items() if not _PLAIN.fullmatch(name.lower())]
    sent += [value.partition(" ")[2] for value in sent]  # without `Bearer`
    sent += query.values()
    for value in sorted({*sent, *(value.strip() for value in sent)}, key=len, reverse=True):
        if len(value) >= _LEAST:
            text = text.replace(value, "***")
    return _USER.sub("//***@", text)


def no_answer(server: str, base_url: str, error: BaseException, told: str) -> EngineError:
    """Say that a server could not be reached, or went away.

    Args:
        server: what it is called in messages.
        base_url: where it is.
        error: what happened.
        told: what that says, without secrets.
    """
    for cause in _causes(error):
        said = getattr(cause, "verify_message", None)  # aiohttp's own errors of this kind lack it
        if isinstance(cause, ssl.SSLCertVerificationError) and said:
            return EngineError(
                f"the certificate of {server} at {base_url} is not trusted: {said}; give"
                ' engine_args={"verify": "authority.pem"}, the file of the authority that signed'
                " it, or False to trust any server"
            )
    return EngineError(f"no answer from {server} at {base_url}: {told}", retryable=True)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def moved(headers: Mapping[str, str]) -> str:
    """Say where a server sends its callers, which none follows, as the key is for it alone.

    Args:
        headers: of its answer, by names in lower case.

    Returns:
        Empty where it sends them nowhere.
    """
    location = headers.get("location")
    return f"what is asked for is at {location}; give that as base_url" if location else ""


def refusal_of(
    server: str, status: int, body: object, told: str, headers: Mapping[str, str]
) -> TypedLLMError:
    """Say what an answer means whose status is none of success, and on whose side it is.

    Args:
        server: what it is called in messages.
        status: of HTTP.
        body: its `error`, or all of it.
        told: what it says, without secrets.
        headers: that came with it.
    """
    if status == 400 and _fields(body).get("code") == "content_filter":
        return Refused(f"{server} refuses the prompt{_filtered(body)}: {told}", raw="")
    if status == 400 and any(word in told for word in _TOO_LONG):
        return PromptTooLong(f"{server}: {told}")
    if status in (400, 422):
        return UsageError(f"{server} refuses the request: {told}")
    return EngineError(
        f"{server} answered with HTTP {status}: {told}",
        retryable=status in _RETRYABLE or status >= 500,
        retry_after_s=_retry_after_s(headers),
        status=status,
        request_id=headers.get("x-request-id") or headers.get("apim-request-id"),  # Azure's
    )


def _filtered(body: object) -> str:
    """Which of Azure's filters the prompt fell into, such as ` (violence)`.

    https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter
    """
    found = _fields(_fields(_fields(body).get("innererror")).get("content_filter_result"))
    names = [name for name, each in found.items() if _fields(each).get("filtered")]
    return f" ({', '.join(names)})" if names else ""


def _fields(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The wait that was asked for: in Azure's milliseconds, in seconds, or as a date (RFC 9110)."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1)):
        try:
            wait_s = float(headers.get(name, "")) * unit_s
        except ValueError:
            continue
        if math.isfinite(wait_s):
            return max(0.0, wait_s)
    try:
        at = parsedate_to_datetime(headers.get("retry-after", ""))
        wait = at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)
    except (ValueError, OverflowError):
        return None
    return max(0.0, wait.total_seconds())
