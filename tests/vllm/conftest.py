"""Real vLLM for the tests: one engine a class, four in all."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import typedllm

TINY = Path(typedllm.__file__).parent / "tiny" / "model"
SMALL: dict[str, Any] = {"enforce_eager": True, "max_num_seqs": 128, "seed": 0}


@pytest.fixture(scope="session", autouse=True)
def vllm_is_there() -> None:
    if find_spec("vllm") is not None:
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    elif os.environ.get("VLLM") == "0":
        pytest.skip("VLLM=0 leaves vLLM out")
    else:
        pytest.fail("vLLM is not installed; `make setup` does it, `make test VLLM=0` leaves it out")
