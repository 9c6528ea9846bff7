"""The attempt policy: what to send, when to send it again, and what comes of it.

`attempts` is a generator that does no I/O and never sleeps: it yields what to send, is sent the
reply, and returns the result. `drive` waits and sends. The shape is that of httpx's `auth_flow`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeAlias, TypeVar

from typedllm._checks import check_number
from typedllm.constraints.fitting import fitted, least_budget
from typedllm.engines.base import Engine, model_name
from typedllm.errors import (
    DeadlineExceeded,
    EngineError,
    Invalid,
    Truncated,
    TypedLLMError,
)
from typedllm.outcomes import read, result
from typedllm.output.distribution import distribution
from typedllm.output.parse import Reading
from typedllm.output.spans import spans
from typedllm.paths import ROOT
from typedllm.prompts.instructions import repair
from typedllm.prompts.templates import Rendered
from typedllm.records import (
    Completion,
    Constraint,
    Failure,
    Grammar,
    Labels,
    Reply,
    Request,
    Result,
    Sampling,
    Usage,
)
from typedllm.spec.spec import Spec

__all__ = ["Policy", "Send", "Task", "attempts", "classified", "drive"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """How often a request is sent again, and when.

    Attributes:
        attempts: after how many failures of the service to give up.
        repairs: how often the model is shown what is wrong with its answer.
        multiplier_s: seconds before the second attempt; doubled for each one after it.
        min_wait_s: least seconds between attempts.
        max_wait_s: most seconds between attempts.
    """

    attempts: int = 10
    repairs: int = 2
    multiplier_s: float = 1.0
    min_wait_s: float = 4.0
    max_wait_s: float = 300.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: naming the attribute that is out of its range.
        """
        check_number("Policy.attempts", self.attempts, least=1, whole=True)
        check_number("Policy.repairs", self.repairs, whole=True)
        check_number("Policy.multiplier_s", self.multiplier_s)
        check_number("Policy.min_wait_s", self.min_wait_s)
        check_number("Policy.max_wait_s", self.max_wait_s)

    def wait_s(self, error: TypedLLMError, failures: int) -> float | None:
        """Return the seconds to wait after a failure, or None to give up.

        Args:
            error: what failed; only a retryable `EngineError` is worth another attempt, and what
                the service itself asked for goes before the policy's own waits.
            failures: how many there were by now.
        """
        if not (isinstance(error, EngineError) and error.retryable and failures < self.attempts):
            return None
        if error.retry_after_s is not None:
            return error.retry_after_s
        import tenacity  # 70 ms to import, which a run without failures does not need

        state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
        state.attempt_number = failures
        wait = tenacity.wait_exponential(
            multiplier=self.multiplier_s, min=self.min_wait_s, max=self.max_wait_s
        )
        return wait(state)


@dataclass(frozen=True, kw_only=True, slots=True)
class Task(Generic[T]):
    """What all requests of a call or a batch have in common.

    Attributes:
        engine: what runs them.
        spec: what the caller asked for.
        constraint: what the engine enforces, if anything.
        guaranteed: whether every answer that the engine ends is valid, so that none needs a repair.
        sampling: how tokens are chosen.
        policy: how often to send again.
        timeout_s: seconds for each result, waits and repairs included; None is no limit.
        validation_context: passed to Pydantic validators.
        scored: the places of which the labels are scored once there is a value.
        fallback: the same for another engine, asked when the service of this one fails for good.
    """

    engine: Engine
    spec: Spec[T]
    constraint: Constraint | None = None
    guaranteed: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    policy: Policy = field(default_factory=Policy)
    timeout_s: float | None = None
    validation_context: Any = None
    scored: tuple[Labels, ...] = ()
    fallback: Task[T] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Send:
    """One thing to do: wait, then send.

    Attributes:
        request: what to send.
        engine: where to.
        after_s: seconds to wait first.
        timeout_s: seconds from now until the reply must be there; None is no limit.
    """

    request: Request
    engine: Engine
    after_s: float = 0.0
    timeout_s: float | None = None


