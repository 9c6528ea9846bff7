"""Secrets, in every form and place that Hypothesis finds, and texts that hold none."""

from __future__ import annotations

import json
import math
import string
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from typedllm import UsageError
from typedllm.observers.redaction import REDACTED, Redaction

ALNUM = string.ascii_letters + string.digits
URL_SAFE = ALNUM + "-_"
REDACTION = Redaction()


def of(alphabet: str, least: int, most: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=least, max_size=most)


def key(prefix: str, body: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, str]]:
    """A key as its service writes it, with the part of it that must not be seen."""
    return body.map(lambda secret: (f"{prefix}{secret}", secret))


KEYS = st.one_of(
    key("sk-", of(ALNUM, 20, 51)),
    key("sk-proj-", of(URL_SAFE, 40, 156)),
    key("sk-ant-api03-", of(URL_SAFE, 40, 95)),
    key("sk-or-v1-", of("0123456789abcdef", 64, 64)),
    key("AIza", of(URL_SAFE, 35, 35)),
    key("ya29.", of(URL_SAFE, 30, 100)),
    key("key-", of("0123456789abcdef", 32, 32)),
    key("xai-", of(ALNUM, 80, 80)),
    key("pplx-", of(ALNUM, 48, 48)),
    key("nvapi-", of(URL_SAFE, 64, 64)),
    key("hf_", of(string.ascii_letters, 34, 34)),
    key("gsk_", of(ALNUM, 52, 52)),
    key("r8_", of(ALNUM, 37, 37)),
    key("ghp_", of(ALNUM, 36, 36)),
    key("github_pat_", of(ALNUM + "_", 82, 82)),
    key("AKIA", of(string.ascii_uppercase + string.digits, 16, 16)),
    key("eyJhbGciOiJIUzI1NiJ9.", of(URL_SAFE, 20, 60).map(lambda part: f"{part}.{part[::-1]}")),
    key("Bearer ", of(ALNUM + "._~+/-", 24, 60)),
    key("bearer  ", of(string.digits, 8, 19)),
    key("Authorization: Basic ", of(ALNUM, 8, 40)),
    key('{"authorization": "', of(ALNUM, 20, 40)),
    key("api_key=", of(ALNUM, 20, 40)),
    key("'x-api-key': '", of(ALNUM, 20, 40)),
    key("https://user:", of(ALNUM, 8, 20)).map(lambda both: (f"{both[0]}@host/v1", both[1])),
)
# What may stand before and after a key, if not a letter or a digit of its own.
BEFORE = st.one_of(
    st.just(""),
    st.text(max_size=20).map(lambda text: f"{text} "),
    st.sampled_from(["key=", '{"a": "', "(", "\n", r"line\n", "%20", "-", "_", "é", "密", "\\"]),
)
AFTER = st.one_of(
    st.just(""),
    st.text(max_size=20).map(lambda text: f" {text}"),
    st.sampled_from(['"}', ")", ",", "\n", "'", " and so on", ";x", "&b=2"]),
)


def hidden(secret: str, text: str) -> bool:
    """Whether no eight characters of a secret are to be read."""
    return not any(secret[at : at + 8] in text for at in range(len(secret) - 7))


@given(KEYS, BEFORE, AFTER)
def test_a_key_is_taken_out_wherever_it_stands(found: tuple[str, str], before: str, after: str):
    whole, secret = found
    assume(hidden(secret, f"{before} {after}"))
    told = REDACTION.text(f"{before}{whole}{after}")
    assert REDACTED in told and hidden(secret, told)


@given(st.lists(st.tuples(BEFORE, KEYS, AFTER), min_size=1, max_size=4))
def test_what_is_redacted_stays_as_it_is(parts: list[tuple[str, tuple[str, str], str]]):
    once = REDACTION.text("".join(before + found[0] + after for before, found, after in parts))
    assert REDACTION.text(once) == once


WORDS = of(string.ascii_lowercase, 5, 20) | of(string.digits, 1, 20)
BETWEEN = st.sampled_from([" ", ", ", "-", "_", ". ", ": ", "\n", "/", " = "])


@given(st.lists(st.tuples(WORDS, BETWEEN)))
def test_words_and_numbers_are_no_secrets(pieces: list[tuple[str, str]]):
    text = "".join(word + between for word, between in pieces)
    assert REDACTION.text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "How old are you? I am 25 years old; ask-me-anything-at-all, or task-management-software.",
        "sk-learn, a sk-SK locale, key-value stores and key-signature-verification",
        "the bearer of this letter; bearer bonds; a token of appreciation; max_tokens=512",
        "hf_hub_download, gsk_x, xai-lab; the API key: none; authorization: required",
        "http://localhost:8000/v1/chat, ws://a.b:80, mail me@example.com, 10:30@noon",
        '{"password": "str", "api_key": "string", "secret": null}',
        "eyJ is how base64 of a JSON object begins",
        "AKIA is a prefix, AKIA123 is short, ASIA is a continent",
        "f0e4c2f76c58916ec258f246851bea09 is a hash",
    ],
)
def test_ordinary_text_is_left_alone(text: str):
    assert REDACTION.text(text) == text


