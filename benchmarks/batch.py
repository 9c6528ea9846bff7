"""What a batch's journal costs, a million rows in bounded memory, and a killed run that goes on.

python benchmarks/batch.py [BANKING77] [--rows 10000] [--many 1000000]

A canned server on loopback answers the `openai` engine and instructor, 64 calls in flight, the
client on one core (on Linux). The scripted engine answers at once: what is left is our own cost.
BANKING77 is a folder with the data set's `train.csv` (Casanueva et al. 2020, CC BY 4.0), whose rows
go through the command line with a journal, killed once in the middle.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from remote import IN_FLIGHT, Person, by_instructor, serve
from vllm_timing import Timed, peak_mib, timed

from typedllm import LLM, Scripted
from typedllm.batch.tables import ParquetWriter
from typedllm.records import Request, Traits
from typedllm.spec.spec import spec_of

SPEC: Final = {"name": "str", "age": "int"}
TRAITS: Final = Traits(name="bench", takes=frozenset(), ending="may be cut", logprobs=False)
ANSWER: Final = '{"name":"Ada Lund","age":36}'
FLAT_FROM: Final = 100_000  # rows after which memory is to stay where it is


def remote(url: str, folder: Path, rows: int, journal: str) -> int:
    """A batch on the canned server, with a journal where it is named."""
    path = folder / journal if journal else None
    with LLM("openai:canned", base_url=url, api_key="x") as llm:
        results = llm.batch([f"{number}" for number in range(rows)], Person, journal=path)
    assert all(result.ok for result in results)
    return rows


def scripted() -> LLM:
    """An LLM that answers at once."""

    def reply(request: Request) -> str:
        engine.requests.clear()  # which it keeps for tests, a million of them
        return ANSWER

    engine = Scripted(reply, traits=TRAITS, capacity=IN_FLIGHT)
    return LLM(engine)


def local(folder: Path, rows: int, journal: str) -> int:
    """A batch on the scripted engine."""
    path = folder / journal if journal else None
    inputs = [f"Who is number {number}?" for number in range(rows)]
    assert scripted().batch(inputs, SPEC, journal=path).ok == rows
    return rows


def many(folder: Path, rows: int) -> list[tuple[int, float, float]]:
    """A generator of rows into a Parquet file; the peak of memory by and by, and the seconds."""
    inputs = (f"Who is number {number}?" for number in range(rows))
    results = scripted().iter_batch(inputs, SPEC)
    seen: list[tuple[int, float, float]] = []
    started = time.perf_counter()
    with ParquetWriter(folder / "many.parquet", spec_of(SPEC)) as writer:
        for done, result in enumerate(results, 1):
            writer.add(result)
            if done % FLAT_FROM == 0 or done == rows:
                seen.append((done, peak_mib(), time.perf_counter() - started))
    return seen


def alone(work: Callable[[], Any]) -> Any:
    """Do some work in a process of its own, for its memory."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work)


def warm(work: Callable[[int, str], int], rows: int, journal: str) -> Timed:
    """Time some work after a little of it."""
    work(IN_FLIGHT, f"warm-{journal}" if journal else "")
    return timed(partial(work, rows, journal))


def of_remote(folder: Path, rows: int) -> None:
    """With a journal, without, and instructor; each twice, in the order that favours none."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{here.recv()}/v1"
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(server.pid or 0, {cores[-1]})
        os.sched_setaffinity(0, {cores[0]})
    ours = partial(remote, url, folder)
    seconds: dict[str, list[float]] = {"with": [], "without": [], "instructor": []}
    for turn, name in enumerate(["with", "without", "without", "with"]):
        journal = f"remote-{turn}.db" if name == "with" else ""
        found: Timed = alone(partial(warm, ours, rows, journal))
        seconds[name].append(found.seconds / rows)
    few = max(rows // 5, 1)
    seconds["instructor"].append(
        alone(partial(timed, partial(by_instructor, url, few))).seconds / few
    )
    server.terminate()
    rates = {name: len(each) / sum(each) for name, each in seconds.items()}
    print(f"{rows:,} rows, canned server: ", end="")
    print(", ".join(f"{name} {rate:,.0f}/s" for name, rate in rates.items()))
    print(
        f"with the journal: {rates['with'] / rates['without']:.2f} of without,"
        f" {rates['with'] / rates['instructor']:.1f} times instructor",
        flush=True,
    )


def of_scripted(folder: Path, rows: int) -> None:
    """With a journal and without."""
    rates: dict[str, float] = {}
    for name in ("", "local.db"):
        found: Timed = alone(partial(warm, partial(local, folder), rows, name))
        rates[name] = rows / found.seconds
    print(
        f"{rows:,} rows, scripted engine: {rates['']:,.0f}/s, with the journal"
        f" {rates['local.db']:,.0f}/s",
        flush=True,
    )


def of_many(folder: Path, rows: int) -> None:
    """The peak of memory, and whether it grows after the beginning."""
    seen: list[tuple[int, float, float]] = alone(partial(many, folder, rows))
    size = (folder / "many.parquet").stat().st_size / 1e6
    done, peak, seconds = seen[-1]
    print(f"{done:,} rows of a generator into Parquet ({size:.0f} MB): {done / seconds:,.0f}/s,")
    print(f"peak {peak:.0f} MiB; by {FLAT_FROM:,} rows: ", end="")
    print(", ".join(f"{peak:.0f}" for _, peak, _ in seen), flush=True)


def of_banking(folder: Path, path: Path) -> None:
    """The same command undisturbed, and killed in the middle and run again."""
    with path.open(encoding="utf-8", newline="") as file:
        labels = sorted({row["category"] for row in csv.DictReader(file)})

    def command(name: str) -> list[str]:
        out, journal = folder / f"{name}.jsonl", folder / f"{name}.db"
        return [
            *(sys.executable, "-m", "typedllm", "batch", str(path), "--column", "text"),
            *("--type", json.dumps(labels), "--out", str(out), "--journal", str(journal)),
            "--quiet",
        ]

    started = time.perf_counter()
    subprocess.run(command("whole"), check=False)
    whole = time.perf_counter() - started
    process = subprocess.Popen(command("killed"))
    time.sleep(whole / 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    started = time.perf_counter()
    subprocess.run(command("killed"), check=False)
    rest = time.perf_counter() - started
    one, other = (list(_lines(folder / f"{name}.jsonl")) for name in ("whole", "killed"))
    print(
        f"Banking77, {len(one):,} rows by the command line: {whole:.0f} s; killed after"
        f" {whole / 2:.0f} s, the rest took {rest:.0f} s; answers"
        f" {'identical' if _answers(one) == _answers(other) else 'DIFFERENT'},"
        f" {sum(a == b for a, b in zip(one, other, strict=True)):,} with the same confidence too"
    )


def _answers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All but how sure the model was, whose last digit depends on the rows beside it."""
    return [{name: cell for name, cell in row.items() if name != "confidence"} for row in rows]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("banking77", type=Path, nargs="?")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        of_scripted(folder, options.rows)
        of_remote(folder, options.rows)
        of_many(folder, options.many)
        if options.banking77 is not None:
            of_banking(folder, options.banking77 / "train.csv")


if __name__ == "__main__":
    main()
