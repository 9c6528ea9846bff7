"""Make language models return typed values.

Names are imported when they are first used, so `import typedllm` itself takes next to no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typedllm.attempts import Budget, Policy
    from typedllm.batch.results import Results
    from typedllm.client.chat import Chat, ChatTurn
    from typedllm.client.estimate import Estimate
    from typedllm.client.function import AsyncFunction, Function
    from typedllm.client.llm import LLM, explain
    from typedllm.client.rendering import RenderedPrompt
    from typedllm.client.stream import StartsAnew
    from typedllm.constraints.plan import Plan
    from typedllm.engines.base import Engine
    from typedllm.engines.quota import RateLimit
    from typedllm.engines.scripted import Scripted
    from typedllm.engines.table import EngineRow
    from typedllm.errors import (
        BudgetTooSmall,
        DeadlineExceeded,
        EngineError,
        Invalid,
        Issue,
        JournalError,
        MissingDependency,
        NotAsked,
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
    from typedllm.observers.console import log_to_console
    from typedllm.observers.inference_log import InferenceLog
    from typedllm.observers.observed import Observer
    from typedllm.observers.tracing import Tracing
    from typedllm.output.parse import parse
    from typedllm.output.streamed import Item, Partial
    from typedllm.prices import Price
    from typedllm.prompts.collection import Conversation, PromptCollection, Turn
    from typedllm.prompts.examples import Example, ExamplePool
    from typedllm.prompts.prompt import Prompt
    from typedllm.prompts.templates import Template, template
    from typedllm.records import (
        Completion,
        Failure,
        Grammar,
        JsonSchema,
        Lark,
        Limits,
        Message,
        Reply,
        Request,
        Result,
        Sampling,
        Segment,
        Token,
        Traits,
        Usage,
    )
    from typedllm.spec.kinds import Choice, Regex
    from typedllm.spec.schemas import schema
    from typedllm.templating.chat_format import ChatFormat, chat_format

_HOME = {
    "Completion": "records",
    "Engine": "engines.base",
    "EngineRow": "engines.table",
    "Failure": "records",
    "Grammar": "records",
    "Reply": "records",
    "Request": "records",
    "Token": "records",
    "Traits": "records",
    "AsyncFunction": "client.function",
    "Estimate": "client.estimate",
    "Chat": "client.chat",
    "ChatFormat": "templating.chat_format",
    "ChatTurn": "client.chat",
    "Conversation": "prompts.collection",
    "Example": "prompts.examples",
    "ExamplePool": "prompts.examples",
    "Function": "client.function",
    "InferenceLog": "observers.inference_log",
    "Observer": "observers.observed",
    "Prompt": "prompts.prompt",
    "PromptCollection": "prompts.collection",
    "RenderedPrompt": "client.rendering",
    "Template": "prompts.templates",
    "Tracing": "observers.tracing",
    "Turn": "prompts.collection",
    "chat_format": "templating.chat_format",
    "log_to_console": "observers.console",
    "template": "prompts.templates",
    "Budget": "attempts",
    "Policy": "attempts",
    "Item": "output.streamed",
    "Partial": "output.streamed",
    "Price": "prices",
    "StartsAnew": "client.stream",
    "Results": "batch.results",
    "LLM": "client.llm",
    "explain": "client.llm",
    "Plan": "constraints.plan",
    "RateLimit": "engines.quota",
    "Scripted": "engines.scripted",
    "BudgetTooSmall": "errors",
    "DeadlineExceeded": "errors",
    "EngineError": "errors",
    "Invalid": "errors",
    "Issue": "errors",
    "JournalError": "errors",
    "MissingDependency": "errors",
    "NotAsked": "errors",
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
    "Budget",
    "RateLimit",
    "Sampling",
    "Limits",
    "Prompt",
    "PromptCollection",
    "Conversation",
    "Turn",
    "Example",
    "ExamplePool",
    "Message",
    "Segment",
    "Template",
    "template",
    "ChatFormat",
    "chat_format",
    "RenderedPrompt",
    "Result",
    "Results",
    "Estimate",
    "Usage",
    "Price",
    "Partial",
    "Item",
    "StartsAnew",
    "Function",
    "AsyncFunction",
    "Chat",
    "ChatTurn",
    "schema",
    "JsonSchema",
    "Regex",
    "Choice",
    "Lark",
    "explain",
    "Plan",
    "parse",
    "Scripted",
    "Engine",
    "EngineRow",
    "Traits",
    "Grammar",
    "Request",
    "Reply",
    "Completion",
    "Failure",
    "Token",
    "Observer",
    "InferenceLog",
    "Tracing",
    "log_to_console",
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
    "JournalError",
    "NotAsked",
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
