"""The providers that are asked through instructor: where they are, and how they are talked to.

Each row is an engine by its name, as in `LLM("anthropic:claude-sonnet-4-5")`. Nothing of an SDK is
imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from typedllm.engines import anthropic_messages, cohere_chat, gemini_content, instructor_any
from typedllm.records import JsonSchema, Reply, Request, Traits

__all__ = ["PROVIDERS", "Provider", "Stream", "traits_for"]


class Stream(Protocol):
    """An answer that comes in pieces."""

    @property
    def answer(self) -> dict[str, Any]:
        """What came so far, in the form of a whole answer."""
        ...

    def take(self, piece: Mapping[str, Any], /) -> str:
        """Take one in, and return what follows of the answer's text."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """A provider, and how it is talked to.

    Attributes:
        name: of the engine.
        base_url: of its API; empty where instructor's client knows it.
        key_variables: the environment's variables for its key.
        prices: what genai-prices calls it; None where that is not known.
        rules: names the row of `typedllm.constraints.dialect.RULES` for a model, or for all where
            the model is empty.
        request: makes the arguments of a call.
        completion: reads an answer, as plain data.
        stream: begins an answer that comes in pieces, for the arguments of its call; None where it
            does not.
        ours: names that `Sampling.extra` may not have.
        summary: one line for lists of engines.
    """

    name: str
    base_url: str = ""
    key_variables: tuple[str, ...] = ()
    prices: str | None = None
    rules: Callable[[str], str]
    request: Callable[[Request, str], dict[str, Any]]
    completion: Callable[[Mapping[str, Any]], Reply]
    stream: Callable[[Mapping[str, Any]], Stream] | None = None
    ours: frozenset[str]
    summary: str


PROVIDERS: Final = {
    provider.name: provider
    for provider in (
        Provider(
            name="anthropic",
            base_url="https://api.anthropic.com",
            key_variables=("ANTHROPIC_API_KEY",),
            prices="anthropic",
            rules=anthropic_messages.anthropic_rules,
            request=anthropic_messages.anthropic_request,
            completion=anthropic_messages.anthropic_completion,
            stream=anthropic_messages.AnthropicStream,
            ours=anthropic_messages.OURS,
            summary="Anthropic, and what speaks its protocol (a model's name; max_tokens is 4096)",
        ),
        Provider(
            name="gemini",
            base_url="https://generativelanguage.googleapis.com",
            key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
            prices="google",
            rules=lambda model: "gemini",
            request=gemini_content.gemini_request,
            completion=gemini_content.gemini_completion,
            stream=gemini_content.GeminiStream,
            ours=gemini_content.OURS,
            summary="Google's Gemini (a model's name; client, for Vertex AI too)",
        ),
        Provider(
            name="cohere",
            base_url="https://api.cohere.com",
            key_variables=("CO_API_KEY", "COHERE_API_KEY"),
            prices="cohere",
            rules=lambda model: "cohere",
            request=cohere_chat.cohere_request,
            completion=cohere_chat.cohere_completion,
            stream=cohere_chat.CohereStream,
            ours=cohere_chat.OURS,
            summary="Cohere (a model's name; client)",
        ),
        Provider(
            name="instructor",
            rules=lambda model: "asked",
            request=instructor_any.any_request,
            completion=instructor_any.any_completion,
            ours=instructor_any.OURS,
            summary="whatever instructor knows (provider/model; client)",
        ),
    )
}


def traits_for(provider: Provider, model: str = "") -> Traits:
    """Say what a provider can do.

    Args:
        provider: the provider.
        model: as it calls it; empty for what holds for those of today.
    """
    return Traits(
        name=provider.name,
        takes=frozenset({JsonSchema}),
        ending="may be cut",
        logprobs=False,
        dialect=provider.rules(model),
    )
