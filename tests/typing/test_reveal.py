"""What pyright and mypy take the verbs to return."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FILE = Path(__file__).with_name("revealed.py")
ROOT = FILE.parent.parent.parent
LINES = FILE.read_text().splitlines()
WANTED = {
    number: line.partition("# is: ")[2] for number, line in enumerate(LINES, 1) if "# is: " in line
}


def pyright() -> tuple[dict[int, str], list[str]]:
    done = checked("pyright", "--outputjson", "--pythonpath", sys.executable)
    revealed: dict[int, str] = {}
    errors: list[str] = []
    for each in json.loads(done)["generalDiagnostics"]:
        if found := re.findall('^Type of .* is "(.*)"$', each["message"]):
            revealed[each["range"]["start"]["line"] + 1] = found[0]
        else:
            errors.append(each["message"])
    return revealed, errors


def mypy() -> tuple[dict[int, str], list[str]]:
    revealed: dict[int, str] = {}
    errors: list[str] = []
    for line, kind, message in re.findall(
        rf"{FILE.name}:(\d+): (note|error): (.*)", checked("mypy")
    ):
        if found := re.findall('^Revealed type is "(.*)"', message):
            revealed[int(line)] = plain(found[0])
        elif kind == "error":
            errors.append(message)
    return revealed, errors


def checked(module: str, *options: str) -> str:
    command = [sys.executable, "-m", module, *options, str(FILE)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout


def plain(revealed: str) -> str:
    """Mypy's way to write a type, in pyright's: no modules, and one Literal for a union of them."""
    text = re.sub(r"\b[a-z_]\w*\.(?=\w)", "", revealed)
    text = re.sub(r"TypedDict\((\w+), .*\)", r"\1", text)
    return text.replace("Literal['a'] | Literal['b']", "Literal['a', 'b']")


@pytest.mark.slow
@pytest.mark.parametrize("checker", [pyright, mypy])
def test_the_checkers_see_what_comes_back(
    checker: Callable[[], tuple[dict[int, str], list[str]]],
):
    revealed, errors = checker()
    assert revealed == WANTED
    assert errors == []
