"""The package itself: its names, and what importing it loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

import typedllm


def test_every_name_is_there_and_listed():
    for name in typedllm.__all__:
        found = getattr(typedllm, name)
        assert getattr(found, "__name__", name) == name  # which a union of types has not
    assert set(typedllm.__all__) <= set(dir(typedllm))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'LMM'"):
        _ = typedllm.LMM  # type: ignore[attr-defined]


def test_star_import_takes_the_public_names():
    names: dict[str, object] = {}
    exec("from typedllm import *", names)
    assert names.keys() - {"__builtins__"} == set(typedllm.__all__)


def test_asking_a_scripted_model_loads_nothing_heavy():
    code = """
import sys
from typedllm import LLM, Scripted
LLM(Scripted([{"age": 3}])).batch(["x"], {"age": "int"})
heavy = "torch transformers outlines openai instructor numpy llguidance tokenizers rich typer"
print([name for name in heavy.split() if name in sys.modules])
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
