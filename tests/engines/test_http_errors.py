"""What an answer without success means, and what of it may be told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedllm.engines.http_errors import hidden, refusal_of
from typedllm.errors import EngineError, PromptTooLong, Refused, UsageError

SECRETS = st.text(st.characters(codec="ascii", exclude_categories=("C", "Z")), min_size=5)


def wait_of(headers: dict[str, str]) -> float | None:
    error = refusal_of("it", 429, {}, "slow down", headers)
    assert isinstance(error, EngineError)
    return error.retry_after_s


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "60"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "60"}, 60.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 99 Oct 2015 07:28:00 GMT"}, None),
    ],
)
def test_the_wait_is_what_was_asked_for(headers: dict[str, str], wait_s: float | None):
    assert wait_of(headers) == wait_s


def test_a_date_is_a_wait_too():
    at = datetime.now(UTC) + timedelta(seconds=90)
    wait_s = wait_of({"retry-after": format_datetime(at, usegmt=True)})
    assert wait_s is not None
    assert 80 < wait_s <= 90


@given(text=st.text(), digits=st.text("0123456789:;, -+.eGMT", max_size=40))
def test_any_wait_is_a_number_or_none(text: str, digits: str):
    for said in (text, digits, f"Wed, 21 Oct 2015 {digits}"):
        wait_s = wait_of({"retry-after": said, "retry-after-ms": said})
        assert wait_s is None or 0 <= wait_s < float("inf")


@pytest.mark.parametrize(
    ("status", "body", "told", "kind"),
    [
        (400, {"code": "content_filter"}, "no", Refused),
        (400, {"code": "content_filter", "innererror": 3}, "no", Refused),
        (400, {}, "the context length is 8", PromptTooLong),
        (400, None, "no such field", UsageError),
        (403, {"code": "content_filter"}, "no", EngineError),
        (503, "<html>", "no", EngineError),
    ],
)
def test_each_is_on_somebodys_side(status: int, body: Any, told: str, kind: type[Exception]):
    error = refusal_of("it", status, body, told, {})
    assert type(error) is kind
    assert told in str(error)


def test_the_filters_of_a_prompt_are_named():
    found = {"hate": {"filtered": True}, "jailbreak": {"filtered": True, "detected": True}}
    body = {
        "code": "content_filter",
        "innererror": {"content_filter_result": {**found, "sexual": {"filtered": False}}},
    }
    error = refusal_of("azure", 400, body, "was filtered", {})
    assert str(error) == "azure refuses the prompt (hate, jailbreak): was filtered"


@given(key=SECRETS, header=SECRETS, query=SECRETS, before=st.text(), after=st.text())
def test_no_secret_is_left(key: str, header: str, query: str, before: str, after: str):
    headers = {"Authorization": f"Bearer {key}", "X-Own": header, "Accept": "application/json"}
    told = f"{before}{key}{header}{query}{after}"
    left = hidden(told, headers, {"key": query})
    assert not [each for each in (key, header, query) if each in left and each not in "***//***@"]


@pytest.mark.parametrize("sent", ["secret\n", " secret ", "Bearer secret\n", "\tsecret"])
def test_a_secret_is_not_told_without_the_blanks_around_it(sent: str):
    assert hidden("it is secret!", {"X-Own": sent}, {}) == "it is ***!"
    assert hidden("it is secret!", {}, {"key": sent.removeprefix("Bearer ")}) == "it is ***!"


def test_what_is_no_secret_is_left():
    headers = {"Accept": "application/json", "Host": "example", "X-Short": "a", "X-None": ""}
    told = "application/json of example, a plain text"
    assert hidden(told, headers, {}) == told
    assert hidden("at http://jane:word@host/x", headers, {}) == "at http://***@host/x"
