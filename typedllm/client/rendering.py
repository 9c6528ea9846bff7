"""What would be sent: the prompt of a call as its model is given it, before any call is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from typedllm.prompts.templates import Rendered
from typedllm.records import Message, Segment
from typedllm.templating.chat_format import ChatFormat

if TYPE_CHECKING:
    from typedllm.engines.encode import PromptEncoder

__all__ = ["RenderedPrompt", "rendered_prompt"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderedPrompt:
    """A prompt as it would be sent.

    Attributes:
        messages: the turns; empty where the template makes raw text.
        segments: what the model is given, special tokens included, where that is known; else the
            contents of the turns with an empty line between them. Values are not trusted.
        tokens: how many tokens that are, where the tokenizer is known.
    """

    messages: tuple[Message, ...]
    segments: tuple[Segment, ...]
    tokens: int | None

    @property
    def text(self) -> str:
        """The segments as one text."""
        return "".join(segment.text for segment in self.segments)

    def __str__(self) -> str:
        return self.text


def rendered_prompt(
    prompt: Rendered, *, encoder: PromptEncoder | None, chat_format: ChatFormat | None
) -> RenderedPrompt:
    """Say what a model would be given.

    Args:
        prompt: messages or raw segments.
        encoder: of the model, if there is one at hand; it knows the model's own chat template.
        chat_format: the raw format that messages are put into, in place of the model's own.

    Raises:
        UsageError: when the prompt cannot be put into the format.
    """
    messages: tuple[Message, ...] = ()
    if prompt and isinstance(prompt[0], Message):
        messages = cast(tuple[Message, ...], prompt)
        if chat_format is not None:
            prompt = chat_format.render(messages)
    if encoder is not None:
        segments = tuple(encoder.laid_out(prompt))
    elif prompt and isinstance(prompt[0], Segment):
        segments = cast(tuple[Segment, ...], prompt)
    else:
        segments = tuple(_one_after_the_other(messages))
    tokens = None if encoder is None else len(encoder.encode(prompt))
    return RenderedPrompt(messages=messages, segments=segments, tokens=tokens)


def _one_after_the_other(messages: Sequence[Message]) -> Iterator[Segment]:
    for number, message in enumerate(messages):
        if number:
            yield Segment(text="\n\n", trusted=True)
        yield from message.content
