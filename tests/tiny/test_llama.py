"""The NumPy forward pass against transformers' own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from typedllm.errors import UsageError
from typedllm.tiny.cache import Block
from typedllm.tiny.llama import Llama
from typedllm.tiny.weights import Floats, read_shape, read_tensors

VOCABULARY = 97
CLOSE = 1e-3  # greatest difference of log-probabilities

SHAPES = {
    "grouped": {"num_attention_heads": 6, "num_key_value_heads": 2, "tie_word_embeddings": True},
    "untied": {"num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": False},
    "rope": {
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0},
    },
}


def save_model(folder: Path, dtype: torch.dtype = torch.float32, **options: Any) -> None:
    """Save a random model whose attention is far from uniform."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=3,
        max_position_embeddings=256,
        initializer_range=0.15,
        **options,
    )
    model: Any = LlamaForCausalLM(config)
    model.to(dtype).save_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A saved model of each shape."""
    root = tmp_path_factory.mktemp("llama")
    for name, options in SHAPES.items():
        save_model(root / name, **options)
    return {name: root / name for name in SHAPES}


def expected(folder: Path, tokens: list[int]) -> Floats:
    """Log-probabilities after the last token, by transformers."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0, -1]
    return torch.log_softmax(logits, -1).numpy()


def log_softmax(logits: Floats) -> Floats:
    top = logits.max(-1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))


def feed(model: Llama, block: Block, new: list[list[int]]) -> Floats:
    tokens = np.array([token for row in new for token in row])
    return log_softmax(model.forward(block, tokens, np.array([len(row) for row in new])))


def random_tokens(seed: int, count: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, VOCABULARY, count).tolist()


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("shared", [0, 20])
def test_ragged_rows_agree_with_transformers(
    folders: dict[str, Path], name: str, shared: int
) -> None:
    model = Llama.load(folders[name])
    common = random_tokens(1, 20)
    prefix = model.prefix(common)
    block = model.block()
    # the third row uses only a part of the prefix, the fourth none of it
    used = [shared, shared, shared // 2, 0]
    for count in used:
        block.add(prefix if count else None, count)
    rows = [common[:count] for count in used]
    for step, counts in enumerate([[40, 3, 12, 1], [1, 1, 1, 1], [5, 1, 2, 1], [1, 70, 1, 9]]):
        new = [random_tokens(10 * step + row, count) for row, count in enumerate(counts)]
        found = feed(model, block, new)
        rows = [old + added for old, added in zip(rows, new, strict=True)]
        for row, tokens in enumerate(rows):
            assert np.abs(found[row] - expected(folders[name], tokens)).max() < CLOSE


@settings(max_examples=20)
@given(
    chunks=st.lists(st.lists(st.integers(1, 12), min_size=3, max_size=3), min_size=1, max_size=4),
    shared=st.lists(st.integers(0, 12), min_size=3, max_size=3),
)
def test_neither_chunks_nor_company_nor_sharing_change_a_row(
    folders: dict[str, Path], chunks: list[list[int]], shared: list[int]
) -> None:
    model = Llama.load(folders["grouped"])
    common = random_tokens(1, 12)
    prefix = model.prefix(common)
    block = model.block()
    for count in shared:
        block.add(prefix if count else None, count)
    rows = [common[:count] for count in shared]
    found = np.zeros((3, VOCABULARY), np.float32)
    for step, counts in enumerate(chunks):
        new = [random_tokens(10 * step + row, count) for row, count in enumerate(counts)]
        found = feed(model, block, new)
        rows = [old + added for old, added in zip(rows, new, strict=True)]
    for row, tokens in enumerate(rows):
        alone = model.block()
        alone.add(None, 0)
        assert np.abs(found[row] - feed(model, alone, [tokens])[0]).max() < CLOSE


def test_rows_leave_and_join(folders: dict[str, Path]) -> None:
    model = Llama.load(folders["grouped"])
    prefix = model.prefix(random_tokens(1, 20))
    block = model.block()
    rows = [random_tokens(1, 20), [], random_tokens(1, 17)]
    for row in rows:
        block.add(prefix if row else None, len(row))
    new = [random_tokens(row, 9 + row) for row in range(3)]
    feed(model, block, new)
    rows = [old + added for old, added in zip(rows, new, strict=True)]
    block.remove(0)
    rows = [rows[2], rows[1]]
    for count in range(6):  # more rows than the block first had room for
        block.add(None, 0)
        rows.append(random_tokens(50 + count, 4))
    new = [[3], [4], *rows[2:]]
    found = feed(model, block, new)
    rows = [rows[0] + [3], rows[1] + [4], *rows[2:]]
    for row, tokens in enumerate(rows):
        assert np.abs(found[row] - expected(folders["grouped"], tokens)).max() < CLOSE


def test_a_prefix_longer_than_a_chunk(tmp_path: Path) -> None:
    save_model(tmp_path, num_attention_heads=4)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 700}))
    model = Llama.load(tmp_path)
    tokens = random_tokens(2, 600)
    block = model.block()
    block.add(model.prefix(tokens[:599]), 599)
    found = feed(model, block, [tokens[599:]])
    assert np.abs(found[0] - expected(tmp_path, tokens)).max() < CLOSE


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files(tmp_path: Path, dtype: torch.dtype) -> None:
    save_model(tmp_path, dtype, num_attention_heads=4)
    model = Llama.load(tmp_path)
    block = model.block()
    block.add(None, 0)
    tokens = random_tokens(3, 15)
    assert np.abs(feed(model, block, [tokens])[0] - expected(tmp_path, tokens)).max() < CLOSE


