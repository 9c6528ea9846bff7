"""What the verbs of an LLM take, for their type hints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, TypedDict

from typing_extensions import TypeForm

from typedllm.batch.run import Progress
from typedllm.prompts.prompt import Input
from typedllm.records import JsonSchema, Lark, Limits, Sampling
from typedllm.spec.kinds import Choice, Regex

__all__ = ["AnyType", "BatchOptions", "Inputs", "Options", "PlainText", "Untyped"]

PlainText: TypeAlias = Regex | Choice | Lark | None
Untyped: TypeAlias = JsonSchema | list[Any] | str
AnyType: TypeAlias = TypeForm[Any]  # what the overloads have sorted out by then
Inputs: TypeAlias = Iterable[Input]


class Options(TypedDict, total=False):
    """The keywords that every verb takes; `LLM.arun` says what they mean."""

    sampling: Sampling | None
    system: str | None
    limits: Limits | None
    timeout_s: float | None
    validation_context: Any


class BatchOptions(Options, total=False):
    """The keywords that the batch verbs take besides; `LLM.abatch` says what they mean."""

    ids: Iterable[str] | None
    metadata: Iterable[Mapping[str, Any]] | None
    progress: Progress
