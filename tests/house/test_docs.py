"""The Python in README.md and docs/ runs as it is printed.

The ```python blocks of a file run one after the other in one namespace, on the embedded model.
A block with `>>>` is a doctest; a block marked ```python no-run is compiled only.
"""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python( no-run)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_document(path: Path) -> int:
    """Run every Python block of a document; returns how many there were."""
    text = path.read_text(encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": "document"}
    blocks = list(BLOCK.finditer(text))
    for block in blocks:
        first_line = text.count("\n", 0, block.start(2))
        run_block(block[2], path, first_line, namespace, run=block[1] is None)
    return len(blocks)


def run_block(
    source: str, path: Path, first_line: int, namespace: dict[str, Any], *, run: bool
) -> None:
    """Run one block, or only compile it; errors name the document's own lines."""
    if ">>> " in source:
        if run:
            run_doctest(source, path, first_line, namespace)
        return
    code = compile("\n" * first_line + source, str(path), "exec", dont_inherit=True)
    if run:
        exec(code, namespace)


def run_doctest(source: str, path: Path, first_line: int, namespace: dict[str, Any]) -> None:
    """Run one block of `>>>` lines and compare what it prints."""
    test = doctest.DocTestParser().get_doctest(source, namespace, path.name, str(path), first_line)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=options).run(
        test, out=report.append, clear_globs=False
    )
    namespace.update(test.globs)  # a doctest works on a copy; later blocks see its names
    assert result.failed == 0, "".join(report)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_document(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # whatever an example writes
    monkeypatch.delenv("TYPEDLLM_MODEL", raising=False)
    run_document(path)


def test_readme_has_examples() -> None:
    assert len(BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))) >= 5


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ("```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n", AssertionError),
        ("```python no-run\nx = = 1\n```\n", SyntaxError),
        ("```python\n>>> 1 + 1\n3\n```\n", AssertionError),
        (
            "```python\nx = 1\n```\n\n```python\n>>> x\n1\n>>> y = x\n```\n"
            "```python\nassert y == 2\n```\n",
            AssertionError,
        ),
    ],
)
def test_a_wrong_block_is_found(document: str, error: type[Exception], tmp_path: Path) -> None:
    path = tmp_path / "wrong.md"
    path.write_text(document, encoding="utf-8")
    with pytest.raises(error):
        run_document(path)


def test_blocks_that_are_right_or_not_to_be_run_pass(tmp_path: Path) -> None:
    path = tmp_path / "right.md"
    path.write_text(
        "```python\nx = 1\n```\n```python\n>>> x + 1\n2\n```\n```python no-run\n1 / 0\n```\n",
        encoding="utf-8",
    )
    assert run_document(path) == 3
