"""Spans of inferences, by OpenTelemetry's own SDK."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import SpanKind, StatusCode

from typedllm import LLM, Choice, EngineError, Policy, Sampling, Scripted
from typedllm.engines.scripted import TRAITS
from typedllm.engines.table import open_engine
from typedllm.observers.observed import Observed
from typedllm.observers.tracing import Tracing
from typedllm.records import JsonSchema, Lark, Request, Segment

KEY = "sk-proj-Abcdefgh12345678"
QUICK = Policy(attempts=3, multiplier_s=0, min_wait_s=0, max_wait_s=0)
SPEC = {"age": "int"}


class Spans:
    """A provider, and the spans that it has exported."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("the application")

    def ended(self, name: str | None = None) -> list[ReadableSpan]:
        spans = self._exporter.get_finished_spans()
        return [span for span in spans if name is None or span.name == name]

    def observed(self, engine: Any, **options: Any) -> Observed:
        return Observed(engine, [Tracing(self.provider, **options)])

    def llm(self, *replies: object, **options: Any) -> LLM:
        return LLM(self.observed(Scripted(list(replies)), **options), policy=QUICK)


@pytest.fixture
def spans() -> Iterator[Spans]:
    made = Spans()
    yield made
    made.provider.shutdown()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def parent_id(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def test_a_span_has_the_attributes_of_the_conventions(spans: Spans):
    sampling = Sampling(
        temperature=0.5,
        top_p=0.9,
        max_tokens=50,
        stop=("END",),
        seed=7,
        extra={"top_k": 40, "presence_penalty": 0.1, "frequency_penalty": None, "min_p": 0.2},
    )
    spans.llm({"age": 25}).call("How old are you?", SPEC, sampling=sampling)
    (span,) = spans.ended()
    assert (span.name, span.kind) == ("chat scripted", SpanKind.CLIENT)
    assert span.status.status_code is StatusCode.UNSET
    found = attributes(span)
    assert found.pop("gen_ai.usage.input_tokens") > 4
    assert found == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": "scripted",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.request.seed": 7,
        "gen_ai.request.top_k": 40.0,
        "gen_ai.request.presence_penalty": 0.1,
        "gen_ai.output.type": "json",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.output_tokens": 1,
    }


def test_what_was_not_set_is_not_told(spans: Spans):
    spans.llm("x").call("Hello")
    (span,) = spans.ended()
    assert set(attributes(span)) == {
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.response.finish_reasons",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
    }


async def test_raw_text_is_a_text_completion(spans: Spans):
    observed = spans.observed(Scripted(["x"]), content=True)
    await observed.send(Request(prompt=(Segment(text="Once "), Segment(text="upon"))))
    (span,) = spans.ended()
    assert span.name == "text_completion scripted"
    assert json.loads(attributes(span)["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Once upon"}]}
    ]


@pytest.mark.parametrize(
    ("output_type", "expected"), [(SPEC, "json"), (Choice(["a", "b"]), "json"), (None, None)]
)
def test_the_output_type_is_what_the_constraint_asks(
    spans: Spans, output_type: Any, expected: str | None
):
    LLM(spans.observed(Scripted())).call("x", output_type)
    assert attributes(spans.ended()[0]).get("gen_ai.output.type") == expected


async def test_schemas_are_json_and_a_callers_own_grammar_is_text(spans: Spans):
    observed = spans.observed(Scripted(["x", "x"]))
    for constraint in (JsonSchema({}), Lark("start: /a/")):
        await observed.send(Request(prompt=(), constraint=constraint))
    assert [attributes(span)["gen_ai.output.type"] for span in spans.ended()] == ["json", "text"]


@pytest.mark.parametrize(
    ("engine", "provider"),
    [("openai", "openai"), ("gemini", "gcp.gemini"), ("vllm-server", "vllm-server")],
)
def test_a_service_goes_by_the_conventions_name(spans: Spans, engine: str, provider: str):
    LLM(spans.observed(Scripted(["x"], traits=replace(TRAITS, name=engine)))).call("x")
    assert attributes(spans.ended()[0])["gen_ai.provider.name"] == provider


