"""The embedded engine: against transformers and a plain loop, and in company."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llguidance
import llguidance.numpy
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from typedllm.engines.embedded import EmbeddedEngine
from typedllm.errors import (
    BudgetTooSmall,
    EngineError,
    PromptTooLong,
    TypedLLMError,
    UnsupportedConstraint,
    UsageError,
)
from typedllm.grammar.tree import Array, Literals, Member, Object, Text
from typedllm.records import (
    Completion,
    Constraint,
    Failure,
    Grammar,
    JsonSchema,
    Lark,
    Message,
    Reply,
    Request,
    Sampling,
    Segment,
)
from typedllm.tiny.llama import Llama

CONTEXT = 1200
VOCABULARY = 520  # more logits than the tokenizer has entries
CLOSE = 1e-3

PERSON = Lark(
    r"""
start: "{\"name\":\"" NAME "\",\"age\":" AGE ",\"happy\":" HAPPY "}"
NAME: /[A-Za-z ]{2,12}/
AGE: /[1-9][0-9]?/
HAPPY: "true" | "false"
"""
)
ORDER = Grammar(
    Object(
        members=(
            Member("note", Text()),
            Member("tags", Array(item=Text(max_length=5))),
            Member("paid", Literals(("true", "false"))),
        )
    )
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, bpe_tokenizer: Tokenizer) -> Path:
    """A random model whose choices differ from prompt to prompt."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    end = bpe_tokenizer.token_to_id("<|end|>")
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    bpe_tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> EmbeddedEngine:
    return EmbeddedEngine(folder)


def ask(
    text: str, constraint: Constraint | None = None, sampling: Sampling | None = None
) -> Request:
    return Request(
        prompt=(Segment(text=text),),
        constraint=constraint,
        sampling=sampling or Sampling(max_tokens=60),
    )


def send(engine: EmbeddedEngine, *requests: Request) -> list[Reply]:
    async def send_all() -> list[Reply]:
        return await asyncio.gather(*map(engine.send, requests))

    return asyncio.run(send_all())


def complete(engine: EmbeddedEngine, *requests: Request) -> list[Completion]:
    replies = send(engine, *requests)
    assert all(isinstance(reply, Completion) for reply in replies), replies
    return [reply for reply in replies if isinstance(reply, Completion)]


def error_of(engine: EmbeddedEngine, request: Request) -> TypedLLMError:
    (reply,) = send(engine, request)
    assert isinstance(reply, Failure)
    return reply.error


def reference(
    folder: Path, tokenizer: Tokenizer, text: str, lark: str | None, max_tokens: int
) -> tuple[list[bytes], list[float]]:
    """A greedy answer by transformers, a token at a time, with no cache and no batch."""
    model = LlamaForCausalLM.from_pretrained(folder)
    end = tokenizer.token_to_id("<|end|>")
    view = llguidance.LLTokenizer(tokenizer.to_str(), n_vocab=VOCABULARY, eos_token=end)
    matcher = lark and llguidance.LLMatcher(view, llguidance.LLMatcher.grammar_from_lark(lark))
    # no text has the byte 255, which llguidance keeps for itself
    known = range(tokenizer.get_vocab_size())
    pieces = [view.decode_bytes([token]) if token in known else b"" for token in range(VOCABULARY)]
    ids = tokenizer.encode(text).ids
    texts: list[bytes] = []
    logprobs: list[float] = []
    while len(texts) < max_tokens:
        if matcher and (forced := matcher.compute_ff_tokens()):
            matcher.consume_tokens(forced)
            ids += forced
            texts += [view.decode_bytes([token]) for token in forced]
            logprobs += [0.0] * len(forced)
        if matcher and matcher.is_stopped():
            break
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1].numpy()
        if matcher:
            mask = llguidance.numpy.allocate_token_bitmask(1, VOCABULARY)
            llguidance.numpy.fill_next_token_bitmask(matcher, mask)
            llguidance.numpy.apply_token_bitmask_inplace(logits[None], mask)
        else:
            allowed = [token == end or bool(text) for token, text in enumerate(pieces)]
            logits[~np.array(allowed)] = -np.inf
        token = int(logits.argmax())
        if token == end:
            break
        if matcher:
            matcher.consume_token(token)
        ids.append(token)
        texts.append(view.decode_bytes([token]))
        logprobs.append(float(torch.log_softmax(torch.tensor(logits), -1)[token]))
    return texts, logprobs


