"""JSON and YAML files, read as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from typedllm.errors import SpecError
from typedllm.spec.documents import read_document
from typedllm.spec.yaml_values import value_of

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]))
    | st.sampled_from(
        ["yes", "on", "2024-01-01", "1e3", "0x1F", "~", "<<", "&a", "*a", "!b", "1:2"]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("ab<~1"), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_json_written_as_yaml_comes_back(value: Any) -> None:
    assert value_of(yaml.safe_dump(value, default_style='"'), 100) == value


@given(VALUES)
def test_json_is_yaml(value: Any) -> None:
    assert value_of(json.dumps(value, ensure_ascii=False), 100) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[yes, no, on, off, y, Y]", ["yes", "no", "on", "off", "y", "Y"]),
        ("[2024-01-01, 12:30:45, 1_000]", ["2024-01-01", "12:30:45", "1_000"]),
        ("[true, False, NULL, ~, '~', 'true']", [True, False, None, None, "~", "true"]),
        ("[1, -2, 010, 0o10, 0xf, 1e3, .5, 2.]", [1, -2, 10, 8, 15, 1000.0, 0.5, 2.0]),
        (
            "on: 1\nyes: 2\n200: 3\nnull: 4\n1.0: 5",
            {"on": 1, "yes": 2, "200": 3, "null": 4, "1.0": 5},
        ),
        ("a: !!str 1\nb: !!float 2\nc: ! 3\nd: !!map {}", {"a": "1", "b": 2, "c": "3", "d": {}}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        (
            "a: &x {b: 1, c: 2}\nd:\n  c: 3\n  <<: *x",
            {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}},
        ),
        (
            "- &x {b: 1}\n- &y {b: 2, c: 2}\n- <<: [*x, *y]",
            [{"b": 1}, {"b": 2, "c": 2}, {"b": 1, "c": 2}],
        ),
        ("'<<': 1", {"<<": 1}),
        ("x: &k a\ny: {*k : 2}", {"x": "a", "y": {"a": 2}}),
        ("", None),
        ("%YAML 1.2\n---\na: 1\n...\n", {"a": 1}),
    ],
    ids=range(13),
)
def test_yaml_has_the_types_of_json(text: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    assert read_document(path) == value


BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 60)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", 'line 3: the key "a" comes twice'),
        ("&k a: 1\nb: *k\n*k : 2", 'line 3: the key "a" comes twice'),
        ("a: [1,\nb: 2", "no YAML: line 3"),
        ("a: 1\n---\nb: 2", "line 2: a second document"),
        ("a: &x [*x]", r"line 1: \*x stands for nothing, or for what holds it"),
        ("a: *x", r"\*x stands for nothing"),
        ("a: !!python/object:os.system 1", "the tag tag:yaml.org,2002:python/object:os.system"),
        ("a: !!python/tuple []", "the tag tag:yaml.org,2002:python/tuple"),
        ("a: !!timestamp 2024-01-01", "timestamp is not JSON's"),
        ("a: !!int x", '"x" with the tag'),
        ("a: .inf", ".inf is no JSON number"),
        ("a: 1e999", "1e999 is no JSON number"),
        (f"a: {'1' * 5000}", "a number of too many digits"),
        ("? [a]\n: 1", "a key is a text"),
        ("<<: 1", "<< merges a mapping"),
        ("\x00", "no YAML: "),
        (
            "x: &a " + "[" * 600 + "]" * 600 + "\ny: " + "[" * 600 + "*a" + "]" * 600,
            "nested deeper",
        ),
        (BOMB, "aliases stand for more than 1,000,000 values"),
        (f"x: &a {[0] * 2000}\ny: [{'*a,' * 2000}]", "more than 1,000,000 values"),
    ],
    ids=range(19),
)
def test_yaml_that_is_no_json(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yml"
    path.write_text(text)
    with pytest.raises(SpecError, match=rf"a\.yml: .*{message}"):
        read_document(path)


@pytest.mark.parametrize("name", ["a.yaml", "a.json"])
@pytest.mark.parametrize("levels", [1_001, 100_000, 1_000_000])
def test_what_is_nested_too_deep(tmp_path: Path, name: str, levels: int) -> None:
    path = tmp_path / name
    path.write_text("[" * levels + "]" * levels)
    with pytest.raises(SpecError, match="nested deeper than 1000 levels"):
        read_document(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', 'the key "c" comes twice'),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b"\xff", "'utf-8' codec"),
    ],
)
def test_json_that_is_none(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=f"a.json: no JSON: {message}"):
        read_document(path)


def test_files_of_windows(tmp_path: Path) -> None:
    for name in ("a.json", "a.yaml"):
        path = tmp_path / name
        path.write_bytes(b'\xef\xbb\xbf{"a":\r\n "b"}\r\n')
        assert read_document(path) == {"a": "b"}


def test_files_that_are_too_large(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(50_000_001)
    with pytest.raises(SpecError, match="more than 50 MB"):
        read_document(path)
