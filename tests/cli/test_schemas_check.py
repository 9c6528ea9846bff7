"""`typedllm schemas check`, and schemas in files as output types of commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from typedllm.cli.main import app

run = CliRunner().invoke
API = """
openapi: 3.0.0
components:
  schemas:
    Good: {type: array, items: {type: boolean}}
    Open: {type: array, contains: {type: integer, multipleOf: 7, minimum: 3}, maxContains: 2}
    Far: {$ref: "../x.yaml"}
    Bad: {type: strin}
    Never: {type: string, minLength: 3, maxLength: 2}
"""


@pytest.fixture
def api(tmp_path: Path) -> str:
    path = tmp_path / "in" / "api.yaml"
    path.parent.mkdir()
    path.write_text(API)
    (tmp_path / "x.yaml").write_text("{type: boolean}")
    return str(path)


def test_a_line_for_each_schema_and_what_is_not_by_construction(api: str) -> None:
    result = run(app, ["schemas", "check", api])
    assert result.exit_code == 1
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    heads = [line for line in lines if not line.startswith(" ")]
    home = "#/components/schemas"
    assert heads[0] == f"{home}/Good: by construction"
    assert heads[1].startswith(f"{home}/Open: ")
    assert "1 checked after" in heads[1] or "2 checked after" in heads[1]
    assert heads[2].startswith(f"{home}/Far: refused: ")
    assert "outside of the folder" in heads[2]
    assert heads[3].startswith(f"{home}/Bad: refused: the JSON Schema is not valid at #/type: ")
    assert heads[4].startswith(f"{home}/Never: refused: no value satisfies")
    assert any(line.startswith("    checked after: # ") for line in lines)
    assert all(line.startswith("    ") for line in lines if line not in heads)


def test_all_is_well(api: str, tmp_path: Path) -> None:
    result = run(app, ["schemas", "check", api, "--folder", str(tmp_path)])
    assert "/Far: by construction" in result.stdout
    path = tmp_path / "a.json"
    path.write_text('{"$ref": "#/$defs/b", "$defs": {"b": {"type": "boolean"}}}')
    result = run(app, ["schemas", "check", str(path)])
    assert result.exit_code == 0
    assert result.stdout == "#: by construction\n#/$defs/b: by construction\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.yaml"], "none.yaml: the schema cannot be read"),
        (["a.yaml", "--folder", "none"], "there is no folder none"),
        (["a.yaml"], 'line 2: the key "a" comes twice'),
    ],
)
def test_mistakes(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("a: 1\na: 2")
    result = run(app, ["schemas", "check", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_a_schema_of_a_file_is_an_output_type(api: str, tmp_path: Path) -> None:
    result = run(app, ["explain", f"{api}#/components/schemas/Good"])
    assert result.exit_code == 0
    assert result.stdout.startswith("engine: embedded\nby construction: ")
    fields = tmp_path / "fields.yaml"
    fields.write_text("on: bool\nkind: [yes, no]\n")
    command = ["extract", "x", "--spec", str(fields), "--model", "scripted"]
    result = run(app, command)
    assert result.exit_code == 0, result.stderr
    row = json.loads(result.stdout)
    assert row["on"] in (True, False)
    assert row["kind"] in ("yes", "no")
