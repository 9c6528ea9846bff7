"""What a batch would take, before any call is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from typedllm.attempts import Task
from typedllm.batch.rows import rows_of
from typedllm.client.asking import Asking
from typedllm.client.rendering import RenderedPrompt
from typedllm.constraints.plan import Plan
from typedllm.errors import UsageError
from typedllm.records import Usage

__all__ = ["Estimate", "estimated", "quarter"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a batch would take, were every row asked once.

    Attributes:
        rows: how many there are.
        unfit: how many of them cannot be asked, as their prompt cannot be made.
        input_tokens: of all prompts.
        counted: whether the model's own tokenizer counted them; else they are a quarter of the
            bytes.
        output_tokens: most tokens of all answers, by `max_tokens`; None where that is not given.
        least_cost: US dollars for the prompts alone; None where the price is not known.
        most_cost: with the longest answers; None where either is not known.
        plan: what is enforced of the output type.
    """

    rows: int
    unfit: int
    input_tokens: int
    counted: bool
    output_tokens: int | None
    least_cost: float | None
    most_cost: float | None
    plan: Plan

    def __str__(self) -> str:
        """The figures for people, a line each, and the plan."""
        about = "" if self.counted else "about "
        lines = [f"rows: {self.rows:,}"]
        if self.unfit:
            lines.append(f"rows that cannot be asked: {self.unfit:,}")
        lines.append(f"tokens in: {about}{self.input_tokens:,}")
        if self.output_tokens is None:
            lines.append("tokens out: not bounded, since max_tokens is not given")
        else:
            lines.append(f"tokens out: {self.output_tokens:,} at most")
        if self.least_cost is None:
            lines.append("cost: not known; give prices= to LLM")
        elif self.most_cost is None:
            lines.append(f"cost: {self.least_cost:,.4g} dollars and what the answers cost")
        else:
            lines.append(f"cost: {self.least_cost:,.4g} to {self.most_cost:,.4g} dollars")
        return "\n".join([*lines, "", str(self.plan)])


def estimated(
    asking: Asking,
    inputs: Iterable[object],
    plan: Plan,
    render: Callable[[object], RenderedPrompt],
) -> Estimate:
    """Work out what a batch would take.

    Args:
        asking: what the rows have in common.
        inputs: what would be asked; a generator is used up.
        plan: of the output type.
        render: puts a prompt into words.

    Raises:
        UsageError: when the inputs are none.
    """
    rows = fit = tokens = 0
    counted = True
    for row in rows_of(inputs):
        rows += 1
        try:
            if isinstance(row.prompt, UsageError):
                raise row.prompt
            made = render(row.prompt)
        except UsageError:
            continue
        fit += 1
        counted = counted and made.tokens is not None
        tokens += quarter(made.text) if made.tokens is None else made.tokens
    each = asking.task.sampling.max_tokens
    return Estimate(
        rows=rows,
        unfit=rows - fit,
        input_tokens=tokens,
        counted=counted,
        output_tokens=None if each is None else each * fit,
        least_cost=_cost(asking.task, fit, tokens, 0),
        most_cost=None if each is None else _cost(asking.task, fit, tokens, each),
        plan=plan,
    )


def quarter(text: str) -> int:
    """Guess the tokens of a text: a quarter of its bytes, rounded up.

    Args:
        text: any.
    """
    return -(-len(text.encode("utf-8", "surrogatepass")) // 4)


def _cost(task: Task[Any], rows: int, tokens: int, answer: int) -> float | None:
    """US dollars for so many rows of equal length, as some prices grow with that."""
    if task.priced is None or not rows:
        return None
    cost = task.priced(Usage(input_tokens=tokens // rows, output_tokens=answer))
    return None if cost is None else cost * rows
