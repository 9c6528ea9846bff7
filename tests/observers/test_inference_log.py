"""The log of inferences, in real files."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from typedllm import LLM, EngineError, Policy, Sampling, Scripted, UsageError
from typedllm.engines.table import open_engine
from typedllm.observers.inference_log import InferenceLog
from typedllm.observers.observed import Observed
from typedllm.records import Completion, Failure, Lark, Message, Reply, Request, Segment, Usage

KEY = "sk-ant-api03-Abcdefghijklmnop1234567890"
QUICK = Policy(attempts=3, multiplier_s=0, min_wait_s=0, max_wait_s=0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "inferences.jsonl"


def observed(path: Path, engine: Any, *secrets: str) -> Observed:
    return Observed(engine, [InferenceLog(path, secrets=secrets)])


def lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n") or not text
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_says_what_was_asked_and_what_came_back(path: Path):
    llm = LLM(observed(path, Scripted([{"age": 25}])), system="Be brief.")
    sampling = Sampling(temperature=0, seed=3, stop=("\n",), extra={"min_p": 0.1})
    llm.call("How old?", {"age": "int"}, sampling=sampling)
    (line,) = lines(path)
    sent = datetime.fromisoformat(line.pop("time"))
    assert timedelta(0) <= datetime.now(UTC) - sent < timedelta(minutes=5)
    assert 0 < line.pop("seconds") < 60
    system, user = line.pop("messages")
    assert system["role"] == "system" and system["content"].startswith("Be brief.")
    assert user == {"role": "user", "content": "How old?"}
    usage = line["reply"].pop("usage")
    assert usage["input_tokens"] > 2 and usage["output_tokens"] == 1
    assert line == {
        "engine": "scripted",
        "model": "scripted",
        "constraint": "Grammar",
        "sampling": {"temperature": 0, "stop": ["\n"], "seed": 3, "extra": {"min_p": 0.1}},
        "reply": {"text": '{"age":25}', "finish_reason": "stop"},
    }


async def test_raw_text_is_a_prompt(path: Path):
    prompt = (Segment(text="Once ", trusted=True), Segment(text="upon"))
    await observed(path, Scripted(["x"])).send(Request(prompt=prompt, constraint=Lark("start: x")))
    (line,) = lines(path)
    assert (line["prompt"], line["constraint"], line["sampling"]) == ("Once upon", "Lark", {})
    assert "messages" not in line


def test_failures_and_retries_each_give_a_line(path: Path):
    busy = EngineError("busy", status=503, request_id="req_1", retryable=True, retry_after_s=0.0)
    llm = LLM(observed(path, Scripted([busy, "x", ValueError("odd")])), policy=QUICK)
    assert llm.call("x") == "x"
    assert llm.run("x").error is not None
    first, second, third = lines(path)
    assert first["error"] == {
        "type": "EngineError",
        "message": "busy",
        "status": 503,
        "request_id": "req_1",
        "retryable": True,
    }
    assert second["reply"]["text"] == "x" and "error" not in second
    assert third["error"]["retryable"] is False and "ValueError('odd')" in third["error"]["message"]


def test_200_rows_at_once_give_200_whole_lines(path: Path):
    async def reply(request: Request) -> object:
        await asyncio.sleep(0.001)
        number = int(request.prompt[-1].text)
        return "é" * 2_000 + str(number)

    llm = LLM(observed(path, Scripted(reply, capacity=50)))
    assert llm.batch(map(str, range(200))).ok == 200
    found = lines(path)
    assert len(found) == 200
    asked = {line["messages"][-1]["content"] for line in found}
    assert asked == set(map(str, range(200)))
    assert all(
        line["reply"]["text"].endswith("é" + line["messages"][-1]["content"]) for line in found
    )


def test_many_threads_and_logs_of_one_file_give_whole_lines(path: Path):
    def work(number: int) -> None:
        llm = LLM(observed(path, Scripted(lambda request: "y" * 20_000)))
        asyncio.run(llm.abatch([str(number)] * 25))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(lines(path)) == 200


SCRIPT = """
import sys
from typedllm import LLM, Scripted
from typedllm.observers.inference_log import InferenceLog
from typedllm.observers.observed import Observed
llm = LLM(Observed(Scripted(lambda request: "z" * 50_000), [InferenceLog(sys.argv[1])]))
llm.batch(["x"] * 50)
"""


def test_several_processes_write_one_file(path: Path):
    command = [sys.executable, "-c", SCRIPT, str(path)]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(120) for process in running] == [0, 0, 0]
    assert len(lines(path)) == 150


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")
def test_a_forked_child_does_not_wait_for_a_thread_that_is_not_in_it(path: Path):
    script = """
import os, sys, threading
from typedllm.observers.inference_log import InferenceLog
log = InferenceLog(sys.argv[1])
held, over = threading.Event(), threading.Event()
def hold():
    with log._lock:
        held.set()
        over.wait()
threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if not child:
    log._append(b"{}\\n")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
