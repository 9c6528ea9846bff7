"""Valid whatever the weights say, on vLLM: random weights, great heat, a small budget, ten types.

python benchmarks/vllm_validity.py [--rows 10000] [--server-rows 1000]

Offline with typedllm's landing; then servers, each started anew, and each after a first guided
request of somebody else's, which fixes the backend of a server at its defaults for good.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import asyncio
import collections
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import openai
import vllm
from end_to_end import random_weights
from vllm_engine import engine_args

from typedllm import LLM, Result, Sampling, explain, parse
from typedllm.engines.server_commands import server_command
from typedllm.engines.servers import start_server
from typedllm.engines.vllm import VllmEngine
from typedllm.engines.vllm_start import arguments

MAX_TOKENS: Final = 200
HOT: Final = Sampling(temperature=1.5, max_tokens=MAX_TOKENS)
FIELDS: Final[dict[str, Any]] = {
    "age": "int(ge=0, le=120)",
    "name": "str",
    "tags": "list[str]",
    "mood": "'good' | 'bad'",
    "paid": "bool",
    "score": "float(ge=0, le=1)",
    "note": "str | None",
    "sizes": "list[int]",
    "items": [{"sku": "str(max_length=300)", "count": "int(ge=0, le=99)"}],
    "day": "date",
}
SPECS: Final = [dict(list(FIELDS.items())[:count]) for count in range(1, len(FIELDS) + 1)]
FOREIGN: Final = {
    "JSON schema": {"json": {"type": "object", "properties": {"a": {"type": "integer"}}}},
    "Lark": {"grammar": "%llguidance {}\nstart: /[a-z]{1,5}/"},
}


def complaint(row: Result[Any], spec: Any, most_attempts: int) -> str | None:
    """What is wrong with a row, if anything."""
    if row.error is not None or row.raw is None:
        return str(row.error)
    if parse(row.raw, spec, tolerant=False).value != row.value:
        return f"the value is not what the text says: {row.raw}"
    if row.attempts > most_attempts:
        return f"{row.attempts} attempts"
    if row.usage.output_tokens > MAX_TOKENS * row.attempts + 1:
        return f"{row.usage.output_tokens} tokens in {row.attempts} attempts"
    return None


async def asked(llm: LLM, rows: int) -> list[list[Result[Any]]]:
    """Ask for all types at once, so that they share the running batch."""
    prompts = [f"{'a ' * (1 + row % 40)}{row}" for row in range(rows // len(SPECS))]
    found = await asyncio.gather(*(llm.abatch(prompts, spec, sampling=HOT) for spec in SPECS))
    return [list(results) for results in found]


def measure(name: str, llm: LLM, rows: int, most_attempts: int) -> None:
    """Print how many rows are valid, and how they ended."""
    started = time.perf_counter()
    found = asyncio.run(asked(llm, rows))
    seconds = time.perf_counter() - started
    total = sum(map(len, found))
    wrong = [
        said
        for results, spec in zip(found, SPECS, strict=True)
        for row in results
        if (said := complaint(row, spec, most_attempts))
    ]
    every = [row for results in found for row in results]
    reasons = collections.Counter(str(row.finish_reason) for row in every)
    again = sum(row.attempts > 1 for row in every)
    told = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
    print(
        f"{name:<44}{total - len(wrong):>7,} of {total:,} valid, {again:,} asked twice; {told};"
        f" {seconds:.0f} s",
        flush=True,
    )
    print(*wrong[:10], sep="\n", end="\n" if wrong else "")


def offline(folder: Path, rows: int) -> None:
    """In this process, with typedllm's landing."""
    engine = vllm.LLM(str(folder), **arguments(engine_args("float32")))
    try:
        with LLM(VllmEngine(engine)) as llm:
            measure("offline, guidance, landing", llm, rows, 1)
    finally:
        engine.llm_engine.engine_core.shutdown()


def ready_made(folder: Path, rows: int) -> None:
    """In this process, by a `vllm.LLM` at its defaults."""
    engine = vllm.LLM(str(folder), **engine_args("float32"))
    try:
        with LLM(VllmEngine(engine)) as llm:
            measure("offline, a vllm.LLM at its defaults", llm, rows, 2)
    finally:
        engine.llm_engine.engine_core.shutdown()


def main() -> None:
    """Ask each, and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--server-rows", type=int, default=1_000)
    parser.add_argument("--only", choices=["offline", "servers"])
    options = parser.parse_args()
    fits = [explain(spec, "vllm-server").fits_bytes for spec in SPECS]
    print(f"at most {MAX_TOKENS} tokens; the types fit into {fits} tokens of one byte")
    with tempfile.TemporaryDirectory() as temporary:
        folder = random_weights(Path(temporary) / "model")
        if options.only != "servers":
            offline(folder, options.rows)
            ready_made(folder, options.server_rows)
        if options.only != "offline":
            for guided in (False, True):
                for foreign in (None, *FOREIGN):
                    served(folder, options.server_rows, guided, foreign)


def served(folder: Path, rows: int, guided: bool, foreign: str | None) -> None:
    """Over HTTP, on a server that is started for it."""
    extra = ["--dtype", "float32", "--max-num-seqs", "256"]
    with start_server(server_command(str(folder), guided=guided, extra=extra)) as server:
        if foreign is not None:
            with openai.OpenAI(base_url=server.url, api_key="none") as client:
                client.completions.create(
                    model=server.model,
                    prompt="x",
                    max_tokens=5,
                    extra_body={"structured_outputs": FOREIGN[foreign]},
                )
        with LLM(f"vllm-server:{server.model}", base_url=server.url) as llm:
            name = "server, guidance, landing" if guided else "server at its defaults"
            name += f", after a {foreign}" if foreign else ""
            measure(name, llm, rows, 1 if guided else 2)


if __name__ == "__main__":
    main()
