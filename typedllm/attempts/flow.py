"""The policy of a call: from the first request to the result."""

from __future__ import annotations

import copy
import time
from collections.abc import Generator
from dataclasses import replace
from typing import TypeVar

from typedllm.attempts.again import Asked, again
from typedllm.attempts.scores import scores_of
from typedllm.attempts.task import Send, Task
from typedllm.attempts.turn import in_turn
from typedllm.engines.base import model_name
from typedllm.errors import DeadlineExceeded, TypedLLMError, UsageError
from typedllm.outcomes import result
from typedllm.output.parse import Reading
from typedllm.prompts.templates import Rendered
from typedllm.records import Completion, Failure, Reply, Request, Result, Usage

__all__ = ["attempts"]

T = TypeVar("T")


def attempts(task: Task[T], prompt: Rendered) -> Generator[Send, Reply, Result[T]]:
    """Decide what to send, and to which of the engines, until there is a result.

    Args:
        task: what is asked, and how often at most.
        prompt: the messages, or the raw segments, to send first.

    Returns:
        The result; whatever goes wrong is its error, with the usage of all attempts.
    """
    return (yield from in_turn(_attempts, task, prompt))


def _attempts(task: Task[T], prompt: Rendered) -> Generator[Send, Reply, Result[T]]:
    """Decide what to send to one engine; failures and repairs are counted apart.

    An answer that was cut is no repair: it is asked once more under limits that are fitted to its
    budget, or with more tokens.
    """
    started = time.monotonic()
    request = Request(prompt=prompt, constraint=task.constraint, sampling=task.sampling)
    asked: Asked[T] = Asked(request=request, because=task.after)
    sent = failures = 0
    after_s = 0.0
    usage = Usage()
    last: Completion | None = None
    while True:
        reply = yield Send(
            request=asked.request,
            engine=task.engine,
            after_s=after_s,
            timeout_s=task.left_s(started),
            whole=asked.parts is None,
            because=asked.because,
        )
        sent += 1
        outcome: Reading[T] | TypedLLMError
        if isinstance(reply, Failure):
            failures += 1
            outcome = reply.error
            wait_s = task.policy.wait_s(outcome, failures)
            if wait_s is not None and not _too_late(task, started, wait_s):
                after_s, asked = wait_s, replace(asked, because=outcome)
                continue
            if wait_s is not None:
                outcome = DeadlineExceeded(
                    f"{outcome}; the next attempt, in {wait_s:.3g} s, would come after timeout_s"
                )
            elif asked.cut is not None and isinstance(outcome, UsageError):
                outcome = asked.cut  # more tokens are more than the service takes
        else:
            after_s = 0.0
            usage += task.used(reply.usage)
            last, outcome = asked.read(task, reply)
            further = again(task, prompt, asked, last, outcome)
            spent = task.policy.spent(usage)
            if isinstance(further, Asked) and not spent:
                asked = further
                continue
            outcome = _stopped(outcome, spent) if isinstance(further, Asked) else further
        scores = None
        if task.scored and isinstance(outcome, Reading) and last is not None:
            scores = yield from scores_of(task, asked.request, started, last.text)
            outcome = scores.error or outcome
            sent += scores.sent
            usage += scores.usage
        found = result(
            outcome,
            last,
            usage=usage,
            attempts=sent,
            latency_s=time.monotonic() - started,
            asked=task.constraint,
            enforced=asked.request.constraint if asked.parts is None else task.constraint,
            model=model_name(task.engine),
        )
        return replace(found, distributions=scores.distributions(task)) if scores else found


def _too_late(task: Task[T], started: float, wait_s: float) -> bool:
    left_s = task.left_s(started)
    return left_s is not None and left_s <= wait_s


def _stopped(outcome: Reading[T] | TypedLLMError, spent: str) -> Reading[T] | TypedLLMError:
    """An error that says why nothing more was asked."""
    if isinstance(outcome, Reading):
        return outcome
    told = copy.copy(outcome)
    told.args = (f"{outcome}; it is not asked again, since {spent}",)
    return told
