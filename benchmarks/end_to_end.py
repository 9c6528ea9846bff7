"""Valid whatever the weights say: random weights, great heat, a small budget, ten output types.

    python benchmarks/end_to_end.py [--rows 100]

A model like the packaged one, but of noise, is asked through `LLM.abatch` at temperature 1.5 for
answers of at most 200 tokens, on each engine that runs it here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel
from safetensors.numpy import load_file, save_file

import typedllm
from typedllm import LLM, JsonSchema, Result, Results, Sampling, parse

ENGINES: Final = ("embedded", "transformers")
MAX_TOKENS: Final = 200
_LENGTHS: Final = 40


class Tree(BaseModel):
    """A recursive type with many ways on."""

    value: int
    children: list[Tree] = []


class Step(BaseModel):
    """A recursive type with one way on."""

    name: str
    next: Step | None = None


ORDER: Final = {
    "type": "object",
    "properties": {
        "items": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "sku": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{3}$"},
                    "count": {"type": "integer", "minimum": 1},
                },
                "required": ["sku", "count"],
                "additionalProperties": False,
            },
        },
        "total": {"type": "number", "minimum": 0},
    },
    "required": ["items", "total"],
    "additionalProperties": False,
}

SPECS: Final[dict[str, Any]] = {
    "flat": {"age": "int", "units": "str"},
    "person": {"name": "str", "age": "int(ge=0, le=120)", "score": "float", "tags": "list[str]"},
    "formats": {"at": "datetime", "day": "date", "id": "UUID", "for": "timedelta"},
    "tree": Tree,
    "chain": Step,
    "open dict": dict[str, int],
    "labels": {"mood": ["good", 'b"d', "\\"], "kinds": "set['a' | 'b' | 'c']", "link": "AnyUrl"},
    "schema": JsonSchema(ORDER),
    "matrix": list[list[float]],
    "unions": {"x": "int | str | None", "y": "Any", "z": "1 | 'one' | None"},
}


def random_weights(folder: Path, *, seed: int = 0) -> Path:
    """Write a model of the packaged one's kind and vocabulary, with noise in its matrices.

    Args:
        folder: made, and returned.
        seed: of the noise.
    """
    shutil.copytree(Path(typedllm.__file__).parent / "tiny" / "model", folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["num_hidden_layers"] = 1  # more of them would make no other noise
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    path = folder / "model.safetensors"
    noise = np.random.default_rng(seed)
    tensors = {
        name: tensor
        if tensor.ndim == 1
        else (0.05 * noise.standard_normal(tensor.shape)).astype(tensor.dtype)
        for name, tensor in load_file(path).items()
        if not name.startswith("model.layers.") or name.startswith("model.layers.0.")
    }
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


async def ask(llm: LLM, rows: int) -> dict[str, Results[Any]]:
    """Ask for answers of all output types at once, so that one batch of the engine mixes them.

    Args:
        llm: on the random weights.
        rows: how many answers of each output type.
    """
    prompts = ["a " * (1 + row % _LENGTHS) for row in range(rows)]
    sampling = Sampling(temperature=1.5, max_tokens=MAX_TOKENS)
    found = await asyncio.gather(
        *(llm.abatch(prompts, spec, sampling=sampling) for spec in SPECS.values())
    )
    return dict(zip(SPECS, found, strict=True))


def complaints(results: Sequence[Result[Any]], spec: Any) -> list[str]:
    """What is wrong with the results: validity, budget, ending, or position."""
    wrong = [
        f"row {number}: {complaint}"
        for number, row in enumerate(results)
        if (complaint := _complaint(row, spec))
    ]
    # Prompts of one length have one number of tokens, and longer ones have more.
    lengths = sorted(
        {(row % _LENGTHS, each.usage.input_tokens) for row, each in enumerate(results)}
    )
    counts = [count for _, count in lengths if count]
    if len(lengths) > _LENGTHS or counts != sorted(set(counts)):
        wrong.append("rows are not in the position of their prompts")
    return wrong


def _complaint(row: Result[Any], spec: Any) -> str | None:
    if row.error is not None or row.raw is None:
        return str(row.error)
    if parse(row.raw, spec, tolerant=False).value != row.value:
        return f"the value is not what the text says: {row.raw}"
    if row.usage.output_tokens > MAX_TOKENS or row.attempts != 1:
        return f"{row.usage.output_tokens} tokens in {row.attempts} attempts"
    if row.finish_reason == "landing":
        return None if row.clipped else f"landed, and nothing is named as cut: {row.raw}"
    return None if row.finish_reason == "stop" else f"ended by {row.finish_reason}"


def main() -> None:
    """Ask on each engine, and print how many answers were valid."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100, help="of each output type")
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as temporary:
        folder = random_weights(Path(temporary) / "model")
        for engine in ENGINES:
            with LLM(f"{engine}:{folder}") as llm:
                started = time.perf_counter()
                wrong = [
                    f"{name}: {complaint}"
                    for name, results in asyncio.run(ask(llm, rows)).items()
                    for complaint in complaints(results, SPECS[name])
                ]
                seconds = time.perf_counter() - started
            total = rows * len(SPECS)
            print(f"{engine:12} {total - len(wrong)}/{total} valid in {seconds:.1f} s", flush=True)
            print(*wrong[:20], sep="\n", end="\n" if wrong else "")


if __name__ == "__main__":
    main()
