"""Typed functions: parameters for the values, a docstring for the prompt, a type of answer."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    get_type_hints,
    overload,
)

from typing_extensions import TypeForm, Unpack

from typedllm.batch.results import Results
from typedllm.client.batches import collected
from typedllm.client.derived import blocking
from typedllm.client.options import BatchOptions, Options
from typedllm.client.rendering import RenderedPrompt
from typedllm.constraints.plan import Plan
from typedllm.errors import SpecError, TemplateError, UsageError
from typedllm.prompts.prompt import Prompt
from typedllm.prompts.templates import Template, template, template_of
from typedllm.records import Result

if TYPE_CHECKING:
    from typedllm.client.llm import LLM

__all__ = ["AsyncFunction", "Decorator", "Function", "function_of"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")

_SELF = "this"  # what a method's template calls its object; `self` is a word of Jinja's


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """What a typed function is made of.

    Attributes:
        name: of the function, for messages.
        llm: what asks.
        signature: of the values for the template.
        template: the prompt.
        output_type: what the function returns.
        options: for every call.
        owner: the object that a method is bound to.
    """

    name: str
    llm: LLM
    signature: inspect.Signature
    template: Template
    output_type: Any
    options: Options
    owner: object = None

    def prompt(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Prompt:
        """The prompt of a call; an argument that does not fit is an error before any call."""
        first = () if self.owner is None else (self.owner,)
        try:
            bound = self.signature.bind(*first, *args, **kwargs)
        except TypeError as error:
            raise UsageError(f"{self.name}: {error}") from error
        bound.apply_defaults()
        values = {_SELF if name == "self" else name: v for name, v in bound.arguments.items()}
        return Prompt(template=self.template, context=values)

    def row(self, row: object) -> Prompt:
        """The prompt of a row of a batch: arguments by name, by position, or a single one."""
        if isinstance(row, Mapping):
            return self.prompt((), cast(Mapping[str, Any], row))
        return self.prompt(cast(Any, row) if isinstance(row, tuple) else (row,), {})


class _Typed(Generic[P, R]):
    """What sync and async typed functions share."""

    def __init__(self, parts: _Parts, wrapped: Callable[..., Any]) -> None:
        functools.update_wrapper(cast(Callable[..., Any], self), wrapped)
        self._parts = parts
        self._wrapped = wrapped

    def run(self, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """Call it, and return a `Result` with the value or the error.

        Raises:
            UsageError: when the arguments do not fit, or the template cannot be rendered.
        """
        parts = self._parts
        kind = cast(TypeForm[R], parts.output_type)
        return parts.llm.run(parts.prompt(args, kwargs), kind, **parts.options)

    def arun(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, Result[R]]:
        """Call it, and await a `Result` with the value or the error.

        Raises:
            UsageError: when the arguments do not fit, or the template cannot be rendered.
        """
        parts = self._parts
        kind = cast(TypeForm[R], parts.output_type)
        return parts.llm.arun(parts.prompt(args, kwargs), kind, **parts.options)

    def abatch(
        self, rows: Iterable[Any], **options: Unpack[BatchOptions]
    ) -> Coroutine[Any, Any, Results[R]]:
        """Call it for many rows at once.

        A row whose arguments do not fit is a result with that error.

        Args:
            rows: for each a mapping of arguments by name, a tuple of them by position, or the one
                argument.
            options: as in `LLM.batch`.

        Raises:
            UsageError: for what concerns all rows.
        """
        parts = self._parts
        joined: BatchOptions = {**parts.options, **options}
        asking = replace(parts.llm.asking(parts.output_type, joined), prepare=parts.row)
        return collected(asking, rows, joined)

    batch = blocking(abatch)

    def render(self, *args: P.args, **kwargs: P.kwargs) -> RenderedPrompt:
        """Show what a call would send, without sending it.

        Raises:
            UsageError: when the arguments do not fit, or the template cannot be rendered.
        """
        parts = self._parts
        return parts.llm.render(parts.prompt(args, kwargs), parts.output_type, **parts.options)

    def explain(self) -> Plan:
        """Say what the engine enforces of the output type."""
        return self._parts.llm.explain(
            self._parts.output_type, limits=self._parts.options.get("limits")
        )

    def _bound(self, owner: object) -> _Parts:
        return replace(self._parts, owner=owner)


class Function(_Typed[P, R]):
    """A function whose value a model gives; made by `LLM.function`."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Ask for the value.

        Raises:
            TypedLLMError: whatever went wrong, see `typedllm.errors`.
        """
        return self.run(*args, **kwargs).unwrap()

    @overload
    def __get__(self, owner: None, kind: type) -> Function[P, R]: ...
    @overload
    def __get__(
        self: Function[Concatenate[Any, Q], R], owner: object, kind: type | None = None
    ) -> Function[Q, R]: ...
    def __get__(self, owner: object, kind: type | None = None) -> Any:
        return self if owner is None else Function[Any, R](self._bound(owner), self._wrapped)


class AsyncFunction(_Typed[P, R]):
    """An async function whose value a model gives; made by `LLM.function`."""

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Ask for the value, and await it.

        Raises:
            TypedLLMError: whatever went wrong, see `typedllm.errors`.
        """
        return (await self.arun(*args, **kwargs)).unwrap()

    @overload
    def __get__(self, owner: None, kind: type) -> AsyncFunction[P, R]: ...
    @overload
    def __get__(
        self: AsyncFunction[Concatenate[Any, Q], R], owner: object, kind: type | None = None
    ) -> AsyncFunction[Q, R]: ...
    def __get__(self, owner: object, kind: type | None = None) -> Any:
        return self if owner is None else AsyncFunction[Any, R](self._bound(owner), self._wrapped)