over.set()
"""
    command = [sys.executable, "-c", script, str(path)]
    subprocess.run(command, check=True, timeout=60)
    assert lines(path) == [{}]


def test_the_packaged_model_is_logged(path: Path):
    with LLM(observed(path, open_engine("embedded", {}))) as llm:
        value = llm.call("I am 25 years old.", {"age": "int"})
    (line,) = lines(path)
    assert json.loads(line["reply"]["text"]) == value
    assert line["engine"] == "embedded" and line["reply"]["usage"]["output_tokens"] > 0


def test_no_key_is_in_the_file(path: Path):
    own = 'my own secret, with "quotes" and ümlauts'
    engine = Scripted(
        [
            f"Your key is {KEY}.",
            EngineError(f"Incorrect API key {KEY}: {own}", request_id=f"Bearer {KEY}"),
            json.dumps({"echo": own}),
        ]
    )
    extra = {
        "extra_headers": {"Authorization": "Basic aHVudGVyMjpodW50ZXIy", "X-Trace": "kept"},
        "extra_body": {"password": "hunter2", "nested": [{"hf_token": "hunter3"}]},
        "note": f"use {KEY}",
    }
    llm = LLM(observed(path, engine, own), system=f"Bearer {KEY}")
    sampling = Sampling(stop=(KEY,), extra=extra)
    for _ in range(3):
        llm.run(f"My keys are {KEY} and {own}, AIza{'x' * 35}", sampling=sampling)
    text = path.read_text(encoding="utf-8")
    assert len(lines(path)) == 3
    for secret in (KEY[13:], "hunter", "aHVudGVy", "my own secret", "AIzax", "ümlauts"):
        assert secret not in text
    assert "kept" in text and "My keys are [redacted] and [redacted]" in text


def test_a_cancellation_gives_a_line(path: Path):
    async def never(request: Request) -> object:
        await asyncio.Event().wait()
        return None

    LLM(observed(path, Scripted(never))).run("x", timeout_s=0.05)
    (line,) = lines(path)
    assert line["error"]["type"] == "EngineError" and "given up" in line["error"]["message"]


def test_odd_texts_keep_to_their_lines(path: Path):
    odd = "a\nb\r\n\u2028c\u2029d\x85e\x0cf\ud800g\x00"
    llm = LLM(observed(path, Scripted([odd])))
    assert llm.call("x") == odd
    (line,) = lines(path)
    assert line["reply"]["text"] == odd


async def test_values_that_json_has_no_way_to_write_are_told(path: Path):
    extra = {"nan": float("nan"), "what": Path("here"), "raw": b"\xff", "kinds": {3}}
    request = Request(prompt=(), sampling=Sampling(extra=extra))
    await observed(path, Scripted(["x"])).send(request)
    told = lines(path)[0]["sampling"]["extra"]
    assert told == {"nan": "nan", "what": repr(Path("here")), "raw": "\ufffd", "kinds": [3]}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_the_file_is_its_owners_and_one_that_is_there_is_appended_to(path: Path):
    InferenceLog(path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    path.write_text("{}\n", encoding="utf-8")
    LLM(observed(path, Scripted(["x"]))).call("x")
    assert path.stat().st_mode & 0o777 == 0o640
    assert [len(line) > 0 for line in lines(path)] == [False, True]


def test_it_may_be_moved_away_and_the_working_folder_may_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    log = InferenceLog("here.jsonl")
    assert log.path == tmp_path / "here.jsonl"
    llm = LLM(Observed(Scripted(["a", "b"]), [log]))
    llm.call("x")
    log.path.rename(tmp_path / "old.jsonl")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    llm.call("x")
    texts = [lines(tmp_path / name)[0]["reply"]["text"] for name in ("old.jsonl", "here.jsonl")]
    assert texts == ["a", "b"]


def test_a_file_that_cannot_be_written_is_found_at_once(tmp_path: Path):
    wrong: list[Any] = [tmp_path, tmp_path / "file" / "below", None, "a\0b"]
    (tmp_path / "file").touch()
    for path in wrong:
        with pytest.raises(UsageError, match="cannot be written"):
            InferenceLog(path)


def test_a_file_that_can_no_longer_be_written_harms_no_inference(
    path: Path, caplog: pytest.LogCaptureFixture
):
    llm = LLM(observed(path, Scripted(lambda request: "x")))
    path.unlink()
    path.mkdir()
    assert llm.batch(["x"] * 20).ok == 20
    assert len(caplog.records) == 1 and "IsADirectoryError" in caplog.text


LIMITED = """
import resource, signal, sys
from typedllm import LLM, Scripted
from typedllm.observers.inference_log import InferenceLog
from typedllm.observers.observed import Observed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
llm = LLM(Observed(Scripted(lambda request: "x" * 3_000), [InferenceLog(sys.argv[1])]))
resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, resource.RLIM_INFINITY))
assert llm.batch(["x"] * 3).ok == 3
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
llm.call("x")
llm.call("x")
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limits")
def test_a_line_that_a_full_disk_cut_does_not_spoil_the_next(path: Path):
    subprocess.run([sys.executable, "-c", LIMITED, str(path)], check=True, timeout=120)
    first, cut, *rest = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(first) and cut and not cut.endswith("}")
    assert [json.loads(line)["reply"]["finish_reason"] for line in rest] == ["stop", "stop"]


def test_replies_may_come_from_any_thread(path: Path):
    log, engine = InferenceLog(path), Scripted()
    message = Message(role="user", content=(Segment(text="x"),))
    waiting = [log.sent(Request(prompt=(message,)), engine) for _ in range(40)]
    done = Completion(text="y" * 9_000, finish_reason="landing", usage=Usage())
    replies: list[Reply] = [done, Failure(error=EngineError("no"))]

    def answer(on_reply: Callable[[Reply, float], None], number: int) -> None:
        on_reply(replies[number % 2], 0.5)

    threads = [threading.Thread(target=answer, args=(w, n)) for n, w in enumerate(waiting)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = lines(path)
    assert len(found) == 40 and sum("reply" in line for line in found) == 20