INSTRUCTION = "Please answer with JSON only, and keep to the type that was asked for. He said: "
PROMPTS = [
    INSTRUCTION + "I am 25 years old.",
    INSTRUCTION + "Bring 3 chairs, 12 tables and a lamp to the hall.",
    "How old are you?",
    INSTRUCTION + "京都",
]


@pytest.mark.parametrize("constraint", [PERSON, None], ids=["guided", "free"])
def test_greedy_answers_are_those_of_transformers(
    engine: EmbeddedEngine, folder: Path, bpe_tokenizer: Tokenizer, constraint: Lark | None
) -> None:
    requests = [ask(prompt, constraint, Sampling(max_tokens=40)) for prompt in PROMPTS]
    lark = constraint and constraint.text
    for prompt, reply in zip(PROMPTS, complete(engine, *requests), strict=True):
        texts, logprobs = reference(folder, bpe_tokenizer, prompt, lark, 40)
        assert reply.tokens is not None
        assert [token.text for token in reply.tokens] == texts
        found = [token.logprob for token in reply.tokens]
        assert np.abs(np.array(found) - np.array(logprobs)).max() < CLOSE
        assert reply.text == b"".join(texts).decode(errors="replace")
        assert reply.usage.input_tokens == len(bpe_tokenizer.encode(prompt).ids)
        assert reply.usage.output_tokens == len(texts)


def test_answers_do_not_depend_on_company(folder: Path) -> None:
    # few rows and little memory, so that rows join and leave all the time
    crowded = EmbeddedEngine(folder, rows=3)
    starved = EmbeddedEngine(folder, cache_bytes=1)
    sampling = [
        Sampling(max_tokens=50, temperature=1.5, top_p=0.9, seed=number) for number in range(5)
    ]
    requests = [
        ask(PROMPTS[number % 4] + str(number), [PERSON, ORDER][number % 2], sampling[number % 5])
        for number in range(16)
    ]
    together = complete(EmbeddedEngine(folder), *requests)
    for other in (crowded, starved):
        texts = [reply.text for reply in complete(other, *requests)]
        assert texts == [reply.text for reply in together]
    for request, reply in zip(requests[:3], together, strict=False):
        (alone,) = complete(crowded, request)
        assert alone.text == reply.text


@settings(max_examples=40)
@given(budgets=st.lists(st.integers(30, 90), min_size=1, max_size=5), seed=st.integers(0, 9999))
def test_landing_gives_a_valid_value_within_every_budget(
    engine: EmbeddedEngine, budgets: list[int], seed: int
) -> None:
    requests = [
        ask(f"order {seed}", ORDER, Sampling(max_tokens=budget, temperature=3.0, seed=seed))
        for budget in budgets
    ]
    for budget, reply in zip(budgets, complete(engine, *requests), strict=True):
        value = json.loads(reply.text)
        assert list(value) == ["note", "tags", "paid"]
        assert isinstance(value["paid"], bool)
        assert reply.usage.output_tokens <= budget
        assert reply.tokens is not None
        assert b"".join(token.text for token in reply.tokens).decode() == reply.text
        if reply.finish_reason == "landing":
            assert reply.landed_at is not None and reply.landed_at <= len(reply.text)
        else:
            assert reply.finish_reason == "stop" and reply.landed_at is None


def test_what_is_forced_from_the_first_to_the_last_token(engine: EmbeddedEngine) -> None:
    (reply,) = complete(engine, ask("say yes", Lark('start: "yes, indeed"')))
    assert (reply.text, reply.finish_reason) == ("yes, indeed", "stop")
    assert reply.tokens is not None and {token.logprob for token in reply.tokens} == {0.0}


