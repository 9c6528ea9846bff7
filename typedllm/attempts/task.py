"""What is asked, how often at most, and one thing to send."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeAlias, TypeVar

from typedllm._checks import check_kind, check_number
from typedllm.attempts.budget import Budget, Spending
from typedllm.engines.base import Engine
from typedllm.errors import EngineError, TypedLLMError
from typedllm.records import Constraint, Labels, Limits, Request, Sampling, Usage
from typedllm.spec.spec import Spec

__all__ = ["Policy", "Priced", "Send", "Task"]

T = TypeVar("T")

Priced: TypeAlias = Callable[[Usage], float | None]
"""What tokens cost in US dollars; None where it is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """How often a request is sent again, and when.

    Attributes:
        attempts: after how many failures of the service to give up.
        repairs: how often the model is shown what is wrong with its answer.
        raised_tokens: most tokens that `max_tokens` is raised to, fourfold each time, for an answer
            that was cut where no grammar can make it fit; 0 never raises it.
        budget: what a result may use before nothing more is sent for it; None is no limit.
        multiplier_s: seconds before the second attempt; doubled for each one after it.
        min_wait_s: least seconds between attempts, where the service asks for no wait of its own.
        max_wait_s: most seconds between attempts, where it asks for none.
    """

    attempts: int = 10
    repairs: int = 2
    raised_tokens: int = 16_384
    budget: Budget | None = None
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
        check_number("Policy.raised_tokens", self.raised_tokens, whole=True)
        check_kind("Policy.budget", self.budget, Budget)
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
        limits: bounds on what the spec leaves open.
        sampling: how tokens are chosen.
        policy: how often to send again.
        timeout_s: seconds for each result, waits and repairs included; None is no limit.
        validation_context: passed to Pydantic validators.
        scored: the places of which the labels are scored once there is a value.
        priced: what the engine's tokens cost; None where that is not known.
        fallback: the same for another engine, asked when the service of this one fails for good.
        after: how the service of the engine before this one failed, if there was one.
        spending: what the engines before this one have used; None where there were none.
    """

    engine: Engine
    spec: Spec[T]
    constraint: Constraint | None = None
    guaranteed: bool = False
    limits: Limits = field(default_factory=Limits)
    sampling: Sampling = field(default_factory=Sampling)
    policy: Policy = field(default_factory=Policy)
    timeout_s: float | None = None
    validation_context: Any = None
    scored: tuple[Labels, ...] = ()
    priced: Priced | None = None
    fallback: Task[T] | None = None
    after: TypedLLMError | None = None
    spending: Spending | None = None

    def used(self, usage: Usage) -> Usage:
        """Return what a reply used, with what it cost.

        Args:
            usage: of the reply; a cost that the service itself tells is kept.
        """
        if usage.cost is not None or self.priced is None:
            return usage
        return replace(usage, cost=self.priced(usage))

    def left_s(self, started: float) -> float | None:
        """Seconds until the result must be there; None is no limit.

        Args:
            started: when it was begun, on `time.monotonic`'s clock.
        """
        return None if self.timeout_s is None else self.timeout_s - (time.monotonic() - started)


@dataclass(frozen=True, kw_only=True, slots=True)
class Send:
    """One thing to do: wait, then send.

    Attributes:
        request: what to send.
        engine: where to.
        after_s: seconds to wait first.
        timeout_s: seconds from now until the reply must be there; None is no limit.
        whole: whether a whole answer comes back, and not labels' scores or parts of an earlier one.
        because: what went wrong with what was sent before, if anything was.
    """

    request: Request
    engine: Engine
    after_s: float = 0.0
    timeout_s: float | None = None
    whole: bool = True
    because: TypedLLMError | None = None
