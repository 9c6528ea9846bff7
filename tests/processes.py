"""What is left of a program that was started in a session of its own."""

from __future__ import annotations

import os

import psutil


def left_of(session: int) -> list[str]:
    """The names of the living processes of a session."""
    found: list[str] = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and os.getsid(process.pid) == session:
                found.append(process.name())
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
    return found
