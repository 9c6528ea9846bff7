"""Many prompts at once, from lists of their parts; and conversations that are planned ahead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, cast, overload

from typedllm._checks import check_kind, check_text
from typedllm.errors import UsageError
from typedllm.prompts.examples import Examples
from typedllm.prompts.prompt import Prompt
from typedllm.prompts.templates import Template
from typedllm.prompts.templates import template as named_template

__all__ = ["Conversation", "PromptCollection", "Turn"]

T = TypeVar("T")

_NO_VALUES: Final[Mapping[str, Any]] = {}


class PromptCollection(Sequence[Prompt]):
    """Prompts in a row, for `llm.batch(collection, ...)`.

    Attributes:
        model: the model that they are for, such as `vllm:Qwen/Qwen3-8B`; `LLM(collection.model)`
            opens it.
        template: the prompt template of all of them.
    """

    def __init__(
        self,
        user_prompts: Iterable[str],
        *,
        system_prompts: str | Iterable[str] | None = None,
        contexts: Mapping[str, Any] | Iterable[Mapping[str, Any]] | None = None,
        metadata: Mapping[str, Any] | Iterable[Mapping[str, Any]] | None = None,
        ids: Iterable[str] | None = None,
        conversation_ids: str | Iterable[str] | None = None,
        template: str | Path | Template | None = None,
        examples: Examples = (),
        model: str | None = None,
    ) -> None:
        """Make prompts of lists of their parts.

        Where one value is given in place of a list, it goes with every prompt.

        Args:
            user_prompts: the users' texts.
            system_prompts: one for all, or one for each.
            contexts: values for the template, one mapping for all, or one for each.
            metadata: given back with the results, one mapping for all, or one for each.
            ids: one for each; derived from the content when left out.
            conversation_ids: one for all, or one for each.
            template: a prompt template, by name, path or text.
            examples: few-shot examples for all of them.
            model: the model that they are for.

        Raises:
            UsageError: when a list has another length than that of the users' texts.
        """
        for name, given in {"user_prompts": user_prompts, "ids": ids}.items():
            if isinstance(given, str):
                raise UsageError(f"{name}: expected a list of texts, got one; write [text]")
        if not isinstance(cast(object, user_prompts), Iterable):
            kind = type(user_prompts).__name__
            raise UsageError(f"user_prompts: expected a list of texts, got {kind}")
        texts = _checked(user_prompts)
        count = len(texts)
        systems = _spread("system_prompts", system_prompts, count, str)
        values = _spread("contexts", contexts, count, Mapping)
        attached = _spread("metadata", metadata, count, Mapping)
        names = _spread("ids", ids, count, type(None))
        talks = _spread("conversation_ids", conversation_ids, count, str)
        self.model = model
        self.template = _known(template)
        self._prompts = tuple(
            Prompt(
                user_prompt=text,
                system_prompt=systems[at],
                template=template,
                context=_NO_VALUES if values[at] is None else values[at],
                examples=examples,
                id="" if names[at] is None else names[at],
                conversation_id=talks[at],
                metadata=_NO_VALUES if attached[at] is None else attached[at],
            )
            for at, text in enumerate(texts)
        )

    @overload
    def __getitem__(self, index: int) -> Prompt: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Prompt]: ...
    def __getitem__(self, index: int | slice) -> Prompt | Sequence[Prompt]:
        return self._prompts[index]

    def __len__(self) -> int:
        return len(self._prompts)

    def __repr__(self) -> str:
        return f"PromptCollection({len(self):,} prompts)"


def _checked(user_prompts: Iterable[str]) -> list[str]:
    texts = list(user_prompts)
    for at, text in enumerate(texts):
        check_text(f"user_prompts[{at}]", text)
    return texts


def _known(template: str | Path | Template | None) -> str | Path | Template | None:
    """A template, if it is there; one that is not concerns all prompts."""
    if isinstance(template, str | Path):
        named_template(template)
    return template


def _spread(name: str, given: Any, count: int, single: type) -> list[Any]:
    """A value for each of so many prompts."""
    if given is None or isinstance(given, single):
        return [given] * count
    check_kind(name, given, Iterable)
    values = list(cast(Iterable[Any], given))
    if len(values) != count:
        raise UsageError(f"{name}: {len(values)} of them for {count} user_prompts")
    return values


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user says in a conversation that is planned.

    Attributes:
        user_prompt: the user's text.
        context: values for the template of the conversation.
        metadata: given back with the result of the turn.
    """

    user_prompt: str
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Check the kinds.

        Raises:
            UsageError: naming the attribute of a wrong kind.
        """
        check_text("Turn.user_prompt", self.user_prompt)
        check_kind("Turn.context", self.context, Mapping)
        check_kind("Turn.metadata", self.metadata, Mapping)


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """A conversation whose turns of the user are planned; each sees the answers before it.

    Attributes:
        turns: what the user says; a text is a turn without context.
        system_prompt: a system text, in place of that of the call.
        examples: few-shot turns that come before the first one.
        id: of the conversation.
    """

    turns: Sequence[Turn | str]
    system_prompt: str | None = None
    examples: Examples = ()
    id: str | None = None

    def __post_init__(self) -> None:
        """Check the kinds.

        Raises:
            UsageError: naming the attribute of a wrong kind.
        """
        given = cast(object, self.turns)
        if isinstance(given, str) or not isinstance(given, Sequence) or not given:
            raise UsageError("Conversation.turns: expected a list of at least one Turn or text")
        for position, turn in enumerate(self.turns):
            if not isinstance(cast(object, turn), Turn):
                check_text(f"Conversation.turns[{position}]", turn)
