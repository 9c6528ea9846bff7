"""What would be sent, before any call is made."""

from __future__ import annotations

from typing import Any

import pytest

from typedllm import (
    LLM,
    Prompt,
    PromptCollection,
    Scripted,
    Segment,
    TemplateError,
    UsageError,
    chat_format,
)


@pytest.mark.parametrize(
    "prompt", ["Hi", [{"role": "user", "content": "Hi"}], Prompt(user_prompt="Hi")]
)
def test_the_text_is_the_models_own_with_as_many_tokens_as_are_counted(
    embedded_llm: LLM, prompt: Any
):
    rendered = embedded_llm.render(prompt, {"age": "int"}, system="Be kind.")
    assert (
        str(rendered)
        == rendered.text
        == ('<|system|>Be kind.\n\nAnswer with JSON only: {"age": int}<|user|>Hi<|assistant|>')
    )
    used = embedded_llm.run(prompt, {"age": "int"}, system="Be kind.").usage
    assert rendered.tokens == used.input_tokens
    assert [turn.role for turn in rendered.messages] == ["system", "user"]


def test_a_chat_format_shows_in_the_text_and_is_what_the_engine_gets():
    engine = Scripted(["x"])
    llm = LLM(engine, chat_template="chatml")
    assert llm.render("Hi", system="S").text == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    llm.call("Hi", system="S")
    sent = "".join(segment.text for segment in engine.requests[0].prompt)
    assert sent == llm.render("Hi", system="S").text
    assert llm.render("Hi").tokens is None


def test_without_a_tokenizer_the_turns_stand_one_after_the_other():
    rendered = LLM(Scripted()).render("Hi", system="S")
    assert (rendered.text, rendered.tokens) == ("S\n\nHi", None)


def test_a_raw_template_is_sent_as_it_is(embedded_llm: LLM):
    raw = "{# makes: raw #}\n<|user|>{{ user_prompt }}<|assistant|>Yes"
    rendered = embedded_llm.render("<|end|>", template=raw)
    assert rendered.text == "<|user|><|end|><|assistant|>Yes" and rendered.messages == ()
    harmless = embedded_llm.render("x", template=raw)
    assert rendered.tokens > harmless.tokens  # pyright: ignore - the value is no special token


def test_raw_text_may_be_given_as_segments(embedded_llm: LLM):
    raw = [
        Segment(text="<|user|>", trusted=True),
        Segment(text="<|end|>"),
        Segment(text="<|assistant|>", trusted=True),
    ]
    rendered = embedded_llm.render(raw)
    assert rendered.segments == tuple(raw)
    assert embedded_llm.run(raw, {"age": "int"}).usage.input_tokens == rendered.tokens
    assert isinstance(embedded_llm.batch([raw], int)[0].value, int)


def test_the_segments_say_which_text_is_a_value(embedded_llm: LLM):
    rendered = embedded_llm.render("Hi", template="Say {{ user_prompt }}!")
    assert [(part.text, part.trusted) for part in rendered.segments] == [
        ("<|user|>", True),
        ("Say ", True),
        ("Hi", False),
        ("!", True),
        ("<|assistant|>", True),
    ]


def test_the_users_text_is_the_question_of_a_template_that_asks_for_one():
    rendered = LLM(Scripted()).render("What's 2 + 2?", template="generic/default")
    assert [turn.text for turn in rendered.messages] == ["", "What's 2 + 2?"]


def test_a_template_that_is_not_there_concerns_the_whole_batch():
    with pytest.raises(TemplateError, match="no template is called 'nope'"):
        LLM(Scripted(["x"])).batch(["a", "b"], template="nope")
    with pytest.raises(TemplateError, match="no template is called 'nope'"):
        PromptCollection(["a"], template="nope")


def test_a_format_of_ones_own_may_allow_its_marks():
    with pytest.raises(TemplateError, match=r"a value contains '\[INST\]'"):
        LLM(Scripted(), chat_template="llama2").render("[INST]")
    allowed = chat_format("llama2", allow_marks=True)
    assert LLM(Scripted(), chat_template=allowed).render("[INST]").text == "<s>[INST] [INST][/INST]"


def test_a_row_with_a_mark_fails_alone():
    good, bad, last = LLM(Scripted(["a", "b"]), chat_template="llama2").batch(["x", "[/INST]", "y"])
    assert good.ok and last.ok
    assert isinstance(bad.error, TemplateError) and bad.prompt == "[/INST]"


def test_what_cannot_be_asked_is_an_error_here_too():
    with pytest.raises(UsageError, match="did you mean template"):
        LLM(Scripted()).render("x", templat="y")  # pyright: ignore[reportCallIssue]
    with pytest.raises(UsageError, match="a mapping of values needs a template="):
        LLM(Scripted()).render({"a": 1})
