"""Output types for plain text: `Regex` and `Choice`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from typedllm._checks import check_text
from typedllm.errors import SpecError

__all__ = ["Choice", "Regex"]


@dataclass(frozen=True, slots=True)
class Regex:
    """Plain text that matches a regular expression as a whole.

    Attributes:
        pattern: in the syntax of JSON Schema's `pattern`, look-around and back-references included;
            it need not be anchored.
    """

    pattern: str


@dataclass(frozen=True, slots=True, init=False)
class Choice:
    """Plain text that is one of several options.

    Attributes:
        options: the texts, each once.
    """

    options: tuple[str, ...]

    def __init__(self, options: Iterable[str]) -> None:
        """Check and keep the options.

        Args:
            options: the texts to choose from, in the order of listing.

        Raises:
            SpecError: when there is none, one is no text or empty, or one comes twice.
            UsageError: when one holds a lone surrogate.
        """
        if isinstance(options, str):
            raise SpecError(f'Choice takes a list of texts, not one text: Choice(["{options}"])')
        texts = tuple(options)
        for position, text in enumerate(texts):
            if not isinstance(text, str) or not text:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise SpecError(
                    f"Choice: option {position} is {text!r}; each must be a text of one character"
                    " or more"
                )
            check_text(f"Choice: option {position}", text)
        if not texts:
            raise SpecError("Choice needs at least one option")
        if len(set(texts)) < len(texts):
            text, times = Counter(texts).most_common(1)[0]
            raise SpecError(f"Choice: option {text!r} comes {times} times")
        object.__setattr__(self, "options", texts)