class Decorator(Protocol):
    """Makes a typed function, keeping its parameters and what it returns."""

    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload] - the async one is tried first
        self, written: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncFunction[P, R]: ...
    @overload
    def __call__(self, written: Callable[P, R], /) -> Function[P, R]: ...


def function_of(
    llm: LLM, options: Options, written: Callable[..., Any]
) -> Function[..., Any] | AsyncFunction[..., Any]:
    """Make a typed function of one that is written down.

    Args:
        llm: what asks.
        options: the keywords of every call, `template` among them.
        written: its parameters are the variables of the template, its docstring is the template
            unless one is given, its return annotation is the output type. Its body does not run.

    Raises:
        UsageError: when it has no prompt or no return type, or a parameter takes a variable number
            of arguments.
        TemplateError: when the template cannot be read, or wants what is no parameter.
    """
    if not inspect.isroutine(written) or not hasattr(written, "__annotations__"):
        raise UsageError(f"function: expected a function with a return type, got {written!r:.60}")
    name = written.__qualname__
    signature = inspect.signature(written)
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise UsageError(f"{name}: {parameter}: each value needs a parameter of its own")
    found = _template(name, written, options.get("template"))
    parameters = {_SELF if each == "self" else each for each in signature.parameters}
    offered = {"instruction", "examples", "system_prompt"}
    _check_names(name, found, parameters)
    unknown = [each for each in found.variables if each not in parameters | offered]
    if unknown:
        raise TemplateError(
            f"{name}: the template wants {', '.join(unknown)}, and the parameters are"
            f" {', '.join(sorted(parameters)) or 'none'}"
        )
    parts = _Parts(name, llm, signature, found, _return_type(name, written), options)
    if inspect.iscoroutinefunction(written):
        return AsyncFunction[Any, Any](parts, written)
    return Function[Any, Any](parts, written)


def _check_names(name: str, found: Template, parameters: set[str]) -> None:
    if "self" in found.names and "self" not in found.variables:
        raise TemplateError(f"{name}: in a template `self` is Jinja's; write `{_SELF}` instead")
    if found.includes:  # whose names are not known
        return
    for parameter in sorted(parameters - {_SELF}):
        if parameter not in found.names and not found.uses(parameter):
            raise TemplateError(
                f"{name}: the template has no place for the parameter {parameter}; write"
                f" {{{{ {parameter} }}}} in it, or take it out"
            )


def _template(
    name: str, written: Callable[..., Any], given: str | Path | Template | None
) -> Template:
    if isinstance(given, Template):
        return given
    if given is not None:
        return template(given)
    text = inspect.getdoc(written)
    if not text:
        raise UsageError(f"{name}: write the prompt as its docstring, or give template=")
    return template_of(text)


def _return_type(name: str, written: Callable[..., Any]) -> Any:
    if "return" not in written.__annotations__:
        raise UsageError(f"{name}: write what it returns, as in `def {name}(...) -> int`")
    # An annotation may be a text, which names types of the module or of the function around it.
    holder = type(name, (), {"__annotations__": {"kind": written.__annotations__["return"]}})
    names = {**getattr(written, "__globals__", {}), **_names_around()}
    try:
        kind = get_type_hints(holder, names, names, include_extras=True)["kind"]
    except NameError as error:
        raise SpecError(f"{name}: {error}; its type has to be there when it is made") from error
    return None if kind is type(None) else kind


def _names_around() -> Mapping[str, Any]:
    """The names that are known where the decorator stands."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith("typedllm."):
        frame = frame.f_back
    return {} if frame is None else frame.f_locals
