"""What an LLM was given, joined with what one of its calls is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias, cast

from typedllm._checks import check_kind
from typedllm.attempts import Listen, Policy, Send, Task, attempts, classified, drive
from typedllm.batch.cache import Cache
from typedllm.batch.keys import Counted, Keys, is_repeatable
from typedllm.batch.memory import Memory, Recorded
from typedllm.batch.rows import Row
from typedllm.client.checks import check_options
from typedllm.client.options import AnyType, Options
from typedllm.constraints.compile import compile_spec
from typedllm.engines.base import Engine, model_name, provider_of
from typedllm.errors import UnsupportedConstraint, UsageError
from typedllm.prices import Prices, price_of
from typedllm.prompts.prompt import Prompt, Wording, conversation
from typedllm.prompts.templates import Rendered, template
from typedllm.records import JsonSchema, Labels, Limits, Reply, Result, Sampling
from typedllm.spec.labels import labels_at
from typedllm.spec.spec import Spec, spec_of

__all__ = ["Asking", "Flow", "Standing"]

Flow: TypeAlias = Callable[[Task[Any], Rendered], Generator[Send, Reply, Result[Any]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """All that the requests of one call have in common.

    Attributes:
        task: what is asked, and how.
        wording: how prompts are put into words.
        flow: `attempts`, or `classified` where labels are scored in place of an answer.
        prepare: makes the prompt of what is given for a row; None where that is one.
        cache: answers of earlier calls, if they are kept.
        cached: counts the requests that were asked with the cache.
        memory: knows answers that are there already; None where every request is asked.
    """

    task: Task[Any]
    wording: Wording
    flow: Flow = attempts
    prepare: Callable[[Any], object] | None = None
    cache: Cache | None = None
    cached: Counted = field(default_factory=Counted)
    memory: Memory[Any] | None = None

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

    async def result(self, row: Row) -> Result[Any]:
        """Make the result of a row of a batch.

        Raises:
            UsageError: when it is no prompt, or its template cannot be rendered.
        """
        asked = row.prompt if self.prepare is None else self.prepare(row.prompt)
        return await self._answered(self.prompt(asked), row.id)

    def remembering(self, recorded: Recorded | None = None) -> Asking:
        """The same, with a memory of the answers that are there already.

        Args:
            recorded: the journal of a batch.
        """
        classifies = self.flow is classified
        memory: Memory[Any] = Memory(
            task=self.task,
            keys=Keys(self.task, classifies=classifies),
            repeatable=is_repeatable(self.task, classifies=classifies),
            recorded=recorded,
            cache=self.cache,
            cached=self.cached,
        )
        return replace(self, memory=memory)

    async def sent(
        self, asked: object, prompt: Rendered, listen: Listen | None = None
    ) -> Result[Any]:
        """Send a prompt that is in words already, and keep with the result what was asked.

        Args:
            asked: what it was made of.
            prompt: messages or raw segments.
            listen: names who hears the pieces of each answer.
        """
        result = await self._answered(prompt, "", listen)
        if isinstance(asked, Prompt):
            return replace(result, prompt=asked, metadata=asked.metadata)
        return replace(result, prompt=asked)

    async def _answered(
        self, prompt: Rendered, row_id: str, listen: Listen | None = None
    ) -> Result[Any]:
        def ask() -> Awaitable[Result[Any]]:
            return drive(self.flow(self.task, prompt), listen)

        return await (ask() if self.memory is None else self.memory.result(prompt, row_id, ask))


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
    cache: Cache | None = None
    cached: Counted = field(default_factory=Counted)

    def asking(self, output_type: object, options: Options, flow: Flow = attempts) -> Asking:
        """Join it with the output type and the keywords of a call.

        Args:
            output_type: what to answer.
            options: the keywords.
            flow: how it is asked.

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
                limits=limits or self.limits,
                priced=price_of(model_name(engine), provider_of(engine), self.prices),
                # what a remote API promises is not ours to promise
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
        asking = Asking(
            task=task,
            wording=self._worded(options),
            flow=flow,
            cache=self.cache,
            cached=self.cached,
        )
        return asking if self.cache is None else asking.remembering()

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


def _scored(engine: Engine, spec: Spec[Any], paths: Sequence[str]) -> tuple[Labels, ...]:
    check_kind("distribution", paths, Sequence)
    if isinstance(paths, str):
        raise UsageError(f"distribution: expected a list of paths; write [{paths!r}]")
    if paths and not engine.traits.scores:
        raise UnsupportedConstraint(
            f"the engine {engine.traits.name} scores no labels; leave out distribution="
        )
    return tuple(labels_at(spec, path) for path in paths)
