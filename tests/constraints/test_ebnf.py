"""EBNF for servers: the same texts as the tree, on both engines that a server may run."""

from __future__ import annotations

import json
import random
import re
import string
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Literal, Protocol

import hypothesis.strategies as st
import llguidance
import numpy as np
import pytest
from hypothesis import given, settings
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray
from pydantic import Field, create_model

from tests.constraints.specs import SCALARS, Case, drawn
from tests.constraints.walking import compiled, grammar
from typedllm.constraints.ebnf import print_ebnf
from typedllm.grammar.automaton import automaton
from typedllm.grammar.complexity import TooComplex
from typedllm.grammar.drawing import random_text
from typedllm.grammar.expression import expression
from typedllm.grammar.regular import chars, derive_all, matches, nullable
from typedllm.grammar.tree import Array, Literals, Node, Text
from typedllm.records import Grammar

# The 256 bytes, in the spelling of GPT-2's vocabulary, some words of JSON, and the end.
_SHOWN = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_SPELLED = {byte: chr(byte) for byte in _SHOWN} | {
    byte: chr(0x100 + i) for i, byte in enumerate(sorted({*range(256)} - {*_SHOWN}))
}
_WORDS = ['","', '":"', "the", "12", "true", '"}', "[]", "\\u00", "é", "ed ", '\\"', "null"]
_TOKENS = [bytes([byte]) for byte in range(256)] + [word.encode() for word in _WORDS]
_END = len(_TOKENS)


class Matcher(Protocol):
    """What follows an answer token by token."""

    def allowed(self) -> list[int]: ...

    def take(self, token: int) -> None: ...

    def stopped(self) -> bool: ...


class _Guidance:
    """llguidance, on the text that it converts."""

    def __init__(self, text: str) -> None:
        self._matcher = LLMatcher(_llguidance_tokens(), llguidance.grammar_from("grammar", text))
        assert not self._matcher.is_error(), self._matcher.get_error()

    def allowed(self) -> list[int]:
        found = _set_bits(np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8))
        assert not self._matcher.is_error(), self._matcher.get_error()
        return found

    def take(self, token: int) -> None:
        assert self._matcher.consume_token(token), self._matcher.get_error()

    def stopped(self) -> bool:
        return self._matcher.is_stopped()


class _XGrammar:
    """xgrammar, on the text itself."""

    def __init__(self, text: str) -> None:
        xgrammar = pytest.importorskip("xgrammar")
        self._matcher = xgrammar.GrammarMatcher(_xgrammar_compiler().compile_grammar(text))
        self._mask = xgrammar.allocate_token_bitmask(1, _END + 1)

    def allowed(self) -> list[int]:
        self._matcher.fill_next_token_bitmask(self._mask)
        return _set_bits(self._mask.numpy()[0].view(np.uint8))

    def take(self, token: int) -> None:
        assert self._matcher.accept_token(token)

    def stopped(self) -> bool:
        return self._matcher.is_terminated()


def _set_bits(mask: NDArray[np.uint8]) -> list[int]:
    bits = np.unpackbits(mask, bitorder="little")[: _END + 1]  # the last word is padded
    return np.flatnonzero(bits).tolist()


def _vocabulary() -> list[str]:
    return ["".join(_SPELLED[byte] for byte in token) for token in _TOKENS] + ["<|end|>"]


@lru_cache(maxsize=1)
def _llguidance_tokens() -> LLTokenizer:
    class Vocabulary:
        eos_token_id = _END
        bos_token_id = None
        tokens = (*_TOKENS, b"<|end|>")
        special_token_ids = (_END,)

        def __call__(self, text: str) -> list[int]:
            return list(text.encode())

    return LLTokenizer(llguidance.TokenizerWrapper(Vocabulary()))


@lru_cache(maxsize=1)
def _xgrammar_compiler() -> Any:
    xgrammar = pytest.importorskip("xgrammar")
    kind = xgrammar.VocabType.BYTE_LEVEL
    info = xgrammar.TokenizerInfo(_vocabulary(), vocab_type=kind, stop_token_ids=[_END])
    return xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)


ENGINES = [_Guidance, _XGrammar]
Engine = Callable[[str], Matcher]


def walked(matcher: Matcher, rng: random.Random, most: int = 300) -> bytes | None:
    """A random answer; None where it does not end in so many tokens."""
    out = b""
    for _ in range(most):
        if matcher.stopped():
            return out
        allowed = matcher.allowed()
        assert allowed, f"nothing may follow {out!r}"
        token = rng.choice(allowed)
        if token == _END:
            return out
        matcher.take(token)
        out += _TOKENS[token]
    return None


def takes(matcher: Matcher, text: str) -> bool:
    """Whether an answer is allowed, byte by byte, to its end."""
    for byte in text.encode():
        if matcher.stopped() or byte not in matcher.allowed():
            return False
        matcher.take(byte)
    return matcher.stopped() or _END in matcher.allowed()


