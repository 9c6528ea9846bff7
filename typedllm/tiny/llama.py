"""A Llama forward pass in NumPy, for a ragged batch whose rows may share prefixes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from typedllm.errors import UsageError
from typedllm.tiny.attention import Layout
from typedllm.tiny.cache import Block, Prefix
from typedllm.tiny.weights import Floats, Shape, Tensors, read_shape, read_tensors

__all__ = ["Llama"]

_CHUNK = 512  # tokens of the feed-forward layer at a time, which keeps its middle in the cache


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer's matrices, [in, out], with the weights of the norm before them folded in."""

    attention_in: Floats  # queries (scaled), keys, values
    attention_out: Floats
    inner: Floats  # gate, up
    inner_out: Floats


class Llama:
    """A Llama model in memory; safe to use from one thread at a time.

    Attributes:
        shape: its sizes.
    """

    def __init__(self, shape: Shape, tensors: Tensors) -> None:
        """Arrange the weights.

        Args:
            shape: the sizes.
            tensors: by the names that Hugging Face gives them.

        Raises:
            UsageError: when a tensor is missing or its shape does not fit.
        """
        self.shape = shape
        take = _Taker(tensors)
        width, heads = shape.width, shape.heads * shape.head_width
        kv_heads, inner = shape.kv_heads * shape.head_width, shape.inner_width
        self._embedding = take("model.embed_tokens.weight", shape.vocabulary, width)
        output = self._embedding
        if not shape.tied:
            output = take("lm_head.weight", shape.vocabulary, width)
        self._output = _folded([output], take("model.norm.weight", width))
        self._layers: list[_Layer] = []
        for number in range(shape.layers):
            name = f"model.layers.{number}."
            queries = take(name + "self_attn.q_proj.weight", heads, width)
            keys = take(name + "self_attn.k_proj.weight", kv_heads, width)
            values = take(name + "self_attn.v_proj.weight", kv_heads, width)
            gate = take(name + "mlp.gate_proj.weight", inner, width)
            up = take(name + "mlp.up_proj.weight", inner, width)
            queries = _paired(queries, shape.head_width) * np.float32(shape.head_width**-0.5)
            keys = _paired(keys, shape.head_width)
            self._layers.append(
                _Layer(
                    _folded([queries, keys, values], take(name + "input_layernorm.weight", width)),
                    _folded([take(name + "self_attn.o_proj.weight", width, heads)]),
                    _folded([gate, up], take(name + "post_attention_layernorm.weight", width)),
                    _folded([take(name + "mlp.down_proj.weight", width, inner)]),
                )
            )
        self._rotations = _rotations(shape)

    @classmethod
    def load(cls, folder: Path) -> Llama:
        """Load a model.

        Args:
            folder: holds `config.json` and `model.safetensors`.

        Raises:
            UsageError: when a file is missing or is not of a plain Llama model.
        """
        shape = read_shape(folder)
        tensors = read_tensors(folder)
        try:
            return cls(shape, tensors)
        except UsageError as error:
            raise UsageError(f"{folder / 'model.safetensors'}: {error}") from None

    def block(self) -> Block:
        """Make an empty block for a batch of this model's rows."""
        return Block(self.shape)

    def prefix(self, tokens: Sequence[int]) -> Prefix:
        """Compute the keys and values of a prefix, once for all rows that will share it.

        Args:
            tokens: its token ids.
        """
        block = self.block()
        block.add(None, 0)
        for start in range(0, len(tokens), _CHUNK):
            chunk = np.asarray(tokens[start : start + _CHUNK])
            self.forward(block, chunk, np.array([len(chunk)]))
        count = len(tokens)
        keys = block.keys[:, 0, :, :, :count].swapaxes(-1, -2)
        values = block.values[:, 0, :, :count]
        return Prefix(list(tokens), np.ascontiguousarray(keys), np.ascontiguousarray(values))

    def forward(
        self,
        block: Block,
        tokens: NDArray[np.int64],
        counts: NDArray[np.int64],
        wanted: NDArray[np.int64] | None = None,
    ) -> Floats:
        """Feed every row of a block its next tokens.

        Args:
            block: the rows; their keys and values are added to it.
            tokens: the new token ids of all rows, one row after the other.
            counts: [rows], how many of them each row gets, at least one.
            wanted: which of the tokens to give logits for, ascending; None for the last of each
                row.

        Returns:
            Logits after each of the wanted tokens, [wanted, vocabulary].
        """
        shape = self.shape
        lengths = block.lengths[: block.rows]
        row = np.repeat(np.arange(block.rows), counts)
        last = np.cumsum(counts) - 1
        wanted = last if wanted is None else wanted
        position = np.arange(len(tokens)) + np.repeat(lengths - (last + 1 - counts), counts)
        block.reserve(int(position.max()) + 1)
        block.lengths[: block.rows] += counts
        layout = Layout(block, row, position, counts)
        rotations = self._rotations[position + block.shared[row]]
        state = self._embedding[tokens]
        rotated = shape.heads + shape.kv_heads
        for number, layer in enumerate(self._layers):
            mixed = _normed(state, shape.epsilon) @ layer.attention_in
            count = len(tokens)
            heads = mixed.reshape(count, -1, shape.head_width)
            pairs = heads[:, :rotated].view(np.complex64)
            pairs *= rotations
            queries = heads[:, : shape.heads]
            block.keys[number, row, :, :, position] = heads[:, shape.heads : rotated]
            block.values[number, row, :, position] = heads[:, rotated:]
            if number == shape.layers - 1 and count > len(wanted):
                # beyond the last layer's keys and values only what is wanted matters
                queries, state, count = queries[wanted], state[wanted], len(wanted)
                per_row = np.bincount(row[wanted], minlength=block.rows)
                layout = Layout(block, row[wanted], position[wanted], per_row)
            queries = queries.reshape(count, shape.kv_heads, -1, shape.head_width)
            attended = layout.attend(number, queries)
            state += attended.reshape(count, -1) @ layer.attention_out
            self._feed_forward(layer, state)
        return _normed(state, shape.epsilon) @ self._output

    def _feed_forward(self, layer: _Layer, state: Floats) -> None:
        inner = self.shape.inner_width
        for start in range(0, len(state), _CHUNK):
            part = state[start : start + _CHUNK]
            both = _normed(part, self.shape.epsilon) @ layer.inner
            gate, up = both[:, :inner], both[:, inner:]
            # silu(gate) * up; exp overflows to infinity where silu is 0, which is right
            with np.errstate(over="ignore"):
                sigmoid = np.exp(-gate)
            sigmoid += 1
            gate /= sigmoid
            gate *= up
            part += gate @ layer.inner_out


