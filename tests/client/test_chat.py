"""Conversations: typed turns, history, files, and many planned ones at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedllm import (
    LLM,
    Conversation,
    EngineError,
    Example,
    Scripted,
    TemplateError,
    Turn,
    TypedLLMError,
    UsageError,
)
from typedllm.records import Request


def said(request: Request) -> list[tuple[str, str]]:
    return [(turn.role, turn.text) for turn in request.prompt]


def test_each_turn_is_typed_by_itself_and_sees_those_before_it():
    engine = Scripted([{"age": 25}, "Ada"])
    chat = LLM(engine).chat(system="Be exact.")

    assert chat.call("How old?", {"age": "int"}) == {"age": 25}
    assert chat.call("Who?") == "Ada"

    assert said(engine.requests[1]) == [
        ("system", "Be exact."),
        ("user", "How old?"),
        ("assistant", '{"age":25}'),
        ("user", "Who?"),
    ]


async def test_turns_are_awaited_too():
    chat = LLM(Scripted([1, 2])).chat()
    assert await chat.acall("a", int) == 1
    assert (await chat.arun("b", int)).value == 2
    assert [turn.answer for turn in chat.turns] == ["1", "2"]


def test_context_and_metadata_are_a_turns_own():
    engine = Scripted(["x", "y"])
    chat = LLM(engine).chat(template="{{ user_prompt }} ({{ place }})", id="talk")
    first = chat.run("Hi", context={"place": "Oslo"}, metadata={"row": 1})
    chat.run("Again", context={"place": "Rome"})

    assert first.metadata == {"row": 1}
    assert first.prompt.conversation_id == "talk"  # pyright: ignore
    assert [text for _, text in said(engine.requests[1])] == ["Hi (Oslo)", "x", "Again (Rome)"]
    with pytest.raises(TemplateError, match="needs place"):
        chat.run("No place")


def test_examples_come_before_the_history():
    engine = Scripted(["x", "y"])
    chat = LLM(engine).chat(examples=[Example("1 + 1?", "2")], system="Count.")
    chat.call("2 + 2?")
    chat.call("3 + 3?")
    texts = [text for _, text in said(engine.requests[1])]
    assert texts == ["Count.", "1 + 1?", "2", "2 + 2?", "x", "3 + 3?"]


def test_a_turn_that_fails_leaves_no_trace():
    engine = Scripted(["a", EngineError("down"), "c"])
    chat = LLM(engine).chat()
    chat.call("1")
    assert not chat.run("2").ok
    chat.call("3")
    assert [text for _, text in said(engine.requests[2])] == ["1", "a", "3"]


@given(st.lists(st.text(st.characters(codec="ascii"), max_size=40), max_size=6), st.integers(0, 60))
def test_history_keeps_the_newest_turns_that_fit(texts: list[str], budget: int):
    llm = LLM(Scripted(["word"] * len(texts)))
    chat = llm.chat(history_tokens=budget)
    for text in texts:
        chat.call(text)
    kept = [turn.text for turn in chat.history]
    every = [part for text in texts for part in (text, "word")]
    assert kept == every[len(every) - len(kept) :]
    assert sum(map(llm.count_tokens, kept)) <= budget
    if len(kept) < len(every):
        longer = every[len(every) - len(kept) - 2 :]
        assert sum(map(llm.count_tokens, longer)) > budget


def test_tokens_are_those_of_the_engines_tokenizer(embedded_llm: LLM):
    text = "I am 25 years old."
    assert embedded_llm.count_tokens(text) == (
        embedded_llm.render(text).tokens - embedded_llm.render("").tokens  # pyright: ignore
    )
    assert LLM(Scripted()).count_tokens("12345") == 2


def test_a_conversation_is_saved_and_goes_on(tmp_path: Path):
    engine = Scripted(["a", "b"])
    chat = LLM(engine).chat(id="talk", template="{{ user_prompt }}{{ x[1:] }}")
    chat.run("über", metadata={"row": 1}, context={"x": [1]})
    chat.save(tmp_path / "talk.json")

    again = LLM(engine).chat().load(tmp_path / "talk.json")
    assert again.id == "talk" and again.turns == chat.turns
    again.call("more")
    assert [text for _, text in said(engine.requests[1])] == ["über[]", "a", "more"]


@pytest.mark.parametrize("text", ["", "[]", '{"turns": [{"no": 1}]}', '{"id": 1}', None])
def test_what_is_no_saved_conversation_is_named(tmp_path: Path, text: str | None):
    path = tmp_path / "talk.json"
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(UsageError, match=r"talk\.json: is no saved conversation"):
        LLM(Scripted()).chat().load(path)


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"none.talk\.json: cannot be written"):
        LLM(Scripted()).chat().save(tmp_path / "none" / "talk.json")


def test_what_cannot_be_json_is_not_saved(tmp_path: Path):
    chat = LLM(Scripted(["a"])).chat()
    chat.run("x", metadata={"thing": object()})
    with pytest.raises(UsageError, match="cannot be written as JSON"):
        chat.save(tmp_path / "talk.json")
    assert not (tmp_path / "talk.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"history_tokens": -1}, "history_tokens"), ({"id": 3}, "id: expected"), ({"sys": 1}, "sys")],
)
def test_wrong_keywords_are_named(options: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        LLM(Scripted(["x"])).chat(**options).call("x")


def test_a_wrong_keyword_of_a_turn_is_named_with_the_mend():
    chat = LLM(Scripted(["x"])).chat()
    with pytest.raises(UsageError, match="run takes no keyword 'contex'; did you mean context"):
        chat.run("x", contex={})  # pyright: ignore[reportCallIssue]
    with pytest.raises(UsageError, match="did you mean metadata"):
        chat.call("x", metadat={})  # pyright: ignore[reportCallIssue]


def test_what_belongs_to_a_turn_alone_is_not_put_into_the_examples():
    engine = Scripted(["x", "y"])
    words = "{{ user_prompt }}{% if place is defined %} (in {{ place }}){% endif %}"
    chat = LLM(engine).chat(template=words, examples=[Example("Who?", "Ada")])
    chat.call("Where?", context={"place": "Bergen"})
    chat.call("And now?", context={"place": "Oslo"})
    assert [text for _, text in said(engine.requests[1])] == [
        "Who?",
        "Ada",
        "Where? (in Bergen)",
        "x",
        "And now? (in Oslo)",
    ]


@pytest.mark.parametrize("planned", ["a", ["a", "b"], None])
def test_what_is_no_planned_conversation_is_named(planned: Any):
    with pytest.raises(UsageError, match=r"conversations\[1\]: expected a Conversation"):
        LLM(Scripted()).batch_chats([Conversation(turns=["x"]), planned])


def test_planned_conversations_run_at_once_each_turn_after_the_one_before_it():
    running, most = 0, 0

    async def reply(request: Request) -> object:
        nonlocal running, most
        running, most = running + 1, max(most, running + 1)
        await asyncio.sleep(0.002)
        running -= 1
        return " / ".join(turn.text for turn in request.prompt)

    llm = LLM(Scripted(reply, capacity=5))
    planned = [
        Conversation(turns=[f"{name}1", Turn(f"{name}2", metadata={"name": name})], id=name)
        for name in "abcdefgh"
    ]
    all_results = llm.batch_chats(planned)
    assert most == 5
    for name, results in zip("abcdefgh", all_results, strict=True):
        first, second = results
        assert first.value == f"{name}1"
        assert second.value == f"{name}1 / {name}1 / {name}2"
        assert second.metadata == {"name": name}


def test_after_a_turn_that_failed_the_others_are_not_asked():
    engine = Scripted(
        lambda request: EngineError("down") if "bad" in request.prompt[-1].text else "ok"
    )
    good, bad = LLM(engine).batch_chats(
        [
            Conversation(turns=["1", "2"]),
            Conversation(turns=["1", "bad", "3", Turn("4", {}, {"n": 4})]),
        ]
    )
    assert good.ok == 2
    assert [row.ok for row in bad] == [True, False, False, False]
    assert str(bad[2].error) == "not asked, since turn 1 failed: down"
    assert isinstance(bad[3].error, TypedLLMError) and bad[3].metadata == {"n": 4}
    assert len(engine.requests) == 4


def test_system_text_and_examples_of_a_planned_conversation_are_its_own():
    engine = Scripted(["x", "y"])
    LLM(engine).batch_chats(
        [
            Conversation(turns=["a"], system_prompt="Be kind.", examples=[Example("q", "r")]),
            Conversation(turns=["b"]),
        ],
        system="Be brief.",
    )
    texts = sorted([text for _, text in said(request)] for request in engine.requests)
    assert texts == [["Be brief.", "b"], ["Be kind.", "q", "r", "a"]]


def test_a_turn_without_its_value_is_an_error_of_its_conversation():
    good, bad = LLM(Scripted(["x"])).batch_chats(
        [Conversation(turns=[Turn("a", {"place": "Oslo"})]), Conversation(turns=["b", "c"])],
        template="{{ user_prompt }} {{ place }}",
    )
    assert good.ok == 1
    assert isinstance(bad[0].error, TemplateError) and "turn 0 failed" in str(bad[1].error)


@pytest.mark.parametrize("turns", ["text", [], [3], ["a", None]])
def test_what_is_no_conversation_is_named(turns: Any):
    with pytest.raises(UsageError, match=r"Conversation\.turns"):
        Conversation(turns=turns)
