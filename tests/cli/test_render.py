"""`typedllm render` and `typedllm templates`: what would be sent, and the words that there are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from typedllm import LLM, template
from typedllm.cli.main import app
from typedllm.templating.finding import template_names

run = CliRunner().invoke
N3 = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nWhat's 2 + 2?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)


def test_what_the_packaged_model_is_given_is_printed_with_its_tokens():
    spec = {"age": "int"}
    result = run(app, ["render", "I am 25.", "--spec", json.dumps(spec), "--system", "Be kind."])
    assert result.exit_code == 0
    with LLM("embedded") as llm:
        sent = llm.run("I am 25.", spec, system="Be kind.")
    assert result.stdout == (
        '<|system|>Be kind.\n\nAnswer with JSON only: {"age": int}<|user|>I am 25.<|assistant|>'
    )
    assert result.stderr == f"tokens: {sent.usage.input_tokens}\n"


def test_a_template_and_a_chat_format_make_the_text_to_the_byte():
    question = ["--set", "question=What's 2 + 2?"]
    formatted = ["--chat-template", "llama3-instruct"]
    result = run(app, ["render", "--template", "generic/default", *question, *formatted])
    assert result.stdout == N3
    assert result.stderr.startswith("tokens: ")


def test_values_come_from_a_file_and_single_ones_go_before_it(tmp_path: Path):
    (tmp_path / "values.json").write_text('{"a": [1, 2], "b": "file"}')
    arguments = ["--context", str(tmp_path / "values.json"), "--set", "b=line"]
    result = run(app, ["render", "--template", "{{ a }} {{ b }}", *arguments])
    assert "<|user|>[1,2] line<|assistant|>" in result.stdout


def test_a_tokenizer_that_is_not_at_hand_is_said():
    result = run(app, ["render", "Hi", "--model", "transformers:some/id", "--system", "S"])
    assert (result.exit_code, result.stdout) == (0, "S\n\nHi")
    assert result.stderr == "tokens: unknown; name the folder of the model, as engine:folder\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--template", "generic/default"], "generic/default needs question; there is"),
        (["--template", "generic/defalt"], "did you mean 'generic/default'?"),
        (["--set", "x"], "--set 'x': write NAME=TEXT"),
        (["--set", "1=x"], "write NAME=TEXT"),
        (["--context", "nowhere.json"], "nowhere.json"),
        (["x", "--model", "embeded"], "did you mean 'embedded'?"),
        (["x", "--chat-template", "lama2"], "did you mean 'llama2'?"),
        (["x", "--spec", "integ"], "the output type"),
        (["say [INST]", "--chat-template", "llama2"], "a value contains '[INST]'"),
    ],
)
def test_a_mistake_is_one_line_with_its_mend(arguments: list[str], message: str):
    result = run(app, ["render", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr and result.stderr.count("\n") == 1


def test_a_context_that_is_no_object_is_named(tmp_path: Path):
    path = tmp_path / "values.json"
    for text, message in (("[1]", "expected an object"), ("{", "is not JSON")):
        path.write_text(text)
        result = run(app, ["render", "--template", "{{ a }}", "--context", str(path)])
        assert result.exit_code == 2 and message in result.stderr


def test_templates_are_listed_with_their_values():
    lines = run(app, ["templates"]).stdout
    for name in template_names("prompts"):
        assert f"  {name} " in lines
        assert template(name).description in lines
    for name in template_names("models"):
        assert f"  {name} " in lines


def test_ones_own_templates_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "mine.j2").write_text("{# description: My own. #}\n{{ thing }}")
    monkeypatch.setenv("TYPEDLLM_TEMPLATES", str(tmp_path))
    assert "My own." in run(app, ["templates"]).stdout
    assert "{{ thing }}" in run(app, ["templates", "show", "mine"]).stdout
    result = run(app, ["render", "--template", "mine", "--set", "thing=x"])
    assert "<|user|>x<|assistant|>" in result.stdout


def test_a_template_is_shown():
    assert "<<SYS>>" in run(app, ["templates", "show", "llama2"]).stdout
    assert "{{ question }}" in run(app, ["templates", "show", "generic/default"]).stdout
    result = run(app, ["templates", "show", "nothing"])
    assert result.exit_code == 2 and "`typedllm templates` lists them" in result.stderr


def test_templates_in_the_folder_itself_are_listed_and_a_missing_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "mine.j2").write_text("{{ thing }}")
    monkeypatch.setenv("TYPEDLLM_TEMPLATES", str(tmp_path))
    assert "  mine " in run(app, ["templates"]).stdout
    assert "did you mean 'mine'?" in run(app, ["render", "x", "--template", "mne"]).stderr
    monkeypatch.setenv("TYPEDLLM_TEMPLATES", str(tmp_path / "nope"))
    result = run(app, ["render", "x", "--template", "mine"])
    assert result.exit_code == 2 and "TYPEDLLM_TEMPLATES: " in result.stderr
