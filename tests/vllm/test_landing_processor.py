"""The logits processor by itself, over steps as vLLM makes them: kept, thrown away, put off."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import llguidance.numpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.constraints.walking import grammar
from tests.vllm.conftest import TINY
from typedllm.engines.guide import Vocabulary
from typedllm.grammar.expression import expression

pytestmark = pytest.mark.slow
STORY = {"title": "str", "tags": "list[str]", "pages": "int(ge=1, le=999)"}
END = 1


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(TINY)


def processor_of(tokenizer: Any) -> Any:
    import torch

    from typedllm.engines.vllm_landing import LandingProcessor

    class Processor(LandingProcessor):
        def _tokenizer(self) -> Any:  # vLLM's own reads it from the same folder
            return tokenizer

    config = SimpleNamespace(
        model_config=None, structured_outputs_config=SimpleNamespace(reasoning_parser="")
    )
    return Processor(config, torch.device("cpu"), False)


def params_of(max_tokens: int, temperature: float, **options: Any) -> Any:
    from vllm import SamplingParams

    from typedllm.engines.vllm_options import landing_options

    extra = dict(landing_options(expression(grammar(STORY).root)))
    params = SamplingParams(
        temperature=temperature, max_tokens=max_tokens, seed=0, extra_args=extra, **options
    )
    params.update_from_generation_config({}, END)
    return params


def added(params: Any, output: list[int]) -> Any:
    from vllm.v1.sample.logits_processor import BatchUpdate

    return BatchUpdate(batch_size=1, removed=[], added=[(0, params, [5], output)], moved=[])


class Decoder:
    """Decodes one row, with noise in the place of a model."""

    def __init__(self, tokenizer: Any, budget: int, chance: Any) -> None:
        import torch

        self.torch = torch
        self.vocabulary = Vocabulary(tokenizer.backend_tokenizer, len(tokenizer), [END])
        self.matcher = self.vocabulary.guide(grammar(STORY)).matcher.deep_copy()
        self.chance = chance
        self.output: list[int] = []
        self.processor = processor_of(tokenizer)
        self.params = params_of(budget + 1, temperature=1.0)
        self.processor.update_state(added(self.params, self.output))

    def logits(self, *, masked: bool) -> Any:
        size = len(self.vocabulary.texts)
        logits = self.chance.standard_normal((1, size)).astype(np.float32) * 3
        if masked:
            mask = np.empty((1, -(-size // 32)), np.int32)
            llguidance.numpy.fill_next_token_bitmask(self.matcher, mask)
            bits = np.unpackbits(mask.view(np.uint8), axis=1, count=size, bitorder="little")
            logits[bits == 0] = -np.inf
        return self.torch.from_numpy(logits)

    def step(self, kind: str) -> None:
        if kind == "put off":  # vLLM forgets the row, and takes it up again with its output
            self.processor.update_state(added(self.params, self.output))
        logits = self.processor.apply(self.logits(masked=kind != "unmasked"))
        assert self.torch.isfinite(logits).any()
        if kind in ("kept", "put off"):
            token = int(logits[0].argmax())
            self.output.append(token)
            if token != END:
                assert self.matcher.consume_token(token), self.vocabulary.texts[token]


@settings(max_examples=40)
@given(
    st.integers(34, 90),
    st.integers(0, 1000),
    st.lists(
        st.sampled_from(["kept", "kept", "kept", "thrown away", "unmasked", "put off"]),
        min_size=600,
        max_size=600,
    ),
)
def test_every_answer_ends_in_its_budget_whatever_vllm_does_with_its_steps(
    tokenizer: Any, budget: int, seed: int, kinds: list[str]
):
    decoder = Decoder(tokenizer, budget, np.random.default_rng(seed))
    for kind in kinds:
        decoder.step(kind)
        if decoder.output and decoder.output[-1] == END:
            break
    *ids, end = decoder.output
    assert end == END
    assert len(ids) <= budget
    text = b"".join(decoder.vocabulary.texts[token] for token in ids).decode()
    assert list(json.loads(text)) == [*STORY]
    decoder.step("unmasked")  # vLLM looks at a row once more before it learns that it has ended


def test_top_k_and_min_p_count_near_the_end(tokenizer: Any):
    from typedllm.engines.vllm_landing import _Row

    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    row = _Row(params_of(40, 1.0, top_k=2), [], None)
    row.keep_likely(logits)
    assert np.isfinite(logits).tolist() == [True, True, False, False]
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    row = _Row(params_of(40, 1.0, min_p=0.25), [], None)
    row.keep_likely(logits)
    assert np.isfinite(logits).tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"typedllm_probe": 1}, "is here"),
        ({"typedllm_expression": "[]"}, "typedllm_reserve has to be a whole number"),
        ({"typedllm_expression": "{", "typedllm_reserve": 3}, "is no expression"),
        ({"typedllm_expression": '[["Nothing"]]', "typedllm_reserve": -1}, "typedllm_reserve"),
    ],
)
def test_what_it_could_not_follow_is_refused(extra: dict[str, Any], words: str):
    from vllm import SamplingParams

    from typedllm.engines.vllm_landing import LandingProcessor

    with pytest.raises(ValueError, match=words):
        LandingProcessor.validate_params(SamplingParams(extra_args=extra))
    LandingProcessor.validate_params(SamplingParams())
