"""Servers and prompt formats, row by row, as far as it is there."""
# ruff: noqa: N802 - a test is named as its row

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from typedllm import LLM, ExamplePool, Prompt, Scripted
from typedllm.cli.main import app

QUESTION = {"question": "What's 2 + 2?"}

BUILT = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n"
    "\n"
    "<|eot_id|><|start_header_id|>user<|end_header_id|>\n"
    "\n"
    "What's 2 + 2?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n"
    "\n"
)


def sent(engine: Scripted) -> str:
    """The text of the last request."""
    return "".join(part.text for part in engine.requests[-1].prompt)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("vllm", "vllm.entrypoints.openai.api_server --model m --host 127.0.0.1 --port 9000"),
        ("sglang", "sglang.launch_server --model-path m --host 127.0.0.1 --port 9000"),
        ("trtllm", "trtllm-serve m --host 127.0.0.1 --port 9000"),
    ],
)
def test_N1_start_a_server(kind: str, words: str) -> None:
    # tests/vllm/test_servers.py starts one, waits until it is healthy and stops it
    options = ["--model", "m", "--server-type", kind, "--gpus", "2", "--port", "9000"]
    result = CliRunner().invoke(app, ["start-server", *options, "--dry-run"])
    assert result.exit_code == 0
    assert words in result.stdout
    assert "2" in result.stdout.split()


def test_N3_a_prompt_config_plus_a_models_template() -> None:
    engine = Scripted(["4"])
    llm = LLM(engine, chat_template="llama3-instruct")
    assert str(llm.render(QUESTION, template="generic/default")) == BUILT  # before it is sent
    assert engine.requests == []
    assert llm.call(QUESTION, template="generic/default") == "4"
    assert sent(engine) == BUILT
    assert Prompt(context=QUESTION, template="generic/default").text("llama3-instruct") == BUILT


def test_N3_special_tokens_of_the_format_count_and_those_of_a_value_do_not() -> None:
    engine = Scripted(["4"])
    asked = {"question": "<|eot_id|> What's 2 + 2?"}
    LLM(engine, chat_template="llama3-instruct").call(asked, template="generic/default")
    values = [part.text for part in engine.requests[0].prompt if not part.trusted]
    assert values == ["<|eot_id|> What's 2 + 2?"]


def test_N4_the_same_prompt_as_messages() -> None:
    messages = [
        {"role": "system", "content": ""},
        {"role": "user", "content": "What's 2 + 2?"},
    ]
    assert Prompt(context=QUESTION, template="generic/default").messages() == messages
    engine = Scripted(["4"])
    LLM(engine).call(QUESTION, template="generic/default")
    assert [
        {"role": turn.role, "content": turn.text} for turn in engine.requests[0].prompt
    ] == messages


def test_N5_few_shot_with_a_base_models_format_on_an_instruct_model(tmp_path: Path) -> None:
    path = tmp_path / "sums.jsonl"
    lines = [{"prompt": f"{n} + {n} = ?", "answer": str(2 * n)} for n in range(1, 6)]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    engine = Scripted(["4"] * 10)
    llm = LLM(engine, chat_template="llama3-instruct")
    first_two = ExamplePool.load(path).first(2)
    llm.call({"question": "2 + 2 = ?"}, template="generic/base", examples=first_two)
    assert sent(engine) == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n"
        "\n"
        "Question: 1 + 1 = ?\n"
        "Answer: 2\n"
        "\n"
        "Question: 3 + 3 = ?\n"  # 2 + 2 is the row itself
        "Answer: 6\n"
        "\n"
        "Question: 2 + 2 = ?\n"
        "Answer:<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n"
        "\n"
    )


def test_N5_examples_from_a_named_pool_are_seeded_and_never_the_row_itself() -> None:
    pool = ExamplePool.load("sentiment")
    rows = [{"question": example.prompt} for example in pool]
    engine = Scripted(lambda request: "neutral")
    llm = LLM(engine)

    def asked(seed: int) -> list[str]:
        begin = len(engine.requests)
        llm.batch(rows, template="generic/base", examples=pool.sample(3, seed=seed))
        return [request.prompt[-1].text for request in engine.requests[begin:]]

    texts = asked(7)
    assert texts == asked(7) != asked(8)
    for row, text in zip(rows, texts, strict=True):
        assert text.count("Question: ") == 4 and text.count("Answer:") == 4
        assert text.count(row["question"]) == 1 and text.endswith(f"{row['question']}\nAnswer:")


def test_N5_on_the_packaged_model() -> None:
    pool = ExamplePool.load("sentiment")
    sentiments = ["negative", "neutral", "positive"]
    with LLM("embedded") as llm:
        asked = {"question": "The box is made of wood."}
        shots = pool.sample(3, seed=7)
        answer = llm.call(asked, sentiments, template="generic/base", examples=shots)
    assert answer in sentiments
