"""Text of anybody's, made fit to be printed."""

from __future__ import annotations

from typing import Final

__all__ = ["printable"]

# What a model wrote must not move the cursor of a terminal, or rename its window.
_CONTROLS: Final = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"
}


def printable(text: str) -> str:
    """Show control characters and lone surrogates by their codes, and indent further lines.

    Args:
        text: to be printed after the name of what it is.
    """
    plain = text.encode("utf-8", "backslashreplace").decode()
    return plain.translate(_CONTROLS).replace("\n", "\n    ")
