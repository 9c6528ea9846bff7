"""The transformers engine: what it shares with none of the others."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import (
    ByT5Tokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from tests.engines.contract import COLOUR, ORDER, WORDS, ask, complete, error_of
from typedllm import LLM
from typedllm.engines.choose import Chooser, choose
from typedllm.engines.embedded import EmbeddedEngine
from typedllm.engines.transformers import (
    TransformersEngine,
    _choose,  # pyright: ignore[reportPrivateUsage]
    open_model,
)
from typedllm.errors import EngineError, UsageError
from typedllm.records import Completion, Sampling


@pytest.fixture
def llama(random_model: Path) -> Any:
    return LlamaForCausalLM.from_pretrained(random_model)


@pytest.fixture
def tokenizer(random_model: Path) -> Any:
    return PreTrainedTokenizerFast.from_pretrained(random_model)


def read(each: Completion) -> tuple[bytes, ...]:
    assert each.tokens is not None
    return tuple(token.text for token in each.tokens)


async def test_tokens_and_probabilities_are_the_embedded_engines(random_model: Path):
    requests = [
        ask(f"Number {number}", constraint, Sampling(max_tokens=45))
        for number in range(12)
        for constraint in (ORDER, COLOUR, WORDS, None)
    ]
    ours = await complete(open_model(str(random_model)), *requests)
    theirs = await complete(EmbeddedEngine(random_model), *requests)
    for one, other in zip(ours, theirs, strict=True):
        assert read(one) == read(other)
        assert one.finish_reason == other.finish_reason
        assert one.tokens and other.tokens
        for mine, its in zip(one.tokens, other.tokens, strict=True):
            assert mine.logprob == pytest.approx(its.logprob, abs=1e-3)


def test_a_model_of_ones_own_is_taken_as_it_is(llama: Any, tokenizer: Any):
    with LLM(TransformersEngine(model=llama, tokenizer=tokenizer)) as llm:
        result = llm.run("Hello", ["yes", "no"])
    assert result.unwrap() in ("yes", "no")
    assert not llama.training


async def test_padding_changes_nothing_for_absolute_positions(tokenizer: Any):
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=520,
        n_positions=128,
        n_embd=32,
        n_layer=2,
        n_head=2,
        initializer_range=0.5,
        bos_token_id=None,
        eos_token_id=None,
    )
    tokenizer.pad_token = None
    model = GPT2LMHeadModel(config)  # in training, with dropout, until the engine takes it
    engine = TransformersEngine(model=model, tokenizer=tokenizer)
    requests = [
        ask("a", WORDS),
        ask("much longer than the other one", WORDS),
        ask("b" * 30, COLOUR),
    ]
    together = await complete(engine, *requests)
    alone = [(await complete(engine, request))[0] for request in requests]
    assert [read(each) for each in together] == [read(each) for each in alone]
    full = await complete(engine, ask("a", None, Sampling(max_tokens=500)))
    assert full[0].usage.input_tokens + full[0].usage.output_tokens <= 128


async def test_the_models_own_defaults_do_not_count_and_nothing_is_printed(
    random_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    folder = shutil.copytree(random_model, tmp_path / "model")
    (folder / "generation_config.json").write_text(
        '{"do_sample": true, "temperature": 0.6, "top_p": 0.9, "top_k": 3, "max_length": 3,'
        ' "repetition_penalty": 1.8, "no_repeat_ngram_size": 1, "eos_token_id": [0, 5]}'
    )
    requests = [
        ask("Go", ORDER),
        ask("Far and wide", ORDER, Sampling(temperature=1.1, seed=3, max_tokens=40)),
        ask("to the end " * 50, ORDER, Sampling(max_tokens=600)),
    ]
    changed = await complete(open_model(str(folder)), *requests)
    plain = await complete(open_model(str(random_model)), *requests)
    assert [read(each) for each in changed] == [read(each) for each in plain]
    assert "".join(capfd.readouterr()) == ""


class Breaks(LlamaForCausalLM):
    """A model that cannot bear one token."""

    BAD = 77

    def forward(self, input_ids: Any = None, **options: Any) -> Any:
        if (input_ids == self.BAD).any():
            raise torch.OutOfMemoryError("no room")
        return super().forward(input_ids=input_ids, **options)


async def test_a_batch_that_breaks_takes_no_other_with_it(random_model: Path, tokenizer: Any):
    model: Any = Breaks.from_pretrained(random_model)
    engine = TransformersEngine(model=model, tokenizer=tokenizer)
    bad = tokenizer.decode([Breaks.BAD])
    assert tokenizer.encode(bad) == [Breaks.BAD]
    error = await error_of(engine, ask(bad, COLOUR))
    assert isinstance(error, EngineError)
    assert "no room" in str(error)
    assert "batch_size" in str(error)
    await complete(engine, ask("good", COLOUR))


async def test_a_row_that_nobody_awaits_ends_at_once(random_model: Path, tokenizer: Any):
    steps: list[int] = []

    class Counts(LlamaForCausalLM):
        def forward(self, *parts: Any, **options: Any) -> Any:
            steps.append(1)
            if len(steps) == 5:
                loop.call_soon_threadsafe(task.cancel)
            if len(steps) >= 5:
                cancelled.result(timeout=10)
            return super().forward(*parts, **options)

    model: Any = Counts.from_pretrained(random_model)
    engine = TransformersEngine(model=model, tokenizer=tokenizer)
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(engine.send(ask("x", None, Sampling(max_tokens=400))))
    cancelled = asyncio.run_coroutine_threadsafe(asyncio.wait([task]), loop)
    await asyncio.wait([task])
    await complete(engine, ask("y", COLOUR))  # comes after the first batch
    assert task.cancelled()
    assert len(steps) < 50


def test_a_model_that_is_not_there_says_what_to_change(random_model: Path, tmp_path: Path):
    with pytest.raises(UsageError, match=r"transformers:folder-or-id"):
        open_model("")
    with pytest.raises(UsageError, match=r"cannot load '/no/such/folder'.*\n.*folder of a causal"):
        open_model("/no/such/folder")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UsageError, match="cannot load"):
        open_model(str(tmp_path))
    broken = shutil.copytree(random_model, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"1234567890")
    with pytest.raises(UsageError, match="cannot load") as caught:
        open_model(str(broken))
    assert caught.value.__suppress_context__


def test_a_device_or_dtype_that_is_not_there_says_what_to_change(random_model: Path):
    with pytest.raises(UsageError, match="'float17' is no dtype"):
        open_model(str(random_model), dtype="float17")
    with pytest.raises(UsageError, match="on warp:9"):
        open_model(str(random_model), device="warp:9")


def test_a_dtype_is_taken(random_model: Path):
    llm = LLM(f"transformers:{random_model}", engine_args={"dtype": "bfloat16", "batch_size": 2})
    assert llm.batch(["a", "b", "c"], bool).ok == 3


def test_a_tokenizer_that_does_not_fit_is_refused(llama: Any, tokenizer: Any):
    with pytest.raises(UsageError, match="ByT5Tokenizer is a slow tokenizer"):
        TransformersEngine(model=llama, tokenizer=ByT5Tokenizer())
    llama.generation_config.eos_token_id = llama.config.eos_token_id = None
    tokenizer.eos_token = None
    with pytest.raises(UsageError, match=r"set model\.generation_config\.eos_token_id"):
        TransformersEngine(model=llama, tokenizer=tokenizer)


async def test_of_several_chat_templates_the_default_is_taken(llama: Any, tokenizer: Any):
    plain = TransformersEngine(model=llama, tokenizer=tokenizer)
    prompt = LLM(plain).run("Hello", bool).usage.input_tokens
    tokenizer.chat_template = {"tool_use": "{{ 1 / 0 }}", "default": tokenizer.chat_template}
    named = TransformersEngine(model=llama, tokenizer=tokenizer)
    assert LLM(named).run("Hello", bool).usage.input_tokens == prompt


def test_what_is_not_installed_is_named():
    code = """
