"""Time, CPU and memory of a run, and texts to run on; not a benchmark itself."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
TINY: Final = ROOT / "typedllm/tiny/model"
MAX_TOKENS: Final = 128


@dataclass(frozen=True)
class Timed:
    """How long a run took, and what it needed.

    Attributes:
        seconds: wall-clock.
        tokens: of all answers.
        cpu: seconds of CPU in this process, without vLLM's own processes.
        peak_mib: most memory of this process.
    """

    seconds: float
    cpu: float
    tokens: int
    peak_mib: float


def texts_of(count: int) -> list[str]:
    """As many messages, no two alike."""
    jobs = ["nurse", "baker", "pilot", "judge", "miner"]
    cities = ["Bergen", "Porto", "Kyoto", "Lima", "Leeds", "Accra"]
    return [
        f"Ada Lund{n} is {20 + n % 60} years old, a {jobs[n % 5]} from {cities[n % 6]}."
        for n in range(count)
    ]


def timed(work: Callable[[], int]) -> Timed:
    """Time some work that returns how many tokens it made."""
    gc.collect()
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")  # begins to look for the highest use of memory anew
    started, cpu = time.perf_counter(), time.process_time()
    tokens = work()
    seconds = time.perf_counter() - started
    return Timed(seconds, time.process_time() - cpu, tokens, peak_mib())


def peak_mib() -> float:
    """The most memory that this process has had since it was asked to look anew."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
