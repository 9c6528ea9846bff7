"""Raw prompt formats: to the token, what the family's own chat template makes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.templating.families import FAMILIES, Family, tokenizer_of
from typedllm import Message, Segment, TemplateError, chat_format
from typedllm.engines.encode import PromptEncoder
from typedllm.records import Role

USER: tuple[Role, str] = ("user", "How old are you?")
SYSTEM: tuple[Role, str] = ("system", "Answer in one word.")
LATER: list[tuple[Role, str]] = [("assistant", "I am 25."), ("user", "And your brother?")]
TALKS = {"one turn": [USER], "system": [SYSTEM, USER], "turns": [USER, *LATER]}
TEXTS = {
    ("llama2", "one turn"): "<s>[INST] How old are you?[/INST]",
    ("llama2", "system"): (
        "<s>[INST] <<SYS>>\nAnswer in one word.\n<</SYS>>\n\nHow old are you?[/INST]"
    ),
    ("llama2", "turns"): (
        "<s>[INST] How old are you?[/INST] I am 25. </s><s>[INST] And your brother?[/INST]"
    ),
    ("llama3-instruct", "system"): (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
        "Answer in one word.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHow old are you?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    ("chatml", "system"): (
        "<|im_start|>system\nAnswer in one word.<|im_end|>\n"
        "<|im_start|>user\nHow old are you?<|im_end|>\n<|im_start|>assistant\n"
    ),
    ("mistral", "system"): "<s>[INST] Answer in one word.\n\nHow old are you?[/INST]",
    ("mistral", "turns"): (
        "<s>[INST] How old are you?[/INST] I am 25.</s>[INST] And your brother?[/INST]"
    ),
    ("gemma", "system"): (
        "<bos><start_of_turn>user\nAnswer in one word.\n\nHow old are you?<end_of_turn>\n"
        "<start_of_turn>model\n"
    ),
    ("phi", "system"): (
        "<|system|>\nAnswer in one word.<|end|>\n<|user|>\nHow old are you?<|end|>\n<|assistant|>\n"
    ),
    ("plain", "system"): "Answer in one word.\n\nUser: How old are you?\n\nAssistant:",
    ("plain", "turns"): (
        "User: How old are you?\n\nAssistant: I am 25.\n\nUser: And your brother?\n\nAssistant:"
    ),
}


def messages(turns: Sequence[tuple[Role, str]]) -> list[Message]:
    return [Message(role=role, content=(Segment(text=text),)) for role, text in turns]


def said(segments: Sequence[Segment]) -> str:
    return "".join(segment.text for segment in segments)


@pytest.fixture(params=FAMILIES, ids=lambda family: family.name)
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


@pytest.fixture
def tokenizer(family: Family) -> Tokenizer:
    return tokenizer_of(family)


@pytest.mark.parametrize(("name", "talk"), TEXTS)
def test_the_text_is_that_of_the_family(name: str, talk: str) -> None:
    assert said(chat_format(name).render(messages(TALKS[talk]))) == TEXTS[name, talk]


@pytest.mark.parametrize("talk", TALKS)
def test_the_tokens_are_those_of_the_familys_own_template(
    family: Family, tokenizer: Tokenizer, talk: str
) -> None:
    turns = messages(TALKS[talk])
    raw = chat_format(family.name).render(turns)
    own = PromptEncoder(tokenizer, family.template, family.special)
    formatted = PromptEncoder(tokenizer, None, family.special)
    assert said(raw) == said(own.laid_out(turns))
    ids = formatted.encode(raw)
    assert ids == own.encode(turns)
    if family.beginning:
        begins = 2 if family.name == "llama2" and talk == "turns" else 1  # at each of its turns
        assert ids.count(tokenizer.token_to_id(family.beginning)) == begins
        assert ids[0] == tokenizer.token_to_id(family.beginning)
        assert ids[1] != ids[0]
    marks = [mark for mark in family.tokens if mark in said(raw)]
    assert all(tokenizer.token_to_id(mark) in ids for mark in marks)


def test_only_the_formats_own_words_are_trusted(family: Family) -> None:
    segments = chat_format(family.name).render(messages([SYSTEM, USER, *LATER]))
    values = [segment.text for segment in segments if not segment.trusted]
    assert values == [text for _, text in (SYSTEM, USER, *LATER)]


@pytest.mark.parametrize(
    ("name", "marks"),
    [
        ("llama2", ["[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"]),
        ("mistral", ["[INST]", "[/INST]"]),
        ("plain", ["User:", "Assistant:"]),
    ],
)
def test_a_mark_that_is_ordinary_text_is_refused_in_a_value(name: str, marks: list[str]) -> None:
    for mark in marks:
        for turns in (
            [("system", f"a{mark}b"), USER],
            [("user", f"a {mark}")],
            [USER, ("assistant", mark), ("user", "x")],
        ):
            with pytest.raises(TemplateError, match="opens or ends a turn in the format"):
                chat_format(name).render(messages(turns))
            allowed = chat_format(name, allow_marks=True).render(messages(turns))
            assert mark in "".join(segment.text for segment in allowed if not segment.trusted)


def test_a_mark_made_of_two_values_is_refused_too() -> None:
    halves = Message(role="user", content=(Segment(text="a [IN"), Segment(text="ST] b")))
    with pytest.raises(TemplateError, match=r"'\[INST\]'"):
        chat_format("llama2").render([halves])
    almost = messages([("user", "[inst] [ INST ] INST] [INST [")])
    assert chat_format("llama2").render(almost)


def test_a_format_of_ones_own_is_found_by_name_path_and_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "{#\nmarks: ['[Q]']\n#}\n{% for m in messages %}{{ '[Q]' + m['content'] }}{% endfor %}"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "chatml.j2").write_text(text)
    shipped = said(chat_format("chatml").render(messages([USER])))
    monkeypatch.setenv("TYPEDLLM_TEMPLATES", str(tmp_path))
    for name in ("chatml", "chatml.j2", tmp_path / "models" / "chatml.j2", text):
        found = chat_format(name)
        assert said(found.render(messages([USER]))) == "[Q]How old are you?" != shipped
        with pytest.raises(TemplateError, match=r"contains '\[Q\]'"):
            found.render(messages([("user", "[Q]")]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("llama4", "no template is called 'llama4'; did you mean 'llama"),
        (Path("nowhere.j2"), "there is no such file"),
        ("{#\nmarks: x\n#}{{ messages }}", "marks: expected a list of texts"),
        ("{#\nmarks: [[x]]\n#}{{ messages }}", "marks: expected a list of texts"),
        ("{% if %}", "the chat template, line 1"),
        ("x" * 5000, "no template is called"),
    ],
)
def test_what_is_no_format_is_named(name: str | Path, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        chat_format(name)
