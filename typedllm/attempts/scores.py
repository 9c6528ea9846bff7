"""Labels that are scored: those of places of an answer, or of the whole answer in its place."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from typedllm.attempts.task import Send, Task
from typedllm.attempts.turn import in_turn
from typedllm.engines.base import model_name
from typedllm.errors import TypedLLMError
from typedllm.outcomes import read, result
from typedllm.output.distribution import distribution
from typedllm.output.spans import spans
from typedllm.paths import ROOT
from typedllm.prompts.templates import Rendered
from typedllm.records import Completion, Failure, Reply, Request, Result, Usage

__all__ = ["Scores", "classified", "scores_of"]

T = TypeVar("T")


@dataclass(slots=True)
class Scores:
    """What came of having labels scored.

    Attributes:
        replies: by path.
        error: what went wrong, if anything did.
        usage: of all of them.
        sent: how many requests it took.
    """

    replies: dict[str, Completion] = field(default_factory=dict[str, Completion])
    error: TypedLLMError | None = None
    usage: Usage = field(default_factory=Usage)
    sent: int = 0

    def distributions(self, task: Task[Any]) -> dict[str, Mapping[Any, float]]:
        """How likely each label of each place is.

        Args:
            task: what was asked.
        """
        values = {labels.path: labels.values for labels in task.scored}
        return {
            path: dict(
                zip(values[path], distribution(reply.scores, reply.temperature), strict=True)
            )
            for path, reply in self.replies.items()
        }


def classified(task: Task[T], prompt: Rendered) -> Generator[Send, Reply, Result[T]]:
    """Have the labels of the whole answer scored, and take the likeliest; nothing is decoded.

    Args:
        task: what is asked; its one scored place is the whole answer.
        prompt: the messages, or the raw segments.

    Returns:
        The result, with the distribution over all labels.
    """
    return (yield from in_turn(_classified, task, prompt))


def _classified(task: Task[T], prompt: Rendered) -> Generator[Send, Reply, Result[T]]:
    started = time.monotonic()
    request = Request(prompt=prompt, sampling=task.sampling)
    scores = yield from scores_of(task, request, started, "")
    latency_s = time.monotonic() - started
    if scores.error is not None:
        return result(
            scores.error,
            None,
            usage=scores.usage,
            attempts=1,
            latency_s=latency_s,
            model=model_name(task.engine),
        )
    (labels,) = task.scored
    found = scores.distributions(task)
    likely = list(found[labels.path].values())
    text = labels.texts[likely.index(max(likely))]
    answer = Completion(text=text, finish_reason="stop", usage=scores.usage)
    outcome = read(answer, task.spec, task.constraint, task.validation_context)
    taken = result(outcome, None, usage=scores.usage, attempts=1, latency_s=latency_s)
    return replace(
        taken,
        raw=text,
        finish_reason="stop",
        model=model_name(task.engine),
        distributions=found,
    )


def scores_of(
    task: Task[Any], request: Request, started: float, text: str
) -> Generator[Send, Reply, Scores]:
    """Have the labels scored of each place that an answer has.

    Args:
        task: names the places.
        request: whose answer it is.
        started: when the result was begun, on `time.monotonic`'s clock.
        text: the answer.
    """
    scores = Scores()
    places = {ROOT: (0, len(text)), **spans(text)}
    for labels in task.scored:
        if labels.path not in places:  # an optional one that was left out
            continue
        begun = text[: places[labels.path][0]]
        asked = replace(request, constraint=None, labels=labels.texts, begun=begun)
        reply = yield Send(
            request=asked, engine=task.engine, timeout_s=task.left_s(started), whole=False
        )
        scores.sent += 1
        if isinstance(reply, Failure):
            scores.error = reply.error
            break
        scores.usage += task.used(reply.usage)
        scores.replies[labels.path] = reply
    return scores
