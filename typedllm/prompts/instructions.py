"""What a model is told about the form of its answer, and about an answer that is not valid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

from typedllm.errors import Issue
from typedllm.prompts.templates import Rendered, template
from typedllm.records import Lark, Message, Segment
from typedllm.spec.kinds import Choice, Regex
from typedllm.spec.outline import outline
from typedllm.spec.spec import Spec

__all__ = ["instruction", "repair", "repair_parts"]

_ISSUES: Final = 20  # that a repair turn names; more would not help a model
_OPTIONS: Final = 2_000  # of a Choice that the instruction names
_BREAK: Final = Segment(text="\n\n", trusted=True)


@lru_cache(maxsize=512)
def instruction(spec: Spec[Any]) -> tuple[Segment, ...]:
    """What to answer, for the system message of a call.

    Args:
        spec: what the caller asked for.

    Returns:
        Segments; none for plain text, which needs no instruction.
    """
    match spec.source:
        case Choice() as choice:
            return _said("choice", {"options": _listed(choice.options)})
        case Regex() as regex:
            return _said("regex", {"pattern": regex.pattern})
        case Lark() as lark:
            return _said("lark", {"grammar": lark.text})
        case _ if spec.schema is not None:
            return _said("typed", {"outline": outline(spec.schema)})
        case _:
            return ()


def repair(prompt: Rendered, answer: str, issues: Iterable[Issue]) -> Rendered:
    """Add a turn that asks for a valid answer in place of an invalid one.

    Args:
        prompt: as it was first sent, without earlier repairs.
        answer: the model's last answer.
        issues: what is wrong with it; the first 20 are named.
    """
    asked = _said("repair", {"issues": [str(issue) for issue in issues][:_ISSUES]})
    return _turned(prompt, answer, asked)


def repair_parts(
    prompt: Rendered, answer: str, issues: Mapping[str, Sequence[str]], spec: Spec[Any]
) -> Rendered:
    """Add a turn that asks for the bad parts of an answer alone.

    Args:
        prompt: as it was first sent, without earlier repairs.
        answer: the answer that they are part of.
        issues: what is wrong with each part, by what it is to be called; the first 20 are named.
        spec: of the object that they are asked for as.
    """
    named = {part: told[:_ISSUES] for part, told in issues.items()}
    values = {"parts": named, "outline": outline(spec.schema or {})}
    return _turned(prompt, answer, _said("parts", values))


def _turned(prompt: Rendered, answer: str, asked: tuple[Segment, ...]) -> Rendered:
    """A prompt with the model's answer, and what is asked of it next."""
    given = Segment(text=answer)
    if isinstance(prompt[0], Segment):  # raw text has no turns that are known
        return (*cast(tuple[Segment, ...], prompt), given, _BREAK, *asked, _BREAK)
    return (
        *cast(tuple[Message, ...], prompt),
        Message(role="assistant", content=(given,)),
        Message(role="user", content=asked),
    )


def _said(name: str, values: Mapping[str, object]) -> tuple[Segment, ...]:
    return cast(tuple[Segment, ...], template(name, "instructions").render(values))


def _listed(options: Sequence[str]) -> str:
    rest = len(options) - _OPTIONS
    more = [f"... and {rest} more"] if rest > 0 else []
    return " | ".join([*options[:_OPTIONS], *more])
