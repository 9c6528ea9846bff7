"""The policy of a call: from the first request to the result."""

from __future__ import annotations

import copy
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from typedllm.attempts.again import Asked, again
from typedllm.attempts.budget import Spending
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ended(Generic[T]):
    """Where asking one engine has led."""

    outcome: Reading[T] | TypedLLMError
    asked: Asked[T]
    last: Completion | None
    usage: Usage
    sent: int


def _attempts(task: Task[T], prompt: Rendered) -> Generator[Send, Reply, Result[T]]:
    """Ask one engine, and have labels scored once there is a value."""
    started = time.monotonic()
    request = Request(prompt=prompt, constraint=task.constraint, sampling=task.sampling)
    ended = yield from _ended(task, request, started)
    whole = ended.asked.parts is None  # parts were asked for otherwise than the whole is
    outcome, usage, sent = ended.outcome, ended.usage, ended.sent
    scores = None
    if task.scored and isinstance(outcome, Reading) and ended.last is not None:
        scored = ended.asked.request if whole else request
        scores = yield from scores_of(task, scored, started, ended.last.text)
        outcome, usage, sent = scores.error or outcome, usage + scores.usage, sent + scores.sent
    found = result(
        outcome,
        ended.last,
        usage=usage,
        attempts=sent,
        latency_s=time.monotonic() - started,
        asked=task.constraint,
        enforced=ended.asked.request.constraint if whole else task.constraint,
        model=model_name(task.engine),
    )
    return replace(found, distributions=scores.distributions(task)) if scores else found


def _ended(task: Task[T], request: Request, started: float) -> Generator[Send, Reply, _Ended[T]]:
    """Decide what to send to one engine; failures and repairs are counted apart.

    An answer that was cut is no repair: it is asked once more under limits that are fitted to its
    budget, or with more tokens.
    """
    asked: Asked[T] = Asked(request=request, because=task.after)
    sent = failures = 0
    after_s = 0.0
    usage, spending = Usage(), task.spending or Spending(task.policy.budget)
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
            waits = _waits(task, asked, reply.error, failures, started, spending.spent())
            if isinstance(waits, int | float):
                after_s, asked = waits, replace(asked, because=reply.error)
                continue
            outcome = waits
        else:
            after_s, used = 0.0, task.used(reply.usage)
            usage += used
            spending.add(used)
            last, outcome = asked.read(task, reply)
            further = again(task, request.prompt, asked, last, outcome)
            spent = spending.spent()
            if isinstance(further, Asked) and not spent:
                asked = further
                continue
            if not isinstance(further, Asked):
                outcome = further
            elif further.because is not None:
                outcome = _stopped(further.because, spent)
        return _Ended(outcome=outcome, asked=asked, last=last, usage=usage, sent=sent)


def _waits(
    task: Task[T],
    asked: Asked[T],
    error: TypedLLMError,
    failures: int,
    started: float,
    spent: str,
) -> float | TypedLLMError:
    """Seconds until it is sent again after a failure, or the error that it is left at."""
    wait_s, left_s = task.policy.wait_s(error, failures), task.left_s(started)
    if wait_s is None:
        return asked.earlier if asked.earlier and isinstance(error, UsageError) else error
    if spent:
        return _stopped(error, spent)
    if left_s is not None and left_s <= wait_s:
        return DeadlineExceeded(
            f"{error}; the next attempt, in {wait_s:.3g} s, would come after timeout_s"
        )
    return float(wait_s)


def _stopped(error: TypedLLMError, spent: str) -> TypedLLMError:
    """An error that says why nothing more was asked."""
    told = copy.copy(error)
    told.args = (f"{error}; it is not asked again, since {spent}",)
    return told
