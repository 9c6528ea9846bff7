"""Prompts: what is asked, and the messages or the raw text that it comes to.

The words of a template are trusted; every value put into one, and every text of the caller, is not:
its special tokens count as plain text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

from typedllm._checks import check_kind, check_text
from typedllm.errors import TemplateError, UsageError
from typedllm.prompts.examples import Example, Examples, answered, check_examples
from typedllm.prompts.instructions import instruction
from typedllm.prompts.templates import Rendered, Template, as_json, template
from typedllm.prompts.turns import (
    as_messages,
    inserted,
    instructed,
    is_raw,
    turns_of,
    user_turn,
    with_system,
)
from typedllm.records import Message, Segment
from typedllm.spec.spec import Spec
from typedllm.templating.chat_format import ChatFormat, chat_format

__all__ = ["Input", "Prompt", "Wording", "conversation"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """How prompts are put into words, where they do not say so themselves.

    Attributes:
        system: a system text.
        template: a prompt template, by name, path or text.
        context: values for the template.
        examples: few-shot examples.
    """

    system: str | None = None
    template: str | Path | Template | None = None
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])
    examples: Examples = ()

    def __post_init__(self) -> None:
        """Check the kinds.

        Raises:
            UsageError: naming the attribute of a wrong kind.
        """
        check_kind("system", self.system, str)
        check_kind("context", self.context, Mapping)
        given = cast(object, self.template)
        if not isinstance(given, str | Path | Template | None):
            raise UsageError(f"template: expected a name, a path or a text, got {given!r:.60}")
        if not hasattr(self.examples, "pick"):
            check_kind("examples", self.examples, Sequence)
            check_examples(cast(Sequence[object], self.examples))


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """One thing to ask, with all that belongs to it.

    What is left out comes from the call, and then from the `LLM`.

    Attributes:
        user_prompt: the user's text.
        system_prompt: a system text; an empty one is none.
        template: a prompt template, by name, path or text. It is given `user_prompt`,
            `system_prompt` and the values of `context`.
        context: values for the template, by name.
        examples: few-shot examples.
        history: the turns before this one.
        id: derived from the content when it is left out.
        conversation_id: of the conversation that it is a turn of.
        metadata: whatever belongs to it; given back with its result.
    """

    user_prompt: str = ""
    system_prompt: str | None = None
    template: str | Path | Template | None = None
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])
    examples: Examples = ()
    history: tuple[Message, ...] = ()
    id: str = ""
    conversation_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Check the kinds, and derive the id.

        Raises:
            UsageError: naming the attribute of a wrong kind.
        """
        check_text("Prompt.user_prompt", self.user_prompt)
        check_kind("Prompt.metadata", self.metadata, Mapping)
        check_kind("Prompt.id", self.id, str)
        check_kind("Prompt.conversation_id", self.conversation_id, str)
        check_kind("Prompt.history", self.history, tuple)
        for position, turn in enumerate(self.history):
            check_kind(f"Prompt.history[{position}]", turn, Message)
        _ = self.wording  # which checks the rest
        if not self.id:
            object.__setattr__(self, "id", _id_of(self))

    @property
    def wording(self) -> Wording:
        """What it says of how it is put into words."""
        return Wording(
            system=self.system_prompt,
            template=self.template,
            context=self.context,
            examples=self.examples,
        )

    def rendered(self) -> Rendered:
        """What it comes to without an output type: messages, or the segments of raw text.

        Raises:
            TemplateError: when its template cannot be found or rendered.
        """
        return _rendered(self, self.wording, None)

    def messages(self) -> list[dict[str, str]]:
        """Return it as messages, as most APIs take them.

        Returns:
            Dicts with `role` and `content`.

        Raises:
            TemplateError: when its template cannot be rendered, or makes raw text.
        """
        turns = as_messages(self.rendered())
        return [{"role": turn.role, "content": turn.text} for turn in turns]

    def text(self, family: str | Path | ChatFormat = "plain") -> str:
        """Return the raw text that a model is given, special tokens included.

        Args:
            family: the raw prompt format, such as `llama3-instruct`; a template that makes raw text
                needs none.

        Raises:
            TemplateError: when a template cannot be found or rendered.
        """
        rendered = self.rendered()
        if not isinstance(rendered[0], Segment):
            found = family if isinstance(family, ChatFormat) else chat_format(family)
            rendered = found.render(as_messages(rendered))
        return "".join(part.text for part in rendered)


Input: TypeAlias = (
    str | Prompt | Sequence[Message | Mapping[str, str]] | Sequence[Segment] | Mapping[str, Any]
)
"""What may be asked: a text; a `Prompt`; a conversation of messages (or of dicts with role and
content); the raw text that the model is given, as segments; or values for the template of the call,
by name."""


def conversation(asked: object, spec: Spec[Any], wording: Wording) -> Rendered:
    """Make the prompt of a request.

    Args:
        asked: what the caller asks, see `Input`.
        spec: what the caller asked for.
        wording: what holds where the prompt says nothing itself.

    Returns:
        Messages; or segments of raw text where the template makes such.

    Raises:
        UsageError: when it is none of these, with the place in it.
        TemplateError: when the template cannot be found or rendered.
    """
    match asked:
        case str():
            check_text("prompt", asked)
            if wording.template is None and not (wording.examples or wording.context):
                return instructed((user_turn(asked),), wording.system, instruction(spec))
            prompt = Prompt(user_prompt=asked)
        case Prompt():
            prompt = asked
        case Mapping():
            values = cast(Mapping[object, object], asked)
            if wording.template is None:
                raise UsageError("prompt: a mapping of values needs a template=; or write a str")
            prompt = Prompt(context={str(key): value for key, value in values.items()})
        case _:
            if is_raw(asked):
                return tuple(cast(Sequence[Segment], asked))
            turns = tuple(turns_of(asked))
            if wording.template is not None:
                raise UsageError("prompt: a conversation is in words already; it takes no template")
            shots = _as_turns(_picked(wording.examples, turns[-1].text, spec))
            return instructed(inserted(turns, shots), wording.system, instruction(spec))
    return _rendered(prompt, _merged(prompt, wording), spec)


