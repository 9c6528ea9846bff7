"""Keys and values that a forward pass keeps: a shared prefix, and one block for all rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from typedllm.tiny.weights import Floats, Shape

__all__ = ["Block", "Prefix"]

_FIRST_TOKENS = 64
_FIRST_ROWS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """The keys and values of a prompt's beginning, read by many rows and copied for none.

    Attributes:
        tokens: the token ids.
        keys: [layers, kv_heads, tokens, head_width].
        values: [layers, kv_heads, tokens, head_width].
    """

    tokens: Sequence[int]
    keys: Floats
    values: Floats


class Block:
    """The keys and values of a running batch: rows 0 to `rows - 1`, without gaps.

    Keys lie transposed, which makes the many small products of a step nearly twice as fast.

    Attributes:
        rows: number of rows.
        keys: [layers, rows or more, kv_heads, head_width, tokens or more].
        values: [layers, rows or more, kv_heads, tokens or more, head_width].
        lengths: [rows or more], how many tokens of its own each row has.
        shared: [rows or more], how many tokens of its prefix each row uses.
        prefix_of: [rows or more], the key in `prefixes` of each row's prefix, 0 for none.
        prefixes: the prefixes in use, by key.
    """

    def __init__(self, shape: Shape) -> None:
        """Make a block without rows.

        Args:
            shape: of the model.
        """
        self._shape = shape
        self.rows = 0
        self.prefixes: dict[int, Prefix] = {}
        self.lengths: NDArray[np.int64] = np.zeros(0, np.int64)
        self.shared: NDArray[np.int64] = np.zeros(0, np.int64)
        self.prefix_of: NDArray[np.int64] = np.zeros(0, np.int64)
        self._allocate(_FIRST_ROWS, _FIRST_TOKENS)

    def add(self, prefix: Prefix | None, shared: int) -> None:
        """Add a row at the end.

        Args:
            prefix: what it shares with others, or None.
            shared: how many tokens of the prefix it uses.
        """
        if self.rows == len(self.lengths):
            self._allocate(2 * self.rows, self.values.shape[3])
        self.lengths[self.rows] = 0
        self.shared[self.rows] = shared
        self.prefix_of[self.rows] = self._key(prefix)
        self.rows += 1

    def copy(self, other: Block, row: int) -> None:
        """Add a row at the end that is like one of a block.

        Args:
            other: the block; may be this one.
            row: the number of the row in it.
        """
        length, shared = int(other.lengths[row]), int(other.shared[row])
        self.add(other.prefixes.get(int(other.prefix_of[row])), shared)
        self.reserve(length)
        new = self.rows - 1
        self.keys[:, new, :, :, :length] = other.keys[:, row, :, :, :length]
        self.values[:, new, :, :length] = other.values[:, row, :, :length]
        self.lengths[new] = length

    def remove(self, row: int) -> None:
        """Drop a row; the last row takes its number.

        Args:
            row: its number.
        """
        last = self.rows - 1
        if row != last:
            length = self.lengths[last]
            self.keys[:, row, :, :, :length] = self.keys[:, last, :, :, :length]
            self.values[:, row, :, :length] = self.values[:, last, :, :length]
            self.lengths[row] = length
            self.shared[row] = self.shared[last]
            self.prefix_of[row] = self.prefix_of[last]
        self.rows = last

    def reserve(self, tokens: int) -> None:
        """Make sure that every row can hold so many tokens of its own.

        Args:
            tokens: the least number.
        """
        held = self.values.shape[3]
        if tokens > held:
            self._allocate(max(self.rows, _FIRST_ROWS), max(tokens, held + held // 2))

    def _key(self, prefix: Prefix | None) -> int:
        if prefix is None:
            return 0
        key = id(prefix)
        if key not in self.prefixes:
            used = set(self.prefix_of[: self.rows].tolist())
            self.prefixes = {old: kept for old, kept in self.prefixes.items() if old in used}
            self.prefixes[key] = prefix
        return key

    def _allocate(self, rows: int, tokens: int) -> None:
        shape = self._shape
        # zeros, since what lies beyond a row's end is multiplied by 0 and must be finite
        keys = np.zeros((shape.layers, rows, shape.kv_heads, shape.head_width, tokens), np.float32)
        values = np.zeros(
            (shape.layers, rows, shape.kv_heads, tokens, shape.head_width), np.float32
        )
        if self.rows:
            used = int(self.lengths[: self.rows].max())
            keys[:, : self.rows, :, :, :used] = self.keys[:, : self.rows, :, :, :used]
            values[:, : self.rows, :, :used] = self.values[:, : self.rows, :, :used]
        self.keys: Floats = keys
        self.values: Floats = values
        self.lengths = _grown(self.lengths, self.rows, rows)
        self.shared = _grown(self.shared, self.rows, rows)
        self.prefix_of = _grown(self.prefix_of, self.rows, rows)


def _grown(old: NDArray[np.int64], used: int, size: int) -> NDArray[np.int64]:
    new = np.zeros(size, np.int64)
    new[:used] = old[:used]
    return new
