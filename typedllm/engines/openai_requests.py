"""What a server of OpenAI's protocol is sent, and what its answers are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from typedllm._checks import check_extra, check_text
from typedllm.constraints.dialect import Lowered
from typedllm.engines.dialects import Dialect
from typedllm.engines.grammar_texts import printed
from typedllm.engines.openai_protocol import messages_of, tokens_of_text, tokens_told
from typedllm.errors import EngineError, UnsupportedConstraint, UsageError
from typedllm.records import (
    Completion,
    Constraint,
    Failure,
    FinishReason,
    Grammar,
    Message,
    Reply,
    Request,
    Sampling,
    Token,
    Usage,
)

__all__ = ["completion_of", "request_of"]

_NAME: Final = "answer"  # of the schema
_OURS: Final = frozenset(
    {"model", "messages", "prompt", "n", "stream", "echo", "temperature", "top_p", "seed", "stop"}
    | {"random_seed", "max_tokens", "max_completion_tokens", "response_format", "ebnf", "grammar"}
    | {"json_schema"}
)
_ENDS: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",  # Together AI
    "tool_calls": "stop",
    "function_call": "stop",
    "length": "length",
    "model_length": "length",  # Mistral AI
    "content_filter": "refusal",
    "refusal": "refusal",
}


def request_of(request: Request, model: str, dialect: Dialect) -> tuple[str, dict[str, Any]]:
    """Make a request of the protocol.

    Args:
        request: what to ask.
        model: as the server calls it.
        dialect: the server.

    Returns:
        The path after the base URL, and the body.

    Raises:
        UsageError: for an option that is typedllm's to set, text that is none, or raw text where
            the server takes none.
        UnsupportedConstraint: for a constraint that it does not take.
    """
    if request.labels:
        raise UnsupportedConstraint(f"the engine {dialect.name} scores no labels")
    text = "".join(part.text for part in request.prompt)
    check_text("prompt", text)
    if not text:
        raise UsageError("the prompt is empty; write what is asked")
    chat = isinstance(request.prompt[0], Message)
    if not chat and not dialect.completions:
        raise UsageError(
            f"{dialect.name} takes no raw text: ask with messages, without chat_template="
        )
    body: dict[str, Any] = {"model": model, **_sampled(request, dialect, chat)}
    if chat:
        body["messages"] = _messages(request, dialect)
    else:
        body["prompt"] = text
    if request.constraint is not None:
        body |= _constrained(request.constraint, dialect, chat)
    if dialect.logprobs:
        body["logprobs"] = True if chat else 1
    check_extra(request.sampling.extra, ours=_OURS, known=(), whose=dialect.name)
    return "/chat/completions" if chat else "/completions", _joined(body, request.sampling.extra)


def _joined(body: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """A body with the caller's own options, joined with those of OpenRouter's `provider`."""
    both = {**body, **extra}
    if isinstance(body.get("provider"), dict) and isinstance(extra.get("provider"), dict):
        both["provider"] = {**body["provider"], **extra["provider"]}
    return both


def _sampled(request: Request, dialect: Dialect, chat: bool) -> dict[str, Any]:
    sampling: Sampling = request.sampling
    if sampling.seed is not None and dialect.seed is None:
        raise UsageError(f"{dialect.name} takes no seed; leave out Sampling.seed")
    body = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        dialect.max_tokens if chat else "max_tokens": sampling.max_tokens,
        dialect.seed or "seed": sampling.seed,
        "stop": list(sampling.stop) if sampling.stop and request.constraint is None else None,
    }
    return {name: value for name, value in body.items() if value is not None}


def _messages(request: Request, dialect: Dialect) -> list[dict[str, str]]:
    messages = messages_of(request)
    constraint = request.constraint
    if not (isinstance(constraint, Lowered) and _in_prompt(dialect, constraint)):
        return messages
    schema = json.dumps(constraint.schema, ensure_ascii=False)
    said = f"Answer with JSON that is valid for this JSON Schema: {schema}"
    if messages[0]["role"] == "system":  # several system messages are not taken everywhere
        first = {**messages[0], "content": f"{messages[0]['content']}\n\n{said}"}
        return [first, *messages[1:]]
    return [{"role": "system", "content": said}, *messages]


def _in_prompt(dialect: Dialect, constraint: Lowered) -> bool:
    return dialect.sends == "json_object" and not constraint.enforced


def _constrained(constraint: Constraint, dialect: Dialect, chat: bool) -> dict[str, Any]:
    """The fields that say what the answer must match."""
    if isinstance(constraint, Grammar) and dialect.sends not in ("json_schema", "json_object"):
        text = printed(constraint, dialect.name)
        if dialect.sends == "ebnf format":
            return {"response_format": {"type": "ebnf", "ebnf": text}}
        return {dialect.sends: text}
    if not isinstance(constraint, Lowered):
        kind = type(constraint).__name__
        raise UnsupportedConstraint(f"the engine {dialect.name} takes no {kind}")
    if not chat:
        raise UnsupportedConstraint(
            f"{dialect.name} takes no schema beside raw text: ask with messages, without"
            " chat_template="
        )
    if _in_prompt(dialect, constraint):
        return {"response_format": {"type": "json_object"}}
    named = {"name": _NAME, "schema": dict(constraint.schema), "strict": constraint.strict}
    body: dict[str, Any] = {"response_format": {"type": "json_schema", "json_schema": named}}
    if dialect.rules == "asked":  # else it may choose a provider that ignores the format
        body["provider"] = {"require_parameters": True}
    return body


def completion_of(answer: Any, server: str) -> Reply:
    """Read an answer.

    Args:
        answer: its JSON.
        server: what it is called in messages.
    """
    try:
        return _reply(answer, server)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        failure = EngineError(f"what came from {server} is no answer of OpenAI's protocol")
        failure.__cause__ = error
        return Failure(error=failure)


def _reply(answer: Mapping[str, Any], server: str) -> Reply:
    (choice,) = answer["choices"]
    ended: object = choice["finish_reason"]
    if ended not in _ENDS:
        told = f"{server} ended the answer with {str(ended)[:100]!r}"
        # DeepSeek's word for a lack of machines
        lacking = ended == "insufficient_system_resource"
        return Failure(error=EngineError(told, retryable=lacking))
    message: Mapping[str, Any] = choice.get("message") or {"content": choice["text"]}
    refusal: str | None = message.get("refusal") or None
    text = refusal or _called(message) or _text(message.get("content"))
    reason = "refusal" if refusal else _ENDS[cast(str, ended)]
    tokens = tokens_of_text(tokens_told(choice.get("logprobs") or {}), text.encode())
    counted: Mapping[str, Any] = answer.get("usage") or {}
    thought = message.get("reasoning_content") or message.get("reasoning")
    return Completion(
        text=text,
        finish_reason=reason,
        usage=Usage(
            input_tokens=int(counted.get("prompt_tokens") or 0),
            output_tokens=int(counted.get("completion_tokens") or 0),
        ),
        tokens=tuple(Token(each.text, each.logprob) for each in tokens) if tokens else None,
        reasoning=thought if isinstance(thought, str) else None,
    )


def _called(message: Mapping[str, Any]) -> str | None:
    """The arguments of the one function that an answer calls, if it is a call."""
    calls: Sequence[Mapping[str, Any]] = message.get("tool_calls") or ()
    if message.get("function_call"):  # the older form
        calls = [{"function": message["function_call"]}]
    if not calls:
        return None
    (call,) = calls
    given: object = call["function"]["arguments"]
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def _text(content: object) -> str:
    """The text of an answer, which may come in parts; other parts, such as thoughts, are left."""
    if isinstance(content, list):
        parts = cast(list[Mapping[str, Any]], content)
        content = "".join(part["text"] for part in parts if part["type"] == "text")
    if content is None:
        return ""
    if not isinstance(content, str):
        raise TypeError(f"content is a {type(content).__name__}")
    return content
