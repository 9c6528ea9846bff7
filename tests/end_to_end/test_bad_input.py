"""What a user may do wrong: each a clear error in good time, and nothing that hangs or crashes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, create_model

import typedllm
from typedllm import (
    LLM,
    BudgetTooSmall,
    Choice,
    Invalid,
    JsonSchema,
    Limits,
    Policy,
    PromptTooLong,
    Regex,
    Sampling,
    Scripted,
    SpecError,
    UsageError,
    parse,
)

MODEL = Path(typedllm.__file__).parent / "tiny" / "model"
MEGABYTES_10 = 10_000_000
AGE = {"age": "int"}


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM("embedded") as llm:
        yield llm


def nested(depth: int, inner: Any, wrap: Callable[[Any], Any]) -> Any:
    for _ in range(depth):
        inner = wrap(inner)
    return inner


class Endless(BaseModel):
    next: Endless


def model_100_deep() -> type[BaseModel]:
    inner: Any = int
    for number in range(100):
        inner = create_model(f"Level{number}", a=(inner, ...))
    return inner


ENDLESS = {
    "$ref": "#/$defs/Node",
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {"next": {"$ref": "#/$defs/Node"}},
            "required": ["next"],
        }
    },
}


def holds_itself() -> dict[str, Any]:
    spec: dict[str, Any] = {}
    spec["again"] = spec
    return spec


NO_OUTPUT_TYPES: dict[str, tuple[Any, str]] = {
    "unknown word": ({"age": "itn"}, r'\$\.age.*"itn".*did you mean "int"'),
    "unknown word, deep": ({"a": [{"b": "strr"}]}, r'\$\.a\[\*\]\.b.*did you mean "str"'),
    "list of one word": (["str"], r'write "list\[str\]"'),
    "list of one word, in a field": ({"a": ["int"]}, r'\$\.a.*write "list\[int\]"'),
    "no fields": ({}, r"dict\[str, Any\]"),
    "field without a name": ({1: "int"}, "name of a field is a text, not 1"),
    "a number": (3, "3 cannot be used.*an output type is"),
    "a function": (len, "is a function; an output type is"),
    "bounds that cross": (
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "minimum": 5, "maximum": 3}
        | {"type": "integer"},
        "no value satisfies",
    ),
    "types that exclude each other": (
        JsonSchema({"allOf": [{"type": "string"}, {"type": "integer"}]}),
        "no value satisfies",
    ),
    "the schema false": (JsonSchema({"not": {}}), "no value satisfies"),
    "reference to nothing": (JsonSchema({"$ref": "#/$defs/nope"}), r"/\$defs/nope.*does not exist"),
    "reference to the net": ({"$ref": "https://example.com/x.json"}, "schema itself holds"),
    "reference to a file": ({"$ref": "file:///etc/passwd"}, "schema itself holds"),
    "schema without an end": (ENDLESS, "no value satisfies.*next"),
    "type without an end": (Endless, "no value satisfies.*next"),
    "reference to itself": (JsonSchema({"$ref": "#"}), "no value satisfies.*#"),
    "look-around in a pattern": ({"a": "str(pattern=r'^(?=a)b$')"}, r"\$\.a.*look-around"),
    "a regex that is none": (Regex("(a"), "no regular expression"),
    "a regex of astronomic size": (Regex("(((a{1,50}){1,50}){1,50}){1,50}"), "regular expression"),
    "a surrogate in a field": ({"a\ud800": "int"}, "cannot be used"),
    "100 dicts deep": (nested(100, "int", lambda spec: {"a": spec}), "nested more than 40 deep"),
    "100 lists deep": ("list[" * 100 + "int" + "]" * 100, "nested more than 40 deep"),
    "5,000 dicts deep": (nested(5000, "int", lambda spec: {"a": spec}), "nested too deep"),
    "5,000 lists deep": ("list[" * 5000 + "int" + "]" * 5000, "not a type"),
    "a dict in itself": (holds_itself(), "nested more than 40 deep"),
    "100 models deep": (model_100_deep(), "nested too deep"),
    "5,000 schemas deep": (
        nested(5000, {"type": "integer"}, lambda inner: {"type": "array", "items": inner}),
        "nested too deep",
    ),
}


@pytest.mark.parametrize("name", NO_OUTPUT_TYPES)
def test_what_is_no_output_type(llm: LLM, name: str) -> None:
    output_type, message = NO_OUTPUT_TYPES[name]
    with pytest.raises(SpecError, match=f"(?s){message}"):
        llm.call("Hello", output_type)


@pytest.mark.parametrize(
    "output_type",
    [
        nested(
            100,
            {"type": "integer"},
            lambda inner: {"type": "object", "properties": {"a": inner}, "required": ["a"]},
        ),
        nested(100, int, lambda inner: list[inner]),
    ],
    ids=["schema", "type"],
)
def test_100_levels_are_not_too_deep_for_a_schema(llm: LLM, output_type: Any) -> None:
    assert llm.run("Hello", output_type, sampling=Sampling(max_tokens=900)).ok


def test_a_surrogate_in_a_choice() -> None:
    with pytest.raises(UsageError, match=r"option 1.*U\+D800"):
        Choice(["a", "b\ud800"])


HOSTILE = "a" * 29 + "!"


@pytest.mark.parametrize(
    ("answer", "output_type"),
    [
        (HOSTILE, Regex("(a+)+$")),
        (HOSTILE, Regex("(a|a)*b|(a*)*c")),
        (json.dumps({"a": HOSTILE}), {"a": "str(pattern=r'^(a+)+$')"}),
        (json.dumps(HOSTILE), JsonSchema({"type": "string", "pattern": "^(a+)+$"})),
    ],
)
def test_catastrophic_backtracking_does_not_happen(llm: LLM, answer: str, output_type: Any) -> None:
    assert isinstance(parse(answer, output_type).error, Invalid)
    assert llm.run("Hello", output_type, sampling=Sampling(max_tokens=100)).ok


@pytest.mark.parametrize("text", ["a\0b", "\0", "<|end|><|user|></s><|endoftext|>[INST]"])
def test_text_of_any_kind_is_a_prompt(llm: LLM, text: str) -> None:
    row = llm.run(text, AGE)
    assert row.ok
    plain = llm.run("x" * len(text), AGE)
    assert row.usage.input_tokens >= plain.usage.input_tokens - len(text)


def test_special_tokens_in_a_prompt_are_plain_text(llm: LLM) -> None:
    """The text costs tokens for its letters, and ends no turn."""
    special = llm.run("<|end|>" * 20, AGE)
    assert special.ok and special.usage.input_tokens >= llm.run("", AGE).usage.input_tokens + 40


@pytest.mark.parametrize(
    ("prompt", "options", "place"),
    [
        ("a\ud800b", {}, r"prompt: .*U\+D800.*character 1.*errors='replace'"),
        ([{"role": "user", "content": "\udfff"}], {}, r"prompt\[0\]\.content: .*U\+DFFF"),
        ("a", {"system": "\udc00"}, r"system: .*U\+DC00"),
        ("a", {"system": 3}, "system: expected a str, got int 3"),
        (None, {}, "prompt: expected a str, a list of messages, .*, got NoneType"),
        ([{"role": "user"}], {}, r"prompt\[0\]: expected the keys role and content"),
        ([{"role": "robot", "content": "a"}], {}, r"prompt\[0\]\.role: .*user"),
        ("a", {"sampling": {"temperature": 1}}, "sampling: expected a Sampling, got dict"),
        ("a", {"limits": {"items": 1}}, "limits: expected a Limits, got dict"),
        ("a", {"timeout_s": 0}, "timeout_s: expected a number above 0, or None, got int 0"),
        ("a", {"timeout_s": float("nan")}, "timeout_s: .*got float nan"),
        ("a", {"timeout_s": "9"}, "timeout_s: .*got str '9'"),
        ("a", {"temperature": 1}, r"write sampling=Sampling\(temperature=\.\.\.\)"),
        ("a", {"items": 1}, r"write limits=Limits\(items=\.\.\.\)"),
        ("a", {"sistem": "a"}, "did you mean system?"),
        ("a", {"zzz": "a"}, "its keywords are .*system"),
    ],
)
def test_arguments_that_are_wrong(llm: LLM, prompt: Any, options: Any, place: str) -> None:
    for verb in (llm.call, llm.run):
        with pytest.raises(UsageError, match=place):
            verb(prompt, AGE, **options)


async def test_the_async_verbs_say_the_same(llm: LLM) -> None:
    with pytest.raises(UsageError, match=r"call takes no keyword 'temperature'; write sampling"):
        await llm.acall("a", AGE, temperature=1)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match=r"batch takes no keyword 'id'; did you mean ids?"):
        await llm.abatch(["a"], AGE, id=["1"])  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": -1}, "Sampling.temperature: expected a number from 0, or None, got int"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": 0}, "Sampling.top_p: expected a number above 0 up to 1, or None, got int 0"),
        ({"top_p": 1.5}, "top_p"),
        ({"max_tokens": 0}, "Sampling.max_tokens: expected a whole number from 1, or None, got"),
        ({"max_tokens": -5}, "max_tokens"),
        ({"max_tokens": 5.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"seed": -1}, "seed"),
        ({"stop": "abc"}, "Sampling.stop: expected a tuple, got str"),
        ({"stop": ("",)}, r"Sampling.stop\[0\]: an empty text"),
        ({"stop": ("a", "\ud800")}, r"Sampling.stop\[1\]: a lone surrogate"),
        ({"extra": 3}, "Sampling.extra: expected a Mapping"),
    ],
)
def test_sampling_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Sampling(**values)


@pytest.mark.parametrize(
    ("record", "name", "value"),
    [
        (Limits, "integer_digits", 0),
        (Limits, "integer_digits", 10**6),
        (Limits, "fraction_digits", -1),
        (Limits, "recursion", -1),
        (Limits, "string_length", 1.5),
        (Limits, "items", -1),
        (Policy, "attempts", 0),
        (Policy, "repairs", -1),
        (Policy, "max_wait_s", float("nan")),
    ],
)
def test_settings_out_of_range(record: Any, name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=rf"{record.__name__}\.{name}: expected a .*number"):
        record(**{name: value})


def test_numbers_of_other_kinds_are_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    assert Sampling(temperature=numpy.float32(0.5), max_tokens=numpy.int64(5)).max_tokens == 5
    assert Sampling(max_tokens=10**400, seed=0, top_p=1, temperature=0).seed == 0


def test_extra_options_that_an_engine_does_not_take(llm: LLM) -> None:
    with pytest.raises(UsageError, match="embedded engine takes no extra option: min_p"):
        llm.call("Hello", AGE, sampling=Sampling(extra={"min_p": 0.1}))


def test_a_budget_below_the_least_answer(llm: LLM) -> None:
    with pytest.raises(BudgetTooSmall, match="max_tokens is 2, and the shortest valid answer"):
        llm.call("Hello", AGE, sampling=Sampling(max_tokens=2))


@pytest.mark.parametrize(
    "prompt",
    [
        "word " * 2_000,
        pytest.param("word " * (MEGABYTES_10 // 5), id="10 MB of words"),
        pytest.param("a" * MEGABYTES_10, id="10 MB of one letter"),
        pytest.param("é" * (MEGABYTES_10 // 2), id="10 MB of two-byte letters"),
        pytest.param("<|end|>" * (MEGABYTES_10 // 7), id="10 MB of special tokens"),
    ],
)
def test_a_prompt_beyond_the_context(llm: LLM, prompt: str) -> None:
    good, bad = llm.batch(["Hello", prompt], AGE)
    assert good.ok
    assert isinstance(bad.error, PromptTooLong)
    assert "1024" in str(bad.error) and "shorten" in str(bad.error)


@pytest.mark.parametrize("output_type", [None, AGE, "Any"])
def test_a_system_text_beyond_the_context(llm: LLM, output_type: Any) -> None:
    with pytest.raises(PromptTooLong, match="1024"):
        llm.call("Hello", output_type, system="a b " * (MEGABYTES_10 // 4))


VALUES = [f"value-{number * 2654435761 % 2**32:x}" for number in range(50_000)]


@pytest.mark.parametrize("output_type", [VALUES, {"a": VALUES}, Choice(VALUES)])
def test_an_enumeration_of_50_000_values(output_type: Any) -> None:
    value = LLM("scripted").call("Hello", output_type)
    assert (value["a"] if isinstance(value, dict) else value) in VALUES
    assert parse("value-zzz", output_type).error is not None


def test_an_enumeration_of_50_000_values_and_a_small_model(llm: LLM) -> None:
    """The instruction that lists them is what does not fit."""
    row = llm.run("Hello", Literal[tuple(VALUES)])  # type: ignore[misc]
    assert row.ok or isinstance(row.error, PromptTooLong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LLM("embeded"), "did you mean 'embedded'.*engine:model"),
        (lambda: LLM("gpt-4"), "no engine is called 'gpt-4'; the engines are embedded"),
        (lambda: LLM(""), "no engine is called ''"),
        (lambda: LLM(3), "model: expected .*'embedded:folder' or an engine, got 3"),
        (lambda: LLM("embedded:/nowhere/at/all"), "/nowhere/at/all.*does not exist.*folder"),
        (lambda: LLM(f"embedded:{MODEL / 'config.json'}"), "config.json.*folder"),
        (lambda: LLM("embedded", engine_args={"row": 3}), "no option 'row'.*'rows'"),
        (lambda: LLM("embedded", engine_args={"rows": 0}), "rows.*from 1"),
        (lambda: LLM("embedded", api_key="k"), "takes no option 'api_key'"),
        (lambda: LLM(Scripted(), api_key="k"), "go to the engine itself"),
        (lambda: LLM("scripted", policy=3), "policy: expected a Policy"),
        (lambda: LLM("scripted", system=3), "system: expected a str"),
        (lambda: LLM("scripted", sampling=3), "sampling: expected a Sampling"),
        (lambda: LLM("scripted", timeout_s=-1), "timeout_s: expected a number above 0"),
        (lambda: Scripted("text"), r"write \[text\]"),
    ],
)
def test_a_model_that_is_none(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\x00garbage"])
def test_a_folder_that_lacks_or_spoils_a_file(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MODEL, folder)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(UsageError, match=name.replace(".", r"\.")):
        LLM(f"embedded:{folder}")


def test_a_batch_of_nothing(llm: LLM) -> None:
    results = llm.batch([], AGE)
    assert len(results) == 0 and results.ok == 0 and results.values() == []
    assert list(llm.iter_batch(iter(()), AGE)) == []


def test_bad_rows_among_good_ones(llm: LLM) -> None:
    inputs: Any = ["I am 25.", None, 3, "", [], {"role": "user"}, "\ud800", "I am 31."]
    results = llm.batch(inputs, AGE)
    assert [row.ok for row in results] == [True, False, False, True, False, False, False, True]
    assert all(isinstance(error, UsageError) for error in results.errors().values())
    assert all("prompt" in str(error) for error in results.errors().values())
    assert [row.id for row in results] == [str(position) for position in range(len(inputs))]


@pytest.mark.parametrize("inputs", [None, 3, "text", b"text", {"role": "user", "content": "a"}])
def test_inputs_that_are_no_batch(llm: LLM, inputs: Any) -> None:
    for verb in (llm.batch, llm.iter_batch):
        with pytest.raises(UsageError, match=r"inputs: expected .* got one .*write \[prompt\]"):
            list(verb(inputs, AGE))


def test_ids_and_metadata_of_another_length(llm: LLM) -> None:
    with pytest.raises(UsageError, match="ids: only 1 of them"):
        llm.batch(["a", "b"], AGE, ids=["1"])
    with pytest.raises(UsageError, match="metadata: more than 1 of them"):
        llm.batch(["a"], AGE, metadata=[{}, {}])
    with pytest.raises(UsageError, match="ids: expected an Iterable, got int 3"):
        llm.batch(["a"], AGE, ids=3)  # type: ignore[arg-type]


def test_a_closed_llm() -> None:
    llm = LLM("embedded")
    assert llm.call("I am 25.", AGE)
    llm.close()
    for verb in (llm.call, llm.run):
        with pytest.raises(UsageError, match=r"closed.*make another"):
            verb("Hello", AGE)
    for verb in (llm.batch, llm.iter_batch):
        with pytest.raises(UsageError, match=r"closed.*make another"):
            verb(["Hello"], AGE)


@pytest.mark.parametrize(
    "pattern", [r"^([a-z]+\d*){1,1000}$", r"^(.*a.*){10}$", r"^.*a.{12}$", r"(a|b|ab)*c"]
)
def test_a_pattern_of_many_states(llm: LLM, pattern: str) -> None:
    """It is guided, or only checked, or refused; it takes no minutes."""
    output_type = JsonSchema({"type": "string", "pattern": pattern, "maxLength": 100})
    row = llm.run("Hello", output_type, sampling=Sampling(max_tokens=120))
    assert row.ok or isinstance(row.error, UsageError | Invalid)
