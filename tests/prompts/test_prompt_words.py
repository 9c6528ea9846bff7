"""How a prompt is put into words: its parts in their order, and none of them lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from typedllm import LLM, Example, Message, Prompt, Scripted, Segment, TemplateError, UsageError
from typedllm import chat_format as format_of
from typedllm import template as template_named
from typedllm.records import Role

TOLD = 'Answer with JSON only: {"age": int}'
AGE = {"age": "int"}
BLOCKS = "{% block system %}T{% endblock %}{% block user %}{{ user_prompt }}{% endblock %}"
RAW = "{#\nmakes: raw\n#}\n<s>{{ user_prompt }}</s>"


def turn(role: Role, text: str) -> Message:
    return Message(role=role, content=(Segment(text=text),))


def sent(prompt: Any, output_type: Any = None, **options: Any) -> Any:
    engine = Scripted(["x"])
    with LLM(engine) as llm:
        llm.run(prompt, output_type, **options)
    return engine.requests[0].prompt


def said(prompt: Any, output_type: Any = None, **options: Any) -> list[tuple[str, str]]:
    return [(part.role, part.text) for part in sent(prompt, output_type, **options)]


def failed(prompt: Any, **options: Any) -> str:
    with LLM(Scripted(["x"])) as llm, pytest.raises(TemplateError) as caught:
        llm.call(prompt, AGE, **options)
    return str(caught.value)


def test_messages_are_what_most_apis_take() -> None:
    prompt = Prompt(
        user_prompt="Hi", system_prompt="S", history=(turn("user", "a"), turn("assistant", "b"))
    )
    assert prompt.messages() == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "Hi"},
    ]
    assert Prompt(user_prompt="Hi", system_prompt="").messages() == [
        {"role": "user", "content": "Hi"}
    ]
    with pytest.raises(TemplateError, match="makes raw text, where messages are wanted"):
        Prompt(user_prompt="Hi", template=RAW).messages()


def test_text_is_in_the_format_of_a_family() -> None:
    prompt = Prompt(user_prompt="Hi", system_prompt="S")
    assert prompt.text() == "S\n\nUser: Hi\n\nAssistant:"
    assert prompt.text("llama2") == "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nHi[/INST]"
    assert prompt.text(format_of("gemma")).startswith("<bos><start_of_turn>user\nS\n\nHi<end")
    assert Prompt(user_prompt="Hi", template=RAW).text("llama2") == "<s>Hi</s>"
    with pytest.raises(TemplateError, match="no template is called 'llama9'"):
        prompt.text("llama9")
    with pytest.raises(TemplateError, match="it makes no text"):
        Prompt(template="{#\nmakes: raw\n#}{{ x }}", context={"x": ""}).text()


def test_the_order_is_system_examples_history_turn() -> None:
    prompt = Prompt(
        user_prompt="now",
        system_prompt="S",
        examples=[Example("shot", {"age": 1})],
        history=(turn("user", "before"), turn("assistant", "said")),
    )
    turns = [
        *[("user", "shot"), ("assistant", '{"age":1}'), ("user", "before"), ("assistant", "said")],
        ("user", "now"),
    ]
    assert said(prompt, AGE) == [("system", f"S\n\n{TOLD}"), *turns]
    assert said(prompt, AGE, template=BLOCKS) == [("system", f"S\n\nT\n\n{TOLD}"), *turns]
    assert said(prompt, AGE, template="{{ user_prompt }}") == [("system", f"S\n\n{TOLD}"), *turns]


def test_a_system_text_is_joined_with_the_templates_own() -> None:
    assert said("Hi", template=BLOCKS, system="S") == [("system", "S\n\nT"), ("user", "Hi")]
    assert said("Hi", template=BLOCKS) == [("system", "T"), ("user", "Hi")]
    placed = BLOCKS.replace("T", "T for {{ system_prompt }}.")
    assert said("Hi", template=placed, system="S") == [("system", "T for S."), ("user", "Hi")]
    empty = BLOCKS.replace("T", "{{ system_prompt or '' }}")
    assert said("Hi", AGE, template=empty) == [("system", TOLD), ("user", "Hi")]


def test_the_instruction_stands_where_a_template_places_it() -> None:
    placed = "{% block user %}{{ instruction }} Text: {{ user_prompt }}{% endblock %}"
    assert said("Hi", AGE, template=placed) == [("user", f"{TOLD} Text: Hi")]
    assert said("Hi", template=placed) == [("user", "Text: Hi")]
    raw = RAW.replace("{{ user", "{{ instruction }}|{{ user")
    assert "".join(part.text for part in sent("Hi", AGE, template=raw)) == f"<s>{TOLD}|Hi</s>"


def test_history_and_examples_stand_where_a_template_places_them() -> None:
    placed = (
        "{% for each in history %}{{ each.role }}: {{ each.content }}\n{% endfor %}"
        "{% for each in examples %}{{ each.prompt }} = {{ each.answer }}\n{% endfor %}"
        "{{ user_prompt }}"
    )
    prompt = Prompt(user_prompt="2+2", history=(turn("user", "x"),), examples=[Example("1+1", 2)])
    assert said(prompt, template=placed) == [("user", "user: x\n1+1 = 2\n2+2")]


@pytest.mark.parametrize(
    ("prompt", "template", "name"),
    [
        (Prompt(user_prompt="Hi"), "Nothing of {{ city }}", "user_prompt"),
        (Prompt(user_prompt="Hi", system_prompt="S"), RAW, "system_prompt"),
        (Prompt(user_prompt="Hi", examples=[Example("a", {"age": 1})]), RAW, "examples"),
        (Prompt(user_prompt="Hi", history=(turn("user", "a"),)), RAW, "history"),
        (Prompt(user_prompt="Hi"), "{#\nmakes: raw\n#}<s>{{ city }}", "user_prompt"),
    ],
)
def test_what_has_no_place_in_the_template_is_an_error(
    prompt: Prompt, template: str, name: str
) -> None:
    message = failed(prompt, template=template, context={"city": "Oslo"})
    assert f"has no place for {name}, which is given" in message


def test_a_mapping_is_values_for_the_template() -> None:
    template = "{{ text }} by {{ author }}"
    values = {"text": "It was", "author": "Ada"}
    assert said(values, template=template) == [("user", "It was by Ada")]
    assert said({"text": "It was"}, template=template, context={"author": "Ada"}) == [
        ("user", "It was by Ada")
    ]
    with LLM(Scripted(["x"])) as llm, pytest.raises(UsageError, match="needs a template="):
        llm.call(values, None)
    assert "needs author; there is instruction, text" in failed({"text": "x"}, template=template)


def test_what_a_prompt_says_itself_goes_before_the_call() -> None:
    own = Prompt(
        user_prompt="Hi",
        system_prompt="own",
        template="own {{ user_prompt }} {{ a }}{{ b }}",
        context={"a": 1},
        examples=[Example({"user_prompt": "x", "a": 0}, "own")],
    )
    options: dict[str, Any] = {
        "system": "call",
        "template": "call {{ user_prompt }}",
        "context": {"a": 2, "b": 3},
        "examples": [Example("y", "call")],
    }
    turns = [("user", "own x 03"), ("assistant", "own"), ("user", "own Hi 13")]
    assert said(own, **options) == [("system", "own"), *turns]
    plain = [("user", "call y"), ("assistant", "call"), ("user", "call Hi")]
    assert said(Prompt(user_prompt="Hi", system_prompt=""), **options) == plain
    assert said(Prompt(user_prompt="Hi"), **options) == [("system", "call"), *plain]


@pytest.mark.parametrize("make", [str, template_named], ids=["text", "template"])
def test_a_template_is_given_as_text_or_made(make: Callable[[str], Any]) -> None:
    assert said("Hi", template=make("<{{ user_prompt }}>")) == [("user", "<Hi>")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user_prompt": 3}, "Prompt.user_prompt: expected a str"),
        ({"user_prompt": "\ud800"}, "Prompt.user_prompt: a lone surrogate"),
        ({"system_prompt": 3}, "system: expected a str"),
        ({"template": 3}, "template: expected a name, a path or a text"),
        ({"context": [1]}, "context: expected a Mapping"),
        ({"examples": 3}, "examples: expected a Sequence"),
        ({"metadata": 3}, "Prompt.metadata: expected a Mapping"),
        ({"id": 3}, "Prompt.id: expected a str"),
        ({"history": []}, "Prompt.history: expected a tuple"),
        ({"history": ({"role": "user", "content": "x"},)}, r"Prompt.history\[0\]: expected a Mess"),
        ({"examples": [("a", "b")]}, r"examples\[0\]: expected an Example"),
    ],
)
def test_a_part_of_a_wrong_kind_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Prompt(**options)
