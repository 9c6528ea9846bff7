"""Attention of ragged rows over their own tokens and over prefixes that they share.

The two parts are computed apart, each with its own softmax, and merged by their greatest scores
and sums (the merge of Flash-Decoding, https://crfm.stanford.edu/2023/10/12/flashdecoding.html), so
that a prefix costs one matrix product for all its rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from typedllm.tiny.cache import Block, Prefix
from typedllm.tiny.weights import Floats

__all__ = ["Layout"]

_NARROW = 8  # rows with so few new tokens are padded to one width, apart from longer ones

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbouring rows whose queries are padded to one width."""

    rows: slice
    tokens: slice
    width: int
    keys: int  # tokens that the longest row has
    row: Indices  # of each query, within the run
    place: Indices  # of each query, within its row
    bias: Floats | None  # [rows, 1, width, 1, keys]: minus infinity where a query must not look


@dataclass(frozen=True, slots=True)
class _Group:
    """Queries whose rows share a prefix."""

    prefix: Prefix
    tokens: Indices | slice
    used: int
    bias: Floats | None  # [used, queries, 1]: minus infinity beyond what a row uses


class Layout:
    """Which keys each query of a step sees; made once and used by every layer."""

    def __init__(self, block: Block, row: Indices, position: Indices, counts: Indices) -> None:
        """Lay out the queries of a step.

        Args:
            block: the rows' keys and values.
            row: [queries], the row of each, ascending.
            position: [queries], the place of each among its row's own tokens.
            counts: [rows], number of queries of each row.
        """
        self._block = block
        self._runs = _runs(row, position, counts)
        self._groups = _groups(block, row)

    def attend(self, layer: int, queries: Floats) -> Floats:
        """Mix the values that each query sees.

        Args:
            layer: number of the layer.
            queries: [queries, kv_heads, heads of each, head_width], already scaled.

        Returns:
            The same shape.
        """
        parts = [self._own(layer, run, queries[run.tokens]) for run in self._runs]
        mixed, total, top = parts[0] if len(parts) == 1 else _joined(parts)
        for group in self._groups:
            self._merge_prefix(layer, group, queries, mixed, total, top)
        mixed /= total
        return mixed

    def _own(self, layer: int, run: _Run, queries: Floats) -> tuple[Floats, Floats, Floats]:
        """Attend to the rows' own tokens: the mix not yet divided, its sum, its greatest score."""
        _, kv_heads, per_head, head_width = queries.shape
        rows = run.rows.stop - run.rows.start
        keys = self._block.keys[layer, run.rows, :, :, : run.keys]
        values = self._block.values[layer, run.rows, :, : run.keys]
        padded = queries
        if run.width > 1:
            padded = np.zeros((rows, kv_heads, run.width, per_head, head_width), np.float32)
            padded[run.row, :, run.place] = queries
            padded = padded.reshape(rows, kv_heads, run.width * per_head, head_width)
        scores = padded @ keys
        if run.bias is not None:
            by_query = scores.reshape(rows, kv_heads, run.width, per_head, run.keys)
            by_query += run.bias
        top = scores.max(axis=-1, keepdims=True)
        scores -= top
        np.exp(scores, out=scores)
        # a product with ones sums many short rows faster than a reduction
        flat = scores.reshape(-1, run.keys) @ np.ones(run.keys, np.float32)
        total = flat.reshape(top.shape)
        mixed = scores @ values
        if run.width == 1:
            return mixed, total, top
        by_query_shape = (rows, kv_heads, run.width, per_head, -1)
        mixed, total, top = (
            part.reshape(by_query_shape)[run.row, :, run.place] for part in (mixed, total, top)
        )
        return mixed, total, top

    def _merge_prefix(
        self,
        layer: int,
        group: _Group,
        queries: Floats,
        mixed: Floats,
        total: Floats,
        top: Floats,
    ) -> None:
        """Attend to a shared prefix, and merge that into the rows' own part."""
        chosen = queries[group.tokens]
        count, kv_heads, per_head, head_width = chosen.shape
        by_head = chosen.transpose(1, 3, 0, 2).reshape(kv_heads, head_width, count * per_head)
        # scores lie with the keys first: reductions over them then run along whole lines
        scores = group.prefix.keys[layer, :, : group.used] @ by_head
        if group.bias is not None:
            by_query = scores.reshape(kv_heads, group.used, count, per_head)
            by_query += group.bias
        greatest = scores.max(axis=1, keepdims=True)
        scores -= greatest
        np.exp(scores, out=scores)
        sums = scores.sum(axis=1)
        values = scores.swapaxes(1, 2) @ group.prefix.values[layer, :, : group.used]

        def as_queries(part: Floats) -> Floats:
            return part.reshape(kv_heads, count, per_head, -1).transpose(1, 0, 2, 3)

        own_top, prefix_top = top[group.tokens], as_queries(greatest[:, 0])
        both_top = np.maximum(own_top, prefix_top)
        own_scale = np.exp(own_top - both_top)
        prefix_scale = np.exp(prefix_top - both_top)
        mixed[group.tokens] = mixed[group.tokens] * own_scale + as_queries(values) * prefix_scale
        total[group.tokens] = total[group.tokens] * own_scale + as_queries(sums) * prefix_scale


def _joined(parts: list[tuple[Floats, Floats, Floats]]) -> tuple[Floats, Floats, Floats]:
    mixed, totals, tops = zip(*parts, strict=True)
    return np.concatenate(mixed), np.concatenate(totals), np.concatenate(tops)


def _runs(row: Indices, position: Indices, counts: Indices) -> list[_Run]:
    wide = counts > _NARROW
    borders = [0, *(np.flatnonzero(wide[1:] != wide[:-1]) + 1).tolist(), len(counts)]
    ends = np.concatenate([[0], np.cumsum(counts)])
    return [
        _run(slice(start, stop), slice(int(ends[start]), int(ends[stop])), row, position, counts)
        for start, stop in pairwise(borders)
    ]


def _run(rows: slice, tokens: slice, row: Indices, position: Indices, counts: Indices) -> _Run:
    counts = counts[rows]
    width = int(counts.max())
    row = row[tokens] - rows.start
    position = position[tokens]
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    keys = int(position.max()) + 1
    padded = np.zeros((len(counts), width), np.int64)
    padded[row, place] = position
    hidden = np.arange(keys) > padded[:, :, None]
    bias = None
    if hidden.any():
        bias = np.where(hidden, np.float32(-np.inf), np.float32(0))[:, None, :, None]
    return _Run(rows=rows, tokens=tokens, width=width, keys=keys, row=row, place=place, bias=bias)


def _groups(block: Block, row: Indices) -> list[_Group]:
    prefix_of = block.prefix_of[: block.rows]
    keys: list[int] = np.unique(prefix_of).tolist()
    return [_group(block, prefix_of == key, block.prefixes[key], row) for key in keys if key]


def _group(block: Block, members: NDArray[np.bool_], prefix: Prefix, row: Indices) -> _Group:
    tokens = slice(None) if members.all() else np.flatnonzero(members[row])
    shared = block.shared[row[tokens]]
    used = int(shared.max())
    hidden = np.arange(used)[:, None] >= shared
    bias = None
    if hidden.any():
        bias = np.where(hidden, np.float32(-np.inf), np.float32(0))[:, :, None]
    return _Group(prefix=prefix, tokens=tokens, used=used, bias=bias)
