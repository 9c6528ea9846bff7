"""What a server of OpenAI's protocol is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from typedllm._checks import check_extra, check_text
from typedllm.constraints.dialect import Lowered
from typedllm.engines.dialects import BY_SCHEMA, Dialect
from typedllm.engines.grammar_texts import printed
from typedllm.engines.openai_protocol import STREAMED, messages_of
from typedllm.engines.remote_prompts import with_schema
from typedllm.errors import UnsupportedConstraint, UsageError
from typedllm.records import Constraint, Grammar, Message, Request, Sampling

__all__ = ["request_of"]

_NAME: Final = "answer"  # of the schema, or of the function
_OURS: Final = frozenset(
    {
        "model",
        "messages",
        "prompt",
        "n",
        "stream",
        "stream_options",
        "echo",
        "temperature",
        "top_p",
        "seed",
        "stop",
    }
    | {"random_seed", "max_tokens", "max_completion_tokens", "response_format", "ebnf", "grammar"}
    | {"json_schema"}
)
_CALLING: Final = frozenset({"tools", "tool_choice", "parallel_tool_calls"})


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
    if request.tell is not None:
        body |= STREAMED if dialect.counts_streams else {"stream": True}
    ours = _OURS | _CALLING if dialect.sends == "tools" else _OURS
    check_extra(request.sampling.extra, ours=ours, known=(), whose=dialect.name)
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
    return with_schema(messages, constraint.schema)


def _in_prompt(dialect: Dialect, constraint: Lowered) -> bool:
    return dialect.sends == "json_object" and not constraint.enforced


def _constrained(constraint: Constraint, dialect: Dialect, chat: bool) -> dict[str, Any]:
    """The fields that say what the answer must match."""
    if isinstance(constraint, Grammar) and dialect.sends not in BY_SCHEMA:
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
    schema = dict(constraint.schema)
    if dialect.sends == "tools":
        body: dict[str, Any] = _calling(schema, constraint.strict, dialect)
    else:
        named = {"name": _NAME, "schema": schema, "strict": constraint.strict}
        body = {"response_format": {"type": "json_schema", "json_schema": named}}
    if dialect.rules == "asked":  # else it may choose a provider that ignores the format
        body["provider"] = {"require_parameters": True}
    return body


def _calling(schema: dict[str, Any], strict: bool, dialect: Dialect) -> dict[str, Any]:
    """The fields that have the answer given as the arguments of a function."""
    function = {"name": _NAME, "parameters": schema, "strict": strict}
    return {
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": _NAME}},
        **({"parallel_tool_calls": False} if dialect.parallel_calls else {}),
    }
