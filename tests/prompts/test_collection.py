"""Collections of prompts, their ids, and conversations that are planned."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedllm import (
    Conversation,
    Example,
    ExamplePool,
    Message,
    Prompt,
    PromptCollection,
    Segment,
    TemplateError,
    Turn,
    UsageError,
    template,
)

TEXTS = ["one", "two", "three"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab"), inner, max_size=2),
    max_leaves=4,
)


def test_one_value_goes_with_every_prompt() -> None:
    made = PromptCollection(
        iter(TEXTS),
        system_prompts="S",
        contexts={"city": "Oslo"},
        metadata={"run": 1},
        conversation_ids="talk",
        template="{{ user_prompt }} in {{ city }}",
        examples=[Example("a", "b")],
        model="scripted",
    )
    assert len(made) == 3 and repr(made) == "PromptCollection(3 prompts)"
    assert [prompt.user_prompt for prompt in made] == TEXTS
    for prompt in made:
        assert (prompt.system_prompt, prompt.conversation_id) == ("S", "talk")
        assert (prompt.context, prompt.metadata) == ({"city": "Oslo"}, {"run": 1})
        assert prompt.messages()[-1]["content"] == f"{prompt.user_prompt} in Oslo"
    assert made.model == "scripted" and len(made[1:]) == 2 and made[-1].user_prompt == "three"


def test_a_list_has_one_value_for_each() -> None:
    made = PromptCollection(
        TEXTS,
        system_prompts=iter("abc"),
        contexts=[{"n": n} for n in range(3)],
        metadata=({"m": n} for n in range(3)),
        ids=["x", "y", "z"],
        conversation_ids=["p", "q", "r"],
    )
    rows = [(p.id, p.system_prompt, p.context, p.metadata, p.conversation_id) for p in made]
    assert rows[1] == ("y", "b", {"n": 1}, {"m": 1}, "q")
    assert [row[0] for row in rows] == ["x", "y", "z"]


def test_no_prompts_are_a_collection_too() -> None:
    assert [*PromptCollection([], system_prompts=[], contexts=[])] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"system_prompts": ["a"]}, "system_prompts: 1 of them for 3 user_prompts"),
        ({"contexts": [{}] * 4}, "contexts: 4 of them for 3 user_prompts"),
        ({"metadata": []}, "metadata: 0 of them"),
        ({"ids": ["a", "b"]}, "ids: 2 of them"),
        ({"conversation_ids": ("a",)}, "conversation_ids: 1 of them"),
        ({"contexts": 3}, "contexts: expected an Iterable, got int 3"),
        ({"contexts": [{}, 3, {}]}, "context: expected a Mapping, got int 3"),
        ({"system_prompts": [1, 2, 3]}, "system: expected a str, got int 1"),
        ({"metadata": ["a", "b", "c"]}, "Prompt.metadata: expected a Mapping"),
        ({"ids": "abc"}, "ids: expected a list of texts"),
    ],
)
def test_what_does_not_fit_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PromptCollection(TEXTS, **options)


def test_a_text_is_no_list_of_texts() -> None:
    with pytest.raises(UsageError, match=r"user_prompts: .* write \[text\]"):
        PromptCollection("one")
    with pytest.raises(UsageError, match=r"user_prompts\[1\]: expected a str, got int 3"):
        PromptCollection(["one", 3])  # type: ignore[list-item]
    with pytest.raises(TemplateError, match="no template is called 'nowhere'"):
        PromptCollection(["one"], template="nowhere")


def prompts() -> list[Prompt]:
    """Prompts of which no two are the same."""
    turn = Message(role="user", content=(Segment(text="x"),))
    answer = Message(role="assistant", content=(Segment(text="x"),))
    pool = ExamplePool.load("sentiment")
    return [
        Prompt(),
        Prompt(user_prompt="x"),
        Prompt(system_prompt="x"),
        Prompt(system_prompt=""),
        Prompt(template="{{ x }}"),
        Prompt(template=template("{{ x }}!")),
        Prompt(template=template("{{ x }}?")),
        Prompt(context={"x": 1}),
        Prompt(context={"x": "1"}),
        Prompt(context={"x": True}),
        Prompt(context={"x": None}),
        Prompt(context={"x": {"c", "b", "a"}}),
        Prompt(context={"x": [{"é": (1, 2.5)}]}),
        Prompt(history=(turn,)),
        Prompt(history=(answer,)),
        Prompt(conversation_id="x"),
        Prompt(examples=[Example("x", "y")]),
        Prompt(examples=[Example("x", "z")]),
        Prompt(examples=pool.first(2)),
        Prompt(examples=pool.first(3)),
        Prompt(examples=pool.sample(2)),
        Prompt(examples=pool.sample(2, seed=1)),
        Prompt(examples=pool.similar(2)),
        Prompt(examples=ExamplePool(pool[:5]).similar(2)),
    ]


def test_ids_differ_where_anything_does() -> None:
    ids = [prompt.id for prompt in prompts()]
    assert len(set(ids)) == len(ids) and all(len(id) == 16 for id in ids)


def test_ids_are_the_same_in_every_process() -> None:
    code = (
        "import json; from tests.prompts.test_collection import prompts;"
        "print(json.dumps([[prompt.id, prompt.text()] for prompt in prompts()[:1]] +"
        "[[prompt.id, ''] for prompt in prompts()]))"
    )
    root = Path(__file__).resolve().parents[2]
    made = []
    for seed in ("1", "2"):  # of the order of sets
        command = [sys.executable, "-c", code]
        env = {"PYTHONHASHSEED": seed, "PATH": ""}
        ended = subprocess.run(
            command, cwd=root, env=env, capture_output=True, text=True, check=True
        )
        made.append(json.loads(ended.stdout))
    assert made[0] == made[1]
    assert [id for id, _ in made[0][1:]] == [prompt.id for prompt in prompts()]


@given(st.tuples(JSON, JSON), st.tuples(st.text("ab", max_size=2), st.text("ab", max_size=2)))
def test_ids_are_those_of_the_content(contexts: tuple[Any, Any], texts: tuple[str, str]) -> None:
    first, second = (
        Prompt(user_prompt=text, context={"v": value})
        for text, value in zip(texts, contexts, strict=True)
    )
    same = json.dumps([texts[0], contexts[0]]) == json.dumps([texts[1], contexts[1]])
    assert (first.id == second.id) == same


def test_an_id_of_ones_own_is_kept_and_metadata_is_no_part_of_it() -> None:
    assert Prompt(user_prompt="x", id="mine").id == "mine"
    assert Prompt(user_prompt="x", metadata={"a": 1}).id == Prompt(user_prompt="x").id


def test_what_no_id_can_be_made_of_is_an_error_of_the_caller() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for value in (circle, "\ud800"):
        with pytest.raises(UsageError, match="its context or examples are no text"):
            Prompt(context={"x": value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"turns": []}, "at least one Turn or text"),
        ({"turns": "Hi"}, "expected a list of at least one"),
        ({"turns": ["Hi", 3]}, r"Conversation.turns\[1\]: expected a str, got int 3"),
        ({"turns": ["\ud800"]}, r"Conversation.turns\[0\]: a lone surrogate"),
        ({"turns": 3}, "expected a list of at least one"),
    ],
)
def test_a_conversation_has_turns(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Conversation(**options)
    assert Conversation(turns=["Hi", Turn("Bye", {"n": 1})], id="talk").id == "talk"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3,), "Turn.user_prompt: expected a str"),
        (("a", "b"), "Turn.context: expected a Mapping"),
        (("a", {}, 3), "Turn.metadata: expected a Mapping"),
    ],
)
def test_a_turn_has_a_text_and_mappings(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Turn(*arguments)
