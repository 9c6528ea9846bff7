"""Share of valid answers whatever the weights say: 10,000 drawn types, three ways to be difficult.

Decodes without a model, over the engine's own mask and landing: any allowed token, the longest one,
and an adversary that closes nothing as long as it can, with budgets from the least to generous.

python benchmarks/validity.py [--count 10000] [--seed 0]
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
from functools import cache, partial
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.constraints.specs import Case, drawn  # noqa: E402  # the tests are no package installed
from tests.constraints.walking import Walker, faults  # noqa: E402

PROCESSES = 2
CHUNK = 100  # types of one seed
SHOWN = 5  # faults


def of_bytes() -> Tokenizer:
    """A tokenizer whose every token is one byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|end|>": 0, **{char: index for index, char in enumerate(alphabet, 1)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>"])
    return tokenizer


@cache
def walkers() -> dict[str, Walker]:
    """Bytes, the embedded model's tokenizer, and a real model's where `make setup` made it."""
    embedded = ROOT / "typedllm" / "tiny" / "model" / "tokenizer.json"
    real = ROOT / ".cache" / "smollm2" / "tokenizer.json"
    found = {
        "bytes": Walker(of_bytes(), "<|end|>"),
        "embedded": Walker(Tokenizer.from_file(str(embedded)), "<|end|>"),
    }
    if real.exists():
        found["SmolLM2"] = Walker(Tokenizer.from_file(str(real)), "<|im_end|>")
    return found


def tokenizer_of(chunk: int) -> str:
    """The tokenizer of a chunk: the large one, which is slow, for one in ten."""
    if chunk % 10 == 9 and "SmolLM2" in walkers():
        return "SmolLM2"
    return "embedded" if chunk % 2 else "bytes"


def run(chunk: int, *, seed: int, count: int) -> tuple[int, int, list[str]]:
    """Decode one chunk: how many answers are valid, of how many, and what is wrong."""
    walker, rng = walkers()[tokenizer_of(chunk)], random.Random(seed + chunk)
    found: list[str | None] = []

    def body(case: Case, data: object) -> None:
        try:
            found.extend(faults(case, walker, rng))
        except Exception as error:  # a type that does not compile is a fault as well
            found.append(f"{case.type!r}: {type(error).__name__}: {error}")

    drawn(seed + chunk, min(CHUNK, count - chunk * CHUNK), body)
    wrong = [fault for fault in found if fault is not None]
    return len(found) - len(wrong), len(found), wrong


def main() -> None:
    """Print the faults and, as the last line, how many answers are valid."""
    parser = argparse.ArgumentParser(description="Share of valid answers whatever the weights say.")
    parser.add_argument("--count", type=int, default=10_000, help="types to draw")
    parser.add_argument("--seed", type=int, default=0, help="of the first chunk")
    options = parser.parse_args()
    chunks = -(-options.count // CHUNK)
    print(f"{options.count:,} types in chunks of {CHUNK}, seeds {options.seed} to", end=" ")
    print(f"{options.seed + chunks - 1}, tokenizers {', '.join(walkers())}")
    started = time.perf_counter()
    valid = total = 0
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        work = partial(run, seed=options.seed, count=options.count)
        for right, answers, wrong in pool.imap(work, range(chunks)):
            valid, total = valid + right, total + answers
            for fault in wrong[:SHOWN]:
                print(fault)
    print(f"{time.perf_counter() - started:.0f} s on {PROCESSES} processes")
    print(f"{valid:,}/{total:,} valid")
    sys.exit(valid != total)


if __name__ == "__main__":
    main()
