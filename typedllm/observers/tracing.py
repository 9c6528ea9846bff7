"""OpenTelemetry spans of inferences, by the semantic conventions for generative AI.

The conventions: https://github.com/open-telemetry/semantic-conventions-genai (`gen-ai-spans.md`),
and for failures `recording-errors.md` of https://github.com/open-telemetry/semantic-conventions.
They are in development, and follow their names as of version 1.41 of the latter.
"""

from __future__ import annotations

import json
from asyncio import CancelledError
from collections.abc import Iterable
from numbers import Real
from typing import TYPE_CHECKING, Any, Final

from typedllm._require import require
from typedllm.engines.base import Engine
from typedllm.errors import EngineError, TypedLLMError
from typedllm.observers.observed import OnReply
from typedllm.observers.redaction import Redaction
from typedllm.records import (
    Constraint,
    Failure,
    Grammar,
    JsonSchema,
    Lark,
    Message,
    Reply,
    Request,
)

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["Tracing"]

# The conventions' own names of services; any other engine goes by its own.
_PROVIDERS: Final = {
    "azure": "azure.ai.openai",
    "azure_openai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gen_ai",
    "mistral": "mistral_ai",
    "vertexai": "gcp.vertex_ai",
    "xai": "x_ai",
}
_EXTRA: Final = ("top_k", "frequency_penalty", "presence_penalty")


class Tracing:
    """An observer that makes an OpenTelemetry span of each inference.

    The span is a child of the caller's current span, and current itself while the engine works, so
    that those of an instrumented HTTP client become its children. It is named `chat {model}`
    (`text_completion {model}` for raw text) and has the `gen_ai.*` attributes of the conventions.

    A failure is the span's status, with `error.type`: the HTTP status where there was one,
    `CancelledError` for an inference that was given up, else the name of the error's class. Secrets
    are taken out of its text, see `typedllm.observers.redaction`.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        *,
        content: bool = False,
        secrets: Iterable[str] = (),
    ) -> None:
        """Take a tracer; OpenTelemetry is imported here and not before.

        Args:
            tracer_provider: where the spans go; None is the application's global one.
            content: whether messages and answers are put into the spans, as JSON in
                `gen_ai.input.messages` and `gen_ai.output.messages`.
            secrets: texts that are taken out wherever they occur, such as the API key in use.

        Raises:
            MissingDependency: when OpenTelemetry is not installed; the extra is `telemetry`.
        """
        self._trace = require("opentelemetry.trace", "telemetry")
        self._context = require("opentelemetry.context", "telemetry")
        self._tracer = self._trace.get_tracer("typedllm", tracer_provider=tracer_provider)
        self._content = content
        self._redaction = Redaction(secrets)

    def sent(self, request: Request, engine: Engine) -> OnReply:
        """Start a span; it ends with the reply.

        Args:
            request: what is sent.
            engine: where to.
        """
        attributes = _attributes(request, engine)
        span: Span = self._tracer.start_span(
            f"{attributes['gen_ai.operation.name']} {engine.model}",
            kind=self._trace.SpanKind.CLIENT,
            attributes=attributes,
        )
        token = self._context.attach(self._trace.set_span_in_context(span))

        def on_reply(reply: Reply, seconds: float) -> None:
            try:
                self._context.detach(token)
                if span.is_recording():
                    self._record(span, request, reply)
            finally:
                span.end()

        return on_reply

    def _record(self, span: Span, request: Request, reply: Reply) -> None:
        if self._content:
            span.set_attribute("gen_ai.input.messages", self._input(request))
        if isinstance(reply, Failure):
            span.set_attribute("error.type", _error_type(reply.error))
            code = self._trace.StatusCode.ERROR
            span.set_status(self._trace.Status(code, self._redaction.text(str(reply.error))))
            return
        span.set_attribute("gen_ai.response.finish_reasons", (reply.finish_reason,))
        span.set_attribute("gen_ai.usage.input_tokens", reply.usage.input_tokens)
        span.set_attribute("gen_ai.usage.output_tokens", reply.usage.output_tokens)
        if self._content:
            message = self._message("assistant", reply.text)
            message["finish_reason"] = reply.finish_reason
            span.set_attribute("gen_ai.output.messages", json.dumps([message]))

    def _input(self, request: Request) -> str:
        turns = [
            self._message(part.role, part.text)
            for part in request.prompt
            if isinstance(part, Message)
        ]
        if not turns:
            turns = [self._message("user", "".join(part.text for part in request.prompt))]
        return json.dumps(turns)

    def _message(self, role: str, text: str) -> dict[str, Any]:
        return {"role": role, "parts": [{"type": "text", "content": self._redaction.text(text)}]}


def _attributes(request: Request, engine: Engine) -> dict[str, Any]:
    name, sampling = engine.traits.name, request.sampling
    chat = any(isinstance(part, Message) for part in request.prompt)
    attributes = {
        "gen_ai.operation.name": "chat" if chat else "text_completion",
        "gen_ai.provider.name": _PROVIDERS.get(name, name),
        "gen_ai.request.model": engine.model,
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.request.max_tokens": sampling.max_tokens,
        "gen_ai.request.stop_sequences": sampling.stop or None,
        "gen_ai.request.seed": sampling.seed,
        "gen_ai.output.type": _output_type(request.constraint),
    }
    for option in _EXTRA:
        value = sampling.extra.get(option)
        attributes[f"gen_ai.request.{option}"] = float(value) if isinstance(value, Real) else None
    return {key: value for key, value in attributes.items() if value is not None}


def _output_type(constraint: Constraint | None) -> str | None:
    match constraint:
        case Grammar() | JsonSchema():  # a caller's own pattern is a Grammar too, and not told
            return "json"
        case Lark():
            return "text"
        case None:  # nothing is requested, except perhaps in words
            return None


def _error_type(error: TypedLLMError) -> str:
    if isinstance(error, EngineError) and error.status is not None:
        return str(error.status)
    given_up = isinstance(error.__cause__, CancelledError)
    return type(error.__cause__ if given_up else error).__name__
