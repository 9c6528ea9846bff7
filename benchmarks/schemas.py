"""What becomes of real JSON Schemas: how many compile, how many are held by construction.

Of each schema that is held entirely, random walks over the grammar must be valid; no invalid
instance may be accepted by the grammar alone, and valid ones, written in the order of generation,
must be accepted where no bounds are set.

python benchmarks/schemas.py [FILE] [--walks 20] [--show]

FILE is JSON lines, gzipped or not: `{"name", "split", "schema", "tests": [{"valid", "data"}]}`.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from llguidance import LLMatcher

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.validity import of_bytes  # noqa: E402  # neither is an installed package
from tests.constraints.walking import Walker, compiled, uniform  # noqa: E402
from tests.constraints.writing import written  # noqa: E402
from typedllm import JsonSchema, Limits, SpecError, TypedLLMError  # noqa: E402
from typedllm.constraints.compile import Compiled  # noqa: E402
from typedllm.constraints.lark import print_lark  # noqa: E402
from typedllm.records import Grammar  # noqa: E402
from typedllm.spec.keywords import walk  # noqa: E402
from typedllm.spec.spec import spec_of  # noqa: E402

DEFAULT = ROOT.parent / "shared" / "data" / "jsonschemabench-sample.jsonl.gz"
PROCESSES = 2
EXTRA = 400  # tokens of a walk above the least, each a byte


@dataclass
class Found:
    """What one schema came to."""

    name: str
    split: str
    status: str = "refused"
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@cache
def walker() -> Walker:
    """Walks byte by byte: every text of a grammar can be reached."""
    return Walker(of_bytes(), "<|end|>")


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines)


def missing(schema: dict[str, Any], made: Compiled) -> list[str]:
    """Keywords of a schema that its plan does not name."""
    known = {(part.pointer, part.keyword) for part in made.plan.parts}
    return [f"{at} {word}" for at, part in walk(schema) for word in part if (at, word) not in known]


def accepts(grammar: Grammar, text: str) -> bool:
    """Whether the mask library lets a whole text through."""
    matcher = LLMatcher(walker().tokens, LLMatcher.grammar_from_lark(print_lark(grammar.root)))
    if matcher.is_error():
        raise ValueError(matcher.get_error())
    tokens = walker().tokenize(text.encode())
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


def texts(grammar: Grammar, value: Any) -> list[str]:
    """An instance as compact JSON: in the order of generation, and as it was given."""
    plain = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    ordered = written(grammar.root, value)
    return [plain] if ordered is None else [ordered, plain]


def measured(row: dict[str, Any], walks: int) -> Found:
    """Compile one schema and try it."""
    found = Found(name=row["name"], split=row["split"])
    gc.disable()  # what earlier schemas have left is not this one's to clear away
    started = time.perf_counter()
    try:
        made = compiled(JsonSchema(row["schema"]))
        found.seconds = time.perf_counter() - started
    except SpecError as error:
        found.notes.append(f"refused: {error}")
        return found
    except Exception as error:
        found.status = "crash"
        found.notes.append(f"crash: {type(error).__name__}: {error}")
        return found
    finally:
        gc.enable()
    if not isinstance(made.constraint, Grammar):
        return found
    found.status = "constructed" if made.plan.guaranteed else "compiled"
    found.notes += [
        f"{part.status}: {part.pointer} {part.keyword}: {part.reason}"
        for part in made.plan.parts
        if part.status == "checked after"
    ]
    try:
        _try(row, found, made.constraint, walks)
    except (TypedLLMError, ValueError, AssertionError) as error:
        found.status = "unusable"
        found.notes.append(f"unusable: {type(error).__name__}: {str(error)[:300]}")
    if found.status == "constructed":
        silent = missing(row["schema"], made)
        found.counts["silent"] += bool(silent)
        found.notes += [f"silent: {place}" for place in silent[:3]]
    return found


def _try(row: dict[str, Any], found: Found, grammar: Grammar, walks: int) -> None:
    spec = spec_of(JsonSchema(row["schema"]))
    rng = random.Random(0)
    constructed = found.status == "constructed"
    for _ in range(walks if constructed else 1):
        text, _, _ = walker().walk(grammar, uniform, EXTRA, rng.getrandbits(32))
        try:
            spec.read(text)
        except TypedLLMError as error:
            if constructed:
                found.counts["walks_invalid"] += 1
                found.notes.append(f"walk: {error} in {text[:200]}")
        found.counts["walks"] += constructed
    if not constructed or not row.get("tests"):
        return
    open_ = compiled(JsonSchema(row["schema"]), Limits.none()).constraint
    assert isinstance(open_, Grammar)
    for test in row["tests"]:
        kind = "valid" if test["valid"] else "invalid"
        taken = any(accepts(open_, text) for text in texts(open_, test["data"]))
        found.counts[kind] += 1
        found.counts[f"{kind}_accepted"] += taken
        if taken != test["valid"]:
            shown = json.dumps(test["data"], ensure_ascii=False)[:300]
            found.notes.append(f"{kind} {'accepted' if taken else 'refused'}: {shown}")


def _of(job: tuple[dict[str, Any], int]) -> Found:
    return measured(*job)


def table(all_found: list[Found]) -> None:
    """Print a line for each split."""
    print(f"{'split':18} {'schemas':>7} {'compiled':>9} {'constructed':>11}")
    for split in sorted({found.split for found in all_found}):
        part = [found for found in all_found if found.split == split]
        usable = sum(found.status in ("compiled", "constructed") for found in part)
        held = sum(found.status == "constructed" for found in part)
        print(f"{split:18} {len(part):7} {usable / len(part):9.1%} {held / len(part):11.1%}")


def main() -> None:
    """Measure all schemas of a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=DEFAULT)
    parser.add_argument("--walks", type=int, default=20)
    parser.add_argument("--show", action="store_true", help="what is left of each schema")
    options = parser.parse_args()
    jobs = [(row, options.walks) for row in rows(options.file)]
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        all_found = list(pool.imap(_of, jobs, chunksize=4))
    for found in all_found if options.show else ():
        for note in found.notes[:8]:
            print(f"{found.name} [{found.status}] {note}")
    table(all_found)
    times = sorted(found.seconds * 1e3 for found in all_found if found.seconds)
    print(
        f"compile, ms: median {median(times):.1f},"
        f" 99th percentile {quantiles(times, n=100)[98]:.0f},"
        f" worst {times[-1]:.0f}"
    )
    counts: Counter[str] = sum((found.counts for found in all_found), Counter())
    statuses = Counter(found.status for found in all_found)
    usable = statuses["compiled"] + statuses["constructed"]
    print(f"statuses: {dict(statuses)}; walks: {counts['walks']}")
    print(
        f"compiled={usable}/{len(all_found)} constructed={statuses['constructed']}/{len(all_found)}"
        f" walks_invalid={counts['walks_invalid']}"
        f" instances_accepted={counts['valid_accepted']}/{counts['valid']}"
        f" invalid_accepted={counts['invalid_accepted']}/{counts['invalid']}"
        f" silent={counts['silent']}"
    )


if __name__ == "__main__":
    main()
