"""The summary of results, for people to read."""

from __future__ import annotations

import pytest

from typedllm import LLM, Message, Prompt, PromptCollection, Scripted, Segment

LABELS = [
    "user prompt",
    "context",
    "response",
    "system prompt",
    "metadata",
    "request id",
    "prompt id",
    "conversation id",
    "processing time",
]


def printed(llm: LLM, inputs: object, capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    llm.batch(inputs, {"age": "int"}).print_summary()  # pyright: ignore
    blocks = capsys.readouterr().out.rstrip("\n").split("\n\n")
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def test_each_response_is_shown_with_all_that_belongs_to_it(capsys: pytest.CaptureFixture[str]):
    collection = PromptCollection(
        ["I am 25.", "I am 31."],
        system_prompts="Be exact.",
        contexts=[{"a": 1}, {"a": 2}],
        template="{{ user_prompt }} {{ a }}",
        metadata=[{"row": 1}, {}],
        conversation_ids=["x", "y"],
    )
    first, second = printed(LLM(Scripted([{"age": 25}, {"age": 31}])), collection, capsys)
    assert list(first) == list(second) == LABELS
    seconds = first.pop("processing time")
    assert seconds.endswith(" s") and float(seconds[:-2]) >= 0
    assert list(first.values()) == [
        "I am 25.",
        '{"a":1}',
        '{"age":25}',
        "Be exact.",
        '{"row":1}',
        "0",
        collection[0].id,
        "x",
    ]
    assert (second["context"], second["metadata"], second["request id"]) == ('{"a":2}', "-", "1")


def test_whatever_was_asked_is_shown_and_errors_stand_in_their_place(
    capsys: pytest.CaptureFixture[str],
):
    asked = [
        "text",
        [{"role": "user", "content": "turn"}],
        [Message(role="user", content=(Segment(text="mess"), Segment(text="age")))],
        Prompt(user_prompt="prompt"),
        3,
        "\ud800",
        [],
    ]
    blocks = printed(LLM(Scripted(lambda _: {"age": 1})), asked, capsys)
    shown = [block["user prompt"] for block in blocks]
    assert shown == ["text", "turn", "message", "prompt", "3", "\\ud800", ""]
    assert [list(block)[3] for block in blocks] == ["system prompt"] * 4 + ["error"] * 3
    assert blocks[4]["response"] == "-" and "prompt: expected" in blocks[4]["error"]


def test_what_a_model_wrote_cannot_pass_for_a_line_or_drive_a_terminal(
    capsys: pytest.CaptureFixture[str],
):
    LLM(Scripted(["ok\nuser prompt: fake\x1b[31m"]), system="Be kind.").batch(["x"]).print_summary()
    out = capsys.readouterr().out
    assert "response: ok\n    user prompt: fake\\x1b[31m\n" in out
    assert "system prompt: Be kind.\n" in out


def test_long_values_are_cut_with_their_length(capsys: pytest.CaptureFixture[str]):
    (block,) = printed(LLM(Scripted([{"age": 1}])), ["a" * 2000], capsys)
    assert block["user prompt"] == "a" * 500 + "... (2,000 characters)"
