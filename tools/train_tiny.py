"""Train, measure, export, calibrate and describe the tiny model that ships with the package.

`python tools/train_tiny.py --minutes 150 --banking77 FOLDER` does all of it, on a CPU or GPU. A run
that was interrupted goes on from its last checkpoint; with `--minutes 0` the last checkpoint is
measured and exported as it is. BANKING77 (Casanueva et al. 2020, CC BY 4.0) is a folder with the
data set's `train.csv` and `test.csv`; without it the model learns no topics of real text.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from tiny_bank import bank_group
from tiny_card import calibrate, write_card
from tiny_data import Sample, banking_sample, samples
from tiny_measure import answers, report
from tiny_model import CONFIG, END, PAD, export, prompt_text, train_tokenizer
from tiny_muon import Muon
from tiny_topics import TOPICS, intents, questions
from tiny_words import Words

EVALUATION_SEED = 1_000_000_000
MODEL_FOLDER = Path(__file__).parents[1] / "typedllm/tiny/model"
CALIBRATED_ON = 600  # questions


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How to train.

    Attributes:
        seed: where all chance starts.
        minutes: wall-clock time of the whole run; the learning rate falls to zero over it.
        batch_tokens: tokens of a step, padding included.
        learning_rate: the highest.
        warmup_steps: steps up to it.
        threads: CPU threads.
        evaluate: samples to measure with at the end.
        folder: where the checkpoint and the tokenizer are kept.
        banking77: folder with the data set's `train.csv` and `test.csv`, or None to do without.
        intent_share: batches of bank customers' intents for each other batch.
        start: folder of a model to start from, or None to start from nothing.
        device: `cpu` or `cuda`.
        into: folder that the model is written to.
    """

    seed: int
    minutes: float
    batch_tokens: int
    learning_rate: float
    warmup_steps: int
    threads: int
    evaluate: int
    folder: Path
    banking77: Path | None
    intent_share: float
    start: Path | None
    device: str
    into: Path

    def intents(self, name: str) -> list[tuple[str, str]]:
        """The same questions with one of 77 intents each."""
        if self.banking77 is None:
            return []
        return intents(self.banking77 / name, most_characters=300)

    def questions(self, name: str) -> list[tuple[str, str]]:
        """The bank customers' questions of `train.csv` or `test.csv`."""
        if self.banking77 is None:
            return []
        return questions(self.banking77 / name, most_characters=160)


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Token ids, padded on the right, and which of them the model must predict.

    Attributes:
        ids: of shape (rows, tokens).
        wanted: of the same shape.
        positions: of the same shape; None for 0, 1, 2, ...
        mask: of shape (1, 1, tokens, tokens), which tokens see which; None for all before them.
    """

    ids: torch.Tensor
    wanted: torch.Tensor
    positions: torch.Tensor | None = None
    mask: torch.Tensor | None = None

    def to(self, device: str) -> Batch:
        """The batch on a device."""
        parts = (self.ids, self.wanted, self.positions, self.mask)
        ids, wanted, positions, mask = (p if p is None else p.to(device) for p in parts)
        assert ids is not None and wanted is not None
        return Batch(ids=ids, wanted=wanted, positions=positions, mask=mask)


def batches(
    settings: Settings, tokenizer: Tokenizer, first_chunk: int
) -> Iterator[tuple[int, Batch]]:
    """Make batches of samples of like length, without end.

    Samples come in chunks, each of a seed of its own, so that a run can go on at any of them.

    Yields:
        the number of the chunk, and a batch of it.
    """
    known, asked = settings.questions("train.csv"), settings.intents("train.csv")
    for chunk in itertools.count(first_chunk):
        seed = settings.seed * 1_000_003 + chunk
        made = itertools.islice(samples(seed, held_out=False, questions=known), 512)
        rows = sorted((_encode(tokenizer, sample) for sample in made), key=lambda row: len(row[0]))
        groups = list(_grouped(rows, settings.batch_tokens))
        words = Words(rng=random.Random(seed))
        words.rng.shuffle(groups)
        for group in groups:
            yield chunk, _batch(group)
            if asked and words.rng.random() < settings.intent_share:
                budget = min(settings.batch_tokens, 2048)
                found = bank_group(words, asked, tokens_of=50, budget=budget)
                yield chunk, _shared(tokenizer, found)


def _shared(tokenizer: Tokenizer, group: Sequence[Sample]) -> Batch:
    """Samples of one system text as one row: each sees that text, there once, and itself."""
    prefix = tokenizer.encode(f"<|system|>{group[0].system}").ids
    size = len(prefix)
    ids, wanted, positions, owner = list(prefix), [False] * size, [*range(size)], [0] * size
    for number, sample in enumerate(group, start=1):
        asked = tokenizer.encode(f"<|user|>{sample.user}<|assistant|>").ids
        answer = [*tokenizer.encode(sample.answer).ids, END]
        ids += [*asked, *answer]
        wanted += [False] * len(asked) + [True] * len(answer)
        positions += range(size, size + len(asked) + len(answer))
        owner += [number] * (len(asked) + len(answer))
    owners = torch.tensor(owner)
    same = (owners[:, None] == owners[None, :]) | (owners[None, :] == 0)
    return Batch(
        ids=torch.tensor([ids]),
        wanted=torch.tensor([wanted]),
        positions=torch.tensor([positions]),
        mask=torch.tril(same)[None, None],
    )


def _encode(tokenizer: Tokenizer, sample: Sample) -> tuple[list[int], int]:
    prompt = tokenizer.encode(prompt_text(sample)).ids
    return [*prompt, *tokenizer.encode(sample.answer).ids, END], len(prompt)


def _grouped(
    rows: Sequence[tuple[list[int], int]], batch_tokens: int
) -> Iterator[list[tuple[list[int], int]]]:
    group: list[tuple[list[int], int]] = []
    for row in rows:
        if group and (len(group) + 1) * len(row[0]) > batch_tokens:
            yield group
            group = []
        group.append(row)
    yield group


def _batch(rows: Sequence[tuple[list[int], int]]) -> Batch:
    width = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), width), PAD)
    wanted = torch.zeros((len(rows), width), dtype=torch.bool)
    for index, (row, prompt) in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        wanted[index, prompt : len(row)] = True
    return Batch(ids=ids, wanted=wanted)


def loss_of(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy of the answers' tokens; padding on the right needs no mask."""
    positions = None if batch.positions is None else batch.positions[:, :-1]
    mask = None if batch.mask is None else batch.mask[:, :, :-1, :-1]
    hidden = model.model(
        input_ids=batch.ids[:, :-1], position_ids=positions, attention_mask=mask, use_cache=False
    ).last_hidden_state
    wanted = batch.wanted[:, 1:]
    logits = model.lm_head(hidden[wanted])
    return functional.cross_entropy(logits, batch.ids[:, 1:][wanted])


