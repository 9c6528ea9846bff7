"""Seconds and memory of JSON Schemas that are small to write and large to work out.

python benchmarks/bombs.py
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.constraints.bombs import BOMBS, tried  # noqa: E402  # not an installed package


def main() -> None:
    """Try each in a process of its own, and print what came of it."""
    outcomes = {name: tried(name) for name in BOMBS}
    for name, outcome in outcomes.items():
        print(
            f"{name:42} {outcome.seconds:6.2f} s {outcome.peak_mib:5.0f} MiB  {outcome.told[:100]}"
        )
    seconds = max(outcome.seconds for outcome in outcomes.values())
    peak = max(outcome.peak_mib for outcome in outcomes.values())
    print(f"{len(BOMBS)} schemas: at worst {seconds:.2f} s (wanted 5) and {peak:.0f} MiB (500)")


if __name__ == "__main__":
    main()
