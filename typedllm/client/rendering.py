"""What would be sent: the prompt of a call as its model is given it, before any call is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from typedllm.engines.base import Engine, encoder_of
from typedllm.engines.formatted import Formatted
from typedllm.prompts.templates import Rendered
from typedllm.records import Message, Segment

__all__ = ["RenderedPrompt", "rendered_for"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderedPrompt:
    """A prompt as it would be sent.

    Attributes:
        messages: the turns; empty where the template makes raw text.
        text: what the model is given, special tokens included, where the engine knows that; else
            the contents of the turns with an empty line between them.
        tokens: how many tokens that are, where the engine knows that.
    """

    messages: tuple[Message, ...]
    text: str
    tokens: int | None

    def __str__(self) -> str:
        return self.text


def rendered_for(engine: Engine, prompt: Rendered) -> RenderedPrompt:
    """Say what an engine would give its model.

    Args:
        engine: with its chat format, if it has one.
        prompt: messages or raw segments.

    Raises:
        UsageError: when the prompt cannot be put into the format.
    """
    messages: tuple[Message, ...] = ()
    if prompt and isinstance(prompt[0], Message):
        messages = cast(tuple[Message, ...], prompt)
        if isinstance(engine, Formatted):
            prompt = engine.format.render(messages)
    encoder = encoder_of(engine)
    if encoder is not None:
        text = _text(encoder.laid_out(prompt))
        return RenderedPrompt(messages=messages, text=text, tokens=len(encoder.encode(prompt)))
    if prompt and isinstance(prompt[0], Segment):
        text = _text(cast(tuple[Segment, ...], prompt))
    else:
        text = "\n\n".join(message.text for message in messages)
    return RenderedPrompt(messages=messages, text=text, tokens=None)


def _text(segments: Sequence[Segment]) -> str:
    return "".join(segment.text for segment in segments)
