"""Text of anybody's, made fit to be printed and written."""

from __future__ import annotations

from typing import Final

__all__ = ["printable", "readable"]

# What a model wrote must not move the cursor of a terminal, or rename its window.
_CONTROLS: Final = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"
}


def readable(text: str) -> str:
    """Put the codes of lone surrogates, which nothing of UTF-8 holds, in their place.

    Args:
        text: any.
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def printable(text: str) -> str:
    """Show control characters and lone surrogates by their codes, and indent further lines.

    Args:
        text: to be printed after the name of what it is.
    """
    return readable(text).translate(_CONTROLS).replace("\n", "\n    ")
