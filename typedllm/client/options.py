"""What the verbs of an LLM take, for their type hints and their checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

from typing_extensions import TypeForm

from typedllm.attempts import Budget
from typedllm.batch.progress import Progress
from typedllm.prompts.examples import Examples
from typedllm.prompts.prompt import Input
from typedllm.prompts.templates import Template
from typedllm.records import JsonSchema, Lark, Limits, Sampling
from typedllm.spec.kinds import Choice, Regex

__all__ = [
    "AnyType",
    "BatchOptions",
    "ChatOptions",
    "Inputs",
    "Options",
    "PlainText",
    "TurnOptions",
    "Untyped",
]

PlainText: TypeAlias = Regex | Choice | Lark | None
Untyped: TypeAlias = JsonSchema | list[Any] | str
AnyType: TypeAlias = TypeForm[Any]  # what the overloads have sorted out by then
Inputs: TypeAlias = Iterable[Input]


class Options(TypedDict, total=False):
    """The keywords that every verb takes; each goes before what was given to the `LLM`.

    Attributes:
        sampling: how tokens are chosen.
        system: a system text that comes before the instruction; an empty one is none.
        template: a prompt template, by name, path or text.
        context: values for the template, by name.
        examples: few-shot examples: a list of them, or those that a pool chooses.
        distribution: paths of places with a few values, such as `$.topic`, of which
            `Result.distribution` is to say how likely each is.
        limits: bounds on what the output type leaves open.
        timeout_s: seconds for each result, waits and repairs included.
        validation_context: passed to Pydantic validators as `info.context`.
    """

    sampling: Sampling | None
    system: str | None
    template: str | Path | Template | None
    context: Mapping[str, Any] | None
    examples: Examples | None
    distribution: Sequence[str] | None
    limits: Limits | None
    timeout_s: float | None
    validation_context: Any


class TurnOptions(TypedDict, total=False):
    """The keywords of a turn of a conversation.

    Attributes:
        context: values for the template.
        metadata: given back with the result.
    """

    context: Mapping[str, Any] | None
    metadata: Mapping[str, Any] | None


class ChatOptions(Options, total=False):
    """The keywords of planned conversations.

    Attributes:
        progress: as in `BatchOptions`, by conversations.
    """

    progress: Progress


class BatchOptions(Options, total=False):
    """The keywords that the batch verbs take besides.

    Attributes:
        ids: an id for each input, for `Result.id`; its position as text when there are none.
        metadata: a mapping for each input, for `Result.metadata`.
        progress: True shows how far it has come on standard error; a function is called after each
            row with a snapshot.
        journal: a file that keeps what came of each row, durable before it is reported: the same
            call with it goes on where it was stopped, and asks nothing that is finished. Where all
            answers to a request are the same, equal rows are asked once; without a journal or a
            cache, at temperature 0 or with a seed, while one of them is under way.
        retry_failed: whether all rows of the journal that have an error are asked again, and not
            only those whose service failed.
        any_engine: whether answers in the journal by another engine or model count too.
        budget: what all rows may use before no further one is begun; those that are not have the
            error `NotAsked`. `iter_batch` just ends where its inputs are no list or tuple, since
            they may be endless.
    """

    ids: Iterable[str] | None
    metadata: Iterable[Mapping[str, Any]] | None
    progress: Progress
    journal: str | Path | None
    retry_failed: bool
    any_engine: bool
    budget: Budget | None
