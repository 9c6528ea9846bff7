"""LLM: what asks a model and returns typed values."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, cast, overload

from typing_extensions import TypeForm, Unpack

from typedllm import _bridge
from typedllm._checks import check_kind
from typedllm.attempts import Policy, Task, attempts, drive
from typedllm.batch.results import Results
from typedllm.batch.run import Progress, collect, complete, rows_of
from typedllm.client.checks import check_options, checked_engine
from typedllm.client.derived import blocking, streaming, unwrapped, verb
from typedllm.client.options import AnyType, BatchOptions, Inputs, Options, PlainText, Untyped
from typedllm.constraints.compile import compile_spec
from typedllm.constraints.plan import Plan
from typedllm.engines.base import Engine
from typedllm.engines.table import open_engine, traits_of
from typedllm.errors import UsageError
from typedllm.prompts.prompt import Input, conversation
from typedllm.records import Limits, Result, Sampling
from typedllm.settings import default_model, retry_settings
from typedllm.spec.spec import spec_of

__all__ = ["LLM", "explain"]

T = TypeVar("T")


class LLM:
    """A model, and how to ask it.

    Usable from many threads and event loops at once, and as a context manager. Each verb is there
    twice: `call`, `run`, `batch`, `iter_batch` wait; `acall`, `arun`, `abatch`, `aiter_batch` are
    awaited.
    """

    def __init__(
        self,
        model: str | Engine | None = None,
        *,
        system: str | None = None,
        sampling: Sampling | None = None,
        limits: Limits | None = None,
        timeout_s: float | None = None,
        policy: Policy | None = None,
        api_key: str | None = None,
        base_url: str | None = None,
        engine_args: Mapping[str, Any] | None = None,
    ) -> None:
        """Open a model.

        Args:
            model: `engine:model`, such as `embedded:folder`; or an engine, which is closed with
                this; or None for the model named in `TYPEDLLM_MODEL`, else the embedded one.
            system: a system text that comes before the instruction of every call.
            sampling: how tokens are chosen.
            limits: bounds on what an output type leaves open.
            timeout_s: seconds for each result, waits and repairs included; None is no limit.
            policy: how often to send again, and when; None is the environment's, see
                `typedllm.settings.retry_settings`.
            api_key: for engines that take one.
            base_url: for engines that take one.
            engine_args: further options of the engine, by name.

        Raises:
            UsageError: for an unknown engine, an option that it does not take, or a missing model.
        """
        options = {"api_key": api_key, "base_url": base_url, **(engine_args or {})}
        check_options(sampling, limits, timeout_s)
        check_kind("policy", policy, Policy)
        check_kind("system", system, str)
        if model is None or isinstance(model, str):
            self._engine = open_engine(default_model() if model is None else model, options)
        elif any(value is not None for value in options.values()):
            raise UsageError("engine options go to the engine itself when an engine is given")
        else:
            self._engine = checked_engine(model)
        self._system = system
        self._sampling = sampling or Sampling()
        self._limits = limits or Limits()
        self._timeout_s = timeout_s
        self._policy = policy or Policy(**retry_settings())
        self._closed = False

    @overload
    def arun(
        self, prompt: Input, output_type: PlainText = None, **options: Unpack[Options]
    ) -> Coroutine[Any, Any, Result[str]]: ...
    @overload
    def arun(
        self, prompt: Input, output_type: dict[str, Any], **options: Unpack[Options]
    ) -> Coroutine[Any, Any, Result[dict[str, Any]]]: ...
    @overload
    def arun(
        self, prompt: Input, output_type: TypeForm[T], **options: Unpack[Options]
    ) -> Coroutine[Any, Any, Result[T]]: ...
    @overload
    def arun(
        self, prompt: Input, output_type: Untyped, **options: Unpack[Options]
    ) -> Coroutine[Any, Any, Result[Any]]: ...
    @verb
    def arun(
        self,
        prompt: Input,
        output_type: Any = None,
        *,
        sampling: Sampling | None = None,
        system: str | None = None,
        limits: Limits | None = None,
        timeout_s: float | None = None,
        validation_context: Any = None,
    ) -> Coroutine[Any, Any, Result[Any]]:
        """Ask once, and return a `Result` with the value or the error.

        Each keyword goes before what was given to the `LLM`, where that has it too.

        Args:
            prompt: a text, or a conversation as a list of messages.
            output_type: what to answer: any Python type that Pydantic takes, a dict or another
                word of the spec language, a JSON Schema, `Regex`, `Choice` or `Lark`; None is
                plain text.
            sampling: how tokens are chosen.
            system: a system text that comes before the instruction; an empty one is none.
            limits: bounds on what the output type leaves open.
            timeout_s: seconds for the result, waits and repairs included.
            validation_context: passed to Pydantic validators as `info.context`.

        Raises:
            UsageError: when the prompt or the output type cannot be understood, or the engine has
                no way to take it.
        """
        task = self._task(output_type, sampling, limits, timeout_s, validation_context)
        messages = conversation(prompt, task.spec, self._system if system is None else system)
        return drive(attempts(task, messages))

    @overload
    def acall(
        self, prompt: Input, output_type: PlainText = None, **options: Unpack[Options]
    ) -> Coroutine[Any, Any, str]: ...
    @overload
    def acall(
        self, prompt: Input, output_type: dict[str, Any], **options: Unpack[Options]
    ) -> Coroutine[Any, Any, dict[str, Any]]: ...
    @overload
    def acall(
        self, prompt: Input, output_type: TypeForm[T], **options: Unpack[Options]
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def acall(
        self, prompt: Input, output_type: Untyped, **options: Unpack[Options]
    ) -> Coroutine[Any, Any, Any]: ...
    @verb
    def acall(
        self,
        prompt: Input,
        output_type: Any = None,
        *,
        sampling: Sampling | None = None,
        system: str | None = None,
        limits: Limits | None = None,
        timeout_s: float | None = None,
        validation_context: Any = None,
    ) -> Coroutine[Any, Any, Any]:
        """Ask once, and return the value.

        The arguments are those of `run`.

        Raises:
            TypedLLMError: whatever went wrong, see `typedllm.errors`.
        """
        result = self.arun(
            prompt,
            cast(AnyType, output_type),
            sampling=sampling,
            system=system,
            limits=limits,
            timeout_s=timeout_s,
            validation_context=validation_context,
        )
        return unwrapped(result)

    @overload
    def abatch(
        self, inputs: Inputs, output_type: PlainText = None, **options: Unpack[BatchOptions]
    ) -> Coroutine[Any, Any, Results[str]]: ...
    @overload
    def abatch(
        self, inputs: Inputs, output_type: dict[str, Any], **options: Unpack[BatchOptions]
    ) -> Coroutine[Any, Any, Results[dict[str, Any]]]: ...
    @overload
    def abatch(
        self, inputs: Inputs, output_type: TypeForm[T], **options: Unpack[BatchOptions]
    ) -> Coroutine[Any, Any, Results[T]]: ...
    @overload
    def abatch(
        self, inputs: Inputs, output_type: Untyped, **options: Unpack[BatchOptions]
    ) -> Coroutine[Any, Any, Results[Any]]: ...
    @verb
    def abatch(
        self,
        inputs: Inputs,
        output_type: Any = None,
        *,
        sampling: Sampling | None = None,
        system: str | None = None,
        limits: Limits | None = None,
        timeout_s: float | None = None,
        validation_context: Any = None,
        ids: Iterable[str] | None = None,
        metadata: Iterable[Mapping[str, Any]] | None = None,
        progress: Progress = False,
    ) -> Coroutine[Any, Any, Results[Any]]:
        """Ask many times at once, and return the results in the order of the inputs.

        The keywords that `run` takes too mean the same here, `timeout_s` for each row. A row that
        fails is a result with an error; it raises nothing and harms no other row.

        Args:
            inputs: prompts.
            output_type: what to answer to each.
            sampling: how tokens are chosen.
            system: a system text that comes before the instruction.
            limits: bounds on what the output type leaves open.
            timeout_s: seconds for each row.
            validation_context: passed to Pydantic validators.
            ids: an id for each input, for `Result.id`; its position as text when there are none.
            metadata: a mapping for each input, for `Result.metadata`.
            progress: True for a bar, or a function that is called with how many rows are done and
                how many there are.

        Raises:
            UsageError: for what concerns all rows, such as the output type.
        """
        task = self._task(output_type, sampling, limits, timeout_s, validation_context)
        rows = list(rows_of(inputs, ids=ids, metadata=metadata))
        work = self._work(task, system)
        return collect(rows, work, width=self._engine.capacity, progress=progress)

    @overload
    def aiter_batch(
        self, inputs: Inputs, output_type: PlainText = None, **options: Unpack[BatchOptions]
    ) -> AsyncGenerator[Result[str], None]: ...
    @overload
    def aiter_batch(
        self, inputs: Inputs, output_type: dict[str, Any], **options: Unpack[BatchOptions]
    ) -> AsyncGenerator[Result[dict[str, Any]], None]: ...
    @overload
    def aiter_batch(
        self, inputs: Inputs, output_type: TypeForm[T], **options: Unpack[BatchOptions]
    ) -> AsyncGenerator[Result[T], None]: ...
    @overload
    def aiter_batch(
        self, inputs: Inputs, output_type: Untyped, **options: Unpack[BatchOptions]
    ) -> AsyncGenerator[Result[Any], None]: ...
    @verb
    def aiter_batch(
        self,
        inputs: Inputs,
        output_type: Any = None,
        *,
        sampling: Sampling | None = None,
        system: str | None = None,
        limits: Limits | None = None,
        timeout_s: float | None = None,
        validation_context: Any = None,
        ids: Iterable[str] | None = None,
        metadata: Iterable[Mapping[str, Any]] | None = None,
        progress: Progress = False,
    ) -> AsyncGenerator[Result[Any], None]:
        """Ask many times at once, and yield each result as soon as it is there.

        The arguments are those of `batch`. The inputs may be endless: no more of them are taken
        than are in flight; a generator is advanced in a thread of its own. `Result.id` tells which
        input a result belongs to. Closing the iterator cancels what is in flight.

        Raises:
            UsageError: for what concerns all rows, such as the output type.
        """
        task = self._task(output_type, sampling, limits, timeout_s, validation_context)
        rows = rows_of(inputs, ids=ids, metadata=metadata)
        return complete(
            list(rows) if isinstance(inputs, list | tuple) else rows,
            self._work(task, system),
            width=self._engine.capacity,
            progress=progress,
        )

    run = blocking(arun)
    call = blocking(acall)
    batch = blocking(abatch)
    iter_batch = streaming(aiter_batch)

    def explain(self, output_type: Any, *, limits: Limits | None = None) -> Plan:
        """Say what this engine enforces of an output type, and what is done about the rest.

        Args:
            output_type: as in `run`.
            limits: bounds on what the output type leaves open.

        Raises:
            UsageError: when the output type cannot be understood, or not be taken by the engine.
        """
        spec = spec_of(cast(AnyType, output_type))
        return compile_spec(spec, self._engine.traits, limits or self._limits).plan

    async def aclose(self) -> None:
        """Close the engine; calls in flight fail, and so do later ones."""
        if not self._closed:
            self._closed = True
            await self._engine.close()

    def close(self) -> None:
        """Close the engine; calls in flight fail, and so do later ones."""
        _bridge.run(self.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        name, model = self._engine.traits.name, self._engine.model
        return f"LLM({name!r})" if model == name else f"LLM({f'{name}:{model}'!r})"

    def _task(
        self,
        output_type: Any,
        sampling: Sampling | None,
        limits: Limits | None,
        timeout_s: float | None,
        validation_context: Any,
    ) -> Task[Any]:
        if self._closed:
            raise UsageError("this LLM is closed; ask before close(), or make another")
        check_options(sampling, limits, timeout_s)
        spec = spec_of(cast(AnyType, output_type))
        compiled = compile_spec(spec, self._engine.traits, limits or self._limits)
        return Task(
            engine=self._engine,
            spec=spec,
            constraint=compiled.constraint,
            guaranteed=compiled.plan.guaranteed,
            sampling=sampling or self._sampling,
            policy=self._policy,
            timeout_s=self._timeout_s if timeout_s is None else timeout_s,
            validation_context=validation_context,
        )

    def _work(
        self, task: Task[Any], system: str | None
    ) -> Callable[[object], Awaitable[Result[Any]]]:
        system = self._system if system is None else system

        async def work(prompt: object) -> Result[Any]:
            return await drive(attempts(task, conversation(prompt, task.spec, system)))

        return work


def explain(output_type: Any, engine: str = "embedded", *, limits: Limits | None = None) -> Plan:
    """Say what an engine enforces of an output type, and what is done about the rest.

    Needs no model.

    Args:
        output_type: as in `LLM.run`.
        engine: the engine's name.
        limits: bounds on what the output type leaves open.

    Raises:
        UsageError: for an unknown engine, or an output type that cannot be understood or taken.
    """
    spec = spec_of(cast(AnyType, output_type))
    return compile_spec(spec, traits_of(engine), limits).plan
