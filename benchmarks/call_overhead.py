"""What a typed call costs beside the model: microseconds a call and rows a second.

On the scripted engine, which answers at once. Run: python benchmarks/call_overhead.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from typedllm import LLM, Scripted

SPEC = {"name": "str", "age": "int"}
PROMPT = "How old is Ada, who was born 36 years ago?"
ANSWER = '{"name":"Ada","age":36}'


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds of one run."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    llm = LLM(Scripted(lambda request: ANSWER))
    texts = [PROMPT] * 10_000
    llm.call(PROMPT, SPEC)
    calls = [seconds(lambda: llm.call(PROMPT, SPEC)) for _ in range(3_000)]
    median = statistics.median(calls) * 1e6
    slow = statistics.quantiles(calls, n=100)[98] * 1e6
    print(f"call        {median:8.0f} µs (median; 99 of 100 below {slow:.0f} µs)")
    verbs: dict[str, Callable[[], object]] = {
        "batch": lambda: llm.batch(texts, SPEC),
        "iter_batch": lambda: list(llm.iter_batch(texts, SPEC)),
        "generator": lambda: list(llm.iter_batch(iter(texts), SPEC)),
    }
    for name, verb in verbs.items():
        best = min(seconds(verb) for _ in range(3))
        print(f"{name:11} {len(texts) / best:8.0f} rows/s (best of 3 times {len(texts):,} rows)")


if __name__ == "__main__":
    main()
