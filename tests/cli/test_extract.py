"""`typedllm extract` on the scripted engine: what is read, what is written, in which order."""

from __future__ import annotations

import asyncio
import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result as Outcome
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from typedllm import LLM, Message, Scripted
from typedllm.cli.extract import in_order
from typedllm.cli.inputs import Row
from typedllm.cli.main import app
from typedllm.records import Request

TOPIC = '{"topic": ["a", "b"]}'
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def extract(*arguments: str | Path, spec: str = TOPIC, **options: Any) -> Outcome:
    words = ["extract", *map(str, arguments), "--spec", spec, "--model", "scripted"]
    return CliRunner().invoke(app, words, **options)


def rows(outcome: Outcome) -> list[dict[str, Any]]:
    return [json.loads(line) for line in outcome.stdout.split("\n")[:-1]]


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.txt", "Hello\nthere"), ("a.md", "# Hello\n"), ("b.TXT", "\ufeffHello")],
)
def test_a_file_is_one_text(name: str, content: str, tmp_path: Path) -> None:
    outcome = extract(written(tmp_path / name, content))
    assert outcome.exit_code == 0
    (row,) = rows(outcome)
    assert row["text"] == content.removeprefix("\ufeff")
    assert row["topic"] in ("a", "b")


def test_text_comes_from_the_argument_or_standard_input() -> None:
    assert rows(extract("What is in report.txt"))[0]["text"] == "What is in report.txt"
    assert rows(extract("-", input="Grüße\n"))[0]["text"] == "Grüße\n"
    assert rows(extract("x" * 5000))[0]["text"] == "x" * 5000


def test_bytes_that_are_no_utf_8_are_named_with_their_place(tmp_path: Path) -> None:
    outcome = extract(written(tmp_path / "a.txt", b"one\ntwo \xff\n"))
    assert outcome.exit_code == 2
    assert "a.txt, line 2: byte 0xff" in outcome.stderr
    outcome = extract(written(tmp_path / "a.csv", b"id,te\xfft\n"), "--column", "text")
    assert "a.csv, line 1: byte 0xff" in outcome.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "first line"),
        ("id,text,text\n", "two columns"),
        ("id;text\n1;a\n", "id;text"),
        ('"id\n', "line 1"),
    ],
)
def test_a_csv_file_without_good_columns_is_refused(
    content: str, words: str, tmp_path: Path
) -> None:
    outcome = extract(written(tmp_path / "a.csv", content), "--column", "text")
    assert outcome.exit_code == 2
    assert words in outcome.stderr


@pytest.mark.parametrize("column", [[], ["--column", "txt"]])
@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", "id,text\n1,x\n"), ("a.jsonl", '{"id":1}\n{"text":"x"}\n')]
)
def test_a_wrong_column_lists_those_there_are(
    column: list[str], name: str, content: str, tmp_path: Path
) -> None:
    outcome = extract(written(tmp_path / name, content), *column)
    assert outcome.exit_code == 2
    assert "has the columns id, text" in outcome.stderr


def test_another_kind_of_file_and_a_file_without_rows(tmp_path: Path) -> None:
    outcome = extract(written(tmp_path / "a.pdf", b"%PDF"))
    assert outcome.exit_code == 2
    assert ".csv" in outcome.stderr
    outcome = extract(written(tmp_path / "a.jsonl", "1\n"), "--column", "text")
    assert "no line of it is a JSON object" in outcome.stderr
    outcome = extract(written(tmp_path / "a.csv", "id,text\n"), "--column", "text")
    assert (outcome.exit_code, outcome.stdout) == (0, "")


def test_broken_csv_lines_stay_in_place_with_their_number(tmp_path: Path) -> None:
    content = b'id,text\n1,x\n2,"y" z\n3\n4,\xfe\n5,"two\nlines"\n\n6,z\n7,"open'
    outcome = extract(written(tmp_path / "a.csv", content), "--column", "text")
    assert outcome.exit_code == 1
    assert outcome.stderr == "4 of 7 rows failed; their error says why\n"
    errors = [row.get("error", "").partition("a.csv, ")[2] for row in rows(outcome)]
    places = ["", "line 3:", "line 4: 1 values for 2", "line 5: byte 0xfe", "", "", "line 10"]
    assert [error[: len(place)] for error, place in zip(errors, places, strict=True)] == places
    assert [row.get("id") for row in rows(outcome)] == ["1", None, "3", "4", "5", "6", None]


