"""What the errors of the providers' SDKs mean; each has a class tree of its own.

So they are known by what they have in common: the HTTP status as `status_code` or `code`, the
headers on the error or on its `response`, and what was said in its `body`, `details` or `message`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from json import JSONDecodeError
from typing import Any, Final

from typedllm.engines.http_errors import hidden, moved, no_answer, refusal_of
from typedllm.errors import EngineError, MissingDependency, PromptTooLong, TypedLLMError, UsageError

__all__ = ["said", "translated"]

_TOO_LONG: Final = ("prompt is too long", "input token count", "too many tokens")
_TRANSPORT: Final = frozenset(  # of httpx and httpx2, aiohttp, and the SDKs' own
    {"TransportError", "ClientError", "APIConnectionError", "OSError", "TimeoutError"}
)
_DELAY: Final = re.compile(r"'retryDelay': '([0-9.]+)s'")


def translated(
    error: Exception, server: str, base_url: str, sent: Mapping[str, str]
) -> TypedLLMError:
    """Say on whose side an error is.

    Args:
        error: what an SDK, or instructor, raised.
        server: what the provider is called in messages.
        base_url: where it is, if that is known.
        sent: the key and the headers that were sent, which some servers repeat.
    """
    error = _cause(error)
    status, told = _status(error), said(error, sent)
    if status is None:
        return _unanswered(error, told, server, base_url)
    headers = _headers(error)
    if status < 300:
        return EngineError(f"{server} broke off: {told}", retryable=True, status=status)
    if status < 400:
        told = hidden(moved(headers), sent, {}) or told
    if status in (400, 413) and any(words in told.lower() for words in _TOO_LONG):
        return PromptTooLong(f"{server}: {told}")
    return refusal_of(server, status, getattr(error, "body", None), told, headers)


def said(error: Exception, sent: Mapping[str, str]) -> str:
    """Return what an error says.

    Args:
        error: of an SDK.
        sent: the key and the headers that were sent, which are taken out.
    """
    return hidden(_words(error), sent, {})


def _words(error: Any) -> str:
    for name in ("body", "details", "message"):
        found: Any = getattr(error, name, None)
        while isinstance(found, Mapping) and ("error" in found or "message" in found):
            found = found.get("error") or found.get("message")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        if found:
            return str(found)  # pyright: ignore[reportUnknownArgumentType]
    return str(error) or type(error).__name__


def _cause(error: Exception) -> Exception:
    """What instructor's own exceptions were raised from."""
    while type(error).__module__.startswith("instructor.") and isinstance(
        error.__cause__, Exception
    ):
        error = error.__cause__
    return error


def _unanswered(error: Exception, told: str, server: str, base_url: str) -> TypedLLMError:
    """The error for one without a status."""
    if isinstance(error, ImportError):
        return MissingDependency(f"{server}: {told}; install it: pip install {error.name}")
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & _TRANSPORT:
        return no_answer(server, base_url or "its address", error, told)
    # What an SDK finds wrong with its arguments; an answer that it cannot read is a ValueError too.
    broken = isinstance(error, JSONDecodeError) or "UnknownApiResponseError" in kinds
    if isinstance(error, TypeError | ValueError) and not broken:
        return UsageError(f"{server} cannot be sent the request: {told}")
    return EngineError(f"{server}: {type(error).__name__}: {told}")


def _status(error: Any) -> int | None:
    for name in ("status_code", "code"):
        found = getattr(error, name, None)
        if isinstance(found, int):
            return found
    return None


def _headers(error: Any) -> dict[str, str]:
    """The headers of a refusal, by the names that all engines look for."""
    given: Any = getattr(error, "headers", None)
    if given is None:
        given = getattr(getattr(error, "response", None), "headers", None)
    found = {str(name).lower(): str(value) for name, value in dict(given or {}).items()}
    if "request-id" in found:  # Anthropic's
        found.setdefault("x-request-id", found["request-id"])
    if delay := _DELAY.search(str(getattr(error, "details", ""))):  # Gemini's
        found.setdefault("retry-after", delay[1])
    return found
