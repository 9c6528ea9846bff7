"""One engine after the other, where the service of one fails for good."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TypeAlias, TypeVar

from typedllm.attempts.budget import Spending
from typedllm.attempts.task import Send, Task
from typedllm.errors import DeadlineExceeded, EngineError, TypedLLMError
from typedllm.prompts.templates import Rendered
from typedllm.records import Reply, Result

__all__ = ["in_turn"]

T = TypeVar("T")

_OneEngine: TypeAlias = Callable[[Task[T], Rendered], Generator[Send, Reply, Result[T]]]


def in_turn(
    policy: _OneEngine[T], task: Task[T], prompt: Rendered
) -> Generator[Send, Reply, Result[T]]:
    """Ask one engine after the other, until the service of one does not fail.

    Args:
        policy: for one engine.
        task: for the first, with the others as its `fallback`.
        prompt: the messages, or the raw segments, to send.
    """
    if task.fallback is None:
        return (yield from policy(task, prompt))
    started, spending = time.monotonic(), Spending(task.policy.budget)
    task = replace(task, spending=spending)
    found = yield from policy(task, prompt)
    while task.fallback is not None and _has_failed(found.error) and not spending.spent():
        left_s = task.left_s(started)
        task = replace(task.fallback, timeout_s=left_s, after=found.error, spending=spending)
        started = time.monotonic()
        before, found = found, (yield from policy(task, prompt))
        found = replace(
            found,
            usage=before.usage + found.usage,
            attempts=before.attempts + found.attempts,
            latency_s=before.latency_s + found.latency_s,
        )
    return found


def _has_failed(error: TypedLLMError | None) -> bool:
    """Whether it is the service's failure, and there is time for another one."""
    return isinstance(error, EngineError) and not isinstance(error, DeadlineExceeded)
