"""Typed objects a second: the transformers engine, outlines alone, and the embedded engine.

    python benchmarks/generate.py [--rows 128] [--batch 32] [--rounds 3]

All three run in this process in turns, with the same random weights, tokenizer, prompts and
grammar, greedily; outlines with its own llguidance backend. The best round of each counts. On a
busy machine set OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1: threads that wait for cores slow all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from embedded import BUDGET, GRAMMAR, INSTRUCTION, message, write_model

from typedllm.constraints.lark import print_lark
from typedllm.engines.base import Engine
from typedllm.engines.embedded import EmbeddedEngine
from typedllm.engines.transformers import open_model
from typedllm.records import Completion, Message, Request, Sampling, Segment


def by_engine(engine: Engine, messages: Sequence[str]) -> list[str]:
    """Send all prompts at once."""
    instruction = Segment(text=INSTRUCTION, trusted=True)
    requests = [
        Request(
            prompt=(Message(role="user", content=(instruction, Segment(text=text))),),
            constraint=GRAMMAR,
            sampling=Sampling(max_tokens=BUDGET),
        )
        for text in messages
    ]

    async def send_all() -> list[str]:
        replies = await asyncio.gather(*map(engine.send, requests))
        return [reply.text if isinstance(reply, Completion) else str(reply) for reply in replies]

    return asyncio.run(send_all())


def outlines_alone(folder: Path, batch: int) -> Callable[[Sequence[str]], list[str]]:
    """What a user of outlines writes, in batches."""
    import outlines
    from outlines.types import CFG
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    wrapped = outlines.from_transformers(model, tokenizer)
    generator: Any = outlines.Generator(
        wrapped, CFG(print_lark(GRAMMAR.root)), backend="llguidance"
    )

    def run(messages: Sequence[str]) -> list[str]:
        answers: list[str] = []
        for start in range(0, len(messages), batch):
            prompts = [INSTRUCTION + text for text in messages[start : start + batch]]
            answers += generator.batch(prompts, max_new_tokens=BUDGET, do_sample=False)
        return answers

    return run


def main() -> None:
    """Print a table and the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder)
        engines = [open_model(name, device="cpu", batch_size=options.batch), EmbeddedEngine(folder)]
        runs: dict[str, Callable[[Sequence[str]], list[str]]] = {
            "transformers engine": lambda messages: by_engine(engines[0], messages),
            "outlines alone": outlines_alone(folder, options.batch),
            "embedded engine": lambda messages: by_engine(engines[1], messages),
        }
        first = [run([message(0), message(1)]) for run in runs.values()]  # compiles what they will
        assert first[0] == first[1] == first[2], first
        best = dict.fromkeys(runs, float("inf"))
        for number in range(1, options.rounds + 1):
            messages = [message(number * options.rows + row) for row in range(options.rows)]
            for label, run in runs.items():
                start = time.perf_counter()
                answers = run(messages)
                best[label] = min(best[label], time.perf_counter() - start)
                for answer in answers:
                    json.loads(answer)
        for engine in engines:
            asyncio.run(engine.close())
    ours, outlines, embedded = (options.rows / seconds for seconds in best.values())
    for label, seconds in best.items():
        print(f"{label:20} {options.rows / seconds:8.1f} objects/s")
    print(f"transformers engine / outlines alone   {ours / outlines:5.2f}")
    print(f"embedded engine / transformers engine  {embedded / ours:5.2f}")


if __name__ == "__main__":
    main()
