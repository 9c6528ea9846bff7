"""How likely each label is: of a whole answer, and of the places of an object."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from typedllm import LLM, Choice, JsonSchema, Scripted, UnsupportedConstraint, UsageError, template
from typedllm.engines.encode import PromptEncoder
from typedllm.engines.scoring import Scoring, fitted_temperature
from typedllm.engines.table import TINY
from typedllm.output.distribution import distribution
from typedllm.records import Request, Segment

LABELS = ["card", "cash", "fees", "transfer", "top_up"]
FITTED = fitted_temperature(TINY)
TEXT = "I lost my card, can you send me a new one?"


class Ticket(BaseModel):
    topic: Literal["card", "cash", "fees"]
    urgent: bool
    stars: int = Field(ge=1, le=12)
    name: str | None


class Topic(Enum):
    CARD = "card"
    CASH = "cash"


@pytest.fixture(scope="module")
def transformers_llm() -> Iterator[LLM]:
    with LLM(f"transformers:{TINY}") as llm:
        yield llm


def by_hand(prompt: str, labels: list[str]) -> list[float]:
    """The log-probability of each label as transformers has it, token by token."""
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    model = LlamaForCausalLM.from_pretrained(TINY, dtype=torch.float32).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(TINY)
    begun = tokenizer.encode(prompt, add_special_tokens=False)
    scores: list[float] = []
    for label in labels:
        ids = tokenizer.encode(label, add_special_tokens=False)
        with torch.inference_mode():
            logits = model(torch.tensor([[*begun, *ids]])).logits[0].log_softmax(-1)
        scores.append(sum(float(logits[len(begun) - 1 + n, each]) for n, each in enumerate(ids)))
    return scores


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["embedded_llm", "transformers_llm"])
def test_the_distribution_is_that_of_scoring_each_label_by_hand(
    engine: str, request: pytest.FixtureRequest
):
    llm: LLM = request.getfixturevalue(engine)
    found = llm.classify(TEXT, LABELS).distribution()
    scores = by_hand(llm.render(TEXT, LABELS).text, [json.dumps(label) for label in LABELS])
    assert list(found) == LABELS
    assert math.fsum(found.values()) == pytest.approx(1, abs=1e-6)
    assert list(found.values()) == pytest.approx(distribution(scores, FITTED), abs=1e-3)


@pytest.mark.slow
def test_places_of_an_object_are_scored_after_what_stands_before_them(
    embedded_llm: LLM, transformers_llm: LLM
):
    paths = ["$.topic", "$.urgent", "$.stars"]
    result = embedded_llm.run(TEXT, Ticket, distribution=paths)
    assert list(result.distributions) == paths
    assert list(result.distribution("$.topic")) == ["card", "cash", "fees"]
    assert list(result.distribution("$.urgent")) == [False, True]
    assert list(result.distribution("$.stars")) == [*range(1, 13)]
    begun = (result.raw or "").partition('"urgent":')[0] + '"urgent":'
    scores = by_hand(embedded_llm.render(TEXT, Ticket).text + begun, ["false", "true"])
    found = result.distribution("$.urgent")
    assert list(found.values()) == pytest.approx(distribution(scores, FITTED), abs=1e-3)
    other = transformers_llm.run(TEXT, Ticket, distribution=paths)
    for path in paths:
        expected = list(result.distribution(path).values())
        assert list(other.distribution(path).values()) == pytest.approx(expected, abs=1e-3)


def test_the_likeliest_label_is_the_value(embedded_llm: LLM):
    for labels, kind in ((LABELS, str), (Topic, Topic), (bool, bool), ([1, 2, 10], int)):
        result = embedded_llm.classify(TEXT, labels)  # pyright: ignore
        assert type(result.value) is kind
        found = result.distribution()
        likely = max(found, key=lambda label: found[label])
        assert likely == getattr(result.value, "value", result.value)
        assert result.attempts == 1 and result.usage.output_tokens == 0
        assert result.raw == json.dumps(likely)
    assert embedded_llm.classify(TEXT, Choice(["a b", "c"])).value in ("a b", "c")


def test_many_texts_keep_their_order_and_a_bad_one_harms_none(embedded_llm: LLM):
    texts = [TEXT, "\ud800", "How do I get cash?", TEXT]
    results = embedded_llm.classify_batch(texts, LABELS, ids="abcd")
    assert [row.ok for row in results] == [True, False, True, True]
    assert results[0].distribution() == pytest.approx(results[3].distribution(), abs=1e-6)
    alone = embedded_llm.classify(texts[2], LABELS)
    assert results[2].distribution() == pytest.approx(alone.distribution(), abs=1e-5)
    assert isinstance(results[1].error, UsageError) and results[1].id == "b"


def test_a_batch_that_writes_is_scored_too(embedded_llm: LLM):
    results = embedded_llm.batch([TEXT] * 3, Ticket, distribution=["$.topic"])
    for row in results:
        assert math.fsum(row.distribution("$.topic").values()) == pytest.approx(1)
        assert row.attempts == 2


def test_a_place_that_the_answer_lacks_has_no_distribution(embedded_llm: LLM):
    schema = JsonSchema({"type": "object", "properties": {"a": {"enum": ["x", "y"]}}})
    for row in embedded_llm.batch(["x", "y", "nothing"], schema, distribution=["$.a"]):
        assert ("$.a" in row.distributions) == ("a" in row.unwrap())
    with pytest.raises(UsageError, match=r"there is no distribution of \$\.a, but of none"):
        embedded_llm.run("x", schema).distribution("$.a")


def test_a_fitted_temperature_in_the_models_folder_is_applied(tmp_path: Path, embedded_llm: LLM):
    folder = shutil.copytree(TINY, tmp_path / "model")
    shipped = embedded_llm.classify(TEXT, LABELS).distribution()
    (folder / "calibration.json").unlink()
    with LLM(f"embedded:{folder}") as llm:
        raw = llm.classify(TEXT, LABELS).distribution()
    expected = distribution([math.log(p) for p in raw.values()], FITTED)
    assert FITTED != 1 and list(shipped.values()) == pytest.approx(expected, abs=1e-5)
    for text in ("{}", "[", '{"temperature": 0}', '{"temperature": "x"}'):
        (folder / "calibration.json").write_text(text)
        with pytest.raises(UsageError, match=r"calibration\.json"):
            LLM(f"embedded:{folder}")


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["$.nope"], r"\$\.nope is no place with a few values"),
        (["$.name"], r"\$\.name is no place with a few values"),
        (["$"], r"\$ is no place with a few values"),
        (["topic"], "'topic' is no path; write one such as"),
        (["$topic"], "is no path"),
        ("$.topic", r"expected a list of paths; write \['\$\.topic'\]"),
        (3, "distribution: expected a Sequence, got int 3"),
    ],
)
def test_what_is_no_place_is_named_before_any_call(paths: Any, message: str, embedded_llm: LLM):
    with pytest.raises(UsageError, match=message):
        embedded_llm.run(TEXT, Ticket, distribution=paths)


def test_an_engine_without_scores_says_so_before_any_call():
    engine = Scripted(["x"])
    with pytest.raises(UnsupportedConstraint, match="the engine scripted scores no labels"):
        LLM(engine).classify(TEXT, LABELS)
    with pytest.raises(UsageError, match="is no place with a few values"):
        LLM("embedded").classify(TEXT, str)
    assert engine.requests == []


def test_a_prompt_that_is_too_long_fails_alone(embedded_llm: LLM):
    good, long = embedded_llm.classify_batch([TEXT, "word " * 3000], LABELS)
    assert good.ok and "context" in str(long.error)


def test_templates_and_examples_go_into_classification_too(embedded_llm: LLM):
    result = embedded_llm.classify({"question": TEXT}, LABELS, template="generic/default")
    assert result.ok and template("generic/default").variables == ("question",)


@given(
    st.lists(st.floats(-50, 0), min_size=1, max_size=20), st.floats(0.1, 10), st.floats(-1e6, 1e6)
)
def test_a_distribution_sums_to_one_whatever_is_added_to_the_scores(
    scores: list[float], temperature: float, shift: float
):
    found = distribution(scores, temperature)
    assert math.fsum(found) == pytest.approx(1, abs=1e-9)
    assert all(0 <= p <= 1 for p in found)
    order = sorted(range(len(scores)), key=lambda n: scores[n])
    assert [found[n] for n in order] == sorted(found)
    moved = distribution([score + shift for score in scores], temperature)
    assert moved == pytest.approx(found, abs=1e-6)


def test_a_label_that_begins_others_is_scored_as_the_one_that_ends():
    encoder = PromptEncoder.load(TINY)
    request = Request(prompt=(Segment(text="x"),), labels=("1", "12", "123", "2"))
    scoring = Scoring(request, encoder, 1024)
    scoring.finish([math.log(p) for p in (0.6, 0.4, 0.1, 0.3)], 1.0)
    assert scoring.reply is not None
    found = [math.exp(score) for score in scoring.reply.scores]  # pyright: ignore
    assert found == pytest.approx([0.2, 0.3, 0.1, 0.3])
