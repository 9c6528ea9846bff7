"""What a vLLM server is sent, and what its answers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from typedllm.engines.replay import Chosen, guided_completion
from typedllm.engines.row import DEFAULT_TOKENS
from typedllm.engines.vllm_options import landing_options, printed
from typedllm.errors import EngineError
from typedllm.grammar.expression import expression
from typedllm.records import Completion, Failure, Grammar, Message, Reply, Request, Token, Usage

__all__ = ["Asked", "body_of", "completion_of", "messages_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What is known of the server that is asked.

    Attributes:
        model: as the server calls it.
        context: most tokens of prompt and answer together.
        guidance: whether it is known to be on its guidance backend.
        lands: whether typedllm's logits processor runs in it.
    """

    model: str
    context: int
    guidance: bool
    lands: bool


def body_of(request: Request, asked: Asked) -> dict[str, Any]:
    """Make the body of a request, but for its prompt.

    Args:
        request: what to ask.
        asked: the server.

    Raises:
        UnsupportedConstraint: for a constraint that it does not take.
    """
    sampling, constraint = request.sampling, request.constraint
    chat = isinstance(request.prompt[0], Message)
    # one more than an answer has, for the token that ends it
    budget = sampling.max_tokens or DEFAULT_TOKENS
    body: dict[str, Any] = {
        "model": asked.model,
        "temperature": sampling.temperature or 0.0,
        "max_tokens": min(budget + (constraint is not None), asked.context),
        "logprobs": True if chat else 1,
    }
    if sampling.top_p is not None:
        body["top_p"] = sampling.top_p
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if constraint is None:
        body |= {"stop": list(sampling.stop)} if sampling.stop else {}
    else:
        body["structured_outputs"] = {"grammar": printed(constraint, asked.guidance)}
        if asked.lands and isinstance(constraint, Grammar):
            body["vllm_xargs"] = dict(landing_options(expression(constraint.root)))
            body |= {"top_logprobs": 2} if chat else {}  # it counts the chosen one
    return {**body, **sampling.extra}


def messages_of(request: Request) -> list[dict[str, str]]:
    """The messages of a request as the server takes them."""
    return [
        {"role": part.role, "content": part.text}
        for part in request.prompt
        if isinstance(part, Message)
    ]


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
    choices = sorted(answer["choices"], key=lambda choice: choice["index"])
    if len(choices) != len(requests):
        message = f"the vLLM server answered {len(requests)} prompts with {len(choices)} choices"
        return [Failure(error=EngineError(message))] * len(requests)
    shares = _shares(answer["usage"]["prompt_tokens"], [_length(request) for request in requests])
    return [
        _reply(choice, request, asked, tokens)
        for choice, request, tokens in zip(choices, requests, shares, strict=True)
    ]


def _reply(choice: Mapping[str, Any], request: Request, asked: Asked, input_tokens: int) -> Reply:
    if choice["finish_reason"] not in ("stop", "length"):
        ended = f"the vLLM server ended the answer with {choice['finish_reason']!r}"
        return Failure(error=EngineError(ended))
    message: Mapping[str, Any] = choice.get("message") or {"content": choice.get("text")}
    text: str = message["content"] or ""
    cut = choice["finish_reason"] == "length"
    told = _told(choice.get("logprobs") or {})
    found = Completion(
        text=text,
        finish_reason="length" if cut else "stop",
        # without the token that ended it
        usage=Usage(input_tokens=input_tokens, output_tokens=max(len(told) - (not cut), 0)),
        reasoning=message.get("reasoning"),
    )
    tokens = _of_text(told, text.encode())
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
    budget = (request.sampling.max_tokens or DEFAULT_TOKENS) - before
    made = guided_completion(
        chosen,
        request.constraint,
        budget=budget if asked.lands else None,
        input_tokens=input_tokens,
    )
    return replace(made, usage=found.usage, reasoning=found.reasoning)


@dataclass(frozen=True, slots=True)
class _Told:
    text: bytes
    logprob: float
    likeliest: bool


def _told(logprobs: Mapping[str, Any]) -> list[_Told]:
    """What the server says of each token, in the form of either endpoint."""
    if "content" in logprobs:
        found: list[Mapping[str, Any]] = logprobs["content"] or []
        return [
            _Told(
                bytes(each.get("bytes") or ()),
                min(each["logprob"], 0.0),
                all(other["logprob"] <= each["logprob"] for other in each["top_logprobs"]),
            )
            for each in found
        ]
    likely: list[Mapping[str, float]] = logprobs.get("top_logprobs") or []
    return [
        _Told(token.encode(), min(logprob, 0.0), max(top.values()) <= top[token])
        for token, logprob, top in zip(
            logprobs.get("tokens", ()), logprobs.get("token_logprobs", ()), likely, strict=True
        )
    ]


def _of_text(told: Sequence[_Told], text: bytes) -> Sequence[_Told] | None:
    """The tokens that make up the text: all, or those before the end, or after the reasoning."""
    for stop in (len(told), len(told) - 1):
        size, start = 0, stop
        while start > 0 and size < len(text):
            start -= 1
            size += len(told[start].text)
        if b"".join(each.text for each in told[start : max(stop, 0)]) == text:
            return told[start:stop]
    return None


def _length(request: Request) -> int:
    return sum(len(part.text) for part in request.prompt)


def _shares(total: int, weights: Sequence[int]) -> list[int]:
    """A whole number in parts by weight, whose sum it is."""
    done, shares, sum_ = 0, list[int](), max(sum(weights), 1)
    for end in accumulate(weights):
        shares.append(round(total * end / sum_) - done)
        done += shares[-1]
    return shares
