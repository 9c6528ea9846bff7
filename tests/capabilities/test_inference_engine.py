"""One interface to the providers, row by row, as far as it is there."""
# ruff: noqa: N802 - a test is named as its row

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.engines.remote_apis import serving
from tests.servers import azure
from tests.servers.azure import azure_server
from tests.servers.counted import counted_server
from typedllm import (
    LLM,
    EngineError,
    InferenceLog,
    Policy,
    Sampling,
    Scripted,
    UsageError,
    log_to_console,
)
from typedllm.engines.table import engine_row
from typedllm.records import Request

RETRIES = {
    "RETRY_ATTEMPTS": "3",
    "RETRY_WAIT_EXPONENTIAL_MULTIPLIER": "0.02",
    "RETRY_WAIT_EXPONENTIAL_MIN": "0.01",
    "RETRY_WAIT_EXPONENTIAL_MAX": "0.03",
}


def down(times: int, **options: float) -> Scripted:
    """A service that is out of order so many times, and then answers."""
    busy = EngineError("busy", retryable=True, status=503, **options)
    return Scripted([*[busy] * times, {"age": 25}])


@pytest.mark.parametrize("name", ["anthropic", "gemini"])
def test_E1_anthropic_and_gemini(name: str) -> None:
    with serving(name) as api:
        api.gives('{"age":25}')
        with LLM(api.model, api_key=api.key, base_url=api.url) as llm:
            assert llm.call("I am 25.", {"age": "int"}) == {"age": 25}


def test_E1_azure_openai() -> None:
    with azure_server() as endpoint:
        place = {"azure_endpoint": endpoint, "api_version": azure.VERSION}
        with LLM(f"azure:{azure.DEPLOYMENT}", api_key=azure.KEY, engine_args=place) as llm:
            assert llm.call("Say hello.") == "Hello"


@pytest.mark.parametrize("name", ["openai", "together", "mistral"])
def test_E1_openai_and_those_of_its_protocol(name: str) -> None:
    with counted_server() as server, LLM(f"{name}:m", api_key="k", base_url=server.url) as llm:
        assert llm.call("Number 7.", {"n": "int"}) == {"n": 7}


def test_E1_an_unknown_provider_is_told_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="did you mean 'anthropic'") as caught:
        LLM("antropic:claude")
    for name in ("openai", "azure", "anthropic", "gemini", "together", "mistral"):
        assert name in str(caught.value)


def test_E2_one_call() -> None:
    with LLM("embedded") as llm:
        result = llm.run("I am 25 years old.", {"age": "int"})
        assert type(result.unwrap()["age"]) is int
        assert result.usage.input_tokens > 0 and result.usage.output_tokens > 0


def test_E3_many_in_parallel() -> None:
    running, most = 0, 0

    async def reply(request: Request) -> object:
        nonlocal running, most
        running, most = running + 1, max(most, running + 1)
        await asyncio.sleep(0.001)
        running -= 1
        return {"n": int(request.prompt[-1].text)}

    results = LLM(Scripted(reply, capacity=5)).batch(map(str, range(50)), {"n": "int"})
    assert results.values() == [{"n": n} for n in range(50)]
    assert most == 5

    prompts = ["a " * (1 + n % 5) for n in range(30)]
    with LLM("embedded", engine_args={"rows": 4}) as llm:
        answers = llm.batch(prompts, {"n": "int"})
        alone = [llm.run(prompt, {"n": "int"}) for prompt in prompts[:5]]
    assert answers.values() == [row.value for row in alone] * 6
    assert [row.usage for row in answers] == [row.usage for row in alone] * 6


def test_E4_sampling_parameters() -> None:
    sampling = Sampling(
        temperature=0.7,
        top_p=0.9,
        max_tokens=50,
        stop=("\n",),
        seed=7,
        extra={"presence_penalty": 0.5, "min_p": 0.1},
    )
    engine = Scripted(["x"])
    LLM(engine).call("Hello", sampling=sampling)
    assert engine.requests[0].sampling == sampling  # whole, the extra options by name

    with LLM("embedded") as llm:
        limited = Sampling(max_tokens=30)
        text = llm.call("Hello", sampling=limited)
        assert llm.call("Hello", sampling=limited) == text  # greedy, unless asked otherwise
        hot = [replace(limited, temperature=5, top_p=0.99, seed=seed) for seed in range(5)]
        texts = [llm.call("Hello", sampling=each) for each in hot]
        assert len(set(texts)) > 1
        assert [llm.call("Hello", sampling=each) for each in hot] == texts
        assert llm.run("Hello", sampling=hot[0]).usage.output_tokens <= 30
        almost_greedy = replace(hot[0], top_p=1e-9)
        assert llm.call("Hello", sampling=almost_greedy) == text
        stop = text[2:4]
        stopped = llm.call("Hello", sampling=replace(limited, stop=(stop,)))
        assert stopped == text[: text.index(stop)]
        with pytest.raises(UsageError, match="min_p"):  # what it cannot do is not dropped
            llm.call("Hello", sampling=Sampling(extra={"min_p": 0.1}))


def clear(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in RETRIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"TYPEDLLM_{name}", raising=False)


