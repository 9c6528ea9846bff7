"""What the tokens of an answer say about its values: how sure the model was, what was cut short."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from typedllm.output.spans import spans
from typedllm.paths import ROOT
from typedllm.records import Token


def confidence(text: str, tokens: Sequence[Token]) -> dict[str, float]:
    """Return how probable each value of an answer was, by path.

    That is the product of the probabilities of the tokens that overlap the value's characters, its
    quotes or brackets included. A number has no end of its own, so the choice to end it belongs to
    the delimiter that follows. A token that reaches over two values counts for both.

    Args:
        text: the answer.
        tokens: the answer's tokens, whose bytes are the text in UTF-8.

    Returns:
        Probabilities in [0, 1] by path such as `$.age`; `$` is the whole answer, over all tokens,
        and the only path where the text is not JSON or the tokens are not those of the text.
    """
    encoded = text.encode("utf-8", "surrogatepass")
    ends = list(accumulate(len(token.text) for token in tokens))
    starts = [0, *ends]
    # Impossible tokens are counted apart: minus infinity would spoil every later difference.
    impossible = [0, *accumulate(token.logprob == -math.inf for token in tokens)]
    logprobs = [
        0.0,
        *accumulate(token.logprob if token.logprob > -math.inf else 0.0 for token in tokens),
    ]

    def product(first: int, after: int) -> float:
        if impossible[after] > impossible[first]:
            return 0.0
        return math.exp(min(0.0, logprobs[after] - logprobs[first]))

    found: dict[str, float] = {ROOT: product(0, len(tokens))}
    if b"".join(token.text for token in tokens) != encoded:
        return found
    offsets = _byte_offsets(text, len(encoded))
    for path, (start, end) in spans(text).items():
        if path != ROOT:
            first = bisect_right(ends, offsets[start])
            found[path] = product(first, bisect_left(starts, offsets[end], hi=len(tokens)))
    return found


def clipped(text: str, landed_at: int) -> tuple[str, ...]:
    """Return the paths of an answer that a decoder cut short when it closed the text early.

    A value is cut short when the decoder, and not the model, chose its last character:

    - the string that was being written, and the number, for which that holds also where the
      decoder's first character comes right after it, since more digits might have come;
    - each array and object around it, which may have lost items or entries;
    - each value that the decoder added because it was required, with all that is inside.

    What the model closed itself is not: a string with its closing quote, an array with its bracket,
    a literal such as `true`.

    Args:
        text: the answer, as the decoder closed it.
        landed_at: number of characters of `text` that the model chose.

    Returns:
        Paths in the order of the text; `$` alone where the text is not JSON.
    """
    found = spans(text)
    if not found:
        return (ROOT,)
    return tuple(
        path
        for path, (_, end) in found.items()
        if end > landed_at or (end == landed_at and text[end - 1].isdigit())
    )


def _byte_offsets(text: str, size: int) -> Sequence[int]:
    """Return for each character index, and the end, the index of its first byte in UTF-8."""
    if size == len(text):
        return range(size + 1)
    sizes = (1 + (c > "\x7f") + (c > "\u07ff") + (c > "\uffff") for c in text)
    return [0, *accumulate(sizes)]
