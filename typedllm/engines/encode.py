"""Turns a request's prompt into token ids, so that no value can bring a special token with it.

A prompt is a row of spans, trusted (a chat template's and a caller's template's own words) or not.
Special tokens count as such only where they stand within trusted text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, cast

from tokenizers import Tokenizer

from typedllm.errors import PromptTooLong, UsageError
from typedllm.records import Message, Segment
from typedllm.templating.chat_template import ChatTemplate

__all__ = ["PromptEncoder"]

_LONG = 16  # characters a token; hardly any text has more


class PromptEncoder:
    """Encodes prompts for one model.

    Attributes:
        tokenizer: without truncation and padding.
        special: texts of special tokens by name, such as `eos_token`.
    """

    def __init__(
        self, tokenizer: Tokenizer, chat_template: str | None, special: Mapping[str, str]
    ) -> None:
        """Prepare a tokenizer and a template.

        Args:
            tokenizer: of any kind; it is not changed.
            chat_template: Jinja text as `tokenizer_config.json` holds it. None joins messages as
                plain text, with an empty line between them.
            special: the template's variables, such as `bos_token`.

        Raises:
            TemplateError: when the template is not valid Jinja.
        """
        self.tokenizer = tokenizer = Tokenizer.from_str(tokenizer.to_str())
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.special = special
        # runs of spaces are added tokens in some vocabularies, and harmless
        self._guarded = {
            number
            for number, token in tokenizer.get_added_tokens_decoder().items()
            if token.special or not token.content.isspace()
        }
        plain = tokenizer.encode("a", add_special_tokens=False).ids
        whole = tokenizer.encode("a").ids
        self._beginning = next(
            whole[:start]
            for start in range(len(whole))
            if whole[start : start + len(plain)] == plain
        )
        self._template = None if chat_template is None else ChatTemplate(chat_template, special)

    @classmethod
    def load(cls, folder: Path) -> PromptEncoder:
        """Load tokenizer and template of a model.

        Args:
            folder: holds `tokenizer.json`, and `tokenizer_config.json` and `chat_template.jinja`
                where there are any.

        Raises:
            UsageError: when `tokenizer.json` is missing or broken.
            TemplateError: when the template is not valid Jinja.
        """
        path = folder / "tokenizer.json"
        if not path.exists():
            raise UsageError(f"{path} does not exist; save it with tokenizer.save_pretrained()")
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises no narrower type
            raise UsageError(f"{path} is not a tokenizer ({error}); copy it again") from error
        config: dict[str, Any] = {}
        if (folder / "tokenizer_config.json").exists():
            config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        template = config.get("chat_template")
        if isinstance(template, list):  # several, by name
            named = cast(list[dict[str, str]], template)
            template = {entry["name"]: entry["template"] for entry in named}.get("default")
        if (folder / "chat_template.jinja").exists():
            template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
        special: dict[str, str] = {}
        for name, value in config.items():
            if name.endswith("_token") and value is not None:
                special[name] = value if isinstance(value, str) else value["content"]
        return cls(tokenizer, template, special)

    @classmethod
    def of_transformers(cls, tokenizer: Any) -> PromptEncoder:
        """Take tokenizer and template of the transformers library.

        Args:
            tokenizer: of the fast kind.

        Raises:
            UsageError: when it is of the slow kind.
            TemplateError: when the template is not valid Jinja.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise UsageError(
                f"{type(tokenizer).__name__} is a slow tokenizer; give one that has tokenizer.json"
            )
        template = tokenizer.chat_template
        if isinstance(template, dict):  # several, by name
            template = cast(dict[str, str], template).get("default")
        special = tokenizer.special_tokens_map.items()
        return cls(
            tokenizer.backend_tokenizer,
            template,
            {name: str(token) for name, token in special if not isinstance(token, list)},
        )

    def encode(
        self, prompt: Sequence[Message] | Sequence[Segment], *, context: int | None = None
    ) -> list[int]:
        """Encode a prompt.

        Args:
            prompt: messages, put into the chat template; or raw segments, before which only comes
                what the tokenizer itself puts before a text (such as `<s>`).
            context: most tokens that the model can take; None encodes a text of any length.

        Returns:
            Token ids.

        Raises:
            UsageError: when a text holds a lone surrogate.
            PromptTooLong: when it is so long that encoding all of it would only cost time.
            TemplateError: when the template does not take these messages.
        """
        ids = self._encode_bounded(self.laid_out(prompt), context)
        if self._has_template_for(prompt) or ids[: len(self._beginning)] == self._beginning:
            return ids
        return self._beginning + ids

    def laid_out(self, prompt: Sequence[Message] | Sequence[Segment]) -> list[Segment]:
        """Make the text that the model is given.

        Args:
            prompt: messages or raw segments, as in `encode`.

        Returns:
            Segments; those of a chat template are trusted.

        Raises:
            UsageError: when a text holds a lone surrogate.
            TemplateError: when the template does not take these messages.
        """
        contents = [part.content if isinstance(part, Message) else (part,) for part in prompt]
        for number, content in enumerate(contents):
            _check_text(number, content)
        messages = [part for part in prompt if isinstance(part, Message)]
        if self._template is not None and messages:
            return self._template.render(messages)
        between = [Segment(text="\n\n", trusted=True)] if messages else []
        spans: list[Segment] = []
        for content in contents:
            spans += [*(between if spans else []), *content]
        return spans

    def encode_text(self, text: str) -> list[int]:
        """Encode a text that follows another one, without special tokens.

        Args:
            text: the text.

        Returns:
            Token ids.
        """
        return self._encode_plain(text, first=False) if text else []

    def _has_template_for(self, prompt: Sequence[Message] | Sequence[Segment]) -> bool:
        return self._template is not None and isinstance(prompt[0], Message)

    def _encode_bounded(self, segments: Sequence[Segment], context: int | None) -> list[int]:
        if context is not None:
            front = list(_front(segments, _LONG * context))  # which is soon encoded
            if front != [*segments] and len(self._encode_spans(front)) > context:
                raise PromptTooLong(
                    f"the prompt has far more tokens than the {context} of the model's context; "
                    "shorten the prompt"
                )
        return self._encode_spans(segments)

    def _encode_spans(self, segments: Sequence[Segment]) -> list[int]:
        spans = [
            ("".join(segment.text for segment in group), trusted)
            for trusted, group in groupby(segments, key=lambda segment: segment.trusted)
        ]
        text = "".join(text for text, _ in spans)
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        ids = encoding.ids
        special = [index for index, token in enumerate(ids) if token in self._guarded]
        if special:
            offsets = encoding.offsets
            if not _all_trusted(spans, [offsets[index] for index in special]):
                return self._encode_apart(spans)
        return ids

    def _encode_apart(self, spans: Sequence[tuple[str, bool]]) -> list[int]:
        """Encode with special tokens within trusted spans only, and all else as plain text."""
        ids: list[int] = []
        plain = ""
        for text, trusted in spans:
            end = 0
            if trusted:
                encoding = self.tokenizer.encode(text, add_special_tokens=False)
                for token, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True):
                    if token in self._guarded:
                        ids += self._encode_plain(plain + text[end:start], first=not ids)
                        ids.append(token)
                        plain, end = "", stop
            plain += text[end:]
        return ids + self._encode_plain(plain, first=not ids)

    def _encode_plain(self, text: str, *, first: bool) -> list[int]:
        ids: list[int] = []
        pieces = [text]
        while pieces:
            piece = pieces.pop()
            tokenizer = self._plain[0 if first and not ids else 1]
            encoding = tokenizer.encode(piece, add_special_tokens=False)
            found = zip(encoding.ids, encoding.offsets, strict=True)
            # a vocabulary may hold a special token as an ordinary piece too: cut through it
            cut = next((start + 1 for token, (start, _) in found if token in self._spoken), None)
            if cut is None or cut == len(piece):
                ids += encoding.ids
            else:
                pieces += [piece[cut:], piece[:cut]]
        return ids

    @cached_property
    def _plain(self) -> tuple[Tokenizer, Tokenizer]:
        """Tokenizers without added tokens, for the beginning of a text and for later pieces."""
        description = json.loads(self.tokenizer.to_str())
        description |= {"added_tokens": [], "post_processor": None}
        beginning = Tokenizer.from_str(json.dumps(description))
        _mark_no_beginning(description["pre_tokenizer"])
        return beginning, Tokenizer.from_str(json.dumps(description))

    @cached_property
    def _spoken(self) -> set[int]:
        """Special tokens that are longer than one character, but not the one for the unknown."""
        model = json.loads(self.tokenizer.to_str())["model"]
        unknown = {model.get("unk_id"), self.tokenizer.token_to_id(model.get("unk_token") or "")}
        added = self.tokenizer.get_added_tokens_decoder()
        return {token for token in self._guarded - unknown if len(added[token].content) > 1}


