"""Bank customers' questions to be sorted under their intents: many that share one list of labels."""

from __future__ import annotations

from collections.abc import Sequence

from tiny_data import Sample, label_sample
from tiny_words import Words

__all__ = ["bank_group"]

_NAMES = ("intent", "label", "category", "topic", "question_type")


def bank_group(
    words: Words, questions: Sequence[tuple[str, str]], *, tokens_of: int, budget: int
) -> list[Sample]:
    """Questions with the same labels to choose from: all intents, or some of them.

    Args:
        words: where chance comes from.
        questions: texts with an intent each.
        tokens_of: about how many tokens a question with its answer takes.
        budget: about how many tokens the group may take, labels included.
    """
    every = sorted({intent for _, intent in questions})
    labels = list(every)
    if words.rng.random() < 0.55:
        labels = words.rng.sample(every, words.rng.randint(2, 40))
    elif words.rng.random() < 0.4:
        words.rng.shuffle(labels)
    known = set(labels)
    fitting = [pair for pair in questions if pair[1] in known]
    count = max(1, (budget - 10 * len(labels)) // tokens_of)
    name = None if words.rng.random() < 0.6 else words.pick(_NAMES)
    chosen = words.rng.choices(fitting, k=count)
    return [label_sample(_blurred(words, text), intent, labels, name) for text, intent in chosen]


def _blurred(words: Words, text: str) -> str:
    """A question as it is, or with some words left out or in small letters."""
    if words.rng.random() < 0.1:
        text = text.lower()
    if words.rng.random() < 0.4:
        kept = [word for word in text.split(" ") if words.rng.random() < 0.88]
        text = " ".join(kept) or text
    return text
