"""Keys: equal for equal requests, in every process, and different for all others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from typedllm import LLM, Limits, Message, Sampling, Scripted, Segment, Traits, UsageError
from typedllm.attempts import Task
from typedllm.batch.keys import Counted, Key, Keys, engine_key, is_repeatable
from typedllm.engines.base import identity_of
from typedllm.engines.table import TINY
from typedllm.observers.observed import Observed
from typedllm.records import Labels
from typedllm.spec.spec import spec_of

REMOTE = Traits(name="remote", takes=frozenset(), ending="may be cut", logprobs=False)


class Engine(Scripted):
    """A scripted engine with an identity."""

    def __init__(self, model: str = "m", traits: Traits = REMOTE, **identity: Any) -> None:
        super().__init__([], traits=traits)
        self.name, self.identity = model, identity

    @property
    def model(self) -> str:
        return self.name


def task_of(**parts: Any) -> Task[Any]:
    given = {"engine": Engine(), "spec": spec_of({"age": "int"}), **parts}
    return Task(**given)


def key(prompt: Any, classifies: bool = False, **parts: Any) -> Key:
    return Keys(task_of(**parts), classifies=classifies).of(prompt)


# Surrogates too; and texts that look like what is written between them.
texts = st.text(max_size=5) | st.text("tv:0123456789\ud83d\ude00😀", max_size=8)
segments = st.builds(Segment, text=texts, trusted=st.booleans())
contents = st.lists(segments, max_size=3).map(tuple)
messages = st.builds(
    Message, role=st.sampled_from(["system", "user", "assistant"]), content=contents
)
prompts = st.lists(messages, max_size=3).map(tuple) | contents
optional = st.none() | st.integers(0, 3)
samplings = st.builds(
    Sampling,
    temperature=st.none() | st.sampled_from([0, 0.0, 1, 1.0, 0.7]),
    top_p=st.none() | st.sampled_from([0.5, 1]),
    max_tokens=st.none() | st.integers(1, 3),
    stop=st.lists(st.text("ab", min_size=1, max_size=2), max_size=2).map(tuple),
    seed=optional,
    extra=st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from([1, "1", [1], None])),
)
limits = st.builds(Limits, integer_digits=st.integers(1, 2), items=optional)
labels = st.lists(
    st.builds(
        Labels,
        path=st.sampled_from(["$", "$.a"]),
        values=st.just(()),
        texts=st.lists(st.text("ab", max_size=2), max_size=2).map(tuple),
    ),
    max_size=2,
).map(tuple)
requests = st.tuples(prompts, samplings, limits, labels, st.booleans())


def of_request(request: Any) -> str:
    prompt, sampling, limits, scored, classifies = request
    return key(prompt, classifies, sampling=sampling, limits=limits, scored=scored).request


@given(requests, requests)
def test_requests_have_equal_keys_if_they_are_equal(one: Any, other: Any):
    assert (of_request(one) == of_request(other)) == (one == other)


@given(requests, st.data())
def test_a_changed_part_changes_the_key(request_: Any, data: st.DataObject):
    at = data.draw(st.integers(0, 4))
    part = data.draw([prompts, samplings, limits, labels, st.booleans()][at])
    other = (*request_[:at], part, *request_[at + 1 :])
    assert (of_request(request_) == of_request(other)) == (request_[at] == part)


@given(contents, contents)
def test_no_two_prompts_are_written_alike(one: Any, other: Any):
    def forms(content: Any) -> list[Any]:
        as_turns = (Message(role="user", content=content),)
        split = tuple(Message(role="user", content=(each,)) for each in content)
        return [content, as_turns, split, (Segment(text="".join(s.text for s in content)),)]

    every = [*forms(one), *forms(other)]
    keys = [key(form).request for form in every]
    for at, form in enumerate(every):
        for before in range(at):
            # segments and messages that are none are the same empty prompt
            assert (keys[at] == keys[before]) == (form == every[before])


def test_the_order_of_options_does_not_count():
    one = Sampling(extra={"a": 1, "b": {"c": 2, "d": 3}})
    other = Sampling(extra={"b": {"d": 3, "c": 2}, "a": 1})
    assert key((), sampling=one) == key((), sampling=other)


def test_the_output_type_counts():
    assert key((), spec=spec_of({"age": "int"})) == key(())
    assert key((), spec=spec_of({"age": "float"})) != key(())
    assert key((), spec=spec_of(None)) != key(())


def test_how_often_it_is_tried_does_not_count():
    llm, patient = LLM(Engine()), LLM(Engine(), timeout_s=5)
    one, other = (each.asking({"age": "int"}, {}) for each in (llm, patient))
    assert Keys(one.task).of(one.prompt("x")) == Keys(other.task).of(other.prompt("x"))


@pytest.mark.slow
def test_a_key_is_the_same_in_another_process():
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_keys import *
engine = Engine(base_url="http://x", options={{"b": 1, "a": 2}})
sampling = Sampling(temperature=0.5, stop=("a",), extra={{"x": 1, "y": [None]}})
asking = LLM(engine, system="Be brief.").asking({{"age": "int", "color": ["red", "green"]}},
    {{"sampling": sampling}})
print(Keys(asking.task).of(asking.prompt("héllo")))
"""
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    assert printed.pop().startswith("Key(request=")


