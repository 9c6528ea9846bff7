"""`typedllm batch` on the scripted engine: what is read, what is written, what is kept."""

from __future__ import annotations

import csv
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result as Outcome
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from typedllm.batch.journal import Journal
from typedllm.batch.journal_report import status
from typedllm.cli.main import app

TOPIC = '{"topic": ["a", "b"], "sure": "bool"}'
TEXTS = ["My card is lost.", 'Grüße,\n"x"', "Why the fee?"]
LONE = st.text(st.characters(), max_size=8)  # lone surrogates too, as JSON can escape them


def batch(*arguments: str | Path, spec: str = TOPIC) -> Outcome:
    words = ["batch", *map(str, arguments), "--type", spec, "--model", "scripted"]
    return CliRunner().invoke(app, [*words, "--quiet"])


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows in the format that the path's ending names."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def errors(path: Path) -> list[str]:
    return [row.get("error") or "" for row in read_rows(path)]


@pytest.mark.parametrize("given_as", [".csv", ".jsonl", ".ndjson", ".parquet"])
@pytest.mark.parametrize("written_as", [".csv", ".jsonl", ".parquet"])
def test_rows_go_from_every_format_to_every_format(
    given_as: str, written_as: str, tmp_path: Path
) -> None:
    rows = [{"id": str(at), "text": text} for at, text in enumerate(TEXTS)]
    source = write_rows(tmp_path / f"in{given_as}", rows)
    out = tmp_path / f"out{written_as}"
    outcome = batch(source, "--column", "text", "--out", out)
    assert (outcome.exit_code, outcome.output) == (0, "")
    found = read_rows(out)
    assert [{name: row[name] for name in ("id", "text")} for row in found] == rows
    assert all(row["topic"] in ("a", "b") and not row.get("error") for row in found)
    assert {path.name for path in tmp_path.iterdir()} == {source.name, out.name}


