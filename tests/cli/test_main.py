"""The command line without a model: help, versions, schemas, explain and errors of usage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from typedllm import schema
from typedllm.cli.main import app
from typedllm.spec.schemas import schema_names

run = CliRunner().invoke


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_the_commands(arguments: list[str]) -> None:
    result = run(app, arguments)
    assert result.exit_code == 0
    for word in ("extract", "explain", "schemas"):
        assert word in result.stdout


@pytest.mark.parametrize("command", ["extract", "explain", "schemas"])
def test_each_command_has_help(command: str) -> None:
    result = run(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_version() -> None:
    result = run(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("typedllm")


def test_schemas_are_listed_with_a_line_each() -> None:
    lines = run(app, ["schemas"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == schema_names()
    assert all(len(line.split()) > 3 for line in lines)


def test_a_schema_is_shown() -> None:
    result = run(app, ["schemas", "show", "person"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == schema("person").schema


def test_explain_in_a_pipe_is_the_plan() -> None:
    result = run(app, ["explain", '{"age": "int(ge=0)"}', "--max-tokens", "500"])
    assert result.exit_code == 0
    assert result.stdout.startswith("engine: embedded\nby construction: ")
    assert "max_tokens: 500 are enough" in result.stdout
    assert "may be too few" in run(app, ["explain", "person", "--max-tokens", "1"]).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["extrct"], "extract"),
        (["extract", "text"], "--spec"),
        (["extract", "text", "--spec", "int", "--max-tokens", "many"], "--max-tokens"),
        (["extract", "text", "--spec", "int", "--nonsense"], "--nonsense"),
        (["extract", "text", "--spec", "int", "--model", "embeded"], "embedded"),
        (["extract", "text", "--spec", "persn"], 'did you mean "person"'),
        (["extract", "text", "--spec", '{"age": "itn"}'], '"int"'),
        (["extract", "text", "--spec", "{age"], '{"age": "int"}'),
        (["extract", "text", "--spec", "{'age': int}"], "in quotes"),
        (["extract", "text", "--spec", "missing.json"], "missing.json"),
        (["extract", "text", "--spec", "missing.py:Person"], "missing.py"),
        (["extract", "text", "--spec", "no.such.module:Person"], "no.such"),
        (["extract", "text", "--spec", "typedllm.errors:Nothing"], "Nothing"),
        (["extract", "text", "--spec", "typedllm.paths:child"], "function"),
        (["extract", "text", "--spec", "int", "--column", "text"], "one text"),
        (["extract", " ", "--spec", "int"], "empty"),
        (["extract", "missing.csv", "--spec", "int", "--column", "text"], "missing.csv"),
        (["extract", "text", "--spec", "int", "--out", "result.xml"], ".jsonl or .csv"),
        (["extract", "text", "--spec", "int", "--out", "no/folder.csv"], "no/folder.csv"),
        (["extract", "text", "--spec", "int", "--out", "a.csv", "--format", "jsonl"], "--format"),
        (["explain", "int", "--engine", "vllmm"], "vllmm"),
        (["schemas", "show", "persn"], "person"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TYPEDLLM_MODEL", "scripted")
    result = run(app, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert list(tmp_path.iterdir()) == []
