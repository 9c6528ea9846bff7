"""vLLM in this process, with the packaged model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.engines.contract import GuidedContract, MakeEngine, ask, complete
from tests.engines.test_same_answer import PROMPTS, Judge, same, written
from tests.vllm.conftest import SMALL, TINY
from typedllm import LLM, Limits, PromptTooLong, Sampling, UsageError, explain
from typedllm.engines.embedded import EmbeddedEngine
from typedllm.records import Failure, Request, Segment

pytestmark = pytest.mark.slow
FIVE = Literal["card", "cash", "transfer", "fees", "account"]


class TestOffline(GuidedContract):
    lands_at = (25, 33)

    @pytest.fixture(scope="class")
    @classmethod
    def ready(cls) -> Any:
        import vllm

        from typedllm.engines.vllm_start import arguments

        return vllm.LLM(str(TINY), **arguments({"dtype": "float32", **SMALL}))

    @pytest.fixture
    async def make_engine(self, ready: Any) -> AsyncIterator[MakeEngine]:
        from typedllm.engines.vllm import VllmEngine

        made: list[VllmEngine] = []

        def make() -> VllmEngine:
            made.append(VllmEngine(ready))
            return made[-1]

        yield make
        for engine in made:
            await engine.close()

    @pytest.fixture
    def llm(self, make_engine: MakeEngine) -> Iterator[LLM]:
        with LLM(make_engine()) as llm:
            yield llm

    async def test_500_prompts_are_answered_as_by_the_embedded_engine(
        self, make_engine: MakeEngine
    ):
        import torch
        from transformers import LlamaForCausalLM

        judge = Judge(LlamaForCausalLM.from_pretrained(TINY, dtype=torch.float32))
        requests = written(PROMPTS)
        ours = await complete(make_engine(), *requests)
        theirs = await complete(EmbeddedEngine(TINY), *requests)
        pairs = zip(requests, ours, theirs, strict=True)
        assert sum(not same(judge, *each) for each in pairs) < PROMPTS / 50

    def test_a_distribution_is_that_of_the_other_local_engines(self, llm: LLM):
        text = "My card was swallowed by the machine, who pays for that?"
        found = llm.classify(text, FIVE).distribution()
        assert sum(found.values()) == pytest.approx(1)
        for model in (f"embedded:{TINY}", f"transformers:{TINY}"):
            with LLM(model) as other:
                assert other.classify(text, FIVE).distribution() == pytest.approx(found, abs=1e-2)

    def test_a_row_that_is_too_long_fails_alone(self, llm: LLM):
        texts = [f"Ada{n} is {n % 90} years old." for n in range(1000)]
        texts[500] = "word " * 3000
        results = llm.batch(texts, {"age": "int(ge=0, le=120)"}, sampling=Sampling(max_tokens=24))
        assert len(results) == 1000
        assert isinstance(results[500].error, PromptTooLong)
        assert sum(result.ok for result in results) == 999

    async def test_calls_batches_and_other_types_share_the_running_batch(self, llm: LLM):
        batch = llm.abatch([f"Row {n}" for n in range(60)], {"name": "str(max_length=20)"})
        single = [llm.arun(f"{n}?", type) for n, type in enumerate([int, bool, list[str], FIVE])]
        results, *others = await asyncio.gather(batch, *single)
        assert all(result.ok for result in [*results, *others])

    def test_fields_of_sampling_params_pass_through_and_others_are_named(self, llm: LLM):
        warm = Sampling(temperature=1.0, max_tokens=30, extra={"top_k": 1})
        one, again = (llm.run("Say something", str, sampling=warm) for _ in range(2))
        assert one.raw == again.raw  # of the one likeliest token
        error = llm.run("x", int, sampling=Sampling(extra={"beams": 3})).error
        assert isinstance(error, UsageError)
        assert "beams" in str(error)

    async def test_who_listens_is_not_told_what_a_stop_text_cuts_off(self, make_engine: MakeEngine):
        engine, long = make_engine(), Sampling(max_tokens=30)
        (free,) = await complete(engine, ask("Hello", None, long))
        pieces: list[str] = []
        # vLLM goes on behind the stop text, since it is to make more tokens
        stopped = replace(long, stop=(free.text[3:5],), extra={"min_tokens": 20})
        request = replace(ask("Hello", None, stopped), tell=pieces.append)
        (cut,) = await complete(engine, request)
        assert "".join(pieces) == cut.text == free.text[: free.text.index(free.text[3:5])]

    def test_what_vllm_refuses_fails_alone(self, llm: LLM):
        prompts = [f"{n}?" for n in range(10)]
        refused = llm.run("x", int, sampling=Sampling(temperature=3.0))
        assert isinstance(refused.error, UsageError)
        assert "temperature" in str(refused.error)
        assert all(result.ok for result in llm.batch(prompts, int))

    def test_what_is_typedllms_to_say_is_refused(self, llm: LLM):
        for name in ("n", "structured_outputs", "ignore_eos"):
            error = llm.run("x", int, sampling=Sampling(extra={name: 2})).error
            assert isinstance(error, UsageError)
            assert f"{name!r} is for typedllm to say" in str(error)

    def test_an_engine_has_its_vllm_for_itself(self, llm: LLM, ready: Any):
        from typedllm.engines.vllm import VllmEngine

        with pytest.raises(UsageError, match="another engine"):
            VllmEngine(ready)
        assert llm.run("How many?", int).ok

    async def test_an_empty_prompt_is_refused(self, make_engine: MakeEngine):
        reply = await make_engine().send(Request(prompt=(Segment(text=""),)))
        assert isinstance(reply, Failure)
        assert "empty" in str(reply.error)

    def test_landed_values_are_told(self, llm: LLM):
        texts = [f"Write a long story about {n} dragons" for n in range(20)]
        hot = Sampling(temperature=2.0, max_tokens=22, seed=1)
        results = llm.batch(texts, {"title": "str", "story": "str"}, sampling=hot)
        assert all(result.ok for result in results)
        assert all(result.usage.output_tokens <= 22 for result in results)
        landed = [result for result in results if result.finish_reason == "landing"]
        assert landed
        assert all("$.story" in result.clipped for result in landed)


def test_the_plan_says_how_an_answer_ends():
    assert explain({"name": "str"}, "vllm").ending == "landing"
    assert explain({"name": "str"}, "vllm-server", limits=Limits()).ending == "fitted"


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("vllm:", {}, "needs a model"),
        (f"vllm:{TINY}", {"tensor_paralel_size": 2}, "tensor_parallel_size"),
        (
            f"vllm:{TINY}",
            {"structured_outputs_config": {"backend": "xgrammar"}},
            "'guidance' alone",
        ),
        ("vllm:/no/such/model", {}, "cannot start '/no/such/model'"),
    ],
)
def test_what_cannot_start_is_told_with_what_to_change(
    model: str, options: dict[str, Any], words: str
):
    with pytest.raises(UsageError, match=words):
        LLM(model, engine_args=options)


def test_a_folder_without_a_model_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match="To change: give a model's folder"):
        LLM(f"vllm:{tmp_path}")
