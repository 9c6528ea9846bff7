"""The raw prompt formats of model families: from messages to the text that a model is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from typedllm.errors import TemplateError
from typedllm.records import Message, Segment
from typedllm.templating.chat_template import ChatTemplate
from typedllm.templating.finding import Found, find, header_of

__all__ = ["ChatFormat", "chat_format"]


@dataclass(frozen=True, slots=True, eq=False)
class ChatFormat:
    """A raw prompt format.

    Attributes:
        name: such as `llama2`.
        template: renders messages.
        marks: texts that open or end a turn and are ordinary text to the tokenizer.
        allow_marks: whether a value may contain one.
    """

    name: str
    template: ChatTemplate
    marks: tuple[str, ...] = ()
    allow_marks: bool = False

    def render(self, messages: Sequence[Message]) -> tuple[Segment, ...]:
        """Make the raw prompt, up to where the model's answer begins.

        Args:
            messages: of any roles, in order.

        Returns:
            Segments, of which the format's own words are trusted. Values are not, so that a local
            engine takes none of their text for a special token.

        Raises:
            TemplateError: when a value holds a mark, or the format takes no such messages.
        """
        segments = tuple(self.template.render(messages))
        if self.marks and not self.allow_marks:
            self._check(segments)
        return segments

    def _check(self, segments: Sequence[Segment]) -> None:
        text = "".join(segment.text for segment in segments)
        for mark in self.marks:
            if mark not in text:
                continue
            places = list(_places(text, mark))
            start = 0
            for segment in segments:
                end = start + len(segment.text)
                if not segment.trusted and any(
                    place < end and place + len(mark) > start for place in places
                ):
                    raise TemplateError(
                        f"a value contains {mark!r}, which opens or ends a turn in the format"
                        f" {self.name}; take it out, or allow it with"
                        f" chat_format({self.name!r}, allow_marks=True)"
                    )
                start = end


def _places(text: str, mark: str) -> Iterator[int]:
    place = text.find(mark)
    while place >= 0:
        yield place
        place = text.find(mark, place + 1)


def chat_format(name: str | Path, *, allow_marks: bool = False) -> ChatFormat:
    """Find the raw prompt format of a model family.

    Args:
        name: `llama2`, `llama3-instruct`, `chatml`, `mistral`, `gemma`, `phi` or `plain`; one of
            one's own by name, path or text, see `TYPEDLLM_TEMPLATES`. A template is Jinja over
            `messages`, as in `tokenizer_config.json`.
        allow_marks: whether a value may contain what opens or ends a turn, where that is ordinary
            text (as `[INST]` is to Llama 2). By default that is an error of its row.

    Raises:
        TemplateError: when there is none of that name, or it is not valid.
    """
    return _format(find(name, "models"), allow_marks)


@lru_cache(maxsize=64)
def _format(found: Found, allow_marks: bool) -> ChatFormat:
    marks = tuple[str, ...](header_of(found).get("marks") or ())
    return ChatFormat(found.name, ChatTemplate(found.text, {}), marks, allow_marks)