def test_E5_retries_have_these_defaults() -> None:
    policy = Policy()
    assert (policy.attempts, policy.multiplier_s) == (10, 1)
    assert (policy.min_wait_s, policy.max_wait_s) == (4, 300)
    busy = EngineError("busy", retryable=True)
    waits = [policy.wait_s(busy, failures) for failures in range(1, 11)]
    assert waits == [4, 4, 4, 8, 16, 32, 64, 128, 256, None]
    assert Policy(attempts=12).wait_s(busy, 11) == 300


@pytest.mark.parametrize("prefix", ["", "TYPEDLLM_"])
def test_E5_retries_are_set_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    clear(monkeypatch)
    for name, value in RETRIES.items():
        monkeypatch.setenv(f"{prefix}{name}", value)
    result = LLM(down(2)).run("x", {"age": "int"})
    assert result.value == {"age": 25} and result.attempts == 3
    assert 0.02 + 0.03 <= result.latency_s < 2
    assert LLM(down(3)).run("x", {"age": "int"}).attempts == 3
    assert LLM(down(1), policy=Policy(attempts=1)).run("x").attempts == 1  # an argument goes first


def test_E5_the_prefix_goes_first_and_what_is_no_number_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clear(monkeypatch)
    monkeypatch.setenv("RETRY_ATTEMPTS", "7")
    monkeypatch.setenv("TYPEDLLM_RETRY_ATTEMPTS", "1")
    assert LLM(down(1)).run("x").attempts == 1
    monkeypatch.setenv("TYPEDLLM_RETRY_ATTEMPTS", "many")
    with pytest.raises(UsageError, match="TYPEDLLM_RETRY_ATTEMPTS='many'"):
        LLM(down(1))
    monkeypatch.setenv("TYPEDLLM_RETRY_ATTEMPTS", "0")
    with pytest.raises(UsageError, match="attempts"):
        LLM(down(1))


def test_E5_retry_after_is_honoured() -> None:
    started = time.monotonic()
    result = LLM(down(2, retry_after_s=0.05)).run("x", {"age": "int"})
    assert result.ok and 0.1 <= time.monotonic() - started < 3  # and not the 4 s of the policy


KEY = "sk-proj-AbCdEf0123456789AbCdEf0123456789"


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The package's logger, put back to what it was."""
    logger = logging.getLogger("typedllm")
    handlers, level = list(logger.handlers), logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_E6_logging_is_off_until_asked_for(
    logger: logging.Logger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with LLM("embedded") as llm:
        llm.call("I am 25.", {"age": "int"})
    LLM(down(1), policy=Policy(attempts=1)).run("x")  # a failure is a warning, once asked for
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_E6_a_readable_console_log(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_console()
    with LLM("embedded") as llm:
        result = llm.run("I am 25 years old.", {"age": "int"})
    usage = result.usage
    (line,) = capsys.readouterr().err.splitlines()
    assert "INFO" in line and "embedded" in line and line.endswith("s, stop")
    assert f"{usage.input_tokens} tokens in, {usage.output_tokens} out" in line
    log_to_console("DEBUG")
    LLM(Scripted(["Fine."])).call(f"How are you? My key is {KEY}")
    shown = capsys.readouterr().err
    assert "user: How are you?" in shown and "answer: Fine." in shown
    assert KEY not in shown and "[redacted]" in shown


def test_E6_a_log_of_every_inference_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "inferences.jsonl"
    again = Policy(attempts=2, min_wait_s=0)
    llm = LLM(down(1), policy=again, log=path, sampling=Sampling(extra={"api_key": KEY, "n": 1}))
    llm.call(f"I am 25, and my key is {KEY}.", {"age": "int"})
    failed, answered = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert failed["error"]["status"] == 503 and failed["error"]["retryable"] is True
    assert answered["reply"]["text"] == '{"age":25}'
    assert answered["reply"]["usage"]["output_tokens"] == 1
    assert answered["seconds"] >= 0 and answered["engine"] == "scripted"
    assert answered["messages"][-1]["content"] == "I am 25, and my key is [redacted]."
    assert answered["sampling"] == {"extra": {"api_key": "[redacted]", "n": 1}}
    assert KEY not in path.read_text(encoding="utf-8")


def test_E6_a_key_that_looks_like_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "inferences.jsonl"
    log = InferenceLog(path, secrets=["open sesame"])
    LLM(Scripted(["open sesame, open!"]), observers=[log]).call("Say open sesame.")
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert "open sesame" not in line and line.count("[redacted]") == 2


PLUGIN = """
import dataclasses
from typedllm.engines.scripted import TRAITS, Scripted
from typedllm.engines.table import EngineRow

engine = EngineRow(
    traits=dataclasses.replace(TRAITS, name="echo"),
    open=lambda model, *, loud=False: Scripted(
        lambda request: request.prompt[-1].text.upper() if loud else request.prompt[-1].text
    ),
    summary="says it again",
)
"""


def test_E7_a_new_provider_by_an_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "echo_engine.py").write_text(PLUGIN)
    info = tmp_path / "echo_engine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: echo-engine\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[typedllm.engines]\necho = echo_engine:engine\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert LLM("echo:any-model").call("hello") == "hello"
    assert LLM("echo", engine_args={"loud": True}).batch(["a", "b"]).values() == ["A", "B"]
    engine_row.cache_clear()
