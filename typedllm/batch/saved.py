"""What came of a row as a journal keeps it, and the result that it was.

A value is not kept: it is read again from the text that it was read from, so that it is of the
type that the caller asks for now, validators and all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast

from typedllm import errors
from typedllm.attempts import Task
from typedllm.constraints.dialect import Lowered
from typedllm.engines.base import model_name
from typedllm.errors import (
    EngineError,
    Invalid,
    Issue,
    OutputError,
    Truncated,
    TypedLLMError,
    UsageError,
)
from typedllm.observers.redaction import Redaction
from typedllm.outcomes import read
from typedllm.output.parse import Reading
from typedllm.records import Completion, Result, Usage

__all__ = ["Saved", "Status", "restored", "saved"]

T = TypeVar("T")

Status: TypeAlias = Literal["valid", "invalid", "failed"]

_KINDS: Final[Mapping[str, type[TypedLLMError]]] = {
    name: kind
    for name in errors.__all__
    if issubclass(kind := getattr(errors, name), TypedLLMError)
}
_ATTRIBUTES: Final[Mapping[type[TypedLLMError], tuple[str, ...]]] = {
    EngineError: ("retryable", "retry_after_s", "status", "request_id"),
    OutputError: ("raw", "partial", "issues"),
    Truncated: ("path",),
    Invalid: ("coercions",),
}
_AS_IT_IS: Final = ("raw", "attempts", "finish_reason", "latency_s", "reasoning", "model")


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """What came of a row.

    Attributes:
        status: `valid` with a value; `invalid` with an error of the model or the caller, which
            asking again would not mend; `failed` with one of the service, or where it was not
            asked.
        error: the error's class, as `typedllm.errors` names it, or None.
        usage: tokens over all attempts.
        rest: all else, as JSON.
    """

    status: Status
    error: str | None
    usage: Usage
    rest: str


def saved(result: Result[Any], task: Task[Any]) -> Saved:
    """Make what a journal keeps of a result: all but its value, id, metadata and prompt.

    What an error has of an answer is kept as far as it is plain JSON; NaN, infinities and lone
    surrogates are.

    Args:
        result: of the task.
        task: what was asked.
    """
    parts: dict[str, Any] = {name: getattr(result, name) for name in _AS_IT_IS}
    if result.error is not None:
        parts["error"] = _error_parts(result.error, result.raw)
    else:
        text = _accepted(result, task)
        parts |= {} if text == result.raw else {"text": text}
        parts |= {"plain": True} if task.spec.schema is None else {}
    for name in ("confidence", "clipped", "coercions"):
        if found := getattr(result, name):
            parts[name] = found
    if result.distributions:
        values = {labels.path: labels.values for labels in task.scored}
        parts["distributions"] = {
            path: [likely[value] for value in values[path]]
            for path, likely in result.distributions.items()
        }
    return Saved(
        status=_status(result.error),
        error=None if result.error is None else _kind(result.error),
        usage=result.usage,
        rest=_WRITE(parts),
    )


def restored(kept: Saved, task: Task[T]) -> Result[T] | None:
    """Make the result again.

    Args:
        kept: what a journal has of it.
        task: what is asked now, of any engine.

    Returns:
        The result, without id, metadata and prompt; None where its text is no longer a value of
        the output type, or labels were scored that are others now.
    """
    parts: dict[str, Any] = json.loads(kept.rest)
    value: T | None = None
    error: TypedLLMError | None = None
    if kept.error is not None:
        error = _error(_KINDS[kept.error], parts["error"], parts["raw"])
    else:
        try:
            value = task.spec.read(parts.get("text", parts["raw"]), task.validation_context)
        except Invalid:
            return None
    distributions = _distributions(parts.get("distributions", {}), task)
    if distributions is None:
        return None
    return Result(
        value=value,
        error=error,
        usage=kept.usage,
        confidence=parts.get("confidence"),
        clipped=tuple(parts.get("clipped", ())),
        coercions=tuple(parts.get("coercions", ())),
        distributions=distributions,
        **{name: parts[name] for name in _AS_IT_IS},
    )


def _status(error: TypedLLMError | None) -> Status:
    if error is None:
        return "valid"
    return "invalid" if isinstance(error, OutputError | UsageError) else "failed"


def _accepted(result: Result[Any], task: Task[Any]) -> str:
    """The text that the value was read from, in the spec's own form."""
    raw = cast(str, result.raw)
    asked = next((each for each in _chain(task) if model_name(each.engine) == result.model), task)
    constraint = asked.constraint
    if not result.coercions:
        return constraint.decode(raw) if isinstance(constraint, Lowered) else raw
    tried: list[tuple[str, Any]] = []

    def reading(text: str, context: Any = None) -> Any:
        value = task.spec.read(text, context)
        tried.append((text, value))
        return value

    answer = Completion(text=raw, finish_reason=result.finish_reason or "stop", usage=result.usage)
    found = read(answer, replace(task.spec, read=reading), constraint, task.validation_context)
    if isinstance(found, Reading) and found.coercions == result.coercions:
        return next(text for text, value in tried if value is found.value)
    return raw  # put together of several answers, which is done in the spec's form


def _chain(task: Task[T]) -> Iterator[Task[T]]:
    following: Task[T] | None = task
    while following is not None:
        yield following
        following = following.fallback


def _distributions(
    kept: Mapping[str, list[float]], task: Task[Any]
) -> dict[str, Mapping[Any, float]] | None:
    values = {labels.path: labels.values for labels in task.scored}
    if any(len(values.get(path, ())) != len(likely) for path, likely in kept.items()):
        return None
    return {path: dict(zip(values[path], likely, strict=True)) for path, likely in kept.items()}


def _kind(error: TypedLLMError) -> str:
    """The class of an error, or the nearest above it that is this package's own."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind in _KINDS.values())


def _error_parts(error: TypedLLMError, raw: str | None) -> dict[str, Any]:
    names = [name for kind in _ATTRIBUTES if isinstance(error, kind) for name in _ATTRIBUTES[kind]]
    parts = {name: getattr(error, name) for name in names}
    message = str(error)
    if isinstance(error, EngineError):  # some services repeat the key that they did not like
        message = Redaction().text(message)
    if isinstance(error, OutputError):
        parts["issues"] = [(issue.path, issue.message) for issue in error.issues]
        parts["partial"] = _plain(error.partial)
        if error.raw == raw:
            del parts["raw"]
    return {"message": message, **parts}


def _error(kind: type[TypedLLMError], parts: dict[str, Any], raw: str | None) -> TypedLLMError:
    message = parts.pop("message")
    if issubclass(kind, OutputError):
        issues = [Issue(*issue) for issue in parts["issues"]]
        parts = {"raw": raw, **parts, "issues": issues}
    return kind(message, **parts)


def _plain(value: object) -> Any:
    """A value as JSON has it; None where it has no way to write it."""
    try:
        return json.loads(_WRITE(value))
    except (TypeError, ValueError, RecursionError):
        return None


_WRITE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
