"""`import typedllm` is light, and the libraries it must not load are those of the contract."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "anthropic",
    "cohere",
    "fastapi",
    "google",
    "instructor",
    "numpy",
    "openai",
    "outlines",
    "ray",
    "rich",
    "torch",
    "transformers",
    "typer",
    "vllm",
}


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh process has loaded after running the code."""
    script = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import typedllm",
        "from typedllm import LLM, Sampling, explain, parse, schema",
    ],
)
def test_importing_loads_nothing_heavy(code: str) -> None:
    assert loaded_by(code) & HEAVY == set()


def test_the_probe_sees_a_library() -> None:
    assert "numpy" in loaded_by("import numpy")


def test_the_contract_names_no_library_that_is_not_probed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    forbidden = {
        module for contract in contracts for module in contract.get("forbidden_modules", [])
    }
    assert forbidden
    assert forbidden <= HEAVY