def test_documents_of_this_project_are_left_alone():
    for path in Path(__file__).resolve().parents[2].glob("docs/*.md"):
        if path.name == "coming-from.md":  # which shows a key to show that it is taken out
            continue
        text = path.read_text(encoding="utf-8")
        assert REDACTION.text(text) == text, path


def test_what_stands_around_a_key_is_kept():
    told = REDACTION.text('{"Authorization": "Bearer abc.def-123"}, then https://me:pw1@host/v1')
    assert told == (f'{{"Authorization": "Bearer {REDACTED}"}}, then https://me:{REDACTED}@host/v1')
    assert REDACTION.text("Incorrect API key provided: sk-abc1234567. See the docs.") == (
        f"Incorrect API key provided: {REDACTED}. See the docs."
    )


@given(st.text(min_size=6, max_size=40), st.text(max_size=30), st.text(max_size=30))
def test_a_known_secret_is_taken_out_also_as_json_and_urls_write_it(
    secret: str, before: str, after: str
):
    redaction = Redaction([secret])
    quoted = quote(secret, safe="", errors="replace")
    for form in (secret, json.dumps(secret)[1:-1], quoted):
        told = redaction.text(f"{before}|{form}|{after}")
        assert form not in told.replace(REDACTED, "\ud800")  # which no generated text has


def test_the_longest_of_several_known_secrets_goes_first():
    redaction = Redaction(["secret-one", "secret-one-and-more"])
    assert redaction.text("secret-one-and-more, secret-one") == f"{REDACTED}, {REDACTED}"


def test_placeholders_are_no_secrets():
    redaction = Redaction(["", "x", "EMPTY"])
    assert redaction.text("x is EMPTY") == "x is EMPTY"


@pytest.mark.parametrize("secrets", ["sk-one-text", [None], [b"bytes"]])
def test_secrets_are_a_list_of_texts(secrets: Any):
    with pytest.raises(UsageError, match="secrets: expected"):
        Redaction(secrets)


NAMES = [
    *(
        "api_key",
        "apiKey",
        "X-Api-Key",
        "Authorization",
        "proxy-authorization",
        "token",
        "hf_token",
    ),
    *("accessToken", "client_secret", "password", "passwd", "pwd", "auth", "aws_access_key_id"),
    *("credentials", "Cookie", "private-key", b"authorization"),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("secret", ["hunter2", 1234, ["hunter2"], {"a": "hunter2"}, b"hunter2"])
def test_options_are_taken_out_by_their_names(name: Any, secret: object):
    told = REDACTION.value({"extra_headers": {name: secret}, "pairs": [(name, secret), ["a", 1]]})
    assert "hunter2" not in json.dumps(told) and "1234" not in json.dumps(told)
    shown = name.decode() if isinstance(name, bytes) else name
    assert told == {"extra_headers": {shown: REDACTED}, "pairs": [[shown, REDACTED], ["a", 1]]}


def test_options_that_only_sound_alike_are_kept():
    options = {
        "max_tokens": 5,
        "stop_token_ids": [1, 2],
        "skip_special_tokens": True,
        "author": "Ada",
        "token": None,
        "logit_bias": {"50256": -100},
        "stop": ["a", "b"],
    }
    assert REDACTION.value(options) == options


LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=10)
VALUES = st.recursive(
    LEAVES | st.floats() | st.binary(max_size=8) | st.builds(object) | st.just(math.inf),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.frozensets(LEAVES, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3)
    ),
)


@given(VALUES)
def test_any_value_becomes_json(value: object):
    json.dumps(REDACTION.value(value), allow_nan=False)


@given(VALUES, KEYS)
def test_a_key_is_taken_out_of_any_value(value: object, found: tuple[str, str]):
    whole, secret = found
    assume(hidden(secret, json.dumps(REDACTION.value(value))))
    told = json.dumps(REDACTION.value([value, {whole: [whole, (b"a", whole.encode())]}]))
    assert hidden(secret, told)


def test_a_value_that_holds_itself_ends():
    value: dict[str, object] = {"password": "hunter2"}
    value["self"] = [value]
    assert "hunter2" not in json.dumps(REDACTION.value(value))


HARD = ["-eyJaaaaaaaa", "sk-", "://a:", "bearer ", "authorization: bearer ", "api_key=", "-hf_a"]


@pytest.mark.slow
@pytest.mark.parametrize("piece", HARD)
def test_long_texts_are_read_in_time(piece: str):
    REDACTION.text(piece * (5_000_000 // len(piece)))  # within the time limit of a test