def test_broken_jsonl_lines_stay_in_place_with_their_number(tmp_path: Path) -> None:
    lines = [b'{"text": "x"}', b"{", b"[]", b'{"a": 1}', b'{"text": 5}', b"", b'"\xff"']
    lines += [b"9" * 5000, b'{"text": "\\ud800"}']
    outcome = extract(written(tmp_path / "a.jsonl", b"\n".join(lines)), "--column", "text")
    assert outcome.exit_code == 1
    first, *others = rows(outcome)
    assert "error" not in first
    assert [row["error"].partition("a.jsonl, ")[2][:7] for row in others[:6]] == [
        f"line {number}:" for number in (2, 3, 4, 5, 7, 8)
    ]
    assert "surrogate" in others[6]["error"]
    assert others[6]["text"] == "\ud800"


@given(texts=st.lists(TEXTS | st.none(), max_size=12))
def test_every_row_is_written_in_its_place(
    texts: list[str | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    lines = [json.dumps({"at": at, "text": text}) for at, text in enumerate(texts)]
    source = written(folder / "a.jsonl", "\n".join([*lines, '{"at": -1, "text": "end"}']))
    outcome = extract(source, "--column", "text")
    assert outcome.exit_code == (1 if None in texts else 0)
    found = rows(outcome)
    assert [row["at"] for row in found] == [*range(len(texts)), -1]
    assert [row["text"] for row in found] == [*texts, "end"]
    assert ["topic" in row for row in found[:-1]] == [text is not None for text in texts]
    assert all(("error" in row) != ("topic" in row) for row in found)


@given(texts=st.lists(TEXTS, max_size=8))
def test_csv_survives_the_way_through(
    texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    source, out = folder / "in.csv", folder / "out.csv"
    with source.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *enumerate(texts)])
    outcome = extract(source, "--column", "text", "--out", out)
    assert (outcome.exit_code, outcome.output) == (0, "")
    with out.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [(row["id"], row["text"]) for row in found] == [
        (str(number), text) for number, text in enumerate(texts)
    ]
    assert all(row["topic"] in ("a", "b") and row["error"] == "" for row in found)


def test_limit_reads_so_many_rows(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", "text\n" + "x\n" * 9 + '"broken')
    outcome = extract(source, "--column", "text", "--limit", "3")
    assert outcome.exit_code == 0
    assert len(rows(outcome)) == 3


def test_names_that_the_input_has_too_are_told_apart(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", "text,topic,error\nx,old,e\n")
    (row,) = rows(extract(source, "--column", "text"))
    assert (row["topic"], row["error"]) == ("old", "e")
    assert row["answer.topic"] in ("a", "b")
    outcome = extract(source, "--column", "text", "--format", "csv")
    assert (
        outcome.stdout.splitlines()[0]
        == "text,topic,error,answer.topic,confidence,clipped,answer.error"
    )


def test_a_value_without_fields_is_one_column(tmp_path: Path) -> None:
    for spec in ("bool", "dict[str, bool]", "list[bool]"):
        (row,) = rows(extract("x", spec=spec))
        assert list(row) == ["text", "value"]
    outcome = extract("x", "--format", "csv", spec="bool | None")
    assert outcome.stdout.splitlines()[0] == "text,value,confidence,clipped,error"


def test_the_input_is_never_written_over(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", "text\nx\n")
    outcome = extract(source, "--column", "text", "--out", source)
    assert outcome.exit_code == 2
    assert source.read_text() == "text\nx\n"


def test_a_table_shows_text_as_text(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", 'text,n\n"[red]x[/red]\x1b[2J",1\ny\n')
    outcome = extract(source, "--column", "text", "--format", "table")
    assert "[red]x[/red] [2J" in outcome.stdout
    assert "line 3: 1 values for 2 columns" in " ".join(outcome.stdout.split())
    lone = extract("x", "--format", "table", spec='{"name": "None"}')
    assert lone.stdout.split() == ["name", "null"]


def test_a_field_that_the_output_type_does_not_name() -> None:
    spec = (
        '{"type": "object", "properties": {"a": {"type": "null"}}, "minProperties": 9,'
        ' "required": ["a"], "additionalProperties": {"type": "null"}}'
    )
    (row,) = rows(extract("x", spec=spec))
    assert list(row)[:2] == ["text", "a"]
    assert len(row) >= 10
    outcome = extract("x", "--format", "csv", spec=spec)
    assert outcome.exit_code == 2
    assert "write JSONL" in outcome.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.symlink_to("/dev/full")
    outcome = extract("x", "--out", out)
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("error: ")
    assert len(outcome.stderr.splitlines()) == 1


SPECS = {
    "spec.json": '{"topic": ["a", "b"]}',
    "schema.json": '{"type": "object", "properties": {"topic": {"enum": ["a", "b"]}},'
    ' "required": ["topic"], "additionalProperties": false}',
    "models.py": "from __future__ import annotations\nfrom typing import Literal\n"
    "from pydantic import BaseModel\n\nclass Outer:\n    class Ticket(BaseModel):\n"
    "        topic: Literal['a', 'b']\n\nclass Node(BaseModel):\n    topic: Literal['a', 'b']\n"
    "    next: Node | None\n\ndef broken() -> None: ...\n",
    "raising.py": "raise RuntimeError('at import')\n",
}


@pytest.fixture
def spec_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, content in SPECS.items():
        written(tmp_path / name, content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path


@pytest.mark.parametrize(
    "spec",
    ["spec.json", "schema.json", "models.py:Outer.Ticket", "models:Node", "{'topic': ['a', 'b']}"],
)
def test_an_output_type_can_come_from_many_places(spec: str, spec_folder: Path) -> None:
    outcome = extract("x", spec=spec)
    assert outcome.exit_code == 0, outcome.stderr
    assert rows(outcome)[0]["topic"] in ("a", "b")


def test_a_module_that_raises_is_the_callers_mistake(spec_folder: Path) -> None:
    outcome = extract("x", spec="raising.py:Type")
    assert outcome.exit_code == 2
    assert "RuntimeError: at import" in outcome.stderr


def test_ready_made_output_types_go_by_name() -> None:
    (row,) = rows(extract("x", spec="person"))
    assert list(row) == ["text", "name", "age", "email", "occupation"]


def test_answers_that_come_out_of_order_are_put_in_order() -> None:
    chance = random.Random(1)

    async def echo(request: Request) -> object:
        await asyncio.sleep(chance.random() / 100)
        message = request.prompt[-1]
        assert isinstance(message, Message)
        return {"word": message.text}

    asked = [Row(text=f"t{n}", problem="broken" if n % 7 == 3 else None) for n in range(1500)]
    with LLM(Scripted(echo)) as llm:
        found = list(in_order(llm, asked, {"word": "str"}))
    assert [row for row, _ in found] == asked
    for row, result in found:
        if row.problem is None:
            assert result.unwrap() == {"word": row.text}
        else:
            assert str(result.error) == "broken"


def test_what_max_tokens_cut_is_said_in_every_form():
    run = CliRunner().invoke
    asked = [
        "extract",
        "Pay 123456 EUR to Nordwind Ltd",
        "--spec",
        '{"total": "int"}',
        "--max-tokens",
    ]
    line = run(app, [*asked, "8", "--format", "jsonl"])
    assert json.loads(line.stdout)["clipped"] == ["$", "$.total"]
    assert "1 of 1 answers were cut short to fit max_tokens" in line.stderr
    assert " cut" in run(app, [*asked, "8", "--format", "table"]).stdout
    short = ["extract", "I am 25.", "--spec", '{"age": "int"}']
    assert "clipped" not in json.loads(run(app, short).stdout)
