"""What typed and validated answers cost on top of vLLM: 10,000 prompts, raw and typed, in one run.

python benchmarks/vllm_engine.py [BANKING77] [--rows 10000] [--model FOLDER] [--dtype float32]

Raw is `vllm.LLM.generate` with the same prompts, sampling parameters and grammar. BANKING77 is a
folder with the data set's `train.csv` (Casanueva et al. 2020, CC BY 4.0); all of its messages are
then sorted under its 77 labels in one call. On a machine with a GPU it runs there.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import csv
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import vllm
from vllm import SamplingParams
from vllm.sampling_params import StructuredOutputsParams
from vllm_timing import MAX_TOKENS, TINY, texts_of, timed

from typedllm import LLM, Sampling
from typedllm.constraints.compile import compile_spec
from typedllm.constraints.lark import print_lark
from typedllm.engines.table import traits_of
from typedllm.engines.vllm import VllmEngine
from typedllm.engines.vllm_start import arguments
from typedllm.records import Grammar
from typedllm.spec.spec import spec_of

SPEC = {"name": "str", "age": "int", "city": "str", "job": "str"}


def engine_args(dtype: str) -> dict[str, Any]:
    """What suits this machine."""
    if shutil.which("nvidia-smi"):
        return {"dtype": dtype, "disable_log_stats": True}
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    return {"dtype": dtype, "enforce_eager": True, "max_num_seqs": 256}


def compare(engine: Any, llm: LLM, texts: Sequence[str]) -> None:
    """Raw and typed on the same engine, each twice, in the order that favours neither."""
    constraint = compile_spec(spec_of(SPEC), traits_of("vllm")).constraint
    assert isinstance(constraint, Grammar)
    params = SamplingParams(
        temperature=0,
        max_tokens=MAX_TOKENS,
        logprobs=0,
        structured_outputs=StructuredOutputsParams(grammar=print_lark(constraint.root)),
    )
    rendered = [llm.render(text, SPEC).text for text in texts]

    def raw() -> int:
        outputs = engine.generate(rendered, params, use_tqdm=False)
        return sum(len(output.outputs[0].token_ids) for output in outputs)

    def typed() -> int:
        results = llm.batch(texts, SPEC)
        assert all(result.ok for result in results)
        return sum(result.usage.output_tokens for result in results)

    engine.generate(rendered[:64], params, use_tqdm=False)
    llm.batch(texts[:64], SPEC)
    runs = {"raw vLLM": [timed(raw)], "typed": [timed(typed), timed(typed)]}
    runs["raw vLLM"].append(timed(raw))
    print(f"{len(texts):,} prompts, {'name: str, age: int, city: str, job: str'}")
    print(f"{'':<12}{'objects/s':>12}{'tokens/s':>12}{'CPU ms/row':>12}{'peak MiB':>12}")
    rates: dict[str, float] = {}
    for name, found in runs.items():
        seconds = sum(each.seconds for each in found)
        rates[name] = len(found) * len(texts) / seconds
        tokens = sum(each.tokens for each in found) / seconds
        cpu = 1000 * sum(each.cpu for each in found) / len(found) / len(texts)
        peak = max(each.peak_mib for each in found)
        runs_told = " and ".join(f"{len(texts) / each.seconds:.1f}" for each in found)
        print(
            f"{name:<12}{rates[name]:>12.1f}{tokens:>12.0f}{cpu:>12.2f}{peak:>12.0f}"
            f"   runs: {runs_told}"
        )
    print(f"typed / raw: {rates['typed'] / rates['raw vLLM']:.3f}", flush=True)


def banking(llm: LLM, path: Path) -> None:
    """All messages of Banking77's training split under its 77 labels, in one call."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(" ".join(row["text"].split()), row["category"]) for row in csv.DictReader(file)]
    labels = sorted({label for _, label in rows})
    started = time.perf_counter()
    results = llm.batch([text for text, _ in rows], labels)
    seconds = time.perf_counter() - started
    pairs = list(zip(results, rows, strict=True))
    valid = sum(result.ok for result, _ in pairs)
    right = sum(result.value == label for result, (_, label) in pairs)
    sure = sum(result.confidence is not None for result, _ in pairs)
    aligned = all(result.prompt == text for result, (text, _) in pairs)
    print(
        f"\nBanking77, {len(rows):,} messages, {len(labels)} labels, one call: {valid:,} valid,"
        f" {sure:,} with confidence, {'aligned' if aligned else 'NOT ALIGNED'},"
        f" {right / len(rows):.1%} right (it was trained on them), {seconds:.0f} s"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("banking77", type=Path, nargs="?")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--model", default=str(TINY))
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    engine = vllm.LLM(options.model, **arguments(engine_args(options.dtype)))
    with LLM(VllmEngine(engine), sampling=Sampling(max_tokens=MAX_TOKENS)) as llm:
        compare(engine, llm, texts_of(options.rows))
        if options.banking77 is not None:
            banking(llm, options.banking77 / "train.csv")


if __name__ == "__main__":
    main()
