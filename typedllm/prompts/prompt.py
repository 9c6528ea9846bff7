"""From what the caller asks to the messages of a request.

The words of the package's own templates are trusted; every value put into them, and every text of
the caller, is not: its special tokens count as plain text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast, get_args

from typedllm._checks import check_kind, check_text
from typedllm._resources import folder
from typedllm.errors import Issue, UsageError
from typedllm.records import Lark, Message, Role, Segment
from typedllm.spec.kinds import Choice, Regex
from typedllm.spec.outline import outline
from typedllm.spec.spec import Spec

if TYPE_CHECKING:
    import jinja2

__all__ = ["Input", "conversation", "instruction", "repair"]

Input: TypeAlias = str | Sequence[Message | Mapping[str, str]]
"""What may be asked: a text, or a conversation of messages (or of dicts with role and content)."""

_ROLES: Final = get_args(Role)
_ISSUES: Final = 20  # that a repair turn names; more would not help a model
_OPTIONS: Final = 2_000  # of a Choice that the instruction names


class _Value(str):
    """Text that a template puts in, told from the template's own words by its type."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder("templates") / "prompts"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_Value,
    )


def _rendered(template: str, values: Mapping[str, object]) -> tuple[Segment, ...]:
    pieces = _environment().get_template(f"{template}.j2").generate(values)
    return tuple(
        Segment(text=str(piece), trusted=not isinstance(piece, _Value)) for piece in pieces
    )


@lru_cache(maxsize=512)
def instruction(spec: Spec[Any], system: str | None) -> Message | None:
    """Make the system message of a call: the caller's own, and what to answer.

    Args:
        spec: what the caller asked for; plain text needs no instruction.
        system: the caller's own system text, if any.

    Returns:
        The message, or None when there is nothing to say.

    Raises:
        UsageError: when the system text holds a lone surrogate.
    """
    if system:
        check_text("system", system)
    values: dict[str, object] = {"system": system}
    match spec.source:
        case Choice() as choice:
            template, values["options"] = "choice", _listed(choice.options)
        case Regex() as regex:
            template, values["pattern"] = "regex", regex.pattern
        case Lark() as lark:
            template, values["grammar"] = "lark", lark.text
        case _ if spec.schema is not None:
            template, values["outline"] = "typed", outline(spec.schema)
        case _:
            return Message(role="system", content=(Segment(text=system),)) if system else None
    return Message(role="system", content=_rendered(template, values))


def conversation(prompt: object, spec: Spec[Any], system: str | None) -> tuple[Message, ...]:
    """Make the messages of a request.

    A conversation that begins with a system message of its own keeps that one in place of `system`.

    Args:
        prompt: what the caller asks, see `Input`.
        spec: what the caller asked for.
        system: the caller's own system text, if any.

    Raises:
        UsageError: when the prompt is neither text nor a conversation, with the place in it.
    """
    if isinstance(prompt, str):
        check_text("prompt", prompt)
        turns: tuple[Message, ...] = (Message(role="user", content=(Segment(text=prompt),)),)
    else:
        turns = tuple(_turns(prompt))
        if turns[0].role == "system":
            system, turns = turns[0].text, turns[1:]
    check_kind("system", system, str)
    first = instruction(spec, system)
    return turns if first is None else (first, *turns)


def repair(
    messages: tuple[Message, ...], answer: str, issues: Iterable[Issue]
) -> tuple[Message, ...]:
    """Add a turn that asks for a valid answer in place of an invalid one.

    Args:
        messages: the messages as they were first sent, without earlier repairs.
        answer: the model's last answer.
        issues: what is wrong with it; the first 20 are named.
    """
    asked = _rendered("repair", {"issues": [str(issue) for issue in issues][:_ISSUES]})
    return (
        *messages,
        Message(role="assistant", content=(Segment(text=answer),)),
        Message(role="user", content=asked),
    )


def _turns(prompt: object) -> Iterable[Message]:
    turns = _items(prompt)
    if not turns:
        raise UsageError(f"prompt: expected a str or a list of messages, got {_told(prompt)}")
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


def _turn(turn: Mapping[object, object], place: str) -> Message:
    if set(turn) != {"role", "content"}:
        keys = ", ".join(sorted(map(str, turn)))
        raise UsageError(f"{place}: expected the keys role and content, got {keys}")
    role, content = turn["role"], turn["content"]
    if role not in _ROLES:
        raise UsageError(f"{place}.role: expected one of {', '.join(_ROLES)}, got {role!r}")
    check_text(f"{place}.content", content)
    return Message(role=cast(Role, role), content=(Segment(text=cast(str, content)),))


def _listed(options: Sequence[str]) -> list[str]:
    rest = len(options) - _OPTIONS
    return [*options[:_OPTIONS], *([f"... and {rest} more"] if rest > 0 else [])]


def _told(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