def test_rope_theta_as_older_versions_write_it(folders: dict[str, Path], tmp_path: Path) -> None:
    config = json.loads((folders["rope"] / "config.json").read_text())
    rope = config.pop("rope_parameters")
    config |= {"rope_theta": rope["rope_theta"], "rope_scaling": None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert read_shape(tmp_path) == read_shape(folders["rope"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2'"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope type is 'linear'"),
        ({"rope_parameters": {"rope_type": "llama3"}}, "rope type is 'llama3'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"vocab_size": None, "drop": "vocab_size"}, "'vocab_size' is missing"),
    ],
)
def test_other_models_are_refused(
    folders: dict[str, Path], tmp_path: Path, change: dict[str, object], words: str
) -> None:
    config = json.loads((folders["untied"] / "config.json").read_text()) | change
    if "drop" in config:
        del config[config.pop("drop")]
    if "rope_scaling" in change:
        config.pop("rope_parameters", None)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=words) as caught:
        read_shape(tmp_path)
    assert str(tmp_path / "config.json") in str(caught.value)


def test_missing_and_broken_files_are_named(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere/config\.json does not exist"):
        Llama.load(tmp_path / "nowhere")
    shutil.copy(folders["untied"] / "config.json", tmp_path)
    with pytest.raises(UsageError, match=r"model\.safetensors does not exist"):
        Llama.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(UsageError, match=r"model\.safetensors is not a safetensors file"):
        Llama.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UsageError, match=r"config\.json is not JSON"):
        Llama.load(tmp_path)


def test_missing_and_misshapen_tensors_are_named(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copy(folders["untied"] / "config.json", tmp_path)
    tensors = load_file(folders["untied"] / "model.safetensors")
    norm = tensors.pop("model.norm.weight")
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match=r"model\.safetensors: no tensor model\.norm\.weight"):
        Llama.load(tmp_path)
    save_file(tensors | {"model.norm.weight": norm[:-1]}, tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match=r"model\.norm\.weight is \(47,\)"):
        Llama.load(tmp_path)
    save_file({"counts": np.ones(3, np.int64)}, tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match="counts is I64"):
        read_tensors(tmp_path)
