"""The same model gives the same answer on the embedded and on the transformers engine."""

from __future__ import annotations

import random
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel, Field

import typedllm
from tests.engines.contract import complete
from typedllm import LLM
from typedllm.constraints.compile import compile_spec
from typedllm.engines.embedded import EmbeddedEngine
from typedllm.engines.encode import PromptEncoder
from typedllm.engines.guide import Vocabulary
from typedllm.engines.table import traits_of
from typedllm.engines.transformers import open_model
from typedllm.prompts.prompt import Wording, conversation
from typedllm.records import Completion, Request, Sampling
from typedllm.spec.spec import spec_of

pytestmark = pytest.mark.slow
TINY = Path(typedllm.__file__).parent / "tiny" / "model"
PROMPTS = 500
CLOSE = 1e-3

NAMES = ["Ada", "Grace", "Søren", "Wei", "Fatima", "José", "Olga", "Kwame", "Anna-Lena", "Raj"]
CITIES = ["Rome", "Lagos", "Lima", "Kyoto", "Oslo", "Quito", "Turin", "Malmö"]
TEMPLATES = [
    "Hi, I am {name} from {city} and I am {number} years old.",
    "{name} ordered {number} lamps to {city}; none of them arrived. Where are they?",
    "The meeting with {name} is in {city}, room {number}, and nobody is happy about it!",
    "Charge {number} euros to {name}, please. {city} was lovely.",
]
TYPES: list[Any] = [
    {"name": "str(max_length=30)", "city": "str(max_length=30)", "number": "int"},
    {"topic": ["billing", "delivery", "other"], "urgent": "bool", "days": "int | None"},
    {"people": "list[str]", "score": "float(ge=0, le=1)"},
    ["positive", "negative", "neutral"],
]


def written(count: int) -> list[Request]:
    """Prompts from a few words, each with one of the output types."""
    choose = random.Random(0)
    requests: list[Request] = []
    for number in range(count):
        text = choose.choice(TEMPLATES).format(
            name=choose.choice(NAMES), city=choose.choice(CITIES), number=choose.randrange(1000)
        )
        spec = spec_of(TYPES[number % len(TYPES)])
        requests.append(
            Request(
                prompt=conversation(text, spec, Wording()),
                constraint=compile_spec(spec, traits_of("embedded")).constraint,
                sampling=Sampling(max_tokens=48),
            )
        )
    return requests


class Judge:
    """Tells how far apart the model holds two tokens after the same beginning."""

    def __init__(self, model: Any) -> None:
        self.encoder = PromptEncoder.load(TINY)
        end = model.config.eos_token_id
        texts = Vocabulary(self.encoder.tokenizer, model.config.vocab_size, [end]).texts
        self.ids = {text: token for token, text in enumerate(texts) if text}
        self.ids[b""] = end
        self.model = model

    def gap(self, request: Request, begun: list[bytes], one: bytes, other: bytes) -> float:
        ids = self.encoder.encode(request.prompt) + [self.ids[text] for text in begun]
        with torch.inference_mode():
            logits = self.model(torch.tensor([ids])).logits[0, -1]
        return abs(float(logits[self.ids[one]] - logits[self.ids[other]]))


async def test_500_prompts_have_the_same_answer_on_both_engines():
    from transformers import LlamaForCausalLM

    judge = Judge(LlamaForCausalLM.from_pretrained(TINY, dtype=torch.float32))
    requests = written(PROMPTS)
    ours = await complete(open_model(str(TINY), dtype="float32"), *requests)
    theirs = await complete(EmbeddedEngine(TINY), *requests)
    ties = sum(
        not same(judge, request, one, other)
        for request, one, other in zip(requests, ours, theirs, strict=True)
    )
    assert ties < PROMPTS / 50  # else it is no tie that they part at


def same(judge: Judge, request: Request, one: Completion, other: Completion) -> bool:
    """Whether two answers are the same; where they are not, a tie must be the cause."""
    begun: list[bytes] = []
    for mine, its in zip_longest(one.tokens or (), other.tokens or ()):
        texts = [b"" if token is None else token.text for token in (mine, its)]
        if texts[0] != texts[1]:
            assert judge.gap(request, begun, *texts) < CLOSE, (one.text, other.text)
            return False
        assert mine.logprob == pytest.approx(its.logprob, abs=CLOSE)
        begun.append(mine.text)
    assert one.finish_reason == other.finish_reason
    assert one.usage == other.usage
    return True


class Ticket(BaseModel):
    """What a customer wants."""

    topic: str = Field(max_length=30, description="what it is about")
    priority: int = Field(ge=1, le=5)
    tags: list[str] = Field(max_length=3)
    refund: bool


def test_a_real_instruct_model_gives_a_valid_value_for_every_row(smollm2_folder: Path):
    texts = [
        f"{name} from {city}: my order {number} is late. Please send my money back!"
        for number, (name, city) in enumerate(zip(NAMES * 3, CITIES * 3, strict=False))
    ]
    with LLM(f"transformers:{smollm2_folder}", sampling=Sampling(max_tokens=48)) as llm:
        results = llm.batch(texts, Ticket)
    assert len(results) == 24
    assert all(isinstance(result.unwrap(), Ticket) for result in results)
    assert all(result.usage.output_tokens <= 48 for result in results)
    assert {result.finish_reason for result in results} <= {"stop", "landing"}
    assert len({result.raw for result in results}) > 12  # it reads what it is given
