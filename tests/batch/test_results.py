"""What a batch gives back: results in their places, and what they come to."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from typedllm import LLM, EngineError, Scripted
from typedllm.batch.results import Results
from typedllm.errors import Invalid
from typedllm.records import Request, Result, Usage
from typedllm.spec.spec import spec_of

SPEC = {"n": "int"}


def made() -> Results[Any]:
    rows: list[Result[Any]] = [
        Result(value={"n": 1}, attempts=1, latency_s=0.5, usage=Usage(input_tokens=10, cost=0.5)),
        Result(error=Invalid("no", raw="x"), attempts=3, usage=Usage(output_tokens=4, cost=1.0)),
        Result(value={"n": 3}, origin="journal", usage=Usage(input_tokens=100, cost=2.0)),
    ]
    return Results(rows, wall_s=2, spec=spec_of(SPEC))


def test_results_are_a_sequence_in_the_order_of_the_inputs():
    results = made()
    assert len(results) == 3 and results.ok == 2 and results.wall_s == 2
    assert results.values() == [{"n": 1}, None, {"n": 3}]
    assert [type(error) for error in results.errors().values()] == [Invalid]
    assert list(results.errors()) == [1]
    assert results[-1].value == {"n": 3} and [row.ok for row in results[:2]] == [True, False]
    assert repr(results) == "Results(2 of 3 valid; 110 tokens in, 4 out; 2.00 s)"


def test_usage_is_of_all_rows_and_a_summary_of_what_this_batch_spent():
    results = made()
    assert results.usage == Usage(input_tokens=110, output_tokens=4, cost=3.5)
    summary = results.summary()
    assert summary.usage == Usage(input_tokens=10, output_tokens=4, cost=1.5)
    assert (summary.rows, summary.asked, summary.attempts, summary.retried) == (3, 2, 4, 1)
    assert (summary.validity, summary.rows_per_s) == (pytest.approx(2 / 3), 1)
    assert (summary.failures, summary.there) == ({"Invalid": 1}, {"journal": 1})
    assert (summary.latency_p50_s, summary.latency_max_s) == (0.0, 0.5)


def test_a_batch_is_summed_up():
    def reply(request: Request) -> object:
        text = request.prompt[-1].text
        if text == "no":
            raise EngineError("no")
        return {"n": int(text)} if text.isdigit() else "not JSON"

    summary = LLM(Scripted(reply)).batch(["1", "no", "what?", "2", ""], SPEC).summary()
    assert (summary.rows, summary.ok) == (5, 2)
    assert summary.failures == {"EngineError": 1, "Invalid": 2}
    assert summary.usage.input_tokens > 0 and summary.usage.cost is None
    assert "errors:    Invalid 2, EngineError 1\n" in str(summary)


@pytest.mark.parametrize(
    ("spec", "value"),
    [(spec_of(SPEC), {"n": 1}), (spec_of(None), "one"), (spec_of(list[int]), [1]), (None, 1)],
)
def test_results_go_through_a_pickle_with_their_columns(tmp_path: Path, spec: Any, value: Any):
    results = Results([Result(value=value)], wall_s=1, system="s", spec=spec)
    tables: list[Any] = []
    for each in (results, pickle.loads(pickle.dumps(results)), copy.deepcopy(results)):
        assert (each.values(), each.wall_s) == ([value], 1)
        each.to_parquet(tmp_path / "out.parquet")
        tables.append(pq.read_table(tmp_path / "out.parquet"))
    assert tables[0].equals(tables[1]) and tables[0].equals(tables[2])


def test_without_a_spec_values_are_json(tmp_path: Path):
    Results([Result(value={"n": 1})], wall_s=0).to_parquet(tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet")["value"].to_pylist() == ['{"n":1}']
