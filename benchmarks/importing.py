"""How long an import takes: the median of ten fresh processes, beside Pydantic and openai.

python benchmarks/importing.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys

PROCESSES = 10
STATEMENTS = [
    "import typedllm",
    "from typedllm import LLM, schema, parse",
    "import pydantic",
    "from pydantic import BaseModel",
    "import openai",
]


def seconds(statement: str) -> float:
    """Wall seconds of the statement in a fresh process, without the interpreter's start."""
    clock = "time.perf_counter()"
    code = f"import time; start = {clock}\n{statement}\nprint({clock} - start)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    """Print one line a statement."""
    print(f"median of {PROCESSES} fresh processes, CPython {sys.version.split()[0]}")
    for statement in STATEMENTS:
        times = [seconds(statement) for _ in range(PROCESSES)]
        print(f"{statement:42} {statistics.median(times) * 1000:7.1f} ms")


if __name__ == "__main__":
    main()