def check_walks(engine: Engine, root: Node, seed: int, count: int = 2) -> None:
    text, expr, rng = print_ebnf(root), expression(root), random.Random(seed)
    for _ in range(count):
        answer = walked(engine(text), rng)
        assert answer is None or matches(expr, answer.decode()), answer


def check_texts(engine: Engine, root: Node, seed: int, count: int = 2) -> None:
    text, rng = print_ebnf(root), random.Random(seed)
    for _ in range(count):
        answer = random_text(root, rng)
        assert len(answer) > 2_000 or takes(engine(text), answer), answer


def _root(kind: Any) -> Node:
    return grammar(kind).root


@pytest.mark.parametrize("engine", ENGINES)
class TestSpecs:
    @pytest.mark.slow
    @pytest.mark.parametrize("case", SCALARS, ids=lambda case: str(case.type)[:60])
    def test_kinds_of_value(self, engine: Engine, case: Case) -> None:
        found = compiled(case.type).constraint
        if isinstance(found, Grammar):
            check_walks(engine, found.root, 1, count=5)
            check_texts(engine, found.root, 2, count=5)

    @pytest.mark.slow
    @pytest.mark.parametrize("chunk", range(4))
    def test_nested_values(self, engine: Engine, chunk: int) -> None:
        def check(case: Case, data: object) -> None:
            found = compiled(case.type).constraint
            if isinstance(found, Grammar):
                check_walks(engine, found.root, chunk)
                check_texts(engine, found.root, chunk)

        drawn(chunk, 40, check)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "schema",
        [
            {"type": "string", "pattern": "foobar"},
            {"type": "string", "pattern": "^(ab?c?)*(d|e)*$"},
            {"type": "string", "not": {"pattern": "xy"}},
            {"type": "string", "not": {"pattern": "^foo"}},
            {"type": "string", "pattern": r"^('([^'\\]|\\.)*',)*$"},
            {"type": "string", "not": {"pattern": "foo"}, "minLength": 3, "maxLength": 9},
            {"type": "string", "allOf": [{"pattern": "[0-9]"}, {"pattern": "[a-z]"}]},
            {"type": "string", "pattern": '^[^"]*"[^a]\\\\+$', "minLength": 4},
            {"type": "string", "pattern": "^[\\x00-\\x20\\x7f\\u0100-\\u0300]{1,4}$"},
            {
                "type": "object",
                "patternProperties": {"^x-": {"type": "string"}, "^y": {"type": "integer"}},
                "additionalProperties": {"type": "boolean"},
                "maxProperties": 3,
            },
            {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "minProperties": 2},
        ],
        ids=str,
    )
    def test_intersections_and_complements(self, engine: Engine, schema: object) -> None:
        check_walks(engine, _root(schema), 1, count=3)
        check_texts(engine, _root(schema), 2, count=10)

    @given(st.data())
    @settings(max_examples=30)
    def test_random_texts_are_taken(self, engine: Engine, data: st.DataObject) -> None:
        content = data.draw(st.sampled_from(_TREES))
        check_texts(engine, content, data.draw(st.integers(0, 2**32)), count=1)


_COLORS = ('"red"', '"green"', '"blue"', '"re"')
_TREES: list[Node] = [
    Text(),
    Text(max_length=3),
    Text(min_length=2, max_length=5),
    Array(item=Literals(_COLORS), unique=True),
    Array(item=Literals(_COLORS), unique=True, min_items=2, max_items=3),
    Array(prefix=(Text(max_length=1), Literals(_COLORS)), item=Literals(("1",)), max_items=4),
    Literals(("", "a", "ab", "abc", "b", "\n", "é", "\x7f", "abcd", "abce", "a-b", "a]b", "^")),
]


