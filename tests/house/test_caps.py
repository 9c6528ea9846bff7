"""Files and functions stay small enough to be read in one sitting."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES = 400
FUNCTION_LINES = 60


def sources() -> Iterator[tuple[str, str]]:
    """The path and the text of each file that the caps hold for."""
    for folder in ("typedllm", "tools", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def long_functions(text: str) -> Iterator[tuple[str, int]]:
    """The name and the number of lines of each function above the cap."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield node.name, lines


def test_no_file_is_over_the_cap() -> None:
    counts = {path: len(text.splitlines()) for path, text in sources()}
    assert counts, "no sources found"
    assert {path: lines for path, lines in counts.items() if lines > FILE_LINES} == {}


def test_no_function_is_over_the_cap() -> None:
    found = [
        f"{path}: {name} has {lines} lines"
        for path, text in sources()
        for name, lines in long_functions(text)
    ]
    assert found == []
