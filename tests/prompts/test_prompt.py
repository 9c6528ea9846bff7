"""From what is asked to the messages that are sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedllm.errors import Issue, UsageError
from typedllm.prompts.instructions import repair
from typedllm.prompts.prompt import Wording
from typedllm.prompts.prompt import conversation as worded
from typedllm.records import Lark, Message, Segment
from typedllm.spec.kinds import Choice, Regex
from typedllm.spec.spec import spec_of

TEXT = spec_of(None)
AGE = spec_of({"age": "int"})


def conversation(asked: Any, spec: Any, system: str | None) -> tuple[Message, ...]:
    return worded(asked, spec, Wording(system=system))


def said(messages: tuple[Message, ...]) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in messages]


def test_a_text_is_a_users_turn_after_the_instruction():
    assert said(conversation("How old?", AGE, None)) == [
        ("system", 'Answer with JSON only: {"age": int}'),
        ("user", "How old?"),
    ]


def test_the_callers_system_text_comes_first():
    message = conversation("x", AGE, "You are a clerk.")[0]
    assert message.text == 'You are a clerk.\n\nAnswer with JSON only: {"age": int}'


def test_plain_text_needs_no_instruction():
    assert said(conversation("Hello", TEXT, None)) == [("user", "Hello")]
    assert said(conversation("Hello", TEXT, "Be brief.")) == [
        ("system", "Be brief."),
        ("user", "Hello"),
    ]


@pytest.mark.parametrize(
    ("output_type", "words"),
    [
        (Choice(["yes", "no"]), "Answer with one of: yes | no"),
        (Regex("[a-z]+"), "Answer with text that matches this regular expression: [a-z]+"),
        (Lark("start: /x/"), "Answer with text that follows this Lark grammar:\nstart: /x/"),
    ],
)
def test_each_kind_of_text_has_its_instruction(output_type: Any, words: str):
    message = conversation("x", spec_of(output_type), "Be kind.")[0]
    assert message.text == f"Be kind.\n\n{words}"


def test_a_conversation_is_kept_and_its_own_system_text_goes_before_the_llms():
    turns = [
        {"role": "system", "content": "Speak Danish."},
        {"role": "user", "content": "Hej"},
        Message(role="assistant", content=(Segment(text="Hej!"),)),
        {"role": "user", "content": "Hvor gammel er du?"},
    ]
    assert said(conversation(turns, AGE, "Be brief.")) == [
        ("system", 'Speak Danish.\n\nAnswer with JSON only: {"age": int}'),
        ("user", "Hej"),
        ("assistant", "Hej!"),
        ("user", "Hvor gammel er du?"),
    ]


@given(st.text(), st.text())
def test_only_the_templates_words_are_trusted(system: str, prompt: str):
    messages = conversation(prompt, AGE, system)
    trusted = "".join(s.text for message in messages for s in message.content if s.trusted)
    assert trusted.strip("\n") == "Answer with JSON only: "
    assert messages[-1].text == prompt
    assert messages[0].text.startswith(system)


@pytest.mark.parametrize(
    ("prompt", "place"),
    [
        (3, "prompt: expected a str, a list of messages, a Prompt, .*, got int 3"),
        ([], "prompt: expected a str, a list"),
        (b"x", "prompt: expected a str, a list"),
        (["x"], r"prompt\[0\]: expected a Message or a dict"),
        ([{"role": "user"}], r"prompt\[0\]: expected the keys role and content, got role"),
        ([{"role": "me", "content": ""}], r"prompt\[0\].role: expected one of system, user, assis"),
        ([{"role": "user", "content": 3}], r"prompt\[0\].content: expected a str, got int 3"),
        ("ab\ud800", r"prompt: a lone surrogate \(U\+D800\) at character 2"),
        ([{"role": "user", "content": "\udfff"}], r"prompt\[0\].content: a lone surrogate"),
        (
            [Message(role="user", content=(Segment(text="\udfff"),))],
            r"prompt\[0\]: a lone surrogate",
        ),
    ],
)
def test_what_is_no_prompt_is_named_with_its_place(prompt: Any, place: str):
    with pytest.raises(UsageError, match=place):
        conversation(prompt, AGE, None)


def test_a_lone_surrogate_in_the_system_text_is_named_too():
    with pytest.raises(UsageError, match="system: a lone surrogate"):
        conversation("x", TEXT, "\ud800")


def test_a_repair_names_twenty_issues_at_most_and_trusts_none_of_the_models_words():
    asked = conversation("x", AGE, None)
    issues = [Issue("$.age", f"wrong {{{{ {number} }}}}") for number in range(30)]
    turns = repair(asked, "<|end|>", issues)
    assert turns[:2] == asked
    assert turns[2].content == (Segment(text="<|end|>"),)
    assert turns[3].text.count("- $.age: wrong {{ ") == 20
    assert not any("$.age" in segment.text for segment in turns[3].content if segment.trusted)
