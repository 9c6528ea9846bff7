"""What the tokens that another program decoded under our grammar are as an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from typedllm.engines.row import decoded
from typedllm.grammar.closing import reserve, shortest
from typedllm.grammar.expression import expression
from typedllm.grammar.regular import Expr, derive_all, nullable
from typedllm.records import Completion, Constraint, Grammar, Token, Usage

__all__ = ["Chosen", "guided_completion"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """The tokens of an answer, without the one that ended it.

    Attributes:
        texts: their bytes.
        logprobs: natural logarithms of their probabilities among the allowed ones.
        likeliest: of each token whether the model held it the likeliest of the allowed ones.
        cut: whether the answer was ended at its budget.
    """

    texts: Sequence[bytes]
    logprobs: Sequence[float]
    likeliest: Sequence[bool]
    cut: bool

    def after(self, start: int) -> Chosen:
        """The tokens from `start` on."""
        return Chosen(
            texts=self.texts[start:],
            logprobs=self.logprobs[start:],
            likeliest=self.likeliest[start:],
            cut=self.cut,
        )


def guided_completion(
    chosen: Chosen, constraint: Constraint, *, budget: int | None, input_tokens: int
) -> Completion:
    """Make the completion of a guided answer.

    Args:
        chosen: its tokens.
        constraint: what it had to match.
        budget: most tokens that it could have, where the decoder lands; else None.
        input_tokens: tokens of the prompt.
    """
    texts, cut = chosen.texts, chosen.cut
    text = b"".join(texts)
    free = len(texts)  # tokens that the model chose
    if isinstance(constraint, Grammar):
        expr = expression(constraint.root)
        cut = cut and not nullable(derive_all(expr, text))
        if budget is not None and not cut:
            free = _chosen_freely(expr, chosen, budget)
    landed = free < len(texts)
    tokens = [*map(Token, texts[:free], chosen.logprobs), *(Token(t, 0.0) for t in texts[free:])]
    return Completion(
        text=decoded(text),
        finish_reason="length" if cut else "landing" if landed else "stop",
        usage=Usage(input_tokens=input_tokens, output_tokens=len(texts)),
        tokens=tuple(tokens),
        landed_at=len(decoded(b"".join(texts[:free]))) if landed else None,
    )


def _chosen_freely(expr: Expr, chosen: Chosen, budget: int) -> int:
    """How many tokens the model chose before the decoder closed the answer.

    The decoder does not say. It closed the answer where all that follows is the shortest close
    and the model held another token likelier than the first of it.
    """
    first = max(budget - 1 - reserve(expr), 0)
    expr = derive_all(expr, b"".join(chosen.texts[:first]))
    for place in range(first, len(chosen.texts)):
        tight = reserve(expr) > budget - place - 1  # else whatever came could still be closed
        closing = shortest(expr) == b"".join(chosen.texts[place:])
        if tight and closing and not chosen.likeliest[place]:
            return place
        expr = derive_all(expr, chosen.texts[place])
    return len(chosen.texts)
