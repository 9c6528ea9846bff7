"""How long a call from the shell takes, start included: the median of five, beside an empty Python.

python benchmarks/cli_start.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

PROCESSES = 5
TEXT = "My name is Ada Lovelace, I am 36 years old and work as a translator."
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "typedllm --version": ["-m", "typedllm", "--version"],
    "typedllm extract TEXT --spec int": ["-m", "typedllm", "extract", TEXT, "--spec", "int"],
    "typedllm extract TEXT --spec person": ["-m", "typedllm", "extract", TEXT, "--spec", "person"],
}


def seconds(arguments: list[str]) -> float:
    """Wall seconds of a fresh process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Print one line a command."""
    print(f"median of {PROCESSES} fresh processes, CPython {sys.version.split()[0]}")
    for name, arguments in COMMANDS.items():
        times = [seconds(arguments) for _ in range(PROCESSES)]
        print(f"{name:36} {statistics.median(times):6.2f} s")


if __name__ == "__main__":
    main()
