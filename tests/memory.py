"""How much memory a process has taken at most."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

__all__ = ["peak_mib"]

_STATUS = Path("/proc/self/status")


def peak_mib() -> float:
    """The most memory of this process since its program began, in MiB.

    Linux counts what the parent held at the fork into `ru_maxrss`, and not into `VmHWM`.
    """
    if _STATUS.exists():
        lines = _STATUS.read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    scale = 1024 * 1024 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
