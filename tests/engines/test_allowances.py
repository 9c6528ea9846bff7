"""What the headers of services say of their quotas."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedllm.engines.allowances import Allowance, allowances_of

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)

OPENAI = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-limit-tokens": "150000",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-remaining-tokens": "149984",
    "x-ratelimit-reset-requests": "1s",
    "x-ratelimit-reset-tokens": "6m0s",
    "x-ratelimit-limit-tokens_usage_based": "7",
    "content-type": "application/json",
}
ANTHROPIC = {
    "Anthropic-Ratelimit-Requests-Limit": "50",
    "anthropic-ratelimit-requests-remaining": "49",
    "anthropic-ratelimit-requests-reset": "2026-01-01T12:00:01Z",
    "anthropic-ratelimit-input-tokens-limit": "30000",
    "anthropic-ratelimit-input-tokens-remaining": "29000",
    "anthropic-ratelimit-input-tokens-reset": "2026-01-01T12:00:02.500+00:00",
    "anthropic-ratelimit-output-tokens-limit": "8000",
    "anthropic-ratelimit-output-tokens-remaining": "8000",
    "anthropic-ratelimit-output-tokens-reset": "2026-01-01T11:59:59Z",
}


def test_openai():
    assert allowances_of(OPENAI) == {
        "requests": Allowance(limit=60, remaining=59, reset_s=1),
        "tokens": Allowance(limit=150_000, remaining=149_984, reset_s=360),
    }


def test_anthropic():
    assert allowances_of(ANTHROPIC, NOW) == {
        "requests": Allowance(limit=50, remaining=49, reset_s=1),
        "input_tokens": Allowance(limit=30_000, remaining=29_000, reset_s=2.5),
        "output_tokens": Allowance(limit=8000, remaining=8000, reset_s=0),
    }


def test_azure_tells_what_remains_and_maybe_no_more():
    assert allowances_of({"x-ratelimit-remaining-tokens": "99"}) == {
        "tokens": Allowance(remaining=99)
    }
    unknown = {"limit": "0", "remaining": "12", "reset": "0"}
    headers = {f"x-ratelimit-{what}-tokens": value for what, value in unknown.items()}
    assert allowances_of(headers) == {"tokens": Allowance(remaining=12, reset_s=0)}
    nothing = {"x-ratelimit-limit-tokens": "-1", "x-ratelimit-remaining-tokens": "-1"}
    assert allowances_of(nothing) == {}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20ms", 0.02),
        ("1s", 1),
        ("7.66s", 7.66),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3723),
        ("2d", 172_800),
        ("12", 12),
        ("2026-01-01T12:01:00", 60),
        ("soon", None),
        ("", None),
        ("1s later", None),
        ("nan", None),
    ],
)
def test_durations(text: str, seconds: float | None):
    headers = {"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": text}
    found = allowances_of(headers, NOW)["requests"].reset_s
    assert found == (None if seconds is None else pytest.approx(seconds))


@given(st.dictionaries(st.sampled_from([*OPENAI, *ANTHROPIC, "date"]), st.text()))
def test_whatever_a_server_says_is_no_error(headers: dict[str, str]):
    for told in allowances_of(headers).values():
        assert told.remaining >= 0