def test_an_open_grammar_ends_with_the_end_token_or_at_the_budget(engine: EmbeddedEngine) -> None:
    sampling = [Sampling(max_tokens=5, temperature=1.0, seed=seed) for seed in range(30)]
    replies = complete(engine, *(ask("letters", Lark("start: /[a-z]?/"), one) for one in sampling))
    assert {reply.finish_reason for reply in replies} == {"stop"}
    assert len({reply.text for reply in replies}) > 1
    replies = complete(engine, *(ask("digits", Lark("start: /[jz]{9}/"), one) for one in sampling))
    assert {reply.finish_reason for reply in replies} == {"length"}
    assert {len(reply.text) for reply in replies} == {5}
    exact = Sampling(max_tokens=3)
    (reply,) = complete(engine, ask("digits", Lark("start: /[jz]{3}/"), exact))
    assert (len(reply.text), reply.finish_reason) == (3, "stop")


def test_stop_texts_end_plain_text(engine: EmbeddedEngine) -> None:
    (free,) = complete(engine, ask("How old are you?"))
    assert free.finish_reason in ("stop", "length") and free.tokens is not None
    for start in range(3, 12):
        stop = free.text[start : start + 5]
        if "\ufffd" in stop:  # a lone byte is no text to wait for
            continue
        sampling = Sampling(max_tokens=60, stop=("never to be found", stop))
        (reply,) = complete(engine, ask("How old are you?", None, sampling))
        assert reply.text == free.text[: free.text.index(stop)]
        assert reply.finish_reason == "stop" and reply.tokens is not None
        joined = b"".join(token.text for token in reply.tokens)
        assert joined.decode(errors="replace") == reply.text
        assert len(reply.tokens) <= reply.usage.output_tokens <= free.usage.output_tokens


def test_a_text_is_never_cut_within_a_character(engine: EmbeddedEngine) -> None:
    lark = Lark('start: "京都" /[0-9]*/')
    for budget in range(1, 7):
        (reply,) = complete(engine, ask("city", lark, Sampling(max_tokens=budget)))
        assert reply.finish_reason == "length"
        assert "京都".startswith(reply.text[:2]) and "\ufffd" not in reply.text


def test_long_prompts_are_fed_in_pieces(
    engine: EmbeddedEngine, folder: Path, bpe_tokenizer: Tokenizer
) -> None:
    long = "The quick brown fox jumps over the lazy dog. " * 75
    assert 512 < len(bpe_tokenizer.encode(long).ids) < CONTEXT - 50
    requests = [ask(text, PERSON) for text in [*PROMPTS, long, long + "Twice."]]
    replies = complete(engine, *requests)
    for request, reply in zip(requests[4:], replies[4:], strict=True):
        texts, _ = reference(folder, bpe_tokenizer, request.prompt[0].text, PERSON.text, 60)
        assert reply.text.encode() == b"".join(texts)


def test_each_bad_request_fails_alone(engine: EmbeddedEngine) -> None:
    open_array = Grammar(Array(item=Literals(("1",)), min_items=10))
    bad: Sequence[tuple[Request, type[TypedLLMError], str]] = [
        (ask("x" * 5000), PromptTooLong, f"context holds {CONTEXT}"),
        (ask("x", open_array, Sampling(max_tokens=9)), BudgetTooSmall, "max_tokens is 9"),
        (ask("x", Lark("start: lost")), UnsupportedConstraint, "lost"),
        (ask("x", JsonSchema({"type": "object"})), UnsupportedConstraint, "JsonSchema"),
        (ask(""), UsageError, "empty"),
        (ask("a\ud800"), UsageError, "lone surrogate"),
        (ask("x", None, Sampling(extra={"beams": 2})), UsageError, "beams"),
        (ask("x", Lark(HARD)), EngineError, "parser failed"),
    ]
    good = ask("How old are you?", PERSON)
    replies = send(engine, good, *(request for request, _, _ in bad), good)
    first, last = replies[0], replies[-1]
    assert isinstance(first, Completion) and isinstance(last, Completion)
    assert first.text == last.text and first.finish_reason == last.finish_reason
    for (_, kind, words), reply in zip(bad, replies[1:-1], strict=True):
        assert isinstance(reply, Failure), reply
        assert type(reply.error) is kind and words in str(reply.error), repr(reply.error)


