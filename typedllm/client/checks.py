"""Checks of what an LLM is given, for callers without a type checker."""

from __future__ import annotations

from collections.abc import Sequence

from typedllm._checks import check_kind, check_number
from typedllm.engines.base import Engine
from typedllm.errors import UsageError
from typedllm.records import Limits, Sampling

__all__ = ["check_options", "checked_engine", "checked_models"]


def check_options(
    sampling: Sampling | None, limits: Limits | None, timeout_s: float | None
) -> None:
    """Check keywords that an LLM and its verbs take.

    Raises:
        UsageError: naming the one that is of a wrong kind or out of its range.
    """
    check_kind("sampling", sampling, Sampling)
    check_kind("limits", limits, Limits)
    check_number("timeout_s", timeout_s, above_least=True, or_none=True)


def checked_engine(engine: Engine) -> Engine:
    """Return what is given as an engine, if it is one.

    Raises:
        UsageError: when it is not.
    """
    if not all(hasattr(engine, name) for name in ("traits", "model", "capacity", "send", "close")):
        raise UsageError(
            f"model: expected a text such as 'embedded:folder' or an engine, got {engine!r:.80}"
        )
    return engine


def checked_models(models: Sequence[str | Engine]) -> Sequence[str | Engine]:
    """Return what is given as a fallback, if it is a list of models.

    Raises:
        UsageError: when it is not.
    """
    check_kind("fallback", models, Sequence)
    if isinstance(models, str):
        raise UsageError(f"fallback: expected a list of models; write [{models!r}]")
    return models
