"""How good and how fast the embedded model is, on values and texts that it has never seen.

python benchmarks/tiny.py [BANKING77] [--rows 600] [--intents 3080] [--model embedded:FOLDER]
    [--beside transformers:FOLDER]

BANKING77 is a folder with the data set's `train.csv` and `test.csv` (Casanueva et al. 2020,
CC BY 4.0); without it the intents are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from tiny_calibration import (  # noqa: E402  # not installed packages
    at_temperature,
    calibration_error,
    fitted,
)
from tiny_data import Sample, samples  # noqa: E402
from tiny_topics import intents  # noqa: E402
from typedllm import LLM, JsonSchema, Result, Sampling  # noqa: E402

SEED = 1_000_000_000  # what training never uses
SPEED = {"name": "str", "age": "int", "city": "str", "job": "str"}
LONGEST = Sampling(max_tokens=128)  # which no right answer exceeds


@dataclass
class Counted:
    """Answers of a family: how many objects and fields there are, and how many are right."""

    objects: int = 0
    exact: int = 0
    fields: int = 0
    right: int = 0

    def add(self, wanted: Mapping[str, Any], got: Mapping[str, Any]) -> None:
        """Count an answer."""
        self.objects += 1
        self.exact += wanted == got
        self.fields += len(wanted)
        self.right += sum(name in got and got[name] == wanted[name] for name in wanted)

    def __str__(self) -> str:
        exact, right = self.exact / self.objects, self.right / self.fields
        return f"{self.objects:>8}{exact:>8.1%}{self.fields:>8}{right:>8.1%}"


def held_out(count: int) -> list[Sample]:
    """Samples of names, codes and places that training never sees."""
    made = (row for row in samples(SEED, held_out=True) if row.schema is not None)
    return list(itertools.islice(made, count))


async def asked(llm: LLM, rows: Sequence[Sample]) -> list[Result[Any]]:
    """Ask about each row under its own output type, all at once."""
    return await asyncio.gather(
        *(
            llm.arun(row.user, JsonSchema(row.schema or {}), system=row.clerk, sampling=LONGEST)
            for row in rows
        )
    )


def answered(llm: LLM, rows: Sequence[Sample]) -> tuple[list[tuple[Any, Any]], float]:
    """What was wanted of each row and what came, and how many rows came a second."""
    started = time.perf_counter()
    results = asyncio.run(asked(llm, rows))
    rate = len(rows) / (time.perf_counter() - started)
    pairs = [
        (parts(json.loads(row.answer)), parts(json.loads(result.raw or "null")))
        for row, result in zip(rows, results, strict=True)
    ]
    return pairs, rate


def extraction(llm: LLM, rows: Sequence[Sample]) -> None:
    """Objects and fields that are exactly right, by family, and what a text does not have."""
    pairs, rate = answered(llm, rows)
    counted: dict[str, Counted] = {}
    absent = absent_right = 0
    for row, (wanted, got) in zip(rows, pairs, strict=True):
        for family in (row.family, "all"):
            counted.setdefault(family, Counted()).add(wanted, got)
        nothing = [name for name, value in wanted.items() if value is None]
        absent += len(nothing)
        absent_right += sum(got.get(name, "") is None for name in nothing)
    print(f"\n{'family':<12}{'objects':>8}{'exact':>8}{'fields':>8}{'right':>8}")
    for family in sorted(counted):
        print(f"{family:<12}{counted[family]}")
    share = absent_right / absent if absent else 1
    print(f"absent values that came out as null: {absent_right} of {absent} ({share:.1%})")
    print(f"{rate:.0f} rows/s, each with an output type of its own")


def beside(models: Sequence[str], rows: Sequence[Sample]) -> None:
    """Two models on the same rows, guided by the same types."""
    print(f"\n{'model':<32}{'objects':>8}{'exact':>8}{'fields':>8}{'right':>8}{'rows/s':>8}")
    for model in models:
        with LLM(model) as llm:
            pairs, rate = answered(llm, rows)
        counted = Counted()
        for wanted, got in pairs:
            counted.add(wanted, got)
        print(f"{model:<32}{counted}{rate:>8.1f}")


def parts(value: Any) -> dict[str, Any]:
    """The fields of a value, or the whole of it as one."""
    return value if isinstance(value, dict) else {"": value}


def classification(llm: LLM, folder: Path, count: int) -> None:
    """The 77 intents of Banking77: accuracy and calibration."""
    rows = intents(folder / "test.csv", most_characters=10_000)
    step = max(1, len(rows) // count)
    rows = rows[::step][:count]
    labels = sorted({label for _, label in intents(folder / "train.csv", most_characters=10_000)})
    started = time.perf_counter()
    results = llm.classify_batch([text for text, _ in rows], labels)
    seconds = time.perf_counter() - started
    found = [list(result.distribution().values()) for result in results]
    truth = [labels.index(label) for _, label in rows]
    best = [max(each) for each in found]
    triples = zip(found, best, truth, strict=True)
    correct = [each.index(top) == label for each, top, label in triples]
    temperature = fitted(found[::2], truth[::2])
    cooled = [max(at_temperature(each, temperature)) for each in found[1::2]]
    print(f"\nBanking77, 77 intents, {len(rows):,} test questions: {sum(correct) / len(rows):.1%}")
    print(f"expected calibration error: {calibration_error(best, correct):.3f} as it is")
    print(
        f"  at temperature {temperature} (fitted on one half, of the other):"
        f" {calibration_error(cooled, correct[1::2]):.3f}"
    )
    print(f"{len(rows)} questions with the whole distribution: {seconds:.1f} s")
    started = time.perf_counter()
    llm.batch([text for text, _ in rows[:1000]], labels)
    print(f"{min(1000, len(rows))} questions, greedy: {time.perf_counter() - started:.1f} s")


def speed(llm: LLM) -> None:
    """Objects of four fields a second."""
    texts = [f"Ada Lund{n} is {20 + n % 60} years old, a nurse from Bergen." for n in range(512)]
    llm.batch(texts[:8], SPEED)
    started = time.perf_counter()
    llm.batch(texts, SPEED)
    print(f"\n{len(texts) / (time.perf_counter() - started):.0f} four-field objects/s")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("banking77", type=Path, nargs="?")
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--intents", type=int, default=3080)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--beside", help="another model for 300 of the rows")
    options = parser.parse_args()
    started = time.perf_counter()
    with LLM(options.model) as llm:
        print(f"loaded in {time.perf_counter() - started:.2f} s")
        speed(llm)
        extraction(llm, held_out(options.rows))
        if options.banking77 is not None:
            classification(llm, options.banking77, options.intents)
    if options.beside is not None:
        beside([options.model, options.beside], held_out(300))


if __name__ == "__main__":
    main()