def test_a_wrong_row_of_csv_is_its_own_error(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(b'id,text\n1,ok\n2,\xff\n3\n4,a,b\n5,\n6,"two\nlines"\n7,  \n8,ok\n')
    out = tmp_path / "out.jsonl"
    outcome = batch(source, "--column", "text", "--out", out)
    assert outcome.exit_code == 1
    assert outcome.stderr == "5 of 8 rows failed; their error says why\n"
    assert [error.replace(f"{source}, ", "") for error in errors(out)] == [
        "",
        "line 3: byte 0xff is no UTF-8",
        "line 4: 1 values for 2 columns",
        "line 5: 3 values for 2 columns",
        "line 6: 'text' is empty",
        "",
        "line 9: 'text' is empty",
        "",
    ]
    assert [row["id"] for row in read_rows(out)] == list("12345678")


def test_a_cell_of_csv_may_be_long(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("text\n" + "word " * 100_000 + "\nx\n" + "y" * (1 << 24) + "y\nz\n")
    out = tmp_path / "out.jsonl"
    assert batch(source, "--out", out).exit_code == 1
    first, second, third, fourth = errors(out)
    assert (first, second, fourth) == ("", "", "")
    assert third.endswith("line 4: field larger than field limit (16777216)")


def test_a_wrong_line_of_jsonl_is_its_own_error(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    lines = [b'{"text": "ok"}', b"{", b"", b"[1]", b'{"a": 1}', b'{"text": null}']
    lines += [b'{"text": [5]}', b'"\xff"', b'{"text": "\\ud800"}', b'{"text": "ok"}']
    source.write_bytes(b"\n".join(lines))
    out = tmp_path / "out.csv"
    assert batch(source, "--column", "text", "--out", out).exit_code == 1
    found = [error.replace(f"{source}, ", "") for error in errors(out)]
    assert found[1].startswith("line 2: no JSON")
    assert found[2:7] == [
        "line 4: a JSON list, not an object",
        "line 5: no 'text' in it; it has a",
        "line 6: 'text' is no text but null",
        "line 7: 'text' is no text but list",
        "line 8: byte 0xff is no UTF-8",
    ]
    assert "lone surrogate" in found[7]
    assert (found[0], found[8], len(found)) == ("", "", 9)


def test_a_wrong_row_of_parquet_is_its_own_error(tmp_path: Path) -> None:
    texts = pa.array([b"ok", b"\xff", None, b" ", b"ok"]).view(pa.string())
    years = pa.array([2**62, 0, 0, 0, 0], pa.timestamp("ms"))  # the first is beyond Python's years
    source = tmp_path / "in.parquet"
    pq.write_table(pa.table({"text": texts, "year": years}), source)
    out = tmp_path / "out.parquet"
    assert batch(source, "--column", "text", "--out", out).exit_code == 1
    found = pq.read_table(out)
    messages = [error and error.replace(f"{source}, ", "") for error in found["error"].to_pylist()]
    assert (messages[0], messages[4]) == (None, None)
    assert messages[1].startswith("row 2: 'text' cannot be read: 'utf-8' codec")
    assert messages[2:4] == ["row 3: 'text' is no text but null", "row 4: 'text' is empty"]
    assert found["text"].combine_chunks() == texts  # as it was, broken bytes and all
    assert found["year"].combine_chunks() == years


def test_parquet_keeps_the_types_of_its_columns_and_has_those_of_the_answers(
    tmp_path: Path,
) -> None:
    columns = {
        "text": pa.array(["x", "y"]),
        "n": pa.array([1, None], pa.int16()),
        "when": pa.array([1, 2], pa.timestamp("ns")),
        "kind": pa.array(["p", "q"]).dictionary_encode(),
        "tags": pa.array([["u"], []]),
        "error": pa.array(["old", None]),
    }
    source = tmp_path / "in.parquet"
    pq.write_table(pa.table(columns), source)
    out = tmp_path / "out.parquet"
    assert batch(source, "--column", "text", "--out", out, spec='{"n": "int"}').exit_code == 0
    found = pq.read_table(out)
    given = pq.read_table(source)
    assert found.select(given.column_names).equals(given)
    schema = found.schema
    assert schema.field("answer.n").type == pa.int64()
    assert schema.field("answer.error").type == pa.string()
    assert schema.field("clipped").type == pa.list_(pa.string())
    assert schema.field("confidence").type == pa.float64()
    plain = tmp_path / "out.jsonl"
    assert batch(source, "--column", "text", "--out", plain).exit_code == 0
    first = read_rows(plain)[0]
    assert datetime.fromisoformat(first["when"]).year == 1970
    assert (first["n"], first["kind"], first["tags"]) == (1, "p", ["u"])


@settings(max_examples=30)
@given(rows=st.lists(st.fixed_dictionaries({"a": LONE, "b": LONE | st.none()}), max_size=6))
def test_text_comes_into_parquet_whatever_it_is(
    rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    source = write_rows(folder / "in.jsonl", [*rows, {"a": "end", "b": "end"}])
    out = folder / "out.parquet"
    assert batch(source, "--column", "a", "--id", "b", "--out", out).exit_code in (0, 1)
    found = pq.read_table(out)
    assert found.num_rows == len(rows) + 1
    for row, a, b, error in zip(
        rows, *(found[name].to_pylist() for name in ("a", "b", "error")), strict=False
    ):
        assert a == row["a"].encode("utf-8", "backslashreplace").decode()
        assert b == (row["b"] and row["b"].encode("utf-8", "backslashreplace").decode())
        assert error or row["a"].strip()


def test_a_template_takes_the_columns(tmp_path: Path) -> None:
    rows = [{"text": "x", "product": "app"}, {"text": None, "product": "app"}, {"text": "x"}]
    source = write_rows(tmp_path / "in.jsonl", rows)
    out = tmp_path / "out.jsonl"
    words = "About {{ product }}: {{ text }}{% if note is defined %}{{ note }}{% endif %}"
    assert batch(source, "--template", words, "--out", out).exit_code == 1
    assert errors(out) == [
        "",
        f"{source}, line 2: 'text', which the template needs, is null",
        f"{source}, line 3: 'product', which the template needs, is not in it",
    ]
    (tmp_path / "own.j2").write_text("{{ instruction }} {{ text }}")
    source = write_rows(tmp_path / "in.csv", [{"text": "x"}])
    outcome = batch(source, "--template", tmp_path / "own.j2", "--out", out)
    assert outcome.exit_code == 0, outcome.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--column", "txet"], "--column: there is no 'txet' (did you mean 'text'?)"),
        (
            ["--id", "di", "--column", "text"],
            "--id: there is no 'di'; in.csv has the columns id, text",
        ),
        ([], "--column: which column holds the text?"),
        (["--template", "{{ product }}"], "--template: there is no 'product'"),
        (["--template", "{{ text", "--column", "id"], "--column and --template: give one"),
        (["--template", "{{ text"], "the template, line 1"),
        (["--template", "nothing"], "no template is called 'nothing'"),
        (["--retry-failed", "--column", "text"], "add --journal FILE"),
        (["--column", "text", "--out", "out.xml"], ".parquet, .jsonl or .csv"),
        (["--column", "text", "--out", "no/out.csv"], "there is no folder no"),
        (["--column", "text", "--out", "in.csv"], "would write over the input"),
        (["--column", "text", "--max-dollars", "0"], "Budget.dollars"),
    ],
)
def test_a_wrong_command_is_told_before_anything_is_asked(
    options: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(Path("in.csv"), [{"id": "1", "text": "x"}])
    before = Path("in.csv").read_bytes()
    outcome = batch("in.csv", *options)
    assert outcome.exit_code == 2
    assert words in outcome.stderr
    assert Path("in.csv").read_bytes() == before
    assert [path.name for path in Path().iterdir()] == ["in.csv"]


def test_files_that_are_no_rows_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("no Parquet")
    (tmp_path / "a.txt").write_text("text")
    for name, words in {
        "a.parquet": "is no Parquet file",
        "a.txt": ".csv, .jsonl, .ndjson, .parquet",
        "b.csv": "there is no file",
    }.items():
        outcome = batch(tmp_path / name)
        assert outcome.exit_code == 2
        assert words in outcome.stderr


def test_the_only_column_that_can_hold_text_need_not_be_named(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    alone = write_rows(tmp_path / "a.csv", [{"message": "x"}])
    beside_id = write_rows(tmp_path / "b.csv", [{"id": "7", "message": "x"}])
    numbers = write_rows(tmp_path / "c.parquet", [{"n": 7, "message": "x"}])
    assert batch(alone, "--out", out).exit_code == 0
    assert batch(beside_id, "--id", "id", "--out", out).exit_code == 0
    assert batch(numbers, "--out", out).exit_code == 0


def test_parquet_without_pyarrow_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = write_rows(tmp_path / "a.parquet", [{"text": "x"}])
    lines = write_rows(tmp_path / "a.csv", [{"text": "x"}])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    for words in ([parquet], [lines, "--out", tmp_path / "out.parquet"]):
        outcome = batch(*words)
        assert outcome.exit_code == 2
        assert "typedllm[tables]" in outcome.stderr
    assert not (tmp_path / "out.part.parquet").exists()


def test_a_journal_answers_the_same_command(tmp_path: Path) -> None:
    rows = [{"key": f"k{at}", "text": f"text {at}"} for at in range(50)]
    source = write_rows(tmp_path / "in.csv", rows)
    journal, out = tmp_path / "run.db", tmp_path / "out.csv"
    words = ["batch", str(source), "--column", "text", "--id", "key", "--type", TOPIC]
    words += ["--model", "scripted", "--journal", str(journal), "--out", str(out)]
    first = CliRunner().invoke(app, [*words, "--limit", "20"])
    assert "20 of 20 rows (100%)" in first.stderr
    whole = CliRunner().invoke(app, words)
    assert whole.exit_code == 0
    assert "not asked: journal 20" in whole.stderr
    kept = out.read_bytes()
    again = CliRunner().invoke(app, words)
    assert "not asked: journal 50" in again.stderr
    assert out.read_bytes() == kept
    assert status(journal).valid == 50
    lines = tmp_path / "rows.jsonl"
    exported = CliRunner().invoke(app, ["journal", "export", str(journal), "--out", str(lines)])
    assert exported.stderr == f"50 rows are in {lines}\n"
    assert {row["id"] for row in read_rows(lines)} == {row["key"] for row in rows}


def test_an_id_is_kept_in_the_journal_whatever_it_is(tmp_path: Path) -> None:
    rows = [{"id": "\ud800", "text": "a"}, {"id": 7, "text": "b"}, {"id": None, "text": "c"}]
    source, journal = write_rows(tmp_path / "in.jsonl", rows), tmp_path / "run.db"
    words = ["--column", "text", "--id", "id", "--journal", journal]
    assert batch(source, *words, "--out", tmp_path / "out.csv").exit_code == 0
    lines = tmp_path / "rows.jsonl"
    CliRunner().invoke(app, ["journal", "export", str(journal), "--out", str(lines)])
    assert {row["id"] for row in read_rows(lines)} == {"\\ud800", "7", "2"}


def test_a_journal_in_use_harms_no_file(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.csv", [{"text": "x"}])
    out, part = tmp_path / "out.csv", tmp_path / "out.part.csv"
    out.write_text("before")
    part.write_text("of the other run")
    with Journal(tmp_path / "run.db"):
        outcome = batch(source, "--journal", tmp_path / "run.db", "--out", out)
    assert outcome.exit_code == 1
    assert "run.db" in outcome.stderr
    assert (out.read_text(), part.read_text()) == ("before", "of the other run")


def test_a_cache_answers_another_journal(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.csv", [{"text": str(at)} for at in range(9)])
    words = ["batch", str(source), "--type", TOPIC, "--model", "scripted", "--temperature", "0"]
    words += ["--cache", str(tmp_path / "cache.db"), "--out", str(tmp_path / "out.csv")]
    assert "not asked" not in CliRunner().invoke(app, words).stderr
    assert "not asked: cache 9" in CliRunner().invoke(app, words).stderr


def test_what_a_budget_leaves_is_in_its_place(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.csv", [{"text": str(at)} for at in range(1200)])
    out = tmp_path / "out.csv"
    budget = ["--max-tokens-total", "500"]
    outcome = batch(source, "--out", out, *budget, "--journal", tmp_path / "run.db")
    assert outcome.exit_code == 1
    found = read_rows(out)
    assert [row["text"] for row in found] == [str(at) for at in range(1200)]
    asked = [row["error"] == "" for row in found]
    assert 1 <= sum(asked) < 1200
    assert asked == sorted(asked, reverse=True)
    assert found[-1]["error"] == "not asked, since Budget(tokens=500) is spent"
    again = batch(source, "--out", out, "--journal", tmp_path / "run.db")
    assert again.exit_code == 0
    assert set(errors(out)) == {""}


def test_a_dry_run_asks_nothing_and_writes_nothing(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.csv", [{"text": "one two"}, {"text": ""}, {"text": "x"}])
    options = ["--out", tmp_path / "out.csv", "--journal", tmp_path / "run.db", "--dry-run"]
    outcome = batch(source, *options, "--cache", tmp_path / "cache.db", "--max-tokens", "7")
    assert outcome.exit_code == 0
    lines = outcome.stdout.splitlines()
    assert lines[:2] == ["rows: 3", "rows that cannot be asked: 1"]
    assert lines[3] == "tokens out: 14 at most"
    assert "engine: scripted" in lines
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_full_disk_is_one_line(ending: str, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.csv", [{"text": "x"}])
    (tmp_path / f"out.part.{ending}").symlink_to("/dev/full")
    out = tmp_path / f"out.{ending}"
    outcome = batch(source, "--out", out)
    assert outcome.exit_code == 2
    assert "No space left" in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1
    assert not out.exists()