import sys
sys.modules["outlines"] = sys.modules["outlines.backends"] = None
from typedllm import LLM, MissingDependency
try:
    LLM("transformers:x")
except MissingDependency as error:
    print(error)
"""
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert "outlines" in said
    assert "pip install 'typedllm[local]'" in said


SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([None, 0.0, 0.3, 1.0, 2.0]),
    top_p=st.sampled_from([None, 0.05, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 1000),
)


@given(st.lists(SAMPLINGS, min_size=1, max_size=6), st.integers(0, 2**32))
def test_it_chooses_as_the_embedded_engine(samplings: list[Sampling], seed: int):
    size = 64
    random = np.random.default_rng(seed)
    logits = (4 * random.standard_normal((len(samplings), size))).astype(np.float32)
    allowed = random.random(logits.shape) < random.random()
    allowed[:, random.integers(size)] = True
    masks = np.packbits(allowed, axis=1, bitorder="little").view(np.int32)
    masked = torch.from_numpy(np.where(allowed, logits, -np.inf))
    tokens, logprobs = _choose(masked, [Chooser(each) for each in samplings])
    expected = choose(logits, masks, [Chooser(each) for each in samplings])
    assert tokens == expected[0]
    assert logprobs == pytest.approx(expected[1], abs=1e-4)


async def test_a_vocabulary_with_a_word_mark_is_read(sentencepiece_tokenizer: Tokenizer):
    torch.manual_seed(2)
    config = GPT2Config(
        vocab_size=600,
        n_positions=64,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=None,
        eos_token_id=2,
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=sentencepiece_tokenizer, eos_token="</s>")
    engine = TransformersEngine(model=GPT2LMHeadModel(config), tokenizer=tokenizer)
    found = await complete(engine, *(ask(f"p{number}", WORDS) for number in range(4)))
    for each in found:
        assert len(each.text.split(" ")) == 4
        assert b"".join(read(each)).decode() == each.text
