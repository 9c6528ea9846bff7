"""Reads a Llama-architecture folder as Hugging Face writes it, without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import safetensors
from numpy.typing import NDArray

from typedllm.errors import UsageError

__all__ = ["Floats", "Shape", "Tensors", "read_shape", "read_tensors"]

Floats: TypeAlias = NDArray[np.float32]
Tensors: TypeAlias = Mapping[str, Floats]

_Entries: TypeAlias = list[tuple[str, dict[str, Any]]]

_ELEMENT_TYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The sizes of a Llama model.

    Attributes:
        vocabulary: number of token ids.
        width: of the hidden state.
        layers: number of layers.
        heads: number of query heads.
        kv_heads: number of key-value heads, each shared by `heads // kv_heads` query heads.
        head_width: of one head.
        inner_width: of the feed-forward layer.
        epsilon: added to the mean square in the norms.
        rope_base: base of the rotary position frequencies.
        context: most tokens of prompt and answer together.
        tied: whether the output matrix is the embedding.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    inner_width: int
    epsilon: float
    rope_base: float
    context: int
    tied: bool


def read_shape(folder: Path) -> Shape:
    """Read `config.json`.

    Args:
        folder: the model's folder.

    Raises:
        UsageError: when it is missing, or describes something else than a plain Llama.
    """
    path = folder / "config.json"
    config = _read_config(path)
    if config.get("model_type") != "llama":
        raise UsageError(
            f"{path}: model_type is {config.get('model_type')!r}, and the embedded engine runs "
            "'llama' only; use transformers:FOLDER for other architectures"
        )
    _check_plain(path, config)
    # transformers 5 writes rope_parameters, earlier versions rope_theta beside rope_scaling
    rope: dict[str, Any] = config.get("rope_parameters") or {}
    try:
        heads = config["num_attention_heads"]
        return Shape(
            vocabulary=config["vocab_size"],
            width=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_width=config.get("head_dim") or config["hidden_size"] // heads,
            inner_width=config["intermediate_size"],
            epsilon=config.get("rms_norm_eps", 1e-6),
            rope_base=rope.get("rope_theta") or config.get("rope_theta") or 10_000.0,
            context=config.get("max_position_embeddings", 2048),
            tied=config.get("tie_word_embeddings", False),
        )
    except KeyError as error:
        raise UsageError(f"{path}: {error} is missing; copy the model's own config.json") from None


def read_tensors(folder: Path) -> Tensors:
    """Read `model.safetensors` as float32, from float32, float16 or bfloat16.

    Args:
        folder: the model's folder.

    Raises:
        UsageError: when it is missing, broken, or of another element type.
    """
    path = folder / "model.safetensors"
    try:
        entries = cast(_Entries, safetensors.deserialize(path.read_bytes()))  # pyright: ignore[reportUnknownMemberType]
    except FileNotFoundError:
        raise UsageError(
            f"{path} does not exist; save the model as one file with "
            "model.save_pretrained(folder, max_shard_size='100GB')"
        ) from None
    except safetensors.SafetensorError as error:
        raise UsageError(f"{path} is not a safetensors file ({error}); copy it again") from None
    return {name: _as_float32(path, name, entry) for name, entry in entries}


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"{path} does not exist; give the folder of a Llama model in Hugging Face's format"
        ) from None
    except ValueError as error:
        raise UsageError(f"{path} is not JSON ({error}); copy it again") from None
    if not isinstance(config, dict):
        raise UsageError(f"{path} is not a JSON object; copy the model's own config.json")
    return cast(dict[str, Any], config)


def _check_plain(path: Path, config: Mapping[str, Any]) -> None:
    rope: dict[str, Any] = config.get("rope_parameters") or config.get("rope_scaling") or {}
    found: dict[str, object] = {
        "rope type": rope.get("rope_type") or rope.get("type") or "default",
        "partial_rotary_factor": rope.get("partial_rotary_factor") or 1.0,
        "hidden_act": config.get("hidden_act", "silu"),
        "attention_bias": config.get("attention_bias", False),
        "mlp_bias": config.get("mlp_bias", False),
    }
    plain = {
        "rope type": "default",
        "partial_rotary_factor": 1.0,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
    }
    for name, value in found.items():
        if value != plain[name]:
            raise UsageError(
                f"{path}: {name} is {value!r}, and the embedded engine knows {plain[name]!r} only; "
                "use transformers:FOLDER for this model"
            )


def _as_float32(path: Path, name: str, entry: Mapping[str, Any]) -> Floats:
    element_type = _ELEMENT_TYPES.get(entry["dtype"])
    if element_type is None:
        raise UsageError(
            f"{path}: {name} is {entry['dtype']}, not F32, F16 or BF16; save the model unquantized"
        )
    values = np.frombuffer(entry["data"], dtype=element_type).reshape(entry["shape"])
    if entry["dtype"] == "BF16":
        # bfloat16 is the upper half of a float32
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32)
