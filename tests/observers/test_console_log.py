"""Inferences in the standard logging."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from typedllm import LLM, EngineError, PromptTooLong, Scripted, UsageError
from typedllm.observers.console import LoggingObserver, log_to_console
from typedllm.observers.observed import LOGGER, Observed
from typedllm.records import Request, Segment


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Put the logger back to what it was."""
    handlers, level = list(LOGGER.handlers), LOGGER.level
    yield
    LOGGER.handlers[:] = handlers
    LOGGER.setLevel(level)


def logging_llm(*replies: object) -> LLM:
    return LLM(Scripted(list(replies)))


def test_an_inference_is_one_line_at_info(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "typedllm")
    logging_llm("two words").call("three short words")
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("typedllm", "INFO")
    assert record.message.startswith("scripted: 3 tokens in, 2 out, 0.")
    assert record.message.endswith(" s, stop")


def test_the_packaged_model_is_named_with_its_engine(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "typedllm")
    with LLM("embedded") as llm:
        llm.call("I am 25.", {"age": "int"})
    assert caplog.records[-1].message.startswith("embedded:")
    assert " tokens in, " in caplog.records[-1].message


def test_messages_and_answer_are_shown_at_debug(caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG", "typedllm")
    logging_llm("Fine,\nthank you.").call("How are you?")
    line, talk = [record.message for record in caplog.records if record.name == "typedllm"]
    assert "\n" not in line
    assert talk == "scripted\n  user: How are you?\n  answer: Fine,\n    thank you."


async def test_raw_text_is_shown_as_a_prompt(caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG", "typedllm")
    request = Request(prompt=(Segment(text="Once "), Segment(text="upon")))
    await Observed(Scripted([EngineError("no")]), [LoggingObserver()]).send(request)
    assert caplog.records[-1].message == "scripted\n  prompt: Once upon"


def test_a_failure_is_a_warning_with_what_is_known_of_it(caplog: pytest.LogCaptureFixture):
    busy = EngineError("busy", status=503, request_id="req_1", retryable=True)
    llm = logging_llm(busy, EngineError("down"), PromptTooLong("too long"))
    llm.run("x", timeout_s=1)  # no time for another attempt
    llm.run("x")
    llm.run("x")
    told = [(record.levelname, record.message.split(": ", 1)[1]) for record in caplog.records]
    assert told == [
        ("WARNING", "EngineError: busy (status 503, request req_1, may succeed later)"),
        ("WARNING", "EngineError: down"),
        ("WARNING", "PromptTooLong: too long"),
    ]
    assert caplog.records[0].message.startswith("scripted failed after 0.")


def test_nothing_is_shown_below_the_level(caplog: pytest.LogCaptureFixture):
    caplog.set_level("WARNING", "typedllm")
    logging_llm("x").call("x")
    assert caplog.records == []


async def test_keys_and_known_secrets_are_not_shown(caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG", "typedllm")
    key = "sk-proj-Abcdefgh12345678"
    engine = Scripted([f"It is {key}.", EngineError(f"wrong: {key}, my own")])
    observed = Observed(engine, [LoggingObserver(secrets=["my own"])])
    await observed.send(Request(prompt=(Segment(text=f"What is {key} to my own?"),)))
    await observed.send(Request(prompt=(Segment(text="x"),)))
    assert "Abcdefgh" not in caplog.text and "my own" not in caplog.text
    assert "wrong: [redacted], [redacted]" in caplog.text


def test_what_a_model_writes_cannot_drive_a_terminal(caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG", "typedllm")
    logging_llm("\x1b]0;mine\x07\x1b[2J\r\tok\x9b").call("x")
    assert r"answer: \x1b]0;mine\x07\x1b[2J\x0d" + "\tok\\x9b" in caplog.text


def test_the_console_shows_lines_on_standard_error(capsys: pytest.CaptureFixture[str]):
    log_to_console()
    logging_llm("two words").call("x")
    out, err = capsys.readouterr()
    assert out == ""
    time, level, name, text = err.split(maxsplit=3)
    assert len(time) == 8 and (level, name) == ("INFO", "typedllm")
    assert text.startswith("scripted: 1 tokens in, 2 out") and text.endswith("stop\n")


def test_asking_again_changes_the_level_only(capsys: pytest.CaptureFixture[str]):
    handlers = [log_to_console(), log_to_console("debug"), log_to_console(logging.WARNING)]
    assert handlers[0] is handlers[1] is handlers[2]
    assert LOGGER.handlers.count(handlers[0]) == 1
    llm = logging_llm("x", EngineError("down"), "x")
    llm.call("x")
    assert capsys.readouterr().err == ""
    llm.run("x")
    assert capsys.readouterr().err.count("EngineError: down") == 1
    log_to_console("DEBUG")
    llm.call("hello there")
    assert "user: hello there" in capsys.readouterr().err


def test_it_follows_standard_error_to_where_it_is_now(monkeypatch: pytest.MonkeyPatch):
    log_to_console()
    elsewhere = io.StringIO()
    monkeypatch.setattr(sys, "stderr", elsewhere)
    log_to_console()
    logging_llm("x").call("x")
    assert "scripted: 1 tokens in" in elsewhere.getvalue()


def test_it_ends_when_the_handler_is_removed(capsys: pytest.CaptureFixture[str]):
    LOGGER.removeHandler(log_to_console())
    logging_llm("x").call("x")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("level", ["loud", None, True, 1.5])
def test_a_level_that_is_none_is_named(level: Any):
    with pytest.raises(UsageError, match="level: expected one of"):
        log_to_console(level)


def test_without_asking_nothing_is_printed():
    script = """
from typedllm import LLM, EngineError, Scripted
from typedllm.observers.console import LoggingObserver
from typedllm.observers.observed import Observed
class Raising:
    def sent(self, request, engine):
        raise ValueError
LLM(Scripted([EngineError("down")]), observers=[Raising()]).run("x")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_a_standard_error_that_is_closed_is_left_for_the_one_of_now(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    closed = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", closed)
        log_to_console()
    closed.close()
    log_to_console()
    logging_llm("x").call("x")
    assert "scripted: 1 tokens in" in capsys.readouterr().err