class _Taker:
    """Takes tensors by name and checks their shapes."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors

    def __call__(self, name: str, *shape: int) -> Floats:
        tensor = self._tensors.get(name)
        if tensor is None:
            raise UsageError(f"no tensor {name}; save the whole LlamaForCausalLM")
        if tensor.shape != shape:
            raise UsageError(
                f"{name} is {tensor.shape}, and config.json asks for {shape}; "
                "copy config.json and weights of the same model"
            )
        return tensor


def _folded(matrices: Sequence[Floats], norm: Floats | None = None) -> Floats:
    """Put matrices [out, in] side by side as [in, out], scaled by the norm before them."""
    joined = np.concatenate(matrices)
    if norm is not None:
        joined = joined * norm
    return np.ascontiguousarray(joined.T)


def _normed(state: Floats, epsilon: float) -> Floats:
    squares = np.einsum("nw,nw->n", state, state)
    scale = 1 / np.sqrt(squares / np.float32(state.shape[1]) + np.float32(epsilon))
    return state * scale[:, None]


def _paired(weights: Floats, head_width: int) -> Floats:
    """Bring the two numbers that are rotated together side by side, as a complex number has them.

    Queries and keys are reordered alike, so their products stay the same.

    Args:
        weights: [heads * head_width, width], where Llama pairs the halves of each head.
        head_width: of one head.
    """
    heads = weights.reshape(-1, 2, head_width // 2, weights.shape[1])
    return heads.swapaxes(1, 2).reshape(weights.shape)


def _rotations(shape: Shape) -> NDArray[np.complex64]:
    """Rotary position embedding: [context, 1, head_width / 2] complex numbers of length 1.

    Source: Su et al. 2021, https://arxiv.org/abs/2104.09864.
    """
    exponents = np.arange(0, shape.head_width, 2) / shape.head_width
    angles = np.outer(np.arange(shape.context), shape.rope_base**-exponents)[:, None]
    return np.exp(1j * angles).astype(np.complex64)
