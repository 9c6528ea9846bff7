"""Prompts: what is asked, and the messages or the raw text that it comes to.

The words of a template are trusted; every value put into one, and every text of the caller, is not:
its special tokens count as plain text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias, cast, get_args

from typedllm._checks import check_kind, check_text
from typedllm.errors import TemplateError, UsageError
from typedllm.prompts.examples import Example, Examples, check_examples
from typedllm.prompts.instructions import instruction
from typedllm.prompts.templates import Rendered, Template, as_json, template
from typedllm.records import Message, Role, Segment
from typedllm.spec.spec import Spec
from typedllm.templating.chat_format import ChatFormat, chat_format

__all__ = ["Input", "Prompt", "Wording", "conversation"]

_ROLES: Final = get_args(Role)
_BREAK: Final = Segment(text="\n\n", trusted=True)
_EXPECTED: Final = "a str, a list of messages, a Prompt, or a mapping of values for the template"


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
            raise UsageError(f"template: expected a name, a path or a text, got {_told(given)}")
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
        return _rendered(self, self.wording, ())

    def messages(self) -> list[dict[str, str]]:
        """Return it as messages, as most APIs take them.

        Returns:
            Dicts with `role` and `content`.

        Raises:
            TemplateError: when its template cannot be rendered, or makes raw text.
        """
        turns = _as_messages(self.rendered())
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
            rendered = found.render(_as_messages(rendered))
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
    told = instruction(spec)
    match asked:
        case str():
            check_text("prompt", asked)
            if wording.template is None and not wording.examples:
                return _instructed((_user(asked),), wording.system, told)
            prompt = Prompt(user_prompt=asked)
        case Prompt():
            prompt = asked
        case Mapping():
            values = cast(Mapping[object, object], asked)
            if wording.template is None:
                raise UsageError("prompt: a mapping of values needs a template=; or write a str")
            prompt = Prompt(context={str(key): value for key, value in values.items()})
        case _:
            if _is_raw(asked):
                return tuple(cast(Sequence[Segment], asked))
            turns = tuple(_turns(asked))
            if wording.template is not None:
                raise UsageError("prompt: a conversation is in words already; it takes no template")
            shots = _as_turns(_picked(wording.examples, turns[-1].text))
            return _instructed(_inserted(turns, shots), wording.system, told)
    return _rendered(prompt, _merged(prompt, wording), told)


def _merged(prompt: Prompt, wording: Wording) -> Wording:
    """The wording of a prompt, which goes before that of its call."""
    own = prompt.wording
    return Wording(
        system=wording.system if own.system is None else own.system,
        template=wording.template if own.template is None else own.template,
        context={**wording.context, **own.context},
        examples=own.examples or wording.examples,
    )


def _rendered(prompt: Prompt, wording: Wording, told: tuple[Segment, ...]) -> Rendered:
    question = prompt.user_prompt or Example(prompt.context, "").question
    examples = _picked(wording.examples, question)
    if wording.template is None:
        turns = _inserted((_user(prompt.user_prompt),), (*_as_turns(examples), *prompt.history))
        return _instructed(turns, wording.system, told)
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
    values = {name: value for name, value in offered.items() if value or found.uses(name)}
    made = found.render({**values, **wording.context})
    if found.makes == "raw":
        _check_used(found, unused - {"instruction", "question"})
        return made
    _check_used(found, unused & {"user_prompt"})
    turns = _as_messages(made)
    shots: list[Message] = []
    for example in examples if "examples" in unused else ():
        shots += _shot(found, example, {**values, **wording.context})
    history = prompt.history if "history" in unused else ()
    turns = _inserted(turns, (*shots, *history))
    if "system_prompt" in unused:
        turns = _with_system(turns, wording.system or "")
    return _instructed(turns, None, told if "instruction" in unused else ())


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
    made = _as_messages(found.render(given))
    yield from (turn for turn in made if turn.role != "system")
    yield Message(role="assistant", content=(Segment(text=example.reply),))


def _as_turns(examples: Sequence[Example]) -> tuple[Message, ...]:
    pairs = [
        (_user(each.question), Message(role="assistant", content=(Segment(text=each.reply),)))
        for each in examples
    ]
    return tuple(turn for pair in pairs for turn in pair)


def _picked(examples: Examples, question: str) -> Sequence[Example]:
    return examples if isinstance(examples, Sequence) else examples.pick(question)


def _user(text: str) -> Message:
    return Message(role="user", content=(Segment(text=text),))


def _as_messages(made: Rendered) -> tuple[Message, ...]:
    if made and isinstance(made[0], Segment):
        raise TemplateError("the template makes raw text, where messages are wanted")
    return cast(tuple[Message, ...], made)


def _inserted(turns: tuple[Message, ...], earlier: Sequence[Message]) -> tuple[Message, ...]:
    """Turns with others before them, after a system message."""
    begins = 1 if turns and turns[0].role == "system" else 0
    return (*turns[:begins], *earlier, *turns[begins:])


def _with_system(turns: tuple[Message, ...], system: str) -> tuple[Message, ...]:
    """Turns with a system text, before one that is there."""
    check_text("system", system)
    own = Segment(text=system)
    if turns and turns[0].role == "system":
        content = (own, _BREAK, *turns[0].content) if turns[0].text else (own,)
        return (replace(turns[0], content=content), *turns[1:])
    return (Message(role="system", content=(own,)), *turns)


def _instructed(
    turns: tuple[Message, ...], system: str | None, told: tuple[Segment, ...]
) -> tuple[Message, ...]:
    """Turns with a system text, where they have none of their own, and what to answer after it."""
    if system and not (turns and turns[0].role == "system"):
        turns = _with_system(turns, system)
    if not told:
        return turns
    if not turns or turns[0].role != "system":
        return (Message(role="system", content=told), *turns)
    own = turns[0].content
    content = (*own, _BREAK, *told) if turns[0].text else told
    return (replace(turns[0], content=content), *turns[1:])


def _turns(asked: object) -> Iterator[Message]:
    turns = _items(asked)
    if not turns:
        raise UsageError(f"prompt: expected {_EXPECTED}, got {_told(asked)}")
    for position, turn in enumerate(turns):
        place = f"prompt[{position}]"
        if isinstance(turn, Message):
            check_text(place, turn.text)
            yield turn
        elif isinstance(turn, Mapping):
            yield _turn(cast(Mapping[object, object], turn), place)
        else:
            raise UsageError(
                f"{place}: expected a Message or a dict with role and content, got {_told(turn)}"
            )


def _items(value: object) -> Sequence[object]:
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return cast(Sequence[object], value)
    return ()


def _is_raw(asked: object) -> bool:
    items = _items(asked)
    return bool(items) and all(isinstance(item, Segment) for item in items)


def _turn(turn: Mapping[object, object], place: str) -> Message:
    if set(turn) != {"role", "content"}:
        keys = ", ".join(sorted(map(str, turn)))
        raise UsageError(f"{place}: expected the keys role and content, got {keys}")
    role, content = turn["role"], turn["content"]
    if role not in _ROLES:
        raise UsageError(f"{place}.role: expected one of {', '.join(_ROLES)}, got {role!r}")
    check_text(f"{place}.content", content)
    return Message(role=cast(Role, role), content=(Segment(text=cast(str, content)),))


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


def _told(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
