"""How often the tiny model's greedy answers are right, without a grammar's help."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from tiny_data import Sample
from tiny_model import END, PAD, prompt_text

__all__ = ["answers", "report"]

_MOST_NEW_TOKENS = 120


@torch.inference_mode()
def answers(
    model: LlamaForCausalLM, tokenizer: Tokenizer, samples: Sequence[Sample], *, rows: int = 64
) -> Iterator[tuple[Sample, str]]:
    """Let the model answer some samples, the likeliest token at each step.

    Args:
        model: the model, on any device.
        tokenizer: its tokenizer.
        samples: what to ask.
        rows: samples in one batch.

    Yields:
        each sample with the text of its answer, samples of like length together.
    """
    encoded = [(tokenizer.encode(prompt_text(sample)).ids, sample) for sample in samples]
    encoded.sort(key=lambda pair: len(pair[0]))
    for start in range(0, len(encoded), rows):
        batch = encoded[start : start + rows]
        width = len(batch[-1][0])
        ids = torch.tensor([[PAD] * (width - len(prompt)) + prompt for prompt, _ in batch])
        made = cast(Any, model).generate(
            ids.to(model.device),
            attention_mask=(ids != PAD).to(model.device),
            max_new_tokens=_MOST_NEW_TOKENS,
            do_sample=False,
            eos_token_id=END,
            pad_token_id=PAD,
        )
        for (_, sample), row in zip(batch, made[:, width:].tolist(), strict=True):
            yield sample, tokenizer.decode([token for token in row if token not in (END, PAD)])


def report(pairs: Sequence[tuple[Sample, str]]) -> str:
    """A table of the shares of answers and of single fields that are exactly right, by family.

    Args:
        pairs: samples with the model's answers.
    """
    asked, exact, fields, right = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for sample, answer in pairs:
        wanted, given = _parts(sample.answer), _parts(answer)
        for family in (sample.family, "all"):
            asked[family] += 1
            exact[family] += answer == sample.answer
            fields[family] += len(wanted)
            right[family] += sum(name in given and given[name] == wanted[name] for name in wanted)
    lines = [f"{'family':<12}{'answers':>8}{'exact':>8}{'fields':>8}{'right':>8}"]
    lines += [
        f"{family:<12}{asked[family]:>8}{exact[family] / asked[family]:>8.1%}"
        f"{fields[family]:>8}{right[family] / fields[family]:>8.1%}"
        for family in sorted(asked)
    ]
    return "\n".join(lines)


def _parts(answer: str) -> dict[str, Any]:
    """The fields of an answer, or the whole of it as one."""
    try:
        value = json.loads(answer)
    except ValueError:
        return {"": answer}
    return cast(dict[str, Any], value) if isinstance(value, dict) else {"": value}
