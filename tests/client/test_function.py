"""Typed functions: parameters for the values, a docstring for the prompt, a type of answer."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from typedllm import (
    LLM,
    EngineError,
    Example,
    Sampling,
    Scripted,
    SpecError,
    TemplateError,
    UsageError,
)


class Ticket(BaseModel):
    topic: Literal["billing", "delivery"]
    urgent: bool


TICKET = {"topic": "billing", "urgent": True}


def scripted(*replies: object) -> tuple[LLM, Scripted]:
    engine = Scripted(list(replies))
    return LLM(engine), engine


def asked(engine: Scripted, at: int = -1) -> list[str]:
    return [turn.text for turn in engine.requests[at].prompt]


def test_parameters_fill_the_docstring_and_the_return_type_is_the_answers():
    llm, engine = scripted(TICKET)

    @llm.function
    def triage(message: str, product: str) -> Ticket:
        """File this message about {{ product }}: {{ message }}"""
        ...

    assert triage("It is broken.", product="the lamp") == Ticket(topic="billing", urgent=True)
    system, user = asked(engine)
    assert user == "File this message about the lamp: It is broken."
    assert system.startswith("Answer with JSON only: ")


def test_it_keeps_name_docstring_and_defaults():
    llm, engine = scripted("ok")

    @llm.function
    def greet(name: str, *, tone: str = "kind") -> str:
        """
        Greet {{ name }}
        in a {{ tone }} way.
        """
        ...

    assert greet.__name__ == "greet" and "Greet" in (greet.__doc__ or "")
    assert greet("Ada") == "ok"
    assert asked(engine) == ["Greet Ada\nin a kind way."]


async def test_an_async_function_is_awaited():
    llm, _ = scripted(3, 4)

    @llm.function
    async def count(text: str) -> int:
        """How many words are in: {{ text }}"""
        ...

    assert await count("a b c") == 3
    assert (await count.arun("a b c d")).value == 4


def test_a_method_is_bound_to_its_object():
    llm, engine = scripted('"good"', '"bad"')

    class Desk:
        def __init__(self, name: str) -> None:
            self.name = name

        @llm.function
        def mood(self, text: str) -> Literal["good", "bad"]:
            """To {{ this.name }} somebody says: {{ text }}"""
            ...

    assert Desk("Ada").mood("Thanks!") == "good"
    assert asked(engine)[-1] == "To Ada somebody says: Thanks!"
    assert Desk("Bo").mood.run(text="No!").value == "bad"
    assert Desk("Cy").mood.render("Hm").messages[-1].text == "To Cy somebody says: Hm"


def test_a_batch_takes_mappings_tuples_and_single_arguments():
    llm = LLM(Scripted(lambda request: {"age": int(request.prompt[-1].text.split()[-1])}))

    @llm.function
    def age(text: str, prefix: str = "of") -> dict[str, int]:
        """{{ prefix }} {{ text }}"""
        ...

    results = age.batch(["1", ("2", "by"), {"prefix": "in", "text": "3"}], ids=["a", "b", "c"])
    assert results.values() == [{"age": 1}, {"age": 2}, {"age": 3}]
    assert [row.id for row in results] == ["a", "b", "c"]
    good, bad = age.batch(["1", {"no": 1}])
    assert good.ok and bad.prompt == {"no": 1}
    assert str(bad.error).endswith("age: missing a required argument: 'text'")
    assert asyncio.run(age.abatch(["7"])).values() == [{"age": 7}]


def test_run_gives_the_result_and_explain_the_plan():
    down = EngineError("down")
    llm, _ = scripted(down, down)

    @llm.function
    def triage(message: str) -> Ticket:
        """{{ message }}"""
        ...

    assert triage.run("a").error is down
    with pytest.raises(EngineError, match="down"):
        triage("a")
    assert triage.explain().guaranteed


def test_a_template_by_name_and_the_keywords_of_run_go_with_every_call():
    llm, engine = scripted('"positive"')

    @llm.function(template="classify", system="Choose.", sampling=Sampling(max_tokens=9))
    def sort(user_prompt: str, labels: list[str]) -> Literal["positive", "negative"]: ...

    assert sort("Well!", labels=["positive", "negative"]) == "positive"
    assert asked(engine)[0].startswith("Choose.\n\nThe labels:\n- positive\n- negative\n\nAnswer")
    assert engine.requests[0].sampling.max_tokens == 9


def test_values_of_any_kind_are_put_in_and_none_is_trusted():
    llm, engine = scripted("ok")

    @dataclass
    class Order:
        sku: str

    @llm.function
    def tell(order: Order, ticket: Ticket, tags: list[str]) -> str:
        """{{ order }} {{ order.sku }} {{ ticket }} {{ tags }} <|end|>"""
        ...

    tell(Order("<|end|>"), Ticket(**TICKET), ["a", "b"])
    segments = engine.requests[0].prompt[0].content
    assert [segment.text for segment in segments if not segment.trusted] == [
        '{"sku":"<|end|>"}',
        "<|end|>",
        json.dumps(TICKET, separators=(",", ":")),
        '["a","b"]',
    ]
    assert segments[-1].text == " <|end|>" and segments[-1].trusted


def none() -> int: ...


def unannotated(x: str):
    """{{ x }}"""


def unknown(x: str) -> Missing:  # noqa: F821 # pyright: ignore
    """{{ x }}"""


def variable(*x: str) -> int:
    """{{ x }}"""
    ...


def other(x: str) -> int:
    """{{ y }} {{ x }}"""
    ...


def broken(x: str) -> int:
    """{% if x"""
    ...


@pytest.mark.parametrize(
    ("written", "error", "message"),
    [
        (none, UsageError, "none: write the prompt as its docstring, or give template="),
        (unannotated, UsageError, "unannotated: write what it returns"),
        (unknown, SpecError, "unknown: name 'Missing' is not defined"),
        (variable, UsageError, r"variable: \*x: 'str': each value needs a parameter of its own"),
        (other, TemplateError, "other: the template wants y, and the parameters are x"),
        (broken, TemplateError, "line 1"),
    ],
)
def test_what_is_no_typed_function_is_found_when_it_is_made(
    written: Any, error: type[Exception], message: str
):
    llm, _ = scripted()
    with pytest.raises(error, match=message):
        llm.function(written)


def test_arguments_that_do_not_fit_are_found_before_any_call():
    llm, engine = scripted("x")

    @llm.function
    def say(x: str) -> str:
        """{{ x }}"""
        ...

    with pytest.raises(UsageError, match="missing a required argument: 'x'"):
        say()  # pyright: ignore[reportCallIssue]
    with pytest.raises(UsageError, match="function takes no keyword 'sampel'"):
        llm.function(sampel=1)  # pyright: ignore[reportCallIssue]
    assert engine.requests == []


def test_the_packaged_model_answers(embedded_llm: LLM):
    @embedded_llm.function
    def read(message: str) -> dict[Literal["age"], int]:
        """{{ message }}"""
        ...

    assert isinstance(read("I am 25 years old.")["age"], int)
    rendered = read.render("Hi")
    assert rendered.text.endswith("<|user|>Hi<|assistant|>")
    assert rendered.tokens == read.run("Hi").usage.input_tokens


def test_a_parameter_without_a_place_and_self_are_found_when_it_is_made():
    llm, _ = scripted()

    def braces(text: str) -> int:
        """Read the age in {text}"""
        ...

    def own(self: Any, text: str) -> int:
        """{{ self.name }} {{ text }}"""
        ...

    with pytest.raises(TemplateError, match="no place for the parameter text; write"):
        llm.function(braces)
    with pytest.raises(TemplateError, match="write `this` instead"):
        llm.function(own)
    with pytest.raises(UsageError, match="expected a function with a return type, got 5"):
        llm.function(5)  # pyright: ignore


def test_examples_are_written_as_the_model_would_and_checked():
    llm, engine = scripted('"good"', '"good"')

    @llm.function(examples=[Example("Thanks!", "good")])
    def mood(user_prompt: str) -> Literal["good", "bad"]:
        """{{ user_prompt }}"""
        ...

    mood("Hi")
    assert asked(engine)[1:3] == ["Thanks!", '"good"']
    with pytest.raises(UsageError, match="the answer 'fine' is none of the output type"):
        llm.call("x", Literal["good", "bad"], examples=[Example("Hm", "fine")])
    with pytest.raises(UsageError, match="is none of the output type"):
        llm.call("x", {"age": "int"}, examples=[Example("Hm", {"ag": 3})])


def test_values_without_a_template_are_an_error_and_not_dropped():
    llm, engine = scripted("x")
    with pytest.raises(UsageError, match="context: place is given, and there is no template="):
        llm.call("Hi", context={"place": "Oslo"})
    with pytest.raises(TemplateError, match="user_prompt is given twice"):
        llm.call("Hi", template="{{ user_prompt }}", context={"user_prompt": "other"})
    assert engine.requests == []
