"""What is written beside a trained model: the temperature fitted for it, and its card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tiny_calibration import at_temperature, calibration_error, fitted
from tiny_model import CONFIG
from typedllm import LLM

__all__ = ["calibrate", "write_card"]

_CARD = """# The embedded model

A Llama of {parameters:,} parameters (vocabulary {vocab_size:,}, width {hidden_size}, {num_hidden_layers} layers,
{num_attention_heads} heads, {num_key_value_heads} key-value heads), trained by `tools/train_tiny.py` on generated
text and on the training split of Banking77: {trained}.

It is there to try typedllm out and to test with: it copies names, numbers and dates out of short
English messages and sorts them under labels that it was trained on. It knows nothing of the world
and is often wrong on other texts. [The project's card](../../../docs/tiny-model.md) says more.

Names, codes and questions that training never saw, unguided, greedy:

```
{figures}
```

{calibration}

Banking77: Casanueva et al., "Efficient Intent Detection with Dual Sentence Encoders", 2020, PolyAI,
CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/).
"""


def calibrate(folder: Path, questions: Sequence[tuple[str, str]], *, most: int) -> str:
    """Fit a temperature on every other question, and keep it in the model's folder.

    Args:
        folder: of the model, without a temperature so far.
        questions: texts with the right one of their labels; none leaves the model as it is.
        most: how many of them to use.

    Returns:
        A sentence with the temperature and the calibration errors.
    """
    if not questions:
        return "Its distributions are not calibrated."
    labels = sorted({label for _, label in questions})
    rows = questions[:: max(1, len(questions) // most)][:most]
    with LLM(f"embedded:{folder}") as llm:
        results = llm.classify_batch([text for text, _ in rows], labels)
    found = [list(result.distribution().values()) for result in results]
    truth = [labels.index(label) for _, label in rows]
    temperature = fitted(found[::2], truth[::2])
    (folder / "calibration.json").write_text(json.dumps({"temperature": temperature}) + "\n")
    rest = list(zip(found[1::2], truth[1::2], strict=True))
    correct = [each.index(max(each)) == label for each, label in rest]
    raw = calibration_error([max(each) for each, _ in rest], correct)
    cooled = calibration_error(
        [max(at_temperature(each, temperature)) for each, _ in rest], correct
    )
    return (
        f"{len(labels)} labels of Banking77's test split: {sum(correct) / len(rest):.1%} of "
        f"{len(rest)} right, expected calibration error {raw:.3f}, and {cooled:.3f} at the temperature "
        f"{temperature}, which was fitted on {len(rows) - len(rest)} others."
    )


def write_card(folder: Path, parameters: int, trained: str, figures: str, calibration: str) -> None:
    """Write the card, `README.md`, into a model's folder.

    Args:
        folder: of the model.
        parameters: how many it has.
        trained: how long, and on what.
        figures: a table of what it gets right.
        calibration: what `calibrate` says.
    """
    text = _CARD.format(
        parameters=parameters, trained=trained, figures=figures, calibration=calibration, **CONFIG
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
