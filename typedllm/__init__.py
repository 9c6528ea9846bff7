"""Make language models return typed values.

Names are imported when they are first used, so `import typedllm` itself takes next to no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typedllm.attempts import Policy
    from typedllm.batch.results import Results
    from typedllm.client.llm import LLM, explain
    from typedllm.constraints.plan import Plan
    from typedllm.engines.scripted import Scripted
    from typedllm.errors import (
        BudgetTooSmall,
        DeadlineExceeded,
        EngineError,
        Invalid,
        Issue,
        MissingDependency,
        OutputError,
        PromptTooLong,
        Refused,
        SpecError,
        TemplateError,
        Truncated,
        TypedLLMError,
        UnsupportedConstraint,
        UsageError,
    )
    from typedllm.output.parse import parse
    from typedllm.records import (
        JsonSchema,
        Lark,
        Limits,
        Message,
        Result,
        Sampling,
        Segment,
        Usage,
    )
    from typedllm.spec.kinds import Choice, Regex
    from typedllm.spec.schemas import schema

_HOME = {
    "Policy": "attempts",
    "Results": "batch.results",
    "LLM": "client.llm",
    "explain": "client.llm",
    "Plan": "constraints.plan",
    "Scripted": "engines.scripted",
    "BudgetTooSmall": "errors",
    "DeadlineExceeded": "errors",
    "EngineError": "errors",
    "Invalid": "errors",
    "Issue": "errors",
    "MissingDependency": "errors",
    "OutputError": "errors",
    "PromptTooLong": "errors",
    "Refused": "errors",
    "SpecError": "errors",
    "TemplateError": "errors",
    "Truncated": "errors",
    "TypedLLMError": "errors",
    "UnsupportedConstraint": "errors",
    "UsageError": "errors",
    "parse": "output.parse",
    "JsonSchema": "records",
    "Lark": "records",
    "Limits": "records",
    "Message": "records",
    "Result": "records",
    "Sampling": "records",
    "Segment": "records",
    "Usage": "records",
    "Choice": "spec.kinds",
    "Regex": "spec.kinds",
    "schema": "spec.schemas",
}

__all__ = [  # noqa: RUF022 - by what they are for
    "LLM",
    "Policy",
    "Sampling",
    "Limits",
    "Message",
    "Segment",
    "Result",
    "Results",
    "Usage",
    "schema",
    "JsonSchema",
    "Regex",
    "Choice",
    "Lark",
    "explain",
    "Plan",
    "parse",
    "Scripted",
    "TypedLLMError",
    "UsageError",
    "SpecError",
    "TemplateError",
    "UnsupportedConstraint",
    "MissingDependency",
    "PromptTooLong",
    "BudgetTooSmall",
    "EngineError",
    "DeadlineExceeded",
    "OutputError",
    "Truncated",
    "Refused",
    "Invalid",
    "Issue",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'typedllm' has no attribute {name!r}")
    value = getattr(import_module(f"typedllm.{_HOME[name]}"), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