def attempts(task: Task[T], prompt: Rendered) -> Generator[Send, Reply, Result[T]]:
    """Decide what to send, and to which of the engines, until there is a result.

    Args:
        task: what is asked, and how often at most.
        prompt: the messages, or the raw segments, to send first.

    Returns:
        The result; whatever goes wrong is its error, with the usage of all attempts.
    """
    return (yield from _in_turn(_attempts, task, prompt))


_Policy: TypeAlias = Callable[[Task[T], Rendered], Generator[Send, Reply, Result[T]]]


def _in_turn(
    policy: _Policy[T], task: Task[T], prompt: Rendered
) -> Generator[Send, Reply, Result[T]]:
    """Ask one engine after the other, until the service of one does not fail."""
    started = time.monotonic()
    found = yield from policy(task, prompt)
    while task.fallback is not None and _has_failed(found.error):
        task = replace(task.fallback, timeout_s=_left_s(task, started))
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


def _attempts(task: Task[T], prompt: Rendered) -> Generator[Send, Reply, Result[T]]:
    """Decide what to send to one engine; failures and repairs are counted apart.

    An answer that was cut on an engine that cannot close it in time is asked once more, under
    limits that are fitted to its budget; that is no repair.
    """
    started = time.monotonic()
    request = Request(prompt=prompt, constraint=task.constraint, sampling=task.sampling)
    sent = failures = repairs = 0
    after_s = 0.0
    usage = Usage()
    last: Completion | None = None
    while True:
        left_s = _left_s(task, started)
        reply = yield Send(request=request, engine=task.engine, after_s=after_s, timeout_s=left_s)
        sent += 1
        outcome: Reading[T] | TypedLLMError
        if isinstance(reply, Failure):
            failures += 1
            outcome = reply.error
            wait_s = task.policy.wait_s(outcome, failures)
            if wait_s is not None and not _too_late(task, started, wait_s):
                after_s = wait_s
                continue
            if wait_s is not None:
                outcome = DeadlineExceeded(
                    f"{outcome}; the next attempt, in {wait_s:.3g} s, would come after timeout_s"
                )
        else:
            last, after_s = reply, 0.0
            usage += reply.usage
            after = _after(task, prompt, request, reply, repairs)
            if isinstance(after, Request):
                repairs += after.prompt is not request.prompt  # else it was fitted
                request = after
                continue
            outcome = after
        scored: dict[str, Completion] = {}
        if task.scored and isinstance(outcome, Reading) and last is not None:
            failed = yield from _scored(task, request, started, last.text, scored)
            outcome = failed or outcome
            sent += len(scored) + (failed is not None)
            usage = sum((each.usage for each in scored.values()), usage)
        found = result(
            outcome,
            last,
            usage=usage,
            attempts=sent,
            latency_s=time.monotonic() - started,
            asked=task.constraint,
            enforced=request.constraint,
            model=model_name(task.engine),
        )
        return replace(found, distributions=_distributions(task, scored)) if scored else found


def classified(task: Task[T], prompt: Rendered) -> Generator[Send, Reply, Result[T]]:
    """Have the labels of the whole answer scored, and take the likeliest; nothing is decoded.

    Args:
        task: what is asked; its one scored place is the whole answer.
        prompt: the messages, or the raw segments.

    Returns:
        The result, with the distribution over all labels.
    """
    return (yield from _in_turn(_classified, task, prompt))


def _classified(task: Task[T], prompt: Rendered) -> Generator[Send, Reply, Result[T]]:
    started = time.monotonic()
    request = Request(prompt=prompt, sampling=task.sampling)
    scored: dict[str, Completion] = {}
    failed = yield from _scored(task, request, started, "", scored)
    found = _distributions(task, scored)
    usage = sum((each.usage for each in scored.values()), Usage())
    latency_s = time.monotonic() - started
    if failed is not None:
        return result(
            failed,
            None,
            usage=usage,
            attempts=1,
            latency_s=latency_s,
            model=model_name(task.engine),
        )
    (labels,) = task.scored
    likely = list(found[labels.path].values())
    text = labels.texts[likely.index(max(likely))]
    answer = Completion(text=text, finish_reason="stop", usage=usage)
    outcome = read(answer, task.spec, task.constraint, task.validation_context)
    taken = result(outcome, None, usage=usage, attempts=1, latency_s=latency_s)
    return replace(
        taken,
        raw=text,
        finish_reason="stop",
        model=model_name(task.engine),
        distributions=found,
    )