def _front(segments: Sequence[Segment], characters: int) -> Iterator[Segment]:
    for segment in segments:
        if characters > 0:
            yield replace(segment, text=segment.text[:characters])
        characters -= len(segment.text)


def _all_trusted(spans: Sequence[tuple[str, bool]], special: Sequence[tuple[int, int]]) -> bool:
    """Whether each of the offsets of special tokens, ascending, lies within one trusted span."""
    remaining = list(reversed(special))
    start = 0
    for text, trusted in spans:
        end = start + len(text)
        while remaining and remaining[-1][0] < end:
            if not trusted or remaining.pop()[1] > end:
                return False
        start = end
    return True


def _mark_no_beginning(part: object) -> None:
    """Take the word mark off the beginning of a text, in a pre-tokenizer that puts it only there.

    Args:
        part: the pre-tokenizer of a tokenizer's description; changed in place.
    """
    if isinstance(part, dict):
        pre_tokenizer = cast(dict[str, Any], part)
        if pre_tokenizer.get("prepend_scheme") == "first":
            pre_tokenizer["prepend_scheme"] = "never"
        for inner in pre_tokenizer.get("pretokenizers", []):
            _mark_no_beginning(inner)


def _check_text(number: int, content: Sequence[Segment]) -> None:
    text = "".join(segment.text for segment in content)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"part {number} of the prompt, character {error.start}: the lone surrogate "
            f"U+{ord(text[error.start]):04X} is no text; decode the source with errors='replace'"
        ) from None
