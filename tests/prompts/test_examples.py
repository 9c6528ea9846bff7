"""Few-shot examples: pools, which of them go with a row, and how they are put into words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedllm import LLM, Example, ExamplePool, Message, Prompt, Scripted, TemplateError, UsageError
from typedllm.prompts.examples import Shots

WORDS = st.text("ab .?é", max_size=6)
POOLS = st.lists(st.builds(Example, WORDS, st.sampled_from(["yes", "no"])), min_size=1, max_size=8)
ANIMALS = ExamplePool(
    [
        Example("The cat sleeps on the sofa", "cat"),
        Example("A dog barks at the postman", "dog"),
        Example("The cat chases a mouse", "cat"),
        Example("My horse eats an apple", "horse"),
    ]
)


def ways(pool: ExamplePool, count: int, seed: int = 0) -> list[Shots]:
    return [pool.first(count), pool.sample(count, seed=seed), pool.similar(count)]


def said(prompt: Any, **options: Any) -> list[tuple[str, str]]:
    engine = Scripted(["x"])
    with LLM(engine) as llm:
        llm.run(prompt, None, **options)
    return [(part.role, part.text) for part in engine.requests[0].prompt]


def test_a_pool_is_loaded_by_name() -> None:
    pool = ExamplePool.load("sentiment")
    assert len(pool) == 12 and {each.answer for each in pool} == {"positive", "negative", "neutral"}
    assert isinstance(pool[0], Example) and len(pool[1:3]) == 2


def test_a_pool_is_loaded_from_a_file_and_from_ones_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "examples").mkdir()
    path = tmp_path / "examples" / "sentiment.jsonl"
    line = {"prompt": {"review": "Fine", "stars": 3}, "answer": {"label": "ok"}}
    path.write_text(json.dumps(line) + "\n\n" + json.dumps({"prompt": "x", "answer": 1}) + "\n")
    monkeypatch.setenv("TYPEDLLM_TEMPLATES", str(tmp_path))
    for name in (path, str(path), "sentiment"):
        first, second = ExamplePool.load(name)
        assert (first.question, first.reply) == ("Fine\n3", '{"label":"ok"}')
        assert (second.question, second.reply) == ("x", "1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"prompt": "a", "answer": 1}\n{"prompt": "b"}', "line 2: expected an object with promp"),
        (b'\n\n{"prompt": }', "line 3: not JSON"),
        (b"[1]", "line 1: expected an object"),
        (b'{"prompt": 1, "answer": 1}', "line 1: Example.prompt: expected a str, got int 1"),
        (b'{"prompt": "a", "answer": 1}\xff', "cannot be read"),
        (b"\n", "a pool needs at least one"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        ExamplePool.load(path)


@pytest.mark.parametrize("name", ["sentimental", "nowhere.jsonl", "x" * 5000, Path("nowhere")])
def test_a_pool_that_is_not_there_is_named(name: str | Path) -> None:
    with pytest.raises(UsageError, match="no pool of examples is called"):
        ExamplePool.load(name)


def test_a_pool_takes_examples_only() -> None:
    with pytest.raises(UsageError, match=r"examples\[1\]: expected an Example, got \('a', 'b'\)"):
        ExamplePool([Example("a", "b"), ("a", "b")])  # type: ignore[list-item]


@pytest.mark.parametrize("count", [0, -1, 5])
def test_more_examples_than_there_are_is_an_error(count: int) -> None:
    for way in (ANIMALS.first, ANIMALS.sample, ANIMALS.similar):
        with pytest.raises(UsageError, match=f"from 1 to 4 of this pool, not {count}"):
            way(count)


@given(pool=POOLS, data=st.data())
def test_no_way_gives_a_row_itself(pool: list[Example], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(pool)))
    question = data.draw(WORDS | st.sampled_from([each.question for each in pool]))
    for shots in ways(ExamplePool(pool), count):
        picked = shots.pick(question)
        others = [each for each in pool if each.question.strip() != question.strip()]
        assert len(picked) == min(count, len(others))
        assert all(each in others for each in picked)
        assert [*picked] == [*shots.pick(question)]  # the same again


@given(pool=POOLS, seed=st.integers(0, 99), rows=st.lists(WORDS, max_size=4))
def test_a_sample_is_seeded_and_shared_by_all_rows(
    pool: list[Example], seed: int, rows: list[str]
) -> None:
    count = min(3, len(pool))
    first, again = (ExamplePool(pool).sample(count, seed=seed) for _ in range(2))
    shared = [*first.pick("no row")]
    assert [*again.pick("no row")] == shared
    for row in rows:
        if all(row.strip() != each.question.strip() for each in pool):
            assert [*first.pick(row)] == shared


def test_another_seed_gives_another_sample() -> None:
    pool = ExamplePool.load("sentiment")
    samples = {tuple(map(id, pool.sample(3, seed=seed).pick("")[:3])) for seed in range(9)}
    assert len(samples) > 5


def test_the_most_similar_comes_last() -> None:
    picked = ANIMALS.similar(2).pick("Where is the cat that chases mice?")
    assert [each.answer for each in picked] == ["cat", "cat"]
    assert picked[-1].question == "The cat chases a mouse"
    assert ANIMALS.similar(1).pick("a dog")[0].answer == "dog"


@pytest.mark.parametrize("question", ["", "?!", "zzz", "猫"])
def test_a_row_that_is_like_none_gets_some_all_the_same(question: str) -> None:
    assert len(ANIMALS.similar(3).pick(question)) == 3
    assert len(ExamplePool([Example("?", 1), Example("", 2)]).similar(1).pick("x")) == 1


def test_examples_are_turns_before_the_users() -> None:
    shots: Sequence[Example] = [Example("2+2", {"sum": 4}), Example({"a": "x", "b": 1}, "y")]
    turns = [
        *[("user", "2+2"), ("assistant", '{"sum":4}'), ("user", "x\n1"), ("assistant", "y")],
        ("user", "3+3"),
    ]
    assert said("3+3", examples=shots) == turns
    assert said("3+3", examples=shots, system="S") == [("system", "S"), *turns]
    conversation = [{"role": "system", "content": "S"}, {"role": "user", "content": "3+3"}]
    assert said(conversation, examples=shots) == [("system", "S"), *turns]


def test_examples_are_put_into_the_words_of_the_template() -> None:
    template = (
        "{% block system %}S{% endblock %}"
        "{% block user %}{{ lang }}: {{ user_prompt }}{% endblock %}"
    )
    shots = [Example("one", "eins"), Example({"user_prompt": "two", "lang": "fr"}, "deux")]
    assert said("three", template=template, context={"lang": "de"}, examples=shots) == [
        *[("system", "S"), ("user", "de: one"), ("assistant", "eins")],
        *[("user", "fr: two"), ("assistant", "deux"), ("user", "de: three")],
    ]


def test_a_template_may_place_them_itself_as_one_text() -> None:
    template = (
        "{% for each in examples %}Q: {{ each.prompt }} A: {{ each.answer }}\n{% endfor %}"
        "Q: {{ user_prompt }} A:"
    )
    shots = [Example("1+1", 2), Example({"a": "x"}, ["y"])]
    text = 'Q: 1+1 A: 2\nQ: x A: ["y"]\nQ: 2+2 A:'
    assert said("2+2", template=template, examples=shots) == [("user", text)]


def test_an_example_that_has_no_place_in_the_template_is_an_error() -> None:
    for shots in ([Example("one", 1)], [Example({"other": "one"}, 1)]):
        prompt = Prompt(context={"review": "x"}, template="Rate {{ review }}", examples=shots)
        with pytest.raises(TemplateError, match=r"has no place for .* of an example"):
            prompt.rendered()


def test_a_row_is_known_by_the_values_of_its_template_too() -> None:
    pool = ExamplePool([Example({"review": "fine"}, "ok"), Example({"review": "bad"}, "no")])
    template = "Rate {{ review }}"
    turns = said({"review": "fine"}, template=template, examples=pool.first(2))
    assert turns == [("user", "Rate bad"), ("assistant", "no"), ("user", "Rate fine")]


@given(st.text(max_size=5), st.text(max_size=5))
def test_an_examples_text_is_never_trusted(prompt: str, answer: str) -> None:
    asked = Prompt(user_prompt="x", examples=[Example(prompt, answer)])
    for message in asked.rendered():
        assert isinstance(message, Message)
        assert not any(segment.trusted for segment in message.content)
