"""Prompt collections and conversations, row by row."""
# ruff: noqa: N802 - a test is named as its row

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from typedllm import (
    LLM,
    Conversation,
    Example,
    Prompt,
    PromptCollection,
    PromptTooLong,
    Sampling,
    Scripted,
    TemplateError,
    Turn,
    UsageError,
)
from typedllm.batch.tally import Snapshot

PIRATE = "You are an helpful AI that only speaks like a pirat"
SPOKEN = "{{ user_prompt }}{% if place is defined %} (in {{ place }}){% endif %}"

CUSTOM = """\
{#
description: Llama 3, with two texts of the context as a turn of the user.
variables: [system_prompt, user_prompt, key1, key2]
makes: raw
#}
<|begin_of_text|><|start_header_id|>system<|end_header_id|>

{{system_prompt}}
<|start_header_id|>user<|end_header_id|>

{{user_prompt}}<|eot_id|>
<|start_header_id|>user<|end_header_id|>

Important Context 1:
{{key1}}

Important Context 2:
{{key2}}

<|eot_id|>
<|start_header_id|>assistant<|end_header_id|>
"""

RENDERED = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n"
    "\n"
    "You are an helpful AI that only speaks like a pirat\n"
    "<|start_header_id|>user<|end_header_id|>\n"
    "\n"
    "User prompt 1<|eot_id|>\n"
    "<|start_header_id|>user<|end_header_id|>\n"
    "\n"
    "Important Context 1:\n"
    "value1\n"
    "\n"
    "Important Context 2:\n"
    "value2\n"
    "\n"
    "<|eot_id|>\n"
    "<|start_header_id|>assistant<|end_header_id|>"
)


@pytest.fixture
def custom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of templates of one's own, with `llama3_custom.j2`."""
    (tmp_path / "llama3_custom.j2").write_text(CUSTOM, encoding="utf-8")
    monkeypatch.setenv("TYPEDLLM_TEMPLATES", str(tmp_path))


def pirates() -> PromptCollection:
    return PromptCollection(
        ["User prompt 1", "User prompt 2"],
        system_prompts=PIRATE,
        contexts=[{"key1": "value1", "key2": "value2"}, {"key1": "one", "key2": "two"}],
        metadata=[{"meta": "data1"}, {"meta": "data2"}],
        conversation_ids="talk-1",
        template="llama3_custom",
        model="embedded",
    )


def told(engine: Scripted, position: int) -> list[tuple[str, str]]:
    """The turns of a request, as role and text."""
    return [(turn.role, turn.text) for turn in engine.requests[position].prompt]


def test_G1_prompt() -> None:
    prompt = Prompt(
        user_prompt="How are you?",
        system_prompt=PIRATE,
        conversation_id="talk-1",
        template=SPOKEN,
        context={"place": "Bergen"},
        metadata={"row": 7},
    )
    assert (prompt.user_prompt, prompt.system_prompt) == ("How are you?", PIRATE)
    assert (prompt.conversation_id, prompt.context) == ("talk-1", {"place": "Bergen"})
    assert prompt.metadata == {"row": 7}
    assert prompt.text("llama2") == (
        f"<s>[INST] <<SYS>>\n{PIRATE}\n<</SYS>>\n\nHow are you? (in Bergen)[/INST]"
    )
    assert prompt.messages()[-1] == {"role": "user", "content": "How are you? (in Bergen)"}
    same = Prompt(user_prompt="How are you?")
    assert prompt.id and prompt.id != same.id == Prompt(user_prompt="How are you?").id
    assert Prompt(user_prompt="How are you?", id="mine").id == "mine"


