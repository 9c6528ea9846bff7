"""The one place that reads the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from typedllm.errors import UsageError

__all__ = ["default_model", "provider_key", "retry_settings", "templates_folder"]

_RETRY: Final = {
    "RETRY_ATTEMPTS": "attempts",
    "RETRY_WAIT_EXPONENTIAL_MULTIPLIER": "multiplier_s",
    "RETRY_WAIT_EXPONENTIAL_MIN": "min_wait_s",
    "RETRY_WAIT_EXPONENTIAL_MAX": "max_wait_s",
}


def default_model() -> str:
    """Return the model of `LLM()`: the one named in `TYPEDLLM_MODEL`, else the embedded one."""
    return os.environ.get("TYPEDLLM_MODEL") or "embedded"


def templates_folder() -> Path | None:
    """Return the folder of the caller's own templates, named in `TYPEDLLM_TEMPLATES`, if any."""
    named = os.environ.get("TYPEDLLM_TEMPLATES")
    return Path(named) if named else None


def provider_key(variable: str) -> str | None:
    """Return the key of a provider, if the environment has one.

    Args:
        variable: the provider's own name for it, such as `OPENAI_API_KEY`.
    """
    return os.environ.get(variable, "").strip() or None


def retry_settings() -> dict[str, Any]:
    """Return what the environment says of retries, as arguments of `Policy`.

    `RETRY_ATTEMPTS`, and in seconds `RETRY_WAIT_EXPONENTIAL_MULTIPLIER`, `_MIN` and `_MAX`; each
    is overruled by the same name with `TYPEDLLM_` before it.

    Raises:
        UsageError: naming the variable, when it is no number.
    """
    found: dict[str, Any] = {}
    for name, argument in _RETRY.items():
        for variable in (name, f"TYPEDLLM_{name}"):
            if text := os.environ.get(variable):
                found[argument] = _number(variable, text, whole=argument == "attempts")
    return found


def _number(variable: str, text: str, *, whole: bool) -> float:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        kind = "whole number" if whole else "number of seconds"
        raise UsageError(f"the environment's {variable}={text!r} is no {kind}; unset it") from None
