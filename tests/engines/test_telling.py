"""What is told of an answer as it grows: whole characters, and nothing that is taken back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from typedllm.engines.guide import Vocabulary
from typedllm.engines.row import Row, decoded
from typedllm.engines.telling import Listener, Telling
from typedllm.records import Completion, Lark, Request, Sampling, Segment

PROMPT = (Segment(text="x"),)
CUTS = st.lists(st.integers(0, 40))
# few letters, so that stop texts are found, begun in vain, and begun within one another
SHORT = st.text("abé京", min_size=1, max_size=4)


def pieces_of(data: bytes, cuts: list[int]) -> tuple[list[str], int]:
    """What is told of bytes that grow to each cut, and how many bytes were read by then."""
    pieces: list[str] = []
    telling = Telling(pieces.append)
    places = sorted(min(cut, len(data)) for cut in cuts)
    for place in places:
        telling.grown(data[:place])
    return pieces, max(places, default=0)


@given(st.text(), CUTS)
def test_whatever_the_tokens_the_pieces_are_the_text(text: str, cuts: list[int]):
    data = text.encode()
    pieces, read = pieces_of(data, [*cuts, len(data)])
    assert read == len(data)
    assert "".join(pieces) == text
    assert all(pieces)


@given(st.text(), CUTS)
def test_only_a_character_that_is_cut_is_held_back(text: str, cuts: list[int]):
    pieces, read = pieces_of(text.encode(), cuts)
    assert "".join(pieces) == text.encode()[:read].decode(errors="ignore")


@given(st.binary(max_size=40), CUTS)
def test_bytes_that_are_no_text_are_told_as_they_are_decoded(data: bytes, cuts: list[int]):
    pieces, read = pieces_of(data, cuts)
    assert "".join(pieces) == decoded(data[:read])
    whole: list[str] = []
    telling = Telling(whole.append)
    for end in range(len(data) + 1):
        telling.grown(data[:end])
    telling.ended(decoded(data))
    assert "".join(whole) == decoded(data)


@given(st.text("abé京", max_size=20), st.lists(SHORT, min_size=1, max_size=3))
def test_all_is_told_at_once_that_can_be_no_stop_text(text: str, stops: list[str]):
    pieces: list[str] = []
    telling = Telling(pieces.append, [stop.encode() for stop in stops])
    for end in range(len(text) + 1):
        telling.grown(text[:end].encode())
        places = [
            place
            for place in range(end)
            if any(
                stop.startswith(text[place:end]) or text[place:end].startswith(stop)
                for stop in stops
            )
        ]
        assert "".join(pieces) == text[: min(places, default=end)]


@pytest.fixture(scope="module")
def vocabulary(bpe_tokenizer: Tokenizer) -> Vocabulary:
    end = bpe_tokenizer.token_to_id("<|end|>")
    assert end is not None
    return Vocabulary(bpe_tokenizer, 520, [end])


@given(
    words=st.lists(st.integers(0, 499) | st.sampled_from([*"abcé京"]), max_size=20),
    stops=st.lists(SHORT, max_size=3),
    budget=st.integers(1, 25),
)
def test_of_every_ending_the_pieces_are_the_text(
    vocabulary: Vocabulary, words: list[int | str], stops: list[str], budget: int
):
    pieces: list[str] = []
    sampling = Sampling(max_tokens=budget, stop=tuple(stops))
    quiet = Request(prompt=PROMPT, sampling=sampling)
    rows = [
        Row(request, [1], 600, vocabulary)
        for request in (quiet, replace(quiet, tell=pieces.append))
    ]
    for word in words:
        tokens = [word] if isinstance(word, int) else vocabulary.tokenize(word.encode())
        for token in tokens:
            for row in rows:
                if row.reply is None:
                    row.take(token, -1.0)
    for row in rows:
        row.end("length")
    silent, told = (row.reply for row in rows)
    assert isinstance(told, Completion)
    assert told == silent
    assert "".join(pieces) == told.text


def test_what_is_forced_comes_as_one_piece(vocabulary: Vocabulary):
    pieces: list[str] = []
    lark = Lark('start: "{\\"name\\":\\"" /[a-z]/ "\\",\\"京都\\":true}"')
    row = Row(Request(prompt=PROMPT, constraint=lark, tell=pieces.append), [1], 600, vocabulary)
    assert pieces and all('{"name":"'.startswith(piece) for piece in pieces)
    before = len(pieces)
    (token,) = vocabulary.tokenize(b"q")
    row.take(token, -1.0)
    assert isinstance(row.reply, Completion)
    assert "".join(pieces) == row.reply.text == '{"name":"q","京都":true}'
    assert len(pieces) == before + 1


@given(st.lists(st.sampled_from(["a", "é", "京", "😀"]), max_size=12), st.integers(0, 12), CUTS)
def test_of_reasoning_nothing_is_told(characters: list[str], thought: int, cuts: list[int]):
    end = 256
    texts = [*(bytes([byte]) for byte in range(256)), b""]
    answer = "".join(characters[thought:])
    tokens = [*"".join(characters[:thought]).encode(), end, *answer.encode()]
    pieces: list[str] = []
    listener = Listener(Telling(pieces.append), texts, reasoning_end=end)
    for place in sorted(min(cut, len(tokens)) for cut in cuts):
        listener.grown(tokens[:place])
        begun = bytes(tokens[tokens.index(end) + 1 : place])
        assert "".join(pieces) == begun.decode(errors="ignore")
    listener.ended(answer)
    assert "".join(pieces) == answer