class Run:
    """A training run: model, optimizers, and how far it is.

    Attributes:
        settings: how to train.
        tokenizer: the run's tokenizer.
        model: the model.
        step: steps done.
        chunk: the next chunk of data.
        spent_s: seconds of training so far.
    """

    def __init__(self, settings: Settings) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.tokenizer = load_tokenizer(settings)
        with torch.device(settings.device):
            self.model = LlamaForCausalLM(LlamaConfig(**CONFIG))
        if settings.start is not None:
            begun = LlamaForCausalLM.from_pretrained(settings.start, dtype=torch.float32)
            self.model.load_state_dict(begun.state_dict())
        self.step, self.chunk, self.spent_s = 0, 0, 0.0
        self._optimizers = make_optimizers(self.model, settings.learning_rate)
        self._path = settings.folder / "checkpoint.pt"
        if self._path.exists():
            self._restore()

    def train(self) -> None:
        """Train until the time is over."""
        began, saved_s, losses = time.monotonic() - self.spent_s, self.spent_s, list[float]()
        first_step = self.step
        self.model.train()
        for chunk, batch in batches(self.settings, self.tokenizer, self.chunk):
            self.chunk, self.spent_s = chunk, time.monotonic() - began
            if self.spent_s >= 60 * self.settings.minutes:
                break
            losses.append(self._step(batch))
            if self.step % 50 == 0:
                loss = sum(losses) / len(losses)
                print(f"{self.spent_s / 60:.1f} min, step {self.step}, loss {loss:.4f}", flush=True)
                losses.clear()
            if self.spent_s - saved_s > 180:
                self._save()
                saved_s = self.spent_s
        if self.step > first_step:
            self._save()

    def _step(self, batch: Batch) -> float:
        """One step, with a learning rate that warms up over steps and falls with time."""
        settings, progress = self.settings, self.spent_s / (60 * self.settings.minutes)
        warm = min(1, (self.step + 1) / settings.warmup_steps)
        cosine = 0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2
        loss = loss_of(self.model, batch.to(settings.device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * warm * cosine
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        return loss.item()

    def _save(self) -> None:
        """Keep all that a run needs to go on, at the next chunk of data."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "place": (self.step, self.chunk + 1, self.spent_s),
        }
        self.settings.folder.mkdir(parents=True, exist_ok=True)
        waiting = self._path.with_suffix(".new")
        torch.save(state, waiting)
        waiting.replace(self._path)

    def _restore(self) -> None:
        device = self.settings.device
        state: Mapping[str, Any] = torch.load(self._path, map_location=device, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, kept in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.step, self.chunk, self.spent_s = state["place"]


def make_optimizers(model: LlamaForCausalLM, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the embedding and the norms."""
    matrices = [weight for weight in model.model.layers.parameters() if weight.ndim == 2]
    others = [model.model.embed_tokens.weight]
    others += [weight for weight in model.parameters() if weight.ndim == 1]
    return [
        Muon(matrices, lr=learning_rate, weight_decay=0.05),
        torch.optim.AdamW(others, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def load_tokenizer(settings: Settings) -> Tokenizer:
    """The run's tokenizer, trained when there is none yet."""
    if settings.start is not None:
        return Tokenizer.from_file(str(settings.start / "tokenizer.json"))
    path = settings.folder / "tokenizer.json"
    if not path.exists():
        known = settings.questions("train.csv")
        endless = samples(settings.seed, held_out=False, questions=known)
        tokenizer = train_tokenizer(itertools.islice(endless, 20_000))
        settings.folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(path))
    return Tokenizer.from_file(str(path))


def evaluation_samples(settings: Settings, count: int) -> list[Sample]:
    """Samples whose names and codes training never sees, and the test questions of the bank."""
    made = samples(EVALUATION_SEED, held_out=True)
    words = Words(rng=random.Random(EVALUATION_SEED), held_out=True)
    asked = settings.questions("test.csv")
    asked = words.rng.sample(asked, min(count // 2, len(asked)))
    topics = [banking_sample(words, text, topic, TOPICS) for text, topic in asked]
    return [*itertools.islice(made, count), *topics]


def main() -> None:
    """Do all of it, as the command line says."""
    settings = parse_arguments()
    torch.set_num_threads(settings.threads)
    run = Run(settings)
    run.train()
    # What is measured is what is exported: weights in half precision.
    run.model.half().float().eval()
    wanted = evaluation_samples(settings, settings.evaluate)
    figures = report(list(answers(run.model, run.tokenizer, wanted)))
    print(figures)
    export(run.model, run.tokenizer, settings.into)
    calibration = calibrate(settings.into, settings.intents("test.csv"), most=CALIBRATED_ON)
    print(calibration)
    trained = f"{run.step:,} steps, {run.spent_s / 60:.0f} min on {settings.device}"
    if settings.start is not None:
        trained += f", going on from {settings.start}"
    write_card(settings.into, run.model.num_parameters(), trained, figures, calibration)


def parse_arguments() -> Settings:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=150, help="of training in all")
    parser.add_argument("--batch-tokens", type=int, default=3072)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--warmup-steps", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--evaluate", type=int, default=600, help="samples to measure with")
    parser.add_argument("--folder", type=Path, default=Path(".training/tiny"))
    parser.add_argument("--banking77", type=Path, help="folder with train.csv and test.csv")
    parser.add_argument("--intent-share", type=float, default=0.7)
    parser.add_argument("--start", type=Path, help="folder of a model to go on from")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--into", type=Path, default=MODEL_FOLDER, help="where the model goes")
    return Settings(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
