"""Finds the data folders of the package, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__all__ = ["folder"]

_PACKAGE = Path(__file__).parent


def folder(kind: Literal["schemas", "templates"]) -> Path:
    """Return the folder of ready-made schemas or templates.

    A wheel carries it inside the package; in a checkout it lies beside the package.

    Args:
        kind: which folder.
    """
    installed = _PACKAGE / "_data" / kind
    return installed if installed.is_dir() else _PACKAGE.parent / kind