def _scored(
    task: Task[Any], request: Request, started: float, text: str, scored: dict[str, Completion]
) -> Generator[Send, Reply, TypedLLMError | None]:
    """Have the labels of each place scored that an answer has; the error where that fails."""
    places = {ROOT: (0, len(text)), **spans(text)}
    for labels in task.scored:
        if labels.path not in places:  # an optional one that was left out
            continue
        begun = text[: places[labels.path][0]]
        asked = replace(request, constraint=None, labels=labels.texts, begun=begun)
        reply = yield Send(request=asked, engine=task.engine, timeout_s=_left_s(task, started))
        if isinstance(reply, Failure):
            return reply.error
        scored[labels.path] = reply
    return None


def _distributions(
    task: Task[Any], scored: Mapping[str, Completion]
) -> dict[str, Mapping[Any, float]]:
    values = {labels.path: labels.values for labels in task.scored}
    return {
        path: dict(zip(values[path], distribution(reply.scores, reply.temperature), strict=True))
        for path, reply in scored.items()
    }


async def drive(policy: Generator[Send, Reply, Result[T]]) -> Result[T]:
    """Do what a policy says, and return what it returns."""
    try:
        send = next(policy)
        while True:
            send = policy.send(await _reply(send))
    except StopIteration as stop:
        return stop.value


async def _reply(send: Send) -> Reply:
    # Even a timeout that never ends costs a tenth of what a call costs beside the model.
    timeout = None if send.timeout_s is None else asyncio.timeout(send.timeout_s)
    try:
        async with timeout or nullcontext():
            if send.after_s:
                await asyncio.sleep(send.after_s)
            return await send.engine.send(send.request)
    except Exception as error:  # no engine should raise; should one, it costs its own row only
        failure = (
            DeadlineExceeded(f"no answer within the {send.timeout_s:.3g} s left of timeout_s")
            if timeout and timeout.expired()
            else EngineError(f"engine {send.engine.traits.name} raised {error!r}")
        )
        failure.__cause__ = error
        return Failure(error=failure)


def _left_s(task: Task[Any], started: float) -> float | None:
    return None if task.timeout_s is None else task.timeout_s - (time.monotonic() - started)


def _too_late(task: Task[Any], started: float, wait_s: float) -> bool:
    left_s = _left_s(task, started)
    return left_s is not None and left_s <= wait_s


def _after(
    task: Task[T], prompt: Rendered, request: Request, reply: Completion, repairs: int
) -> Request | Reading[T] | TypedLLMError:
    """What comes of an answer: what to send next, or the outcome."""
    outcome = read(reply, task.spec, request.constraint, task.validation_context)
    if isinstance(outcome, Invalid) and not task.guaranteed and repairs < task.policy.repairs:
        return replace(request, prompt=repair(prompt, reply.text, outcome.issues))
    full = task.constraint
    if not (isinstance(outcome, Truncated) and isinstance(full, Grammar)):
        return outcome
    budget = _budget(task.sampling, reply.usage.output_tokens)
    if task.engine.traits.ending != "fitted" or request.constraint is not full or not budget:
        return outcome
    fit = fitted(full, budget)
    return replace(request, constraint=fit) if fit else _unfit(outcome, full, budget)


def _budget(sampling: Sampling, used: int) -> int:
    """The tokens that a cut answer is to be fitted to; 0 where they are not known."""
    asked = sampling.max_tokens
    if asked is not None and (used >= asked or not used):  # not every server counts tokens
        return asked
    # In powers of two, so that few grammars are compiled.
    return 1 << (used.bit_length() - 1) if used else 0


def _unfit(cut: Truncated, full: Grammar, budget: int) -> Truncated:
    least = least_budget(full.root)
    return Truncated(
        f"the answer was cut, and what cannot be shortened of the output type may not fit into"
        f" {budget:,} tokens; raise max_tokens{'' if least is None else f' to {least:,}'}",
        raw=cut.raw,
        partial=cut.partial,
        issues=cut.issues,
    )
