"""The engines of this package keep the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.contract import EngineContract, GuidedContract, MakeEngine
from typedllm.engines.embedded import EmbeddedEngine
from typedllm.engines.scripted import Scripted
from typedllm.engines.transformers import open_model


class TestScripted(EngineContract):
    @pytest.fixture
    def make_engine(self) -> MakeEngine:
        return Scripted


class TestEmbedded(GuidedContract):
    @pytest.fixture
    def make_engine(self, random_model: Path) -> MakeEngine:
        return lambda: EmbeddedEngine(random_model)


class TestTransformers(GuidedContract):
    @pytest.fixture
    def make_engine(self, random_model: Path) -> MakeEngine:
        return lambda: open_model(str(random_model), batch_size=16)
