"""What is asked next, after an answer that is not valid or was cut."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from typedllm.attempts.parts import Parts, parts_of
from typedllm.attempts.task import Task
from typedllm.constraints.fitting import fitted, least_budget
from typedllm.errors import Invalid, OutputError, Truncated, TypedLLMError
from typedllm.outcomes import read
from typedllm.output.parse import Reading
from typedllm.prompts.instructions import repair
from typedllm.prompts.templates import Rendered
from typedllm.records import Completion, Grammar, Request, Sampling

__all__ = ["Asked", "again"]

T = TypeVar("T")

_RAISED = 4  # times as many tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked(Generic[T]):
    """A request, and how its answer is read.

    Attributes:
        request: what is sent.
        repairs: how often the model was shown by now what is wrong with its answer.
        parts: the parts of an earlier answer that are asked for; None for a whole answer.
        earlier: what became of the answer before, which stands where the service takes no such
            request: a prompt that is too long with it, or more tokens than it gives.
        because: why it is asked, where that is not for the first time.
    """

    request: Request
    repairs: int = 0
    parts: Parts[T] | None = None
    earlier: OutputError | None = None
    because: TypedLLMError | None = None

    def read(
        self, task: Task[T], reply: Completion
    ) -> tuple[Completion, Reading[T] | TypedLLMError]:
        """Read an answer.

        Args:
            task: what is asked.
            reply: the answer.

        Returns:
            The whole answer, and what it says or what is wrong with it.
        """
        if self.parts is not None:
            return self.parts.read(task, reply)
        return reply, read(reply, task.spec, self.request.constraint, task.validation_context)


def again(
    task: Task[T],
    prompt: Rendered,
    asked: Asked[T],
    answer: Completion,
    outcome: Reading[T] | TypedLLMError,
) -> Asked[T] | Reading[T] | TypedLLMError:
    """Decide what comes of an answer.

    Args:
        task: what is asked.
        prompt: as it was first sent.
        asked: the last request.
        answer: the whole answer.
        outcome: what it says or what is wrong with it.

    Returns:
        What to send next, or the outcome.
    """
    if isinstance(outcome, Invalid):
        return outcome if task.guaranteed else _repaired(task, prompt, asked, answer, outcome)
    if not isinstance(outcome, Truncated):
        return outcome
    if isinstance(task.constraint, Grammar):
        return _fitted(task, asked, outcome, answer.usage.output_tokens)
    return _raised(task, asked, outcome)


def _repaired(
    task: Task[T], prompt: Rendered, asked: Asked[T], answer: Completion, error: Invalid
) -> Asked[T] | Invalid:
    if asked.repairs >= task.policy.repairs:
        return error
    parts = parts_of(task, error, asked.parts, came=answer.text == error.raw)
    if parts is not None:
        request = parts.request(prompt, asked.request)
    else:
        # A fitted constraint stays; one of parts gives way to that of the whole.
        constraint = task.constraint if asked.parts else asked.request.constraint
        shown = repair(prompt, answer.text, error.issues)
        request = replace(asked.request, prompt=shown, constraint=constraint)
    if asked.parts is not None and answer.finish_reason == "length":
        request = replace(request, sampling=_larger(task, request.sampling) or request.sampling)
    return Asked(
        request=request, repairs=asked.repairs + 1, parts=parts, earlier=error, because=error
    )


def _raised(task: Task[T], asked: Asked[T], cut: Truncated) -> Asked[T] | Truncated:
    """Ask the same with more tokens, where the caller's `max_tokens` was the limit."""
    larger = _larger(task, asked.request.sampling)
    if larger is None:
        return cut
    request = replace(asked.request, sampling=larger)
    return replace(asked, request=request, earlier=cut, because=cut)


def _larger(task: Task[Any], sampling: Sampling) -> Sampling | None:
    """A sampling with more tokens, as far as they may be raised."""
    most = task.policy.raised_tokens
    if sampling.max_tokens is None or sampling.max_tokens >= most:
        return None
    return replace(sampling, max_tokens=min(sampling.max_tokens * _RAISED, most))


def _fitted(task: Task[T], asked: Asked[T], cut: Truncated, used: int) -> Asked[T] | Truncated:
    """Ask once more under limits that are fitted to the budget, where the engine cannot land."""
    full = task.constraint
    assert isinstance(full, Grammar)
    budget = _budget(task.sampling, used)
    if task.engine.traits.ending != "fitted" or asked.request.constraint is not full or not budget:
        return cut
    fit = fitted(full, budget)
    if fit is None:
        return _unfit(cut, full, budget)
    request = replace(asked.request, constraint=fit)
    return replace(asked, request=request, earlier=cut, because=cut)


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
        path=cut.path,
    )
