"""The ready-made output types, and schemas from files."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest

from typedllm._resources import folder
from typedllm.errors import Invalid, SpecError
from typedllm.spec.schemas import schema, schema_names
from typedllm.spec.spec import spec_of

ANSWERS = {
    "event": {
        "title": "Launch",
        "start": "2026-05-01T10:00:00Z",
        "end": None,
        "location": None,
        "attendees": ["Ada"],
    },
    "invoice": {
        "number": "A-1",
        "date": "2026-05-01",
        "due_date": None,
        "seller": "Ada Ltd",
        "buyer": "Grace Inc",
        "currency": "EUR",
        "lines": [{"description": "Tea", "quantity": 2, "unit_price": 1.5, "amount": 3}],
        "tax": 0.57,
        "total": 3.57,
    },
    "judge/individual": {
        "intent": "to learn",
        "checklist": ["correct"],
        "strengths": [],
        "weaknesses": ["wrong"],
        "score": 3,
    },
    "judge/pairwise": {
        "analysis of A": "good",
        "analysis of B": "bad",
        "reason of A=B": "none",
        "reason of A>B": "all",
        "reason of B>A": "none",
        "choice": "A++",
    },
    "person": {"name": "Ada", "age": None, "email": "ada@example.com", "occupation": None},
    "sentiment": {"reason": "it says so", "sentiment": "positive", "intensity": 0.8},
    "support_ticket": {
        "subject": "No light",
        "summary": "The lamp is dark.",
        "category": "bug",
        "priority": "normal",
        "product": "lamp",
        "steps": [],
    },
}


def test_all_have_an_answer_here() -> None:
    assert schema_names() == sorted(ANSWERS)


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_ready_made_schemas(name: str) -> None:
    loaded = schema(name).schema
    jsonschema_rs.meta.validate(dict(loaded))
    assert loaded["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert loaded["title"]
    assert loaded["description"]
    assert loaded["additionalProperties"] is False
    assert list(loaded["properties"]) == loaded["required"]
    for field in loaded["properties"].values():
        assert field["title"]
        assert field["description"]
    answer = ANSWERS[name]
    spec = spec_of(schema(name))
    assert spec.read(json.dumps(answer)) == answer
    for key in answer:
        with pytest.raises(Invalid, match="field required"):
            spec.read(json.dumps({other: answer[other] for other in answer if other != key}))
    with pytest.raises(Invalid, match="no such field"):
        spec.read(json.dumps(answer | {"more": 1}))


@pytest.mark.parametrize("score", [0, 11, 5.5, "7"])
def test_a_verdict_scores_from_1_to_10(score: object) -> None:
    with pytest.raises(Invalid, match=r"\$\.score"):
        spec_of(schema("judge/individual")).read(
            json.dumps(ANSWERS["judge/individual"] | {"score": score})
        )


def test_the_same_by_path(tmp_path: Path) -> None:
    path = folder("schemas") / "person.json"
    assert schema(path).schema == schema(str(path)).schema == schema("person").schema
    (tmp_path / "mine").write_text('{"type": "integer"}')
    assert schema(tmp_path / "mine").schema == {"type": "integer"}


def test_unknown_names() -> None:
    with pytest.raises(SpecError, match=r'named "persn"; did you mean "person"\? .*support_ticket'):
        schema("persn")
    for name in ("", "qqq", "../pyproject", "judge", "/etc/hostname"):
        with pytest.raises(SpecError, match="The names are event, invoice"):
            schema(name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"type": ', "no JSON: Expecting value: line 1 column 10"),
        (b"\xff", "no JSON: 'utf-8' codec"),
        (b"[" * 100_000, "nested deeper than 1000 levels"),
        (b"[1]", "a JSON Schema is an object, not list"),
    ],
    ids=range(4),
)
def test_files_that_hold_no_schema(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=f"broken.json: {message}"):
        schema(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        schema(str(tmp_path / "none.json"))
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        schema(tmp_path)