@pytest.mark.parametrize("engine", ENGINES)
class TestCharacters:
    @pytest.mark.parametrize(
        "name", ['q"u', "b\\a", "n\nl", "é", "😀", "a\x7fb", "\x01", "\u2028", "# no", "//", "[x]"]
    )
    def test_names(self, engine: Engine, name: str) -> None:
        kind = create_model("Named", f=(bool, Field(alias=name)))
        text = print_ebnf(_root(kind))
        answer = json.dumps({name: True}, ensure_ascii=False, separators=(",", ":"))
        assert takes(engine(text), answer)
        assert not takes(engine(text), answer.replace(":", "!:"))

    @pytest.mark.parametrize("point", [*range(0x20), 0x7F, 0x80, 0xD7FF, 0xE000, 0xFFFF, 0x10FFFF])
    def test_each_character_of_a_string(self, engine: Engine, point: int) -> None:
        text = print_ebnf(Text())
        assert takes(engine(text), json.dumps(f"a{chr(point)}b", ensure_ascii=False))

    @pytest.mark.parametrize("wrong", ['"a\nb"', '"\\x"', '"\\u0041"', '"\\/"', '"a', '"a"b"'])
    def test_what_is_no_canonical_string(self, engine: Engine, wrong: str) -> None:
        assert not takes(engine(print_ebnf(Text())), wrong)

    def test_surrogates_are_no_characters(self, engine: Engine) -> None:
        matcher = engine(print_ebnf(Text()))
        for byte in b'"\xed':
            matcher.take(byte)
        assert not {0xA0, 0xBF} & {*matcher.allowed()}

    @pytest.mark.parametrize("texts", [[chr(i) for i in range(300)], ["-", "0", "A", "\\", "]"]])
    def test_one_character_of_many(self, engine: Engine, texts: list[str]) -> None:
        text = print_ebnf(Text(pattern=chars((ord(char), ord(char)) for char in texts)))
        for char in texts:
            assert takes(engine(text), json.dumps(char, ensure_ascii=False))
        assert not takes(engine(text), '"☃"')


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
class TestSizes:
    def test_a_large_enumeration(self, engine: Engine) -> None:
        rng = random.Random(1)
        names = [
            "".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 9))) for _ in "x" * 800
        ]
        text = print_ebnf(_root(Literal[tuple(names)]))
        assert text.count("::=") < len(names)
        for name in names[:40]:
            assert takes(engine(text), f'"{name}"')
            assert takes(engine(text), f'"{name}x"') == (f"{name}x" in names)

    def test_the_bound_of_a_string(self, engine: Engine) -> None:
        text = print_ebnf(Text(max_length=256))
        assert takes(engine(text), f'"{"é" * 256}"')
        assert not takes(engine(text), f'"{"é" * 257}"')

    @pytest.mark.slow
    def test_the_deepest_rules(self, engine: Engine) -> None:
        text = print_ebnf(Text(max_length=1_400))
        assert takes(engine(text), f'"{"a" * 1_400}"')
        assert not takes(engine(text), f'"{"a" * 1_401}"')


class TestRules:
    def test_no_rule_refers_to_itself_or_to_a_later_one(self) -> None:
        root = _root(create_model("Mixed", a=(str, ...), b=(dict[str, Any], ...), c=(float, 1)))
        known: set[str] = set()
        first, *lines = print_ebnf(root).splitlines()
        for line in lines:
            name, body = line.split(" ::= ")
            assert {*re.findall(r"\br\d+\b", body)} <= known
            known.add(name)
        assert first.removeprefix("root ::= ") in known

    def test_strings_share_their_rules(self) -> None:
        bounded = Annotated[str, Field(max_length=50)]
        one = print_ebnf(_root(create_model("One", a=(bounded, ...))))
        four = print_ebnf(_root(create_model("Four", **dict.fromkeys("abcd", (bounded, ...)))))
        assert one.count("::=") == four.count("::=")

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("root", "what"),
        [
            (Text(max_length=1_600), "rules inside each other"),
            (Text(max_length=100_000), "states"),
            (Array(item=Literals(tuple(f"{i}" for i in range(10, 30))), unique=True), "states"),
            (Literals(tuple("a" * size for size in range(9, 2_500))), "begin with one another"),
        ],
        ids=["depth", "length", "unique", "prefixes"],
    )
    def test_too_much_is_refused(self, root: Node, what: str) -> None:
        with pytest.raises(TooComplex, match=what):
            print_ebnf(root)

    @pytest.mark.slow
    @pytest.mark.parametrize("pattern", ["a.{7}b", "foo", "foo$"])
    def test_too_long_a_repetition_is_refused(self, pattern: str) -> None:
        with pytest.raises(TooComplex, match="a repetition"):
            print_ebnf(_root({"type": "string", "not": {"pattern": pattern}}))

    def test_what_nothing_satisfies_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no text satisfies"):
            print_ebnf(Literals(()))


class TestAutomaton:
    @given(st.sampled_from(_TREES), st.integers(0, 2**32))
    def test_it_matches_what_the_expression_matches(self, root: Node, seed: int) -> None:
        expr = expression(root)
        found = automaton(expr, 12_000)
        assert found is not None
        states = [state for group in found.groups for state in group]
        text = random_text(root, random.Random(seed))
        at = {found.first}
        for char in text:
            ways = [way for number in at for way in states[number].ways]
            at = {to for ranges, to in ways if any(a <= ord(char) <= b for a, b in ranges)}
        assert any(states[number].ends for number in at) == nullable(
            derive_all(expr, text.encode())
        )

    def test_groups_come_after_those_they_lead_to(self) -> None:
        found = automaton(expression(_root({"type": "string", "pattern": "ab.*cd"})), 12_000)
        assert found is not None
        total = 0
        for group in found.groups:
            total += len(group)
            assert all(to < total for state in group for _, to in state.ways)
