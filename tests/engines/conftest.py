"""A random model for the tests of local engines."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

pytest.register_assert_rewrite("tests.engines.contract")

CHAT = (
    "{% for message in messages %}<|end|>{{ message['role'] }}: {{ message['content'] }}\n"
    "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory, bpe_tokenizer: Tokenizer) -> Path:
    """The folder of a random model whose choices differ from prompt to prompt.

    It has a context of 600, and more logits than its tokenizer has entries.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("random_model")
    end = bpe_tokenizer.token_to_id("<|end|>")
    config = LlamaConfig(
        vocab_size=520,
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=600,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=bpe_tokenizer, eos_token="<|end|>", chat_template=CHAT
    ).save_pretrained(folder)
    return folder
