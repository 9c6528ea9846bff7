"""A vLLM server by Anthropic's protocol, which it speaks at `/v1/messages`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import anthropic
import instructor
import openai
import pytest
from pydantic import BaseModel

from tests.vllm.conftest import TINY
from typedllm import LLM, Invalid, PromptTooLong, Sampling, Truncated
from typedllm.engines.server_commands import server_command
from typedllm.engines.servers import Server, start_server

pytestmark = pytest.mark.slow
ARGUMENTS = ["--dtype", "float32", "--max-num-seqs", "128"]


class Stop(BaseModel):
    city: Literal["Oslo", "Rome"]
    nights: Literal[1, 2, 3] | None = None


class Trip(BaseModel):
    """All of which is structure, so that each answer ends and is valid where that is enforced."""

    by: Literal["train", "boat"]
    first: Stop
    then: Stop | None
    paid: bool


class TestMessages:
    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        log = tmp_path_factory.mktemp("messages") / "log"
        command = server_command(str(TINY), guided=False, extra=ARGUMENTS)
        with start_server(command, log=log) as server:
            yield server

    @pytest.fixture
    def root(self, server: Server) -> str:
        return server.url.removesuffix("/v1")

    @pytest.fixture
    def llm(self, root: str) -> Iterator[LLM]:
        sampling = Sampling(temperature=1.0, max_tokens=200)
        with LLM(f"anthropic:{TINY}", base_url=root, sampling=sampling) as llm:
            yield llm

    def test_the_sdk_itself_calls_it(self, root: str):
        client = anthropic.Anthropic(api_key="none", base_url=root, max_retries=0)
        asked: Any = [{"role": "user", "content": "Hello"}]
        said = client.messages.create(model=str(TINY), max_tokens=5, messages=asked)
        assert said.usage.output_tokens == 5
        assert said.stop_reason == "max_tokens"

    def test_a_schema_is_enforced(self, llm: LLM):
        results = llm.batch([f"How do I get to Rome, {n}?" for n in range(24)], Trip)
        assert not llm.explain(Trip).guaranteed  # it is a server of which nothing is known
        for result in results:
            assert isinstance(result.unwrap(), Trip)
            assert result.usage.input_tokens > 0
            assert result.usage.output_tokens > 0

    def test_a_streamed_answer_is_the_same(self, llm: LLM):
        greedy = Sampling(temperature=0.0, max_tokens=200)
        whole = llm.run("How do I get to Rome?", Trip, sampling=greedy)
        *partials, last = llm.stream("How do I get to Rome?", Trip, sampling=greedy)
        assert last.unwrap() == whole.unwrap()
        assert last.usage == whole.usage
        assert partials

    def test_plain_text_and_a_prompt_that_is_too_long(self, llm: LLM):
        few = Sampling(temperature=0.0, max_tokens=7)
        result = llm.run("Hello", sampling=few)
        assert (result.usage.output_tokens, result.finish_reason) == (7, "length")
        assert isinstance(llm.run("word " * 3000).error, PromptTooLong)

    def test_what_no_strict_schema_says_is_a_value_or_told(self, llm: LLM):
        result = llm.run("Count the words", dict[str, int])
        if result.error is None:
            assert all(isinstance(value, int) for value in result.unwrap().values())
        else:
            assert isinstance(result.error, Invalid | Truncated)
        assert result.usage.output_tokens > 0

    def test_by_instructor_over_openais_protocol(self, server: Server):
        client = instructor.from_openai(
            openai.OpenAI(api_key="none", base_url=server.url),
            mode=instructor.Mode.JSON_SCHEMA,
            model=str(TINY),
        )
        with LLM("instructor:openai/any", engine_args={"client": client}) as llm:
            result = llm.run("How do I get to Rome?", Trip, sampling=Sampling(max_tokens=200))
        assert isinstance(result.unwrap(), Trip)
        assert json.loads(result.raw or "").keys() == {"by", "first", "then", "paid"}