def test_content_is_there_only_when_asked_for_and_then_without_secrets(spans: Spans):
    answer = f"Fine, {KEY} and my own"
    spans.llm(answer).call(f"How is {KEY}?")
    assert not any("messages" in name for name in attributes(spans.ended()[0]))
    llm = spans.llm(answer, content=True, secrets=["my own"])
    llm.call(f"How is {KEY}?", system="Be brief.")
    found = attributes(spans.ended()[1])
    assert json.loads(found["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "How is [redacted]?"}]},
    ]
    assert json.loads(found["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "Fine, [redacted] and [redacted]"}],
            "finish_reason": "stop",
        }
    ]


def test_a_failure_is_the_spans_status_and_each_retry_has_its_span(spans: Spans):
    busy = EngineError(f"busy with {KEY}", status=503, retryable=True, retry_after_s=0)
    llm = spans.llm(busy, "x", EngineError("down"), content=True)
    assert llm.call("x") == "x"
    llm.run("x")
    first, second, third = spans.ended()
    assert first.status.status_code is StatusCode.ERROR
    assert first.status.description == "busy with [redacted]"
    assert attributes(first)["error.type"] == "503"
    assert "gen_ai.input.messages" in attributes(first)
    assert "gen_ai.response.finish_reasons" not in attributes(first)
    assert second.status.status_code is StatusCode.UNSET and "error.type" not in attributes(second)
    assert attributes(third)["error.type"] == "EngineError"


def test_a_cancelled_inference_has_its_span(spans: Spans):
    async def never(request: Request) -> object:
        await asyncio.Event().wait()
        return None

    LLM(spans.observed(Scripted(never))).run("x", timeout_s=0.05)
    (span,) = spans.ended()
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "CancelledError"


ENGINES: list[Callable[[], Any]] = [Scripted, lambda: open_engine("embedded", {})]


@pytest.mark.parametrize("engine", ENGINES, ids=["scripted", "embedded"])
def test_spans_nest_under_the_callers_in_sync_calls(spans: Spans, engine: Callable[[], Any]):
    with LLM(spans.observed(engine())) as llm, spans.tracer.start_as_current_span("caller") as own:
        llm.call("I am 25.", SPEC)
        assert trace.get_current_span() is own
        assert llm.batch(["a", "b", "c"], SPEC).ok == 3
        assert len(list(llm.iter_batch(["d", "e"], SPEC))) == 2
        assert trace.get_current_span() is own
    *ours, caller = spans.ended()
    assert caller.name == "caller" and len(ours) == 6
    assert {parent_id(span) for span in ours} == {own.get_span_context().span_id}
    assert {span.context.trace_id for span in ours} == {own.get_span_context().trace_id}


async def test_spans_nest_under_the_callers_in_async_calls(spans: Spans):
    llm = LLM(spans.observed(Scripted()))

    async def one(name: str) -> None:
        with spans.tracer.start_as_current_span(name) as own:
            await llm.acall(name, SPEC)
            assert trace.get_current_span() is own
            await llm.abatch([name] * 2, SPEC)
            assert trace.get_current_span() is own

    await asyncio.gather(one("a"), one("b"))
    assert trace.get_current_span() is trace.INVALID_SPAN
    for name in "ab":
        (caller,) = spans.ended(name)
        ours = [span for span in spans.ended() if parent_id(span) == caller.context.span_id]
        assert [span.name for span in ours] == ["chat scripted"] * 3


def test_what_the_engine_traces_is_below_the_inference(spans: Spans):
    async def traced(request: Request) -> object:
        with spans.tracer.start_as_current_span("POST"):
            await asyncio.sleep(0)
        return "x"

    LLM(spans.observed(Scripted(traced))).call("x")
    inner, span = spans.ended()
    assert (inner.name, parent_id(inner)) == ("POST", span.context.span_id)


def test_of_two_tracers_each_has_its_spans_and_the_caller_its_own(spans: Spans):
    observers = [Tracing(spans.provider), Tracing(spans.provider)]
    llm = LLM(Observed(Scripted(lambda request: "x"), observers))
    with spans.tracer.start_as_current_span("caller") as own:
        assert asyncio.run(llm.acall("x")) == "x"
        assert trace.get_current_span() is own
    inner, outer, caller = spans.ended()
    assert parent_id(inner) == outer.context.span_id
    assert parent_id(outer) == caller.context.span_id


def test_without_a_caller_a_span_is_a_root_and_rows_do_not_nest(spans: Spans):
    assert LLM(spans.observed(Scripted())).batch(["x"] * 20, SPEC).ok == 20
    assert len(spans.ended()) == 20
    assert {span.parent for span in spans.ended()} == {None}


def test_what_is_not_sampled_costs_no_content():
    written: list[str] = []

    class Counting(Tracing):
        def _message(self, role: str, text: str) -> dict[str, Any]:
            written.append(role)
            return super()._message(role, text)

    for sampler, roles in ((ALWAYS_OFF, []), (ALWAYS_ON, ["user", "assistant"])):
        tracing = Counting(TracerProvider(sampler=sampler), content=True)
        LLM(Observed(Scripted(["x"]), [tracing])).call("x")
        assert written == roles


def test_without_a_provider_the_applications_own_is_used(spans: Spans):
    script = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from typedllm import LLM, Scripted
from typedllm.observers.observed import Observed
from typedllm.observers.tracing import Tracing
tracing = Tracing()  # made before the provider is set, as modules are
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
trace.set_tracer_provider(provider)
LLM(Observed(Scripted(["x"]), [tracing])).call("x")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout)["name"] == "chat scripted"


def test_a_missing_library_is_named_with_its_extra_and_not_loaded_before():
    script = """
import sys
from typedllm import MissingDependency
from typedllm.observers.tracing import Tracing
assert not any(name.startswith("opentelemetry") for name in sys.modules)
sys.modules["opentelemetry"] = None
try:
    Tracing()
except MissingDependency as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert "typedllm[telemetry]" in done.stdout
