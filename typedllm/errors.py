"""Every error that typedllm raises or returns, by whose side it is on.

```
TypedLLMError
├── UsageError                 the caller's: found before any call is made
│   ├── SpecError              the output type is not a type, or nothing satisfies it
│   ├── TemplateError          a template or a value put into it
│   ├── UnsupportedConstraint  the engine has no way to take this constraint
│   ├── MissingDependency      an extra is not installed
│   ├── PromptTooLong          the prompt does not fit the model's context
│   └── BudgetTooSmall         max_tokens is below the least size of a valid answer
├── EngineError                the service's: a server, a network, a local engine
│   └── DeadlineExceeded       no answer within timeout_s
├── JournalError               the file's that keeps what came of a batch
├── NotAsked                   a batch was stopped before its row was begun
└── OutputError                the model's: it answered, but not with a value
    ├── Truncated              cut at max_tokens
    ├── Refused                the model declined
    └── Invalid                not valid for the output type
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "BudgetTooSmall",
    "DeadlineExceeded",
    "EngineError",
    "Invalid",
    "Issue",
    "JournalError",
    "MissingDependency",
    "NotAsked",
    "OutputError",
    "PromptTooLong",
    "Refused",
    "SpecError",
    "TemplateError",
    "Truncated",
    "TypedLLMError",
    "UnsupportedConstraint",
    "UsageError",
]


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong with an answer.

    Attributes:
        path: where, as a JSONPath such as `$.items[1].sku`; `$` is the whole answer.
        message: what, for example `expected int`.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class TypedLLMError(Exception):
    """The root of all errors of this package; each can be pickled, and copied."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(
    kind: type[TypedLLMError], arguments: tuple[Any, ...], state: dict[str, Any]
) -> TypedLLMError:
    error = kind.__new__(kind, *arguments)  # without __init__, which wants keywords
    error.__dict__.update(state)
    return error


class UsageError(TypedLLMError):
    """The caller's mistake; raised before any call is made, or given to its one row of a batch."""


class SpecError(UsageError):
    """The output type cannot be understood, or no value can satisfy it."""


class TemplateError(UsageError):
    """A template cannot be rendered."""


class UnsupportedConstraint(UsageError):
    """The engine cannot take this constraint."""


class MissingDependency(UsageError):
    """A package of an extra is needed and not installed."""


class PromptTooLong(UsageError):
    """The prompt leaves no room for an answer in the model's context."""


class BudgetTooSmall(UsageError):
    """`max_tokens` is below the least number of tokens of any valid answer."""


class EngineError(TypedLLMError):
    """The engine or service failed.

    Attributes:
        retryable: whether the same request may succeed later.
        retry_after_s: seconds the service asked to wait, if it did.
        status: HTTP status, if there was one.
        request_id: the service's id of the request, if it gave one.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = False,
        retry_after_s: float | None = None,
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.status = status
        self.request_id = request_id


class DeadlineExceeded(EngineError):
    """No answer came within `timeout_s`."""


class JournalError(TypedLLMError):
    """A journal cannot be read or written; what was saved before stays in its file.

    It is no row's own error: it ends the batch, which goes on where it was once that is mended.
    """


class NotAsked(TypedLLMError):
    """A row of a batch that was stopped before it was begun."""


class OutputError(TypedLLMError):
    """The model answered, but not with a value of the output type.

    Attributes:
        raw: the text of the answer.
        partial: what could be read of it, or None.
        issues: what is wrong, by path.
    """

    def __init__(
        self, message: str, *, raw: str, partial: object = None, issues: Sequence[Issue] = ()
    ) -> None:
        super().__init__(message)
        self.raw = raw
        self.partial = partial
        self.issues = tuple(issues)


class Truncated(OutputError):
    """The answer was cut at `max_tokens`.

    Attributes:
        path: the last value that came, whole or in part, such as `$.items[2].name`; `$` where the
            text is not JSON.
    """

    def __init__(
        self,
        message: str,
        *,
        raw: str,
        partial: object = None,
        issues: Sequence[Issue] = (),
        path: str = "$",
    ) -> None:
        super().__init__(message, raw=raw, partial=partial, issues=issues)
        self.path = path


class Refused(OutputError):
    """The model declined to answer."""


class Invalid(OutputError):
    """The answer is not valid for the output type.

    Attributes:
        coercions: what was changed about the text before it was read, in words.
    """

    def __init__(
        self,
        message: str,
        *,
        raw: str,
        partial: object = None,
        issues: Sequence[Issue] = (),
        coercions: Sequence[str] = (),
    ) -> None:
        super().__init__(message, raw=raw, partial=partial, issues=issues)
        self.coercions = tuple(coercions)
