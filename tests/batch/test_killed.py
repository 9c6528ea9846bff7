"""Batches against a real server: killed at any moment, and with a tenth of the calls failing."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.servers.counted import Counted, counted_server
from typedllm import LLM
from typedllm.attempts import Policy
from typedllm.batch.journal_report import status

ROWS = 2_000
IN_FLIGHT = 64
SCRIPT = """
    import sys
    from typedllm import LLM

    llm = LLM("openai:m", base_url=sys.argv[1], api_key="k")
    print("begins", flush=True)
    inputs = [f"Number {n}." for n in range(2_000)]
    results = llm.batch(inputs, {"n": "int"}, journal="run.db")
    assert results.values() == [{"n": n} for n in range(2_000)]
    print(sum(result.origin == "journal" for result in results))
"""


def begun(folder: Path, url: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), url],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None and process.stdout.readline() == "begins\n"
    return process


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_no_row_is_lost_or_doubled_by_twenty_kills(tmp_path: Path):
    chance = random.Random(11)
    # each number may be asked again once for each kill that came before its answer was durable
    not_durable = Counter[int]()
    kills = 0
    with counted_server(delay_s=0.02) as server:
        while kills < 20:
            before = server.asked.copy()
            process = begun(tmp_path, server.url)
            killer = threading.Timer(chance.uniform(0.03, 0.25), process.kill)
            killer.start()
            _, err = process.communicate(timeout=60)
            killer.cancel()
            assert process.returncode in (0, -signal.SIGKILL), err
            kills += 1
            settle(server)
            sent = server.asked - before
            assert set(sent.values()) <= {1}, "asked twice in one run"
            durable = durable_numbers(tmp_path / "run.db")
            not_durable.update(number for number in sent if number not in durable)
            assert sum(number not in durable for number in sent) <= 2 * IN_FLIGHT
        process = begun(tmp_path, server.url)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert 0 < int(out) < ROWS
        assert set(server.asked) == set(range(ROWS))
        assert sum(server.asked.values()) <= ROWS + sum(not_durable.values())
    found = status(tmp_path / "run.db")
    assert (found.valid, found.invalid, found.failed) == (ROWS, 0, 0)


def settle(server: Counted) -> None:
    """Wait until what a killed process has sent has come."""
    seen = -1
    while seen != (seen := sum(server.asked.values())):
        time.sleep(0.3)


def durable_numbers(path: Path) -> set[int]:
    if not path.exists():
        return set()
    with sqlite3.connect(path) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'rows'").fetchone():
            return set()
        rows = connection.execute("SELECT row_id FROM rows WHERE status = 'valid'").fetchall()
    return {int(row_id) for (row_id,) in rows}


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_of_ten_thousand_rows_none_is_lost_where_a_tenth_of_the_calls_go_wrong(tmp_path: Path):
    policy = Policy(attempts=12, repairs=8, multiplier_s=0.01, min_wait_s=0.01, max_wait_s=0.1)
    with (
        counted_server(faults=0.1) as server,
        LLM("openai:m", base_url=server.url, api_key="k", policy=policy) as llm,
    ):
        inputs = [f"Number {n}." for n in range(10_000)]
        results = llm.batch(inputs, {"n": "int"}, journal=tmp_path / "run.db")
    assert results.errors() == {}
    assert results.values() == [{"n": n} for n in range(10_000)]
    assert [result.id for result in results] == [str(n) for n in range(10_000)]
    assert sum(server.failed.values()) > 900 and len(server.failed) == 7
    assert sum(server.asked.values()) == 10_000 + sum(server.failed.values())
    assert sum(result.attempts for result in results) == sum(server.asked.values())
