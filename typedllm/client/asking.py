"""What an LLM was given, joined with what one of its calls is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from typedllm._checks import check_kind
from typedllm.attempts import Listen, Policy, Task, attempts, classified, drive
from typedllm.batch.results import Results
from typedllm.batch.run import collect, rows_of
from typedllm.client.checks import check_options
from typedllm.client.options import AnyType, BatchOptions, Options
from typedllm.constraints.compile import compile_spec
from typedllm.engines.base import Engine, model_name, provider_of
from typedllm.errors import UnsupportedConstraint, UsageError
from typedllm.prices import Prices, price_of
from typedllm.prompts.prompt import Prompt, Wording, conversation
from typedllm.prompts.templates import Rendered, template
from typedllm.records import JsonSchema, Labels, Limits, Result, Sampling
from typedllm.spec.labels import labels_at
from typedllm.spec.spec import Spec, spec_of

__all__ = ["Asking", "Standing", "collected"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """All that the requests of one call have in common.

    Attributes:
        task: what is asked, and how.
        wording: how prompts are put into words.
    """

    task: Task[Any]
    wording: Wording

    @property
    def width(self) -> int:
        """How many requests the engine likes in flight."""
        return self.task.engine.capacity

    def prompt(self, asked: object) -> Rendered:
        """The messages or the raw text of what is asked.

        Raises:
            UsageError: when it is no prompt, or its template cannot be rendered.
        """
        return conversation(asked, self.task.spec, self.wording)

    async def result(self, asked: object) -> Result[Any]:
        """Ask.

        Raises:
            UsageError: when it is no prompt, or its template cannot be rendered.
        """
        return await drive(attempts(self.task, self.prompt(asked)))

    async def classified(self, asked: object) -> Result[Any]:
        """Have the labels of the whole answer scored, and take the likeliest.

        Raises:
            UsageError: when it is no prompt, or its template cannot be rendered.
        """
        return await drive(classified(self.task, self.prompt(asked)))

    async def sent(
        self, asked: object, prompt: Rendered, listen: Listen | None = None
    ) -> Result[Any]:
        """Send a prompt that is in words already, and keep with the result what was asked.

        Args:
            asked: what it was made of.
            prompt: messages or raw segments.
            listen: names who hears the pieces of each answer.
        """
        result = await drive(attempts(self.task, prompt), listen)
        if isinstance(asked, Prompt):
            return replace(result, prompt=asked, metadata=asked.metadata)
        return replace(result, prompt=asked)


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What holds for every call of an LLM, where the call does not say otherwise."""

    engines: tuple[Engine, ...]  # each is asked when the service of those before it has failed
    wording: Wording
    sampling: Sampling
    limits: Limits
    policy: Policy
    timeout_s: float | None
    prices: Prices

    def asking(self, output_type: object, options: Options) -> Asking:
        """Join it with the output type and the keywords of a call.

        Args:
            output_type: what to answer.
            options: the keywords.

        Raises:
            UsageError: when the output type or a keyword cannot be understood, or the engine has no
                way to take the output type.
        """
        sampling, limits = options.get("sampling"), options.get("limits")
        timeout_s = options.get("timeout_s")
        check_options(sampling, limits, timeout_s)
        spec = spec_of(cast(AnyType, output_type))
        task: Task[Any] | None = None
        for engine in reversed(self.engines):
            compiled = compile_spec(spec, engine.traits, limits or self.limits)
            task = Task(
                engine=engine,
                spec=spec,
                constraint=compiled.constraint,
                # what a remote API promises is not ours to promise
                limits=limits or self.limits,
                priced=price_of(model_name(engine), provider_of(engine), self.prices),
                guaranteed=compiled.plan.guaranteed
                and not isinstance(compiled.constraint, JsonSchema),
                sampling=sampling or self.sampling,
                policy=self.policy,
                timeout_s=self.timeout_s if timeout_s is None else timeout_s,
                validation_context=options.get("validation_context"),
                scored=_scored(engine, spec, options.get("distribution") or ()),
                fallback=task,
            )
        assert task is not None
        return Asking(task=task, wording=self._worded(options))

    def _worded(self, options: Options) -> Wording:
        given: dict[str, Any] = {
            name: value
            for name in ("system", "template", "context", "examples")
            if (value := options.get(name)) is not None
        }
        named = given.get("template")
        if isinstance(named, str | Path):  # one that is not there concerns the whole call
            given["template"] = template(named)
        return replace(self.wording, **given) if given else self.wording


def collected(
    asking: Asking,
    inputs: Iterable[object],
    options: BatchOptions,
    work: Callable[[object], Awaitable[Result[Any]]] | None = None,
) -> Coroutine[Any, Any, Results[Any]]:
    """Run the rows of a batch.

    Args:
        asking: what the rows have in common.
        inputs: what is asked.
        options: `ids`, `metadata` and `progress`.
        work: makes the result of a row, in place of `asking.result`; a `UsageError` that it raises
            is its row's error.

    Raises:
        UsageError: when the inputs are none, or not as many as ids or metadata.
    """
    rows = rows_of(inputs, ids=options.get("ids"), metadata=options.get("metadata"))
    return collect(
        list(rows),
        work or asking.result,
        width=asking.width,
        progress=options.get("progress", False),
        system=asking.wording.system,
    )


def _scored(engine: Engine, spec: Spec[Any], paths: Sequence[str]) -> tuple[Labels, ...]:
    check_kind("distribution", paths, Sequence)
    if isinstance(paths, str):
        raise UsageError(f"distribution: expected a list of paths; write [{paths!r}]")
    if paths and not engine.traits.scores:
        raise UnsupportedConstraint(
            f"the engine {engine.traits.name} scores no labels; leave out distribution="
        )
    return tuple(labels_at(spec, path) for path in paths)
