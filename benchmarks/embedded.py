"""Objects a second of the embedded engine, beside transformers with outlines' processor.

    python benchmarks/embedded.py [--batches 1 32 128 512]

Both run in this process, with the same random weights, tokenizer, prompts and grammar, greedily.
What a token costs does not depend on the weights, and the grammar bounds each object. On a busy
machine set OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1: threads that wait for cores slow both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer

from typedllm.constraints.lark import print_lark
from typedllm.engines.embedded import EmbeddedEngine
from typedllm.grammar.tree import Literals, Member, Object, Text
from typedllm.records import Completion, Grammar, Message, Request, Sampling, Segment

INSTRUCTION = (
    "Read the message of a customer below and write down the name of the customer, the age in "
    "years, the city that the message was sent from, and whether the customer is happy with the "
    "service. Answer with one JSON object and nothing else, please, and keep to the message. "
)
CITIES = ["London", "Nairobi", "Lima", "Kyoto", "Oslo", "Quito", "Lagos", "Turin"]
CHAT = (
    "{% for message in messages %}<|turn|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n"
    "{% endfor %}<|turn|>assistant\n"
)
GRAMMAR = Grammar(
    Object(
        members=(
            Member("name", Text(min_length=6, max_length=20)),
            Member("age", Literals(tuple(map(str, range(121))))),
            Member("city", Text(min_length=6, max_length=20)),
            Member("happy", Literals(("true", "false"))),
        )
    )
)
BUDGET = 96


def message(number: int) -> str:
    """A message of some 30 tokens, another for each number."""
    city = CITIES[number % len(CITIES)]
    return f"Hello from {city}, I am customer number {number}, {20 + number % 60}, and I like it."


def write_model(folder: Path) -> None:
    """Write a random model of the embedded model's sizes."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=1024,
        special_tokens=["<|end|>", "<|turn|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    answers = [json.dumps({"name": c, "age": 4, "city": c, "happy": True}) for c in CITIES]
    texts = [INSTRUCTION, *map(message, range(300)), *answers]
    tokenizer.train_from_iterator([*texts, Path(__file__).read_text()], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>", chat_template=CHAT
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1024,
        hidden_size=192,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=2,
        intermediate_size=640,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def by_typedllm(engine: EmbeddedEngine, messages: Sequence[str]) -> list[str]:
    """Send all prompts at once."""
    requests = [
        Request(
            prompt=(
                Message(
                    role="user",
                    content=(Segment(text=INSTRUCTION, trusted=True), Segment(text=text)),
                ),
            ),
            constraint=GRAMMAR,
            sampling=Sampling(max_tokens=BUDGET),
        )
        for text in messages
    ]

    async def send_all() -> list[str]:
        replies = await asyncio.gather(*map(engine.send, requests))
        return [reply.text if isinstance(reply, Completion) else str(reply) for reply in replies]

    return asyncio.run(send_all())


class Transformers:
    """The same by `generate`, left-padded, with outlines' llguidance processor."""

    def __init__(self, folder: Path) -> None:
        import llguidance.hf
        from llguidance import LLMatcher
        from outlines.backends.llguidance import LLGuidanceLogitsProcessor
        from transformers import AutoTokenizer, LlamaForCausalLM

        self.model: Any = LlamaForCausalLM.from_pretrained(folder).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.processor = LLGuidanceLogitsProcessor(
            LLMatcher.grammar_from_lark(print_lark(GRAMMAR.root)),
            llguidance.hf.from_tokenizer(self.tokenizer),
            "torch",
        )

    def run(self, messages: Sequence[str]) -> list[str]:
        """Generate all answers in one batch."""
        import torch

        texts = [
            self.tokenizer.apply_chat_template(
                [{"role": "user", "content": INSTRUCTION + text}],
                tokenize=False,
                add_generation_prompt=True,
            )
            for text in messages
        ]
        inputs = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        self.processor.reset()
        processors: Any = [self.processor]
        with torch.inference_mode():
            found = self.model.generate(
                **inputs, max_new_tokens=BUDGET, do_sample=False, logits_processor=processors
            )
        answers = found[:, inputs["input_ids"].shape[1] :]
        return self.tokenizer.batch_decode(answers, skip_special_tokens=True)


def measure(run: Callable[[Sequence[str]], list[str]], count: int) -> float:
    """Seconds of the better of two runs on messages that are new, whose answers must be JSON."""
    times: list[float] = []
    for attempt in range(2):
        messages = [message(count * (attempt + 1) + number) for number in range(count)]
        start = time.perf_counter()
        answers = run(messages)
        times.append(time.perf_counter() - start)
        for answer in answers:
            json.loads(answer)
    return min(times)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 128, 512])
    batches = parser.parse_args().batches
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder)
        start = time.perf_counter()
        engine = EmbeddedEngine(folder, rows=512)
        print(f"embedded engine loaded in {1000 * (time.perf_counter() - start):.0f} ms")
        transformers = Transformers(folder)
        by_typedllm(engine, ["first", "second"])  # compiles the grammar, shares the instruction
        transformers.run(["first"])
        print("batch  typedllm objects/s  transformers objects/s  ratio")
        for count in batches:
            ours = count / measure(lambda messages: by_typedllm(engine, messages), count)
            theirs = count / measure(transformers.run, count)
            print(f"{count:5}  {ours:18.1f}  {theirs:22.1f}  {ours / theirs:5.2f}", flush=True)
        asyncio.run(engine.close())


if __name__ == "__main__":
    main()
