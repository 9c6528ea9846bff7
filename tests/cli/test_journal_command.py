"""`typedllm journal`: what it says of a file, and of what is no journal."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from typedllm import LLM, Refused, Scripted
from typedllm.batch.journal import Journal
from typedllm.cli.main import app


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "run.db"
    with LLM(Scripted([{"age": 3}, Refused("no", raw="no")])) as llm:
        llm.batch(["a", "b"], {"age": "int"}, journal=path)
    return path


def test_status_counts_while_another_writes(journal: Path) -> None:
    with Journal(journal):
        outcome = CliRunner().invoke(app, ["journal", "status", str(journal)])
    assert outcome.exit_code == 0, outcome.stderr
    lines = dict(line.split(maxsplit=1) for line in outcome.stdout.splitlines())
    assert (lines["rows"], lines["valid"]) == ("2", "1")
    assert lines["invalid"].startswith("1 ")
    assert lines["failed"].startswith("0 ")
    assert lines["errors"] == "Refused 1"
    assert lines["saved"].endswith("UTC")


@pytest.mark.parametrize("command", [["status"], ["export", "--out", "rows.jsonl"]])
def test_what_is_no_journal_is_one_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.db").write_text("no database, but longer than a header of one " * 9)
    for name in ("none.db", "text.db"):
        outcome = CliRunner().invoke(app, ["journal", command[0], name, *command[1:]])
        assert outcome.exit_code == 1
        assert name in outcome.stderr
        assert len(outcome.stderr.splitlines()) == 1


def test_a_journal_is_not_written_over(journal: Path) -> None:
    before = journal.read_bytes()
    outcome = CliRunner().invoke(app, ["journal", "export", str(journal), "--out", str(journal)])
    assert outcome.exit_code == 2
    assert "name another file" in outcome.stderr
    assert journal.read_bytes() == before
