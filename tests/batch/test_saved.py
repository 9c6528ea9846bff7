"""What came of a row, saved and restored: the same result."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import hypothesis.strategies as st
import pytest
from hypothesis import given
from pydantic import AfterValidator, BaseModel, ValidationInfo

from tests.constraints.specs import Case, canonical, drawn
from typedllm import (
    LLM,
    Choice,
    EngineError,
    Grammar,
    Invalid,
    Issue,
    JsonSchema,
    PromptTooLong,
    Refused,
    Scripted,
    Truncated,
    UsageError,
    errors,
)
from typedllm.attempts import Policy, Task
from typedllm.batch.saved import Saved, restored, saved
from typedllm.constraints.dialect import Lowered
from typedllm.errors import NotAsked, OutputError, SpecError, TypedLLMError
from typedllm.records import Completion, Reply, Request, Result, Sampling, Traits, Usage

ASKED = Traits(name="asked", takes=frozenset(), ending="may be cut", logprobs=False)
STRICT = replace(ASKED, name="strict", takes=frozenset({JsonSchema}), dialect="openai")
GUIDED = replace(ASKED, name="guided", takes=frozenset({Grammar}), ending="fitted")
QUICK = Policy(attempts=2, multiplier_s=0, min_wait_s=0, max_wait_s=0)


def told(error: BaseException | None) -> object:
    """All that there is of an error, to compare it by."""
    return error and (type(error), error.args, vars(error))


def same(one: Result[Any], other: Result[Any] | None) -> bool:
    assert other is not None
    plain = [replace(each, error=None, prompt=None) for each in (one, other)]
    return plain[0] == plain[1] and told(one.error) == told(other.error)


def through(result: Result[Any], task: Task[Any], now: Task[Any] | None = None) -> Any:
    """Save and restore a result, and see that what is saved has no value in it."""
    kept = saved(result, task)
    assert kept.usage == result.usage
    return restored(kept, now or task)


def asked(llm: LLM, output_type: Any, **options: Any) -> tuple[Result[Any], Task[Any]]:
    return llm.run("x", output_type, **options), llm.asking(output_type, options).task


@pytest.mark.slow
@pytest.mark.parametrize("traits", [ASKED, STRICT, GUIDED], ids=lambda traits: traits.name)
@pytest.mark.parametrize("seed", range(3))
def test_a_result_is_restored_on_drawn_types(traits: Traits, seed: int):
    count = 0

    def body(case: Case, data: st.DataObject) -> None:
        nonlocal count
        engine = Scripted(lambda request: reply, traits=traits)
        try:
            task = LLM(engine).asking(case.type, {}).task
        except SpecError:
            return
        value = data.draw(case.values)
        if task.spec.schema is None:
            text = value if isinstance(value, str) else canonical(value)
        elif isinstance(task.constraint, Lowered):
            text = json.dumps(task.constraint.encode(value), ensure_ascii=data.draw(st.booleans()))
        else:
            text = canonical(value)
            if traits is ASKED and data.draw(st.booleans()):
                text = f"Here it is:\n```json\n{text}\n```"
        if traits is STRICT:
            text = data.draw(st.sampled_from([" ", "", "\n"])) + text
        reply = text
        result, task = asked(LLM(engine), case.type)
        assert same(result, through(result, task))
        elsewhere = LLM(Scripted([], traits=ASKED)).asking(case.type, {}).task
        restored_elsewhere = through(result, task, elsewhere)
        assert same(result, restored_elsewhere)
        count += result.ok

    drawn(seed, 60, body)
    assert count >= 45


class Item(BaseModel):
    sku: str
    amount: int


@pytest.mark.parametrize("traits", [ASKED, STRICT, GUIDED], ids=lambda traits: traits.name)
def test_an_answer_put_together_of_several_is_restored(traits: Traits):
    first = [{"sku": "a", "amount": 1}, {"sku": "b", "amount": "many"}]
    wrapped = {"value": first} if traits is STRICT else first
    llm = LLM(Scripted([wrapped, {"part1": {"sku": "b", "amount": 2}}], traits=traits))
    result, task = asked(llm, list[Item])
    task = replace(task, guaranteed=False)
    if traits is GUIDED:  # which is never asked again, but might be
        return
    assert result.coercions == ("took the part $[1] from a later answer",)
    assert result.value == [Item(sku="a", amount=1), Item(sku="b", amount=2)]
    assert same(result, through(result, task))


@pytest.mark.parametrize(
    ("output_type", "text"),
    [
        (int, "<think>1? No.</think> 7"),
        (Literal["yes", "no"], "Yes."),
        ({"a": "int"}, "Sure! {'a': 1,}"),
        ({"a": "float"}, 'Either {"a": 1} or {"a": 1.0}'),
        (Choice(["red", "green"]), "Answer: red"),
        (None, "<think>x</think>Hello"),
        (None, "12"),
        (str | int, "12"),
    ],
)
def test_an_answer_that_was_found_in_a_text_is_restored_on_any_engine(output_type: Any, text: str):
    result, task = asked(LLM(Scripted([text], traits=ASKED)), output_type)
    assert result.ok
    for traits in (ASKED, STRICT, GUIDED):
        now = LLM(Scripted([], traits=traits)).asking(output_type, {}).task
        assert same(result, through(result, task, now))


def test_a_cut_text_is_restored():
    answer = Completion(text="<think> of it", finish_reason="length", usage=Usage())
    result, task = asked(LLM(Scripted([answer], traits=ASKED)), None)
    assert result.value == "<think> of it"
    assert same(result, through(result, task))


def test_the_answer_of_a_fallback_is_restored():
    first = Scripted([EngineError("down")], traits=ASKED)
    second = Scripted([{"value": [1, 2]}], traits=STRICT)
    result, task = asked(LLM(first, fallback=[second]), list[int])
    assert result.model == "strict"
    assert same(result, through(result, task))


SCORING = replace(ASKED, scores=True)


@dataclass
class Scoring:
    """Scores labels by their length, and answers with the first."""

    answer: str = ""
    traits: Traits = SCORING
    model: str = "m"
    capacity: int = 1
    requests: list[Request] = field(default_factory=list)

    async def send(self, request: Request) -> Reply:
        scores = tuple(-float(len(label)) for label in request.labels)
        return Completion(text=self.answer, finish_reason="stop", usage=Usage(), scores=scores)

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    "labels", [["card", "fee"], bool, Literal[1, 2, "two"], Choice(["a", "b"])]
)
def test_a_classification_is_restored(labels: Any):
    llm = LLM(Scoring())
    result = llm.classify("x", labels)
    task = llm.asking(labels, {"distribution": ["$"]}).task
    assert result.ok
    again = through(result, task)
    assert same(result, again)
    assert list(again.distribution().items()) == list(result.distribution().items())


def test_the_distributions_of_places_are_restored():
    llm = LLM(Scoring('{"topic":"card","sure":true}'))
    spec = {"topic": ["card", "fee"], "sure": "bool"}
    result, task = asked(llm, spec, distribution=["$.topic", "$.sure"])
    assert len(result.distributions) == 2
    assert same(result, through(result, task))
    other = {"topic": ["card", "fee", "cash"], "sure": "bool"}
    now = llm.asking(other, {"distribution": ["$.topic", "$.sure"]}).task
    assert through(result, task, now) is None


def test_what_no_longer_is_a_value_is_not_there():
    engine = Scripted([{"amount": 3, "sku": "a"}])
    result, task = asked(LLM(engine), Item)

    def refuse(item: Item) -> Item:
        raise ValueError("no longer")

    now = LLM(engine).asking(Annotated[Item, AfterValidator(refuse)], {}).task
    assert through(result, task, now) is None


def test_the_context_of_validators_is_that_of_now():
    def known(name: str, info: ValidationInfo) -> str:
        if info.context and name not in info.context:
            raise ValueError("unknown")
        return name

    name = Annotated[str, AfterValidator(known)]
    engine = Scripted([{"value": "Ada"}, {"value": "Ada"}])
    spec = dict[str, name]
    result, task = asked(LLM(engine), spec)
    assert through(result, task).value == {"value": "Ada"}
    now = LLM(engine).asking(spec, {"validation_context": ["Bo"]}).task
    assert through(result, task, now) is None


TASK = LLM(Scripted([])).asking({"age": "int"}, {}).task
any_text = st.text(max_size=9) | st.text('\ud83d\ude00\x00\n"\\é', max_size=9)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | any_text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(any_text, inner, max_size=2),
    max_leaves=4,
)
issues = st.lists(st.builds(Issue, path=any_text, message=any_text), max_size=2)
seconds = st.none() | st.floats(0, 9)
engine_parts = {
    "message": any_text,
    "retryable": st.booleans(),
    "retry_after_s": seconds,
    "status": st.none() | st.integers(100, 599),
    "request_id": st.none() | any_text,
}
output_parts = {"message": any_text, "raw": any_text, "partial": any_json, "issues": issues}


def errors_of(kind: type[TypedLLMError]) -> st.SearchStrategy[TypedLLMError]:
    if issubclass(kind, EngineError):
        return st.builds(kind, **engine_parts)
    if issubclass(kind, Truncated):
        return st.builds(kind, **output_parts, path=any_text)
    if issubclass(kind, OutputError):
        return st.builds(kind, **output_parts)
    return st.builds(kind, any_text)


KINDS = [getattr(errors, name) for name in errors.__all__ if name != "Issue"]


@given(
    error=st.sampled_from(KINDS).flatmap(errors_of),
    raw=st.none() | any_text,
    usage=st.builds(Usage, input_tokens=st.integers(0, 9), cost=st.none() | st.floats(0, 9)),
    latency_s=st.floats(0, 9),
    attempts=st.integers(0, 9),
    reasoning=st.none() | any_text,
    finish_reason=st.sampled_from([None, "stop", "length", "landing", "refusal"]),
    coercions=st.lists(any_text, max_size=2).map(tuple),
    clipped=st.lists(any_text, max_size=2).map(tuple),
    confidence=st.none() | st.dictionaries(any_text, st.floats(0, 1), min_size=1, max_size=2),
)
def test_every_error_is_restored(**parts: Any):
    result: Result[Any] = Result(**parts)
    assert same(result, through(result, TASK))


def test_nan_and_infinity_are_restored():
    partial = [float("inf"), float("-inf"), float("nan")]
    error = Invalid("bad", raw="[1e999]", partial=partial)
    again = through(Result(error=error, raw="[1e999]"), TASK)
    assert again.error.partial[:2] == partial[:2]
    assert again.error.partial[2] != again.error.partial[2]


@pytest.mark.parametrize("partial", [{1, 2}, [object()], [10**5000]])
def test_a_part_that_json_cannot_write_is_left_out(partial: object):
    again = through(Result(error=Invalid("bad", raw="x", partial=partial)), TASK)
    assert again.error.partial is None
    assert told(again.error) == told(Invalid("bad", raw="x"))


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (None, "valid", None),
        (Refused("no", raw=""), "invalid", "Refused"),
        (PromptTooLong("long"), "invalid", "PromptTooLong"),
        (EngineError("down"), "failed", "EngineError"),
        (NotAsked("stopped"), "failed", "NotAsked"),
    ],
)
def test_the_side_of_an_error_is_the_status(error: Any, status: str, kind: str | None):
    kept = saved(Result(error=error, raw="{}", value=None if error else {}), TASK)
    assert (kept.status, kept.error) == (status, kind)


def test_an_error_of_a_class_of_ones_own_is_the_nearest_of_ours():
    class Odd(UsageError):
        status = 7

    again = through(Result(error=Odd("odd")), TASK)
    assert told(again.error) == told(UsageError("odd"))


def test_a_key_that_a_service_repeats_is_not_saved():
    error = EngineError("Incorrect API key provided: sk-abcdefghijklmnop1234", status=401)
    kept = saved(Result(error=error), TASK)
    assert "sk-abc" not in kept.rest
    assert restored(kept, TASK).error.status == 401


def test_the_value_and_what_was_asked_are_not_saved():
    result = Result(value={"age": 3}, raw='{"age":3}', id="7", metadata={"a": 1}, prompt="secret")
    kept = saved(result, TASK)
    assert isinstance(kept, Saved)
    assert set(json.loads(kept.rest)) == {
        *("raw", "attempts", "finish_reason", "latency_s", "reasoning", "model"),
    }


def test_the_sampling_of_a_task_does_not_matter():
    result, task = asked(LLM(Scripted([{"age": 3}])), {"age": "int"})
    now = replace(task, sampling=Sampling(temperature=1))
    assert same(result, through(result, task, now))
