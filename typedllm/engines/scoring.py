"""A request to score labels, on its way through a local engine."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from typedllm.engines.encode import PromptEncoder
from typedllm.errors import PromptTooLong, UsageError
from typedllm.records import Completion, Reply, Request, Usage

__all__ = ["Scoring", "fitted_temperature", "scored"]

_FILE = "calibration.json"


class Scoring:
    """The tokens to score, and the reply once they are.

    Attributes:
        feed: token ids that the model has not seen yet: at first those of the prompt and of what
            has been begun.
        labels: the token ids of each label, in their canonical form.
        budget: most tokens after those of the prompt.
        matcher: None; there is nothing to choose.
        reply: None until there are scores.
    """

    def __init__(self, request: Request, encoder: PromptEncoder, context: int) -> None:
        """Encode a request.

        Args:
            request: with labels.
            encoder: of the model.
            context: most tokens of prompt and label together.

        Raises:
            UsageError: when the prompt cannot be encoded, or does not fit.
        """
        prompt = encoder.encode(request.prompt, context=context)
        self.feed = prompt + encoder.encode_text(request.begun)
        self.labels: list[list[int]] = [encoder.encode_text(text) for text in request.labels]
        self.budget = max(map(len, self.labels))
        self.matcher = None
        self.reply: Reply | None = None
        self._tokens = len(self.feed)
        if self._tokens + self.budget > context:
            raise PromptTooLong(
                f"the prompt has {self._tokens} tokens, a label {self.budget}, and the model's"
                f" context holds {context}; shorten the prompt"
            )

    def finish(self, scores: Sequence[float], temperature: float) -> None:
        """Make the reply.

        Args:
            scores: natural logarithms, one a label.
            temperature: fitted for the model.
        """
        self.reply = scored(self.labels, scores, input_tokens=self._tokens, temperature=temperature)


def scored(
    labels: Sequence[Sequence[int]],
    scores: Sequence[float],
    *,
    input_tokens: int,
    temperature: float,
) -> Completion:
    """Make the completion of a request to score labels.

    Args:
        labels: the token ids of each label.
        scores: natural logarithms, one a label.
        input_tokens: tokens of the prompt, and of what has been begun.
        temperature: fitted for the model; 1 for none.
    """
    return Completion(
        text="",
        finish_reason="stop",
        usage=Usage(input_tokens=input_tokens),
        scores=tuple(_told_apart(labels, scores)),
        temperature=temperature,
    )


def _told_apart(labels: Sequence[Sequence[int]], scores: Sequence[float]) -> Iterator[float]:
    """The scores of labels that end there, where one is the beginning of others: 1 of 10 and 12."""
    for label, score in zip(labels, scores, strict=True):
        going_on = [number for number, other in enumerate(labels) if _begins(label, other)]
        # One that goes on from another of them is in the other's score already.
        direct = [n for n in going_on if not any(_begins(labels[m], labels[n]) for m in going_on)]
        taken = math.fsum(math.exp(scores[number] - score) for number in direct)
        yield score + math.log(max(1 - taken, 1e-12)) if direct else score


def _begins(label: Sequence[int], other: Sequence[int]) -> bool:
    return len(label) < len(other) and other[: len(label)] == label


def fitted_temperature(folder: Path) -> float:
    """Read the temperature that was fitted for a model, from `calibration.json` in its folder.

    Args:
        folder: of the model.

    Returns:
        The temperature; 1 where there is no such file.

    Raises:
        UsageError: when the file holds no `temperature` above 0.
    """
    path = folder / _FILE
    if not path.is_file():
        return 1.0
    try:
        temperature = float(json.loads(path.read_text("utf-8"))["temperature"])
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f'{path}: expected {{"temperature": number}}: {error!r}') from error
    if not temperature > 0:
        raise UsageError(f"{path}: the temperature is {temperature}; it has to be above 0")
    return temperature