# so ambiguous that llguidance's limits on its parser are passed while it runs
HARD = "start: s\ns: s s s s | " + " | ".join(f"s a{n} s" for n in range(40)) + ' | "a"\n'
HARD += "\n".join(f'a{n}: "a" | s' for n in range(40))


def test_the_least_budget_and_the_default(engine: EmbeddedEngine) -> None:
    numbers = Grammar(Array(item=Literals(("1",)), min_items=9, max_items=9))
    error = error_of(engine, ask("x", numbers, Sampling(max_tokens=1)))
    least = int(str(error).split("has ")[1].split()[0])
    (reply,) = complete(engine, ask("x", numbers, Sampling(max_tokens=least)))
    assert json.loads(reply.text) == [1] * 9
    (reply,) = complete(engine, ask("x", numbers, Sampling()))
    assert json.loads(reply.text) == [1] * 9


def test_a_cancelled_request_leaves_the_batch(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = EmbeddedEngine(folder, rows=2)
    long = ask("count", Lark("start: /([0-9][a-z]){450}/"), Sampling(max_tokens=1000))
    steps = 0
    begun, cancelled = threading.Event(), threading.Event()
    forward = Llama.forward

    def counted(*given: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 10:
            begun.set()
            cancelled.wait()
        return forward(*given)

    monkeypatch.setattr(Llama, "forward", counted)

    async def run() -> list[Reply]:
        tasks = [asyncio.create_task(engine.send(long)) for _ in range(2)]
        later = [asyncio.create_task(engine.send(ask("x", PERSON))) for _ in range(3)]
        await asyncio.to_thread(begun.wait)
        assert not any(task.done() for task in later)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        cancelled.set()
        return await asyncio.gather(*later)

    assert all(isinstance(reply, Completion) for reply in asyncio.run(run()))
    assert steps < 450  # the two alone would have taken that many


def test_after_closing_requests_fail(folder: Path) -> None:
    engine = EmbeddedEngine(folder)
    complete(engine, ask("x", PERSON))
    asyncio.run(engine.close())
    assert "closed" in str(error_of(engine, ask("x")))


@pytest.mark.slow
def test_a_real_chat_model(smollm2_folder: Path) -> None:
    engine = EmbeddedEngine(smollm2_folder)
    prompt = (
        Message(role="user", content=(Segment(text="What is the capital of France? One word."),)),
    )
    choice = Grammar(Literals(("London", "Paris", "Rome")))
    request = Request(prompt=prompt, constraint=choice, sampling=Sampling(max_tokens=20))
    (guided,) = complete(engine, request)
    (free,) = complete(engine, Request(prompt=prompt, sampling=Sampling(max_tokens=20)))
    assert guided.text in ("London", "Paris", "Rome")
    assert (free.text, free.finish_reason) == ("The capital of France is Paris.", "stop")


def test_folders_that_do_not_fit(folder: Path, tmp_path: Path, bpe_tokenizer: Tokenizer) -> None:
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"eos_token_id": None}))
    with pytest.raises(UsageError, match="write eos_token_id into generation_config"):
        EmbeddedEngine(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>"}))
    assert EmbeddedEngine(tmp_path).model == str(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 1]}))
    assert EmbeddedEngine(tmp_path).capacity == 256
    large = Tokenizer.from_str(bpe_tokenizer.to_str())
    large.add_tokens([f"token {number}" for number in range(VOCABULARY)])
    large.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UsageError, match="not of the same model"):
        EmbeddedEngine(tmp_path)
