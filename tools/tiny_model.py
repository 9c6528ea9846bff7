"""The tiny model's tokenizer, shape and files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from tiny_data import Sample
from typedllm.templating.finding import find

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

__all__ = ["CONFIG", "END", "PAD", "export", "prompt_text", "train_tokenizer"]

SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
PAD, END = 0, 1
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% if message.role == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CONFIG: dict[str, Any] = {
    "vocab_size": 1024,
    "hidden_size": 192,
    "intermediate_size": 640,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 1024,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "attention_bias": False,
    "mlp_bias": False,
    "pad_token_id": PAD,
    "bos_token_id": None,
    "eos_token_id": END,
}

# The words of every typed prompt and the marks of an outline, none of which compact JSON holds; a
# digit; a word; a mark with the space behind it; any other character, a space too. So a name is
# cut in the same way in the text and between the quotes of the answer, which makes it easy to
# copy, and the punctuation of JSON does not share a token with a value.
_PIECES = (
    r'Answer with JSON only: |": |, "|" \| "| \| "| \| '
    r"|\p{N}|\p{Lu}?\p{Ll}+|[,:;.!?] ?|[\s\S]"
)


def prompt_text(sample: Sample) -> str:
    """The chat up to the place where the answer starts, with its special tokens."""
    system = f"<|system|>{sample.system}" if sample.system else ""
    return f"{system}<|user|>{sample.user}<|assistant|>"


def train_tokenizer(samples: Iterable[Sample]) -> Tokenizer:
    """Train a byte-level BPE tokenizer on some samples."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=CONFIG["vocab_size"],
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (text for s in samples for text in (s.system, s.user, s.answer))
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def prompt_hashes() -> dict[str, str]:
    """The words that the model is trained with: of each template its SHA-256."""
    texts = {"instructions/typed.j2": find("typed", "instructions").text, "chat": CHAT_TEMPLATE}
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def export(model: LlamaForCausalLM, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the model's folder in the layout of transformers, weights in float16.

    Each file is replaced at once, so that a reader never sees half of one. A temperature that was
    fitted for other weights goes.
    """
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "calibration.json").unlink(missing_ok=True)
    tensors = {
        name: tensor.detach().half().contiguous().cpu()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "dtype": "float16",
        **CONFIG,
    }
    eos, pad = SPECIAL[END], SPECIAL[PAD]
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": eos,
        "pad_token": pad,
        "additional_special_tokens": list(SPECIAL[2:]),
        "model_max_length": CONFIG["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    generation = {"eos_token_id": END, "pad_token_id": PAD, "do_sample": False}
    files = {
        "model.safetensors": save(tensors, metadata={"format": "pt"}),
        "tokenizer.json": tokenizer.to_str(pretty=True).encode(),
        "config.json": _json(config),
        "tokenizer_config.json": _json(tokenizer_config),
        "generation_config.json": _json(generation),
        "trained_on.json": _json(prompt_hashes()),
    }
    for name, content in files.items():
        waiting = folder / f"{name}.new"
        waiting.write_bytes(content)
        waiting.replace(folder / name)


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