def test_an_engine_is_known_by_its_name_its_model_and_its_identity():
    engines = [
        Engine(),
        Engine("n"),
        Engine(traits=replace(REMOTE, name="other")),
        Engine(base_url="http://a"),
        Engine(base_url="http://b"),
    ]
    assert len({engine_key(engine) for engine in engines}) == len(engines)
    assert engine_key(Engine()) == engine_key(Engine())
    assert engine_key(Engine(a=1, b=2)) == engine_key(Engine(b=2, a=1))
    assert identity_of(Scripted([], seed=3)) == {"seed": 3}


def test_another_model_in_the_same_folder_is_another_engine(tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(TINY, folder)
    with LLM(f"embedded:{folder}") as one, LLM(f"embedded:{folder}") as same:
        engine = one.asking(None, {}).task.engine
        assert engine_key(engine) == engine_key(same.asking(None, {}).task.engine)
    (folder / "calibration.json").write_text('{"temperature": 2}')
    with LLM(f"embedded:{folder}") as other:
        assert engine_key(other.asking(None, {}).task.engine) != engine_key(engine)


def test_what_stands_before_an_engine_does_not_count():
    engine = Engine(base_url="http://a")
    assert engine_key(Observed(engine, ())) == engine_key(engine)


def test_the_engine_is_no_part_of_the_request():
    one, other = key((), engine=Engine("a")), key((), engine=Engine("b"))
    assert one.request == other.request
    assert one.engine != other.engine


@pytest.mark.parametrize("extra", [{"f": print}, {"s": {1}}, {"n": {1: 1, "b": 2}}])
def test_an_option_that_is_no_json_is_named(extra: Any):
    with pytest.raises(UsageError, match=r"Sampling.extra: .*plain JSON"):
        Keys(task_of(sampling=Sampling(extra=extra)))
    with pytest.raises(UsageError, match="identity of the engine remote"):
        engine_key(Engine(**extra))


ROW = (Segment(text="x"),)
OTHER = (Segment(text="y"),)
GREEDY = replace(REMOTE, ending="landing")


@pytest.mark.parametrize(
    ("sampling", "traits", "classifies", "repeatable"),
    [
        (Sampling(), REMOTE, False, False),
        (Sampling(), GREEDY, False, True),
        (Sampling(temperature=0), REMOTE, False, True),
        (Sampling(temperature=1, seed=0), REMOTE, False, True),
        (Sampling(seed=7), REMOTE, False, True),
        (Sampling(temperature=1), GREEDY, False, False),
        (Sampling(), REMOTE, True, True),
    ],
)
def test_answers_are_the_same_where_nothing_is_drawn(
    sampling: Sampling, traits: Traits, classifies: bool, repeatable: bool
):
    task = task_of(engine=Engine(traits=traits), sampling=sampling)
    assert is_repeatable(task, classifies=classifies) == repeatable


@given(st.lists(st.sampled_from([ROW, OTHER]), max_size=20))
def test_equal_requests_are_counted(rows: list[Any]):
    keys, counted = Keys(task_of()), Counted()
    found = [counted.earlier(keys.of(row)) for row in rows]
    assert found == [rows[:at].count(row) for at, row in enumerate(rows)]


def test_equal_requests_are_counted_in_threads():
    counted, request = Counted(), Keys(task_of()).of(ROW)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: counted.earlier(request), range(2_000)))
    assert sorted(found) == list(range(2_000))
