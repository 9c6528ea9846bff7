"""Shared by all tests: Hypothesis profiles, and three tokenizers that differ in kind."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer

ROOT = Path(__file__).resolve().parent.parent
SMOLLM2 = ROOT / ".cache" / "smollm2"

settings.register_profile("dev", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

_CORPUS = [
    json.dumps({"name": name, "age": age, "tags": [city, "new"], "score": age / 7, "ok": True})
    for name, age, city in [
        ("Ada Lovelace", 36, "London"),
        ("Grace Hopper", 85, "New York"),
        ("Søren Kierkegaard", 42, "København"),
        ("紫式部", 41, "京都"),
    ]
] + [
    "The quick brown fox jumps over the lazy dog. How old are you? I am 25 years old.",
    'He said: "Bring 3 chairs, 12 tables and a lamp to the hall on 2024-05-17 at 10:30."',
    "Please answer with JSON only, and keep to the type that was asked for.",
]


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Put the package's logger back: a handler outlives the stream of the test that made it."""
    logger = logging.getLogger("typedllm")
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture(scope="session")
def bpe_tokenizer() -> Tokenizer:
    """A byte-level BPE of some 500 entries, as GPT-2 has it; the end is `<|end|>`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=500,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer


@pytest.fixture(scope="session")
def sentencepiece_tokenizer() -> Tokenizer:
    """A SentencePiece-style BPE with byte fallback, as Llama 2 has it; the end is `</s>`."""
    special = ["<unk>", "<s>", "</s>"]
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    trainer = BpeTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    trained.train_from_iterator(_CORPUS, trainer)
    model = json.loads(trained.to_str())["model"]
    # Llama 2's order: special tokens, the 256 bytes, then the pieces; the trainer knows no bytes.
    pieces = [piece for piece in model["vocab"] if piece not in special]
    entries = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={entry: index for index, entry in enumerate(entries)},
            merges=[tuple(merge) for merge in model["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


@pytest.fixture(scope="session")
def smollm2_folder() -> Path:
    """The folder of a real instruct model, which `make setup` makes."""
    if not (SMOLLM2 / "tokenizer.json").exists():
        pytest.fail("no .cache/smollm2; make it with: python tools/smollm2.py .cache/smollm2")
    return SMOLLM2


@pytest.fixture(scope="session")
def smollm2_tokenizer(smollm2_folder: Path) -> Tokenizer:
    """SmolLM2's tokenizer of 49,152 entries; the end is `<|im_end|>`."""
    return Tokenizer.from_file(str(smollm2_folder / "tokenizer.json"))