def test_G2_prompt_collection() -> None:
    texts = ["a", "b", "c"]
    collection = PromptCollection(
        texts,
        system_prompts="S",  # one for all
        contexts=[{"place": place} for place in ("Bergen", "Oslo", "Turku")],
        metadata=[{"row": row} for row in range(3)],
        ids=["x", "y", "z"],
        template=SPOKEN,
        model="embedded",
    )
    assert len(collection) == 3
    assert [prompt.user_prompt for prompt in collection] == texts
    assert [prompt.system_prompt for prompt in collection] == ["S", "S", "S"]
    assert [prompt.context["place"] for prompt in collection] == ["Bergen", "Oslo", "Turku"]
    assert [prompt.metadata["row"] for prompt in collection] == [0, 1, 2]
    assert [prompt.id for prompt in collection] == ["x", "y", "z"]
    assert collection[1].messages()[-1]["content"] == "b (in Oslo)"
    assert (collection.model, collection.template) == ("embedded", SPOKEN)
    many = PromptCollection(texts, system_prompts=["S", "T", "U"])
    assert [prompt.system_prompt for prompt in many] == ["S", "T", "U"]
    with LLM(collection.model) as llm:
        assert llm.batch(collection, {"n": "int"}).ok == 3


@pytest.mark.parametrize(
    "parts",
    [
        {"system_prompts": ["S"]},
        {"contexts": [{}] * 3},
        {"metadata": []},
        {"ids": ["x", "y", "z"]},
        {"conversation_ids": ["x"]},
    ],
)
def test_G2_lengths_must_match(parts: dict[str, Any]) -> None:
    (name, values) = next(iter(parts.items()))
    with pytest.raises(UsageError, match=f"{name}: {len(values)} of them for 2 user_prompts"):
        PromptCollection(["a", "b"], **parts)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"user_prompts": "ab"}, "user_prompts: expected a list of texts, got one"),
        ({"user_prompts": None}, "user_prompts: expected a list of texts, got NoneType"),
        ({"user_prompts": ["a", "b"], "ids": "xy"}, "ids: expected a list of texts, got one"),
        ({"user_prompts": ["a"], "ids": [0]}, "Prompt.id: expected a str, got int 0"),
    ],
)
def test_G2_what_is_no_list_of_texts_is_an_error(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        PromptCollection(**parts)


def test_G3_batch_inference_over_a_collection(capsys: pytest.CaptureFixture[str]) -> None:
    collection = PromptCollection(
        ["I am 25.", "word " * 5_000, "I am 31."],
        metadata=[{"row": row} for row in range(3)],
        conversation_ids=["x", "y", "z"],
    )
    steps: list[tuple[int, int | None]] = []

    def tell(seen: Snapshot) -> None:
        steps.append((seen.done, seen.total))

    with LLM("embedded") as llm:
        results = llm.batch(collection, {"age": "int"}, progress=tell)
        llm.batch(collection, {"age": "int"}, progress=True)
    assert steps == [(1, 3), (2, 3), (3, 3)]
    told = capsys.readouterr().err
    assert "3 of 3 rows" in told and "rows/s" in told and "tokens/s in" in told
    for position, (prompt, result) in enumerate(zip(collection, results, strict=True)):
        assert result.prompt is prompt and result.prompt.conversation_id == "xyz"[position]
        assert result.metadata == {"row": position} and result.id == str(position)
    assert [result.ok for result in results] == [True, False, True]
    assert isinstance(results[1].error, PromptTooLong)
    assert all(result.latency_s > 0 for result in results if result.ok)
    assert results.usage.input_tokens > 0 and results.usage.output_tokens > 0
    assert results.wall_s > 0


def test_G4_summary(custom: None, capsys: pytest.CaptureFixture[str]) -> None:
    collection = pirates()
    results = LLM(Scripted(["Arg!", "Matey!"])).batch(collection)
    results.print_summary()
    first, second = capsys.readouterr().out.strip().split("\n\n")
    shown = dict(line.split(": ", 1) for line in first.splitlines())
    seconds = shown.pop("processing time")
    assert shown == {
        "user prompt": "User prompt 1",
        "context": '{"key1":"value1","key2":"value2"}',
        "response": "Arg!",
        "system prompt": PIRATE,
        "metadata": '{"meta":"data1"}',
        "request id": "0",
        "prompt id": collection[0].id,
        "conversation id": "talk-1",
    }
    assert re.match(r"\d+\.\d+", seconds)
    assert "response: Matey!" in second and "request id: 1" in second


def test_G4_an_error_is_shown_in_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    with LLM("embedded") as llm:
        llm.batch(["I am 25.", "word " * 5_000], {"age": "int"}).print_summary()
    first, second = capsys.readouterr().out.strip().split("\n\n")
    assert 'response: {"age":' in first and "error" not in first
    assert "1024" in second


def test_G5_multi_turn_conversation() -> None:
    engine = Scripted(["first", "second", "third"])
    conversation = Conversation(
        turns=[
            Turn("Where?", context={"place": "Bergen"}, metadata={"turn": "a"}),
            Turn("And when?", context={"place": "Oslo"}, metadata={"turn": "b"}),
            "Why?",
        ],
        system_prompt=PIRATE,
        examples=[Example({"user_prompt": "Who?", "place": "Turku"}, "Nobody, arg!")],  # few-shot
        id="talk-1",
    )
    (results,) = LLM(engine).batch_chats([conversation], template=SPOKEN)
    assert results.values() == ["first", "second", "third"]
    assert [result.metadata for result in results] == [{"turn": "a"}, {"turn": "b"}, {}]
    assert [result.prompt.context for result in results][:2] == [
        {"place": "Bergen"},
        {"place": "Oslo"},
    ]
    assert {result.prompt.conversation_id for result in results} == {"talk-1"}
    assert told(engine, 2) == [
        ("system", PIRATE),
        ("user", "Who? (in Turku)"),
        ("assistant", "Nobody, arg!"),
        ("user", "Where? (in Bergen)"),
        ("assistant", "first"),
        ("user", "And when? (in Oslo)"),
        ("assistant", "second"),
        ("user", "Why?"),
    ]
    assert told(engine, 0) == told(engine, 2)[:4] and told(engine, 1) == told(engine, 2)[:6]


def test_G5_many_conversations_at_once_each_in_its_order() -> None:
    talks = [Conversation(turns=[f"I am {age}.", "How old am I?"]) for age in (25, 31, 44)]
    with LLM("embedded", sampling=Sampling(max_tokens=30)) as llm:
        answers = llm.batch_chats(talks, {"age": "int"})
        first = llm.run("I am 31.", {"age": "int"})
    assert [len(results) for results in answers] == [2, 2, 2]
    assert all(type(row.unwrap()["age"]) is int for results in answers for row in results)
    assert answers[1][0].value == first.value
    assert len(answers[1][1].prompt.history) == 2


def test_G6_custom_template_by_name(custom: None) -> None:
    collection = pirates()
    assert collection[0].text() == RENDERED
    engine = Scripted(["Arg!", "Matey!"])
    llm = LLM(engine)
    assert llm.render(collection[0]).text == RENDERED
    assert llm.batch(collection).values() == ["Arg!", "Matey!"]
    sent = engine.requests[0].prompt
    assert "".join(segment.text for segment in sent) == RENDERED
    values = [segment.text for segment in sent if not segment.trusted]
    assert values == [PIRATE, "User prompt 1", "value1", "value2"]


@pytest.mark.parametrize("name", ["llama3_custom", "llama3_custom.j2"])
def test_G6_a_missing_key_is_an_error_before_any_call(custom: None, name: str) -> None:
    engine = Scripted(["Arg!"])
    llm = LLM(engine, system=PIRATE)
    with pytest.raises(TemplateError, match=r"llama3_custom.* needs key2; there is key1"):
        llm.call("User prompt 1", template=name, context={"key1": "value1"})
    assert engine.requests == []
    # In a batch it is the error of its row, and the others are asked.
    rows = [{"key1": "value1"}, {"key1": "value1", "key2": "value2"}]
    results = llm.batch(PromptCollection(["a", "b"], contexts=rows, template=name))
    assert isinstance(results[0].error, TemplateError) and results[1].value == "Arg!"
    assert len(engine.requests) == 1
