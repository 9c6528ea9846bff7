"""What a vLLM server is sent, and what its answers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Final

from typedllm._checks import check_extra, check_text
from typedllm.engines.grammar_texts import printed
from typedllm.engines.openai_protocol import (
    MALFORMED,
    malformed,
    tokens_of_text,
    tokens_told,
    usage_of,
)
from typedllm.engines.replay import Chosen, guided_completion
from typedllm.engines.row import DEFAULT_TOKENS
from typedllm.engines.vllm_options import landing_options
from typedllm.errors import EngineError, UsageError
from typedllm.grammar.closing import shortest
from typedllm.grammar.expression import expression
from typedllm.records import Completion, Failure, Grammar, Message, Reply, Request, Token, Usage

__all__ = ["Asked", "body_of", "completion_of"]

_NEUTRAL: Final = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
_OURS: Final = frozenset(
    [
        "model",
        "messages",
        "prompt",
        "n",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "seed",
        "stop",
        "max_tokens",
        "max_completion_tokens",
        "logprobs",
        "top_logprobs",
        "structured_outputs",
        "response_format",
        "ignore_eos",
        "echo",
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What is known of the server that is asked.

    Attributes:
        model: as the server calls it.
        context: most tokens of prompt and answer together.
        guidance: whether it is known to be on its guidance backend.
        lands: whether typedllm's logits processor runs in it.
        fields: names that its API knows; none where it does not tell.
    """

    model: str
    context: int
    guidance: bool
    lands: bool
    fields: frozenset[str] = frozenset()


def body_of(request: Request, asked: Asked) -> dict[str, Any]:
    """Make the body of a request, but for its prompt.

    What the request leaves open is sent as what changes nothing, since the server would take it
    from the model's generation config, as no other engine does.

    Args:
        request: what to ask.
        asked: the server.

    Raises:
        UsageError: for an option that is typedllm's to set, or that the server does not know; for
            text that is none.
        UnsupportedConstraint: for a constraint that it does not take.
    """
    sampling, constraint = request.sampling, request.constraint
    chat = isinstance(request.prompt[0], Message)
    text = "".join(part.text for part in request.prompt)
    check_text("prompt", text)
    if not text:
        raise UsageError("the prompt is empty; write what is asked")
    body: dict[str, Any] = {
        "model": asked.model,
        "temperature": sampling.temperature or 0.0,
        "top_p": 1.0 if sampling.top_p is None else sampling.top_p,
        "max_tokens": min(_budget(request) + (constraint is not None), asked.context),
        "logprobs": True if chat else 1,
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    options: dict[str, Any] = {}
    if constraint is None:
        body |= {"stop": list(sampling.stop)} if sampling.stop else {}
    else:
        body["structured_outputs"] = {
            "grammar": printed(constraint, "a vLLM server at its defaults", lark=asked.guidance)
        }
        if asked.lands and isinstance(constraint, Grammar):
            options = dict(landing_options(expression(constraint.root)))
            body |= {"top_logprobs": 2} if chat else {}  # it counts the chosen one
    return body | _NEUTRAL | _further(sampling.extra, asked, options)


def _further(extra: Mapping[str, Any], asked: Asked, options: dict[str, Any]) -> dict[str, Any]:
    """The caller's own options, with those of our logits processor."""
    further = dict(extra)
    options = {**further.pop("vllm_xargs", {}), **options}
    check_extra(further, ours=_OURS, known=asked.fields, whose="the vLLM server")
    return {**further, "vllm_xargs": options} if options else further


def _budget(request: Request) -> int:
    """The most tokens of an answer."""
    if request.sampling.max_tokens is not None:
        return request.sampling.max_tokens
    constraint = request.constraint
    least = shortest(expression(constraint.root)) if isinstance(constraint, Grammar) else None
    return max(DEFAULT_TOKENS, len(least or b""))


def completion_of(answer: Any, requests: Sequence[Request], asked: Asked) -> list[Reply]:
    """Read an answer of the server.

    Args:
        answer: its JSON.
        requests: those that it answers, in order.
        asked: the server.

    Returns:
        A reply for each request. The server tells only the sum of the prompts' tokens; each has
        its share by length.
    """
    try:
        choices = sorted(answer["choices"], key=lambda choice: choice["index"])
        counted = usage_of(answer["usage"])
        weights = [sum(len(part.text) for part in each.prompt) for each in requests]
        usages = [
            Usage(input_tokens=tokens, cached_tokens=min(cached, tokens))
            for tokens, cached in zip(
                _shares(counted.input_tokens, weights),
                _shares(counted.cached_tokens, weights),
                strict=True,
            )
        ]
        return [
            _reply(choice, request, asked, usage)
            for choice, request, usage in zip(choices, requests, usages, strict=True)
        ]
    except MALFORMED as error:
        return [Failure(error=malformed("the vLLM server", error))] * len(requests)


def _reply(choice: Mapping[str, Any], request: Request, asked: Asked, usage: Usage) -> Reply:
    if choice["finish_reason"] not in ("stop", "length"):
        ended = f"the vLLM server ended the answer with {choice['finish_reason']!r}"
        return Failure(error=EngineError(ended))
    message: Mapping[str, Any] = choice.get("message") or {"content": choice.get("text")}
    text: str = message["content"] or ""
    cut = choice["finish_reason"] == "length"
    told = tokens_told(choice.get("logprobs") or {})
    found = Completion(
        text=text,
        finish_reason="length" if cut else "stop",
        # without the token that ended it
        usage=replace(usage, output_tokens=max(len(told) - (not cut), 0)),
        reasoning=message.get("reasoning"),
    )
    tokens = tokens_of_text(told, text.encode())
    if tokens is None:
        return found
    if request.constraint is None:
        return replace(found, tokens=tuple(Token(each.text, each.logprob) for each in tokens))
    chosen = Chosen(
        texts=[each.text for each in tokens],
        logprobs=[each.logprob for each in tokens],
        likeliest=[each.likeliest for each in tokens],
        cut=cut,
    )
    before = len(told) - len(tokens) - (not cut)  # of its reasoning
    room = asked.context - usage.input_tokens
    budget = min(_budget(request), room - 1) - before  # as the decoder has it
    made = guided_completion(
        chosen,
        request.constraint,
        budget=budget if asked.lands else None,
        input_tokens=usage.input_tokens,
    )
    return replace(made, usage=found.usage, reasoning=found.reasoning)


def _shares(total: int, weights: Sequence[int]) -> list[int]:
    """A whole number in parts by weight, whose sum it is."""
    done, shares, sum_ = 0, list[int](), max(sum(weights), 1)
    for end in accumulate(weights):
        shares.append(round(total * end / sum_) - done)
        done += shares[-1]
    return shares
