"""Servers that speak OpenAI's protocol: where they are, and in what they differ. Only data.

Each row is an engine by its name, as in `LLM("groq:openai/gpt-oss-120b")`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final, Literal, TypeAlias, cast, get_args

from typedllm._checks import nearest
from typedllm.errors import UsageError
from typedllm.records import Grammar, JsonSchema, Traits

__all__ = [
    "BY_SCHEMA",
    "DIALECTS",
    "Dialect",
    "Sending",
    "dialect_of_model",
    "dialect_with",
    "traits_for",
]

Sending: TypeAlias = Literal[
    "json_schema", "json_object", "tools", "ebnf", "ebnf format", "grammar"
]
BY_SCHEMA: Final[frozenset[Sending]] = frozenset({"json_schema", "json_object", "tools"})
"""The ways to say a constraint that take a JSON Schema; the others take a grammar."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """A server, and how it is talked to.

    Attributes:
        name: of the engine.
        base_url: where it is by default; None where there is no such place.
        key_variable: the environment's variable for its key; None where none is needed.
        sends: how a constraint is said: in `response_format` as `json_schema`, or as `json_object`
            with the schema in the prompt; as `tools`, a function that has to be called with the
            answer; as a grammar in the fields `ebnf` or `grammar`, or in `response_format` as
            `ebnf`.
        rules: the row of `typedllm.constraints.dialect.RULES` that says what it enforces of a
            schema.
        strict_models: models that enforce OpenAI's strict schemas, where others only give JSON.
        loose_models: how the names of those models end that enforce nothing.
        tool_models: models that take no JSON Schema but as that of a function, by shell patterns.
        enforces_tools: whether it keeps to the strict schema of a function, too.
        parallel_calls: whether it knows `parallel_tool_calls`, which can forbid a second call.
        counts_streams: whether it has to be asked to count the tokens of a stream, and can be.
        max_tokens: the field for the most tokens of a chat's answer.
        seed: the field for the seed; None where there is none.
        completions: whether raw text can be completed.
        logprobs: whether it is asked for the log-probabilities of tokens.
        key_header: the header that takes the key; None is `Authorization`.
        provider: what genai-prices calls who sets the prices; None where there are none.
        summary: one line for lists of engines.
    """

    name: str
    base_url: str | None
    key_variable: str | None = None
    sends: Sending = "json_schema"
    rules: str = "structure"
    strict_models: tuple[str, ...] = ()
    loose_models: tuple[str, ...] = ()
    tool_models: tuple[str, ...] = ()
    enforces_tools: bool = False
    parallel_calls: bool = False
    counts_streams: bool = True
    max_tokens: str = "max_tokens"
    seed: str | None = "seed"
    completions: bool = True
    logprobs: bool = False
    key_header: str | None = None
    provider: str | None = None
    summary: str


DIALECTS: Final = {
    dialect.name: dialect
    for dialect in (
        # https://platform.openai.com/docs/guides/structured-outputs; more models take strict
        # functions than strict formats: https://openai.com/index/introducing-structured-outputs-in-the-api/
        Dialect(
            name="openai",
            base_url="https://api.openai.com/v1",
            key_variable="OPENAI_API_KEY",
            rules="openai",
            tool_models=(
                *("gpt-3.5-turbo*", "gpt-4", "gpt-4-*", "gpt-4o-2024-05-13"),
                *("ft:gpt-3.5-turbo*", "ft:gpt-4-*", "ft:gpt-4o-2024-05-13*"),
            ),
            enforces_tools=True,
            parallel_calls=True,
            max_tokens="max_completion_tokens",
            provider="openai",
            summary="OpenAI, and what speaks its protocol (a model's name; base_url)",
        ),
        # https://learn.microsoft.com/azure/ai-services/openai/how-to/structured-outputs
        Dialect(
            name="azure",
            base_url=None,
            key_variable="AZURE_OPENAI_API_KEY",
            rules="azure",
            enforces_tools=True,
            parallel_calls=True,
            max_tokens="max_completion_tokens",
            key_header="api-key",
            provider="azure",
            summary="Azure OpenAI (a deployment; azure_endpoint, api_version)",
        ),
        # https://docs.sglang.io/docs/advanced_features/structured_outputs.md
        Dialect(
            name="sglang",
            base_url="http://localhost:30000/v1",
            sends="ebnf",
            logprobs=True,
            summary="an SGLang server",
        ),
        # https://nvidia.github.io/TensorRT-LLM/features/guided-decoding.html
        Dialect(
            name="trtllm",
            base_url="http://localhost:8000/v1",
            sends="ebnf format",
            summary="a TensorRT-LLM server with a guided decoding backend",
        ),
        # 2.0 is vLLM or SGLang inside, without the `nvext` of 1.x:
        # https://docs.nvidia.com/nim/large-language-models/latest/reference/1.x-migration-guide.html
        Dialect(name="nim", base_url="http://localhost:8000/v1", summary="an NVIDIA NIM container"),
        # https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
        Dialect(
            name="llamacpp",
            base_url="http://localhost:8080/v1",
            sends="grammar",
            logprobs=True,
            summary="a llama.cpp server",
        ),
        # https://docs.ollama.com/api/openai-compatibility; what runs in its cloud enforces nothing:
        # https://pydantic.dev/docs/ai/api/models/ollama/
        Dialect(
            name="ollama",
            base_url="http://localhost:11434/v1",
            loose_models=("-cloud", ":cloud"),
            summary="Ollama",
        ),
        # https://lmstudio.ai/docs/advanced/structured-output
        Dialect(name="lmstudio", base_url="http://localhost:1234/v1", summary="LM Studio"),
        # https://docs.together.ai/docs/inference/chat/structured-outputs
        Dialect(
            name="together",
            base_url="https://api.together.xyz/v1",
            key_variable="TOGETHER_API_KEY",
            provider="together",
            summary="Together AI",
        ),
        # https://docs.mistral.ai/resources/release-note/2025-01-28-custom-structured-outputs-for-all-models
        Dialect(
            name="mistral",
            base_url="https://api.mistral.ai/v1",
            key_variable="MISTRAL_API_KEY",
            parallel_calls=True,
            counts_streams=False,  # it counts unasked, and refuses to be asked
            seed="random_seed",
            completions=False,
            provider="mistral",
            summary="Mistral AI",
        ),
        # https://console.groq.com/docs/structured-outputs: most models take no json_schema at all
        Dialect(
            name="groq",
            base_url="https://api.groq.com/openai/v1",
            key_variable="GROQ_API_KEY",
            sends="json_object",
            rules="hint",
            strict_models=("openai/gpt-oss-20b", "openai/gpt-oss-120b"),
            completions=False,
            parallel_calls=True,
            provider="groq",
            summary="Groq",
        ),
        # https://docs.fireworks.ai/structured-responses/structured-response-formatting
        Dialect(
            name="fireworks",
            base_url="https://api.fireworks.ai/inference/v1",
            key_variable="FIREWORKS_API_KEY",
            provider="fireworks",
            summary="Fireworks AI",
        ),
        # https://api-docs.deepseek.com/guides/json_mode
        Dialect(
            name="deepseek",
            base_url="https://api.deepseek.com",
            key_variable="DEEPSEEK_API_KEY",
            sends="json_object",
            rules="hint",
            seed=None,
            completions=False,
            provider="deepseek",
            summary="DeepSeek",
        ),
        # https://openrouter.ai/docs/structured-outputs
        Dialect(
            name="openrouter",
            base_url="https://openrouter.ai/api/v1",
            key_variable="OPENROUTER_API_KEY",
            rules="asked",
            parallel_calls=True,
            provider="openrouter",
            summary="OpenRouter, which passes a request on to one of many providers",
        ),
    )
}


def dialect_of_model(dialect: Dialect, model: str) -> Dialect:
    """The dialect as one of the server's models speaks it.

    Args:
        dialect: the server.
        model: as it calls it.
    """
    by_tools = any(fnmatchcase(model, pattern) for pattern in dialect.tool_models)
    return replace(dialect, sends="tools") if by_tools else dialect


def dialect_with(dialect: Dialect, sends: str) -> Dialect:
    """The dialect of a server that takes a constraint otherwise than its row says.

    Args:
        dialect: the row.
        sends: how a constraint is said, one of `Sending`.

    Raises:
        UsageError: for another word, with those that there are.
    """
    known: tuple[str, ...] = get_args(Sending)
    if sends not in known:
        raise UsageError(
            f"{dialect.name}: sends={sends!r}{nearest(sends, known)}; it is one of"
            f" {', '.join(known)}"
        )
    rules = "structure" if dialect.rules == "hint" else dialect.rules
    if sends == "json_object":
        rules = "hint"
    elif sends == "tools" and not dialect.enforces_tools and rules != "asked":
        rules = "called"
    return replace(
        dialect, sends=cast(Sending, sends), rules=rules, strict_models=(), tool_models=()
    )


def traits_for(dialect: Dialect, model: str = "") -> Traits:
    """Say what a server can do.

    Args:
        dialect: the server.
        model: as it calls it; empty for what holds for all of its models.
    """
    by_schema = dialect.sends in BY_SCHEMA
    rules = "structure" if model in dialect.strict_models else dialect.rules
    rules = "asked" if model.endswith(dialect.loose_models) else rules
    return Traits(
        name=dialect.name,
        takes=frozenset({JsonSchema if by_schema else Grammar}),
        ending="may be cut" if by_schema else "fitted",
        logprobs=dialect.logprobs,
        dialect=rules if by_schema else None,
    )
