"""Finds what prompts have in common, and keeps its keys and values for the next ones."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

from typedllm.tiny.cache import Prefix

__all__ = ["Prefixes"]

_LEAST_TOKENS = 16  # a shorter beginning costs less to compute again than to merge
_KEPT = 8  # prefixes
_REMEMBERED = 4  # prompts


class Prefixes:
    """A small store of prefixes, least recently used out first.

    The first prompt of a kind is only remembered; the second shows what the two have in common,
    which is computed once and shared by it and all that follow.
    """

    def __init__(self, compute: Callable[[Sequence[int]], Prefix]) -> None:
        """Make an empty store.

        Args:
            compute: makes a prefix of token ids.
        """
        self._compute = compute
        self._kept: OrderedDict[int, Prefix] = OrderedDict()
        self._recent: deque[list[int]] = deque(maxlen=_REMEMBERED)

    def share(self, prompt: list[int]) -> tuple[Prefix | None, int]:
        """Find or make the prefix that a prompt can use.

        Args:
            prompt: its token ids.

        Returns:
            The prefix and how many of its tokens the prompt shares: never all of the prompt, whose
            last token is always to be computed. None and 0 where nothing is shared.
        """
        prefix, shared = None, 0
        for kept in self._kept.values():
            count = _common(kept.tokens, prompt)
            if count > shared:
                prefix, shared = kept, count
        seen = max((_common(recent, prompt) for recent in self._recent), default=0)
        if seen > 2 * shared:  # less would split the rows among prefixes for little
            prefix, shared = self._compute(prompt[:seen]), seen
            self._kept[id(prefix)] = prefix
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        if prompt not in self._recent:
            self._recent.append(prompt)
        if prefix is None:
            return None, 0
        self._kept.move_to_end(id(prefix))
        return prefix, shared


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Number of tokens that both begin with, less the last of `second`; 0 when too few to share."""
    if first[:_LEAST_TOKENS] != second[:_LEAST_TOKENS]:
        return 0
    low, high = 0, min(len(first), len(second) - 1)
    while low < high:  # by halves: comparing slices is many times faster than single tokens
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low if low >= _LEAST_TOKENS else 0
