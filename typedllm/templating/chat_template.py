"""Renders a chat template so that it is known which characters are the template's own.

The template is rendered with a mark in place of each message's content, and split at the marks. So
a content can neither steer the template nor be taken for a part of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

import jinja2

from typedllm.errors import TemplateError
from typedllm.records import Message, Role, Segment
from typedllm.templating.sandbox import Sandbox, cause, compiling
from typedllm.templating.steps import bounded

__all__ = ["ChatTemplate"]

# Private-use characters, between whitespace of a kind that no template writes: where a template
# trims a message, the whitespace is gone, and the content is to be trimmed likewise.
_MARK = "\x1f\ue000{}\ue001\x1f"
_MOST_CHARS = 20_000_000
_MARKS = re.compile("(\x1f?)\ue000(\\d+)\ue001(\x1f?)")


@dataclass(frozen=True, slots=True)
class _Content:
    """The place of a message's content in a rendered template."""

    message: int
    trim_start: bool
    trim_end: bool


class ChatTemplate:
    """A model's chat template, in the environment that transformers gives it.

    Source: `utils/chat_template_utils.py` in transformers.
    """

    def __init__(self, source: str, special: Mapping[str, str]) -> None:
        """Compile a template.

        Args:
            source: Jinja text.
            special: its variables, such as `bos_token`.

        Raises:
            TemplateError: when it is not valid Jinja.
        """
        environment = Sandbox(undefined=jinja2.Undefined)
        # {% generation %} marks an answer for training; here it is a block like any other
        source = re.sub(r"({%-?\s*)generation(\s*-?%})", r"\1if true\2", source)
        source = re.sub(r"({%-?\s*)endgeneration(\s*-?%})", r"\1endif\2", source)
        with compiling("the chat template"):
            self._template = environment.from_string(source)
        self._variables = {
            **special,
            "raise_exception": _raise,
            "strftime_now": _now,
            "add_generation_prompt": True,
            "tools": None,
            "documents": None,
        }
        self._layout = lru_cache(maxsize=256)(self._lay_out)

    def render(self, messages: Sequence[Message]) -> list[Segment]:
        """Put messages into the template.

        Where the template refuses or leaves out system messages, their text goes in front of the
        first message of the user.

        Args:
            messages: of any roles, in order.

        Returns:
            The rendered text in segments; the template's own words are trusted.

        Raises:
            TemplateError: when the template does not take such messages.
        """
        roles = tuple(message.role for message in messages)
        try:
            layout = self._layout(roles, tuple(not message.text for message in messages))
        except TemplateError:
            if "system" not in roles or "user" not in roles:
                raise
            return self.render(_folded(messages))
        segments: list[Segment] = []
        for piece in layout:
            if isinstance(piece, str):
                segments.append(Segment(text=piece, trusted=True))
            else:
                segments += _trimmed(messages[piece.message].content, piece)
        if sum(len(segment.text) for segment in segments) > _MOST_CHARS:
            raise TemplateError(f"the chat template makes more than {_MOST_CHARS:,} characters")
        return segments

    def _lay_out(self, roles: tuple[Role, ...], empty: tuple[bool, ...]) -> list[str | _Content]:
        """Render marks: what the template says around the contents of such messages."""
        messages = [
            {"role": role, "content": "" if empty[number] else _MARK.format(number)}
            for number, role in enumerate(roles)
        ]
        try:
            with bounded():
                text = self._template.render(self._variables, messages=messages)
        except Exception as error:  # a template can raise anything
            raise TemplateError(
                f"the chat template refuses the roles {', '.join(roles)}: {str(error)[:500]}"
            ) from cause(error)
        pieces: list[str | _Content] = []
        end = 0
        for mark in _MARKS.finditer(text):
            pieces.append(text[end : mark.start()])
            pieces.append(_Content(int(mark[2]), not mark[1], not mark[3]))
            end = mark.end()
        shown = {piece.message for piece in pieces if isinstance(piece, _Content)}
        for number, role in enumerate(roles):
            if number not in shown and not empty[number]:
                raise TemplateError(f"the chat template leaves out message {number} ({role})")
        return [*pieces, text[end:]]


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _now(format: str) -> str:
    return datetime.now().strftime(format)


def _folded(messages: Sequence[Message]) -> list[Message]:
    """Put system messages in front of the first message of the user."""
    others = [message for message in messages if message.role != "system"]
    place = next(number for number, message in enumerate(others) if message.role == "user")
    content: list[Segment] = []
    for message in messages:
        if message.role == "system" and message.text:
            content += [*message.content, Segment(text="\n\n", trusted=True)]
    others[place] = Message(role="user", content=(*content, *others[place].content))
    return others


def _trimmed(content: Sequence[Segment], place: _Content) -> list[Segment]:
    segments = list(content)
    if place.trim_start:
        while segments and not segments[0].text.strip():
            del segments[0]
        if segments:
            segments[0] = replace(segments[0], text=segments[0].text.lstrip())
    if place.trim_end:
        while segments and not segments[-1].text.strip():
            del segments[-1]
        if segments:
            segments[-1] = replace(segments[-1], text=segments[-1].text.rstrip())
    return segments
