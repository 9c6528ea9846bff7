"""The engine table: names, options, plugins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from typedllm import LLM, MissingDependency, Scripted, UsageError, explain
from typedllm._require import require
from typedllm.engines.table import engine_names, engine_row, open_engine, traits_of
from typedllm.settings import default_model


def test_rows_are_found_without_loading_an_engine():
    code = """
import sys
from typedllm.engines.table import engine_names, traits_of
for name in engine_names():
    assert traits_of(name).name == name, name
heavy = {"torch", "transformers", "numpy", "llguidance", "openai", "outlines"}
print(sorted(heavy & set(sys.modules)))
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
    assert {"embedded", "transformers", "scripted"} <= set(engine_names())


def test_traits_need_no_model_and_a_model_makes_no_difference():
    assert traits_of("embedded") == traits_of("embedded:/nowhere")
    assert traits_of("scripted").ending == "landing"


def test_an_unknown_engine_is_named_with_the_nearest_and_the_known_ones():
    with pytest.raises(UsageError, match=r"'embeded' \(did you mean 'embedded'\?\)") as caught:
        LLM("embeded:folder")
    assert all(name in str(caught.value) for name in engine_names())
    with pytest.raises(UsageError, match="no engine is called 'gpt-5'"):
        explain(int, engine="gpt-5")


def test_an_option_that_the_engine_does_not_take_is_named_with_the_nearest():
    with pytest.raises(UsageError, match=r"scripted takes no option 'sede' \(did you mean 'seed'"):
        LLM("scripted", engine_args={"sede": 1})
    with pytest.raises(
        UsageError, match="embedded takes no option 'api_key'; its options are rows"
    ):
        LLM("embedded", api_key="secret")
    with pytest.raises(UsageError, match="engine itself"):
        LLM(Scripted(), base_url="http://localhost")


def test_options_reach_the_engine():
    first = LLM("scripted", engine_args={"seed": 5}).batch(["x"] * 9, int).values()
    assert first == LLM(Scripted(seed=5)).batch(["x"] * 9, int).values()
    assert open_engine("scripted", {"seed": None}).model == "scripted"


def test_a_missing_model_folder_is_a_usage_error(tmp_path: Path):
    with pytest.raises(UsageError):
        LLM(f"embedded:{tmp_path / 'nothing'}")


PLUGIN = """
from typedllm.engines.scripted import Scripted, TRAITS
from typedllm.engines.table import EngineRow
import dataclasses

parrot = EngineRow(
    traits=dataclasses.replace(TRAITS, name="parrot"),
    open=lambda model, *, times=1: Scripted(lambda request: request.prompt[-1].text * times),
    summary="says it again",
)
broken = "not a row"
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parrot_plugin.py").write_text(PLUGIN)
    info = tmp_path / "parrot_plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrot-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[typedllm.engines]\nparrot = parrot_plugin:parrot\nbroken = parrot_plugin:broken\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("plugin")
def test_a_plugin_adds_an_engine():
    assert "parrot" in engine_names()
    assert LLM("parrot", engine_args={"times": 2}).call("hey") == "heyhey"
    with pytest.raises(UsageError, match="did you mean 'parrot'"):
        engine_row("parot")
    with pytest.raises(UsageError, match="parrot_plugin:broken, is a str"):
        engine_row("broken")
    engine_row.cache_clear()


def test_the_default_model_is_the_environments_or_the_embedded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TYPEDLLM_MODEL", raising=False)
    assert default_model() == "embedded"
    monkeypatch.setenv("TYPEDLLM_MODEL", "scripted")
    assert repr(LLM()) == "LLM('scripted')"


def test_require_names_the_command_that_installs():
    assert require("json", "local").__name__ == "json"
    with pytest.raises(MissingDependency, match=r"pip install 'typedllm\[local\]'"):
        require("typedllm_no_such_module", "local")