def _merged(prompt: Prompt, wording: Wording) -> Wording:
    """The wording of a prompt, which goes before that of its call."""
    own = prompt.wording
    return Wording(
        system=wording.system if own.system is None else own.system,
        template=wording.template if own.template is None else own.template,
        context={**wording.context, **own.context},
        examples=own.examples or wording.examples,
    )


def _rendered(prompt: Prompt, wording: Wording, spec: Spec[Any] | None) -> Rendered:
    told = () if spec is None else instruction(spec)
    question = prompt.user_prompt or Example(prompt.context, "").question
    examples = _picked(wording.examples, question, spec)
    if wording.template is None:
        if wording.context:
            raise UsageError(
                f"context: {', '.join(wording.context)} is given, and there is no template= to put"
                " it into; what only belongs to the row goes into metadata"
            )
        turns = inserted((user_turn(prompt.user_prompt),), (*_as_turns(examples), *prompt.history))
        return instructed(turns, wording.system, told)
    given = wording.template
    found = given if isinstance(given, Template) else template(given)
    offered: dict[str, object] = {
        "user_prompt": prompt.user_prompt,
        "question": prompt.user_prompt,
        "system_prompt": wording.system or "",
        "instruction": "".join(segment.text for segment in told),
        "examples": [{"prompt": each.question, "answer": each.reply} for each in examples],
        "history": [{"role": turn.role, "content": turn.text} for turn in prompt.history],
    }
    unused = {name for name, value in offered.items() if value and not found.uses(name)}
    if "question" not in unused or "user_prompt" not in unused:  # one text by two names
        unused -= {"question", "user_prompt"}
    _check_given_once(offered, wording.context)
    values = {
        name: value
        for name, value in offered.items()
        if value or (found.uses(name) and name not in ("user_prompt", "question"))
    }
    made = found.render({**values, **wording.context})
    if found.makes == "raw":
        _check_used(found, unused - {"instruction", "question"})
        return made
    _check_used(found, unused & {"user_prompt"})
    turns = as_messages(made)
    shots: list[Message] = []
    for example in examples if "examples" in unused else ():
        shots += _shot(found, example, {**values, **wording.context})
    history = prompt.history if "history" in unused else ()
    turns = inserted(turns, (*shots, *history))
    if "system_prompt" in unused:
        turns = with_system(turns, wording.system or "")
    return instructed(turns, None, told if "instruction" in unused else ())


def _check_given_once(offered: Mapping[str, object], context: Mapping[str, object]) -> None:
    for name in ("user_prompt", "system_prompt"):
        if offered[name] and context.get(name, offered[name]) != offered[name]:
            raise TemplateError(f"{name} is given twice: by itself, and as a value of the context")


def _check_used(found: Template, unused: set[str]) -> None:
    for name in sorted(unused):
        raise TemplateError(f"{found.name} has no place for {name}, which is given: write it in it")


def _shot(found: Template, example: Example, values: Mapping[str, object]) -> Iterator[Message]:
    """An example as a turn of the user in the words of the template, and the answer to it."""
    text = example.question
    own = {"user_prompt": text, "question": text} if isinstance(example.prompt, str) else {}
    # What a row alone is about does not belong to an example, unless there is no doing without it.
    needed = {name: values[name] for name in found.variables if name in values}
    given = {**needed, **own} if own else {**needed, **cast(Mapping[str, object], example.prompt)}
    shown = own or cast(Mapping[str, object], example.prompt)
    if not any(map(found.uses, shown)):
        raise TemplateError(f"{found.name} has no place for {', '.join(shown)}, of an example")
    made = as_messages(found.render(given))
    yield from (turn for turn in made if turn.role != "system")
    yield Message(role="assistant", content=(Segment(text=example.reply),))


def _as_turns(examples: Sequence[Example]) -> tuple[Message, ...]:
    pairs = [
        (user_turn(each.question), Message(role="assistant", content=(Segment(text=each.reply),)))
        for each in examples
    ]
    return tuple(turn for pair in pairs for turn in pair)


def _picked(examples: Examples, question: str, spec: Spec[Any] | None) -> Sequence[Example]:
    found = examples if isinstance(examples, Sequence) else examples.pick(question)
    return found if spec is None else [answered(each, spec) for each in found]


def _id_of(prompt: Prompt) -> str:
    template, examples = prompt.template, prompt.examples
    if isinstance(examples, Sequence):
        shown: object = [(each.prompt, each.answer) for each in examples]
    else:
        shown = getattr(examples, "id", type(examples).__qualname__)
    parts = {
        "user_prompt": prompt.user_prompt,
        "system_prompt": prompt.system_prompt,
        "template": template.text if isinstance(template, Template) else str(template),
        "context": prompt.context,
        "examples": shown,
        "history": [(turn.role, turn.text) for turn in prompt.history],
        "conversation_id": prompt.conversation_id,
    }
    try:
        content = as_json(parts).encode()
    except (ValueError, RecursionError) as error:
        raise UsageError(f"Prompt: its context or examples are no text: {error}") from error
    return hashlib.sha256(content).hexdigest()[:16]
