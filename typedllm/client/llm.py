"""LLM: what asks a model and returns typed values."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast, overload

from typing_extensions import Unpack

from typedllm import _bridge
from typedllm._checks import check_kind
from typedllm.attempts import Policy
from typedllm.batch.cache import Cache
from typedllm.batch.results import Results
from typedllm.client.asking import Asking, Standing
from typedllm.client.chat import Chat, all_played
from typedllm.client.checks import check_options, checked_engine, checked_models
from typedllm.client.derived import blocking, verb
from typedllm.client.estimate import Estimate, estimated, quarter
from typedllm.client.function import AsyncFunction, Decorator, Function, function_of
from typedllm.client.options import AnyType, ChatOptions, Inputs, Options
from typedllm.client.rendering import RenderedPrompt, rendered_prompt
from typedllm.client.verbs import Verbs
from typedllm.constraints.compile import compile_spec
from typedllm.constraints.plan import Plan
from typedllm.engines.base import Engine, encoder_of, model_name, quota_at
from typedllm.engines.formatted import Formatted
from typedllm.engines.limited import Limited
from typedllm.engines.quota import Quota, RateLimit
from typedllm.engines.table import open_engine, traits_of
from typedllm.errors import UsageError
from typedllm.observers.console import LoggingObserver
from typedllm.observers.observed import Observed, Observer
from typedllm.prices import Prices, checked_prices
from typedllm.prompts.collection import Conversation
from typedllm.prompts.prompt import Input, Wording
from typedllm.records import Limits, Sampling
from typedllm.settings import default_model, retry_settings
from typedllm.spec.spec import spec_of
from typedllm.templating.chat_format import ChatFormat, chat_format

__all__ = ["LLM", "explain"]

P = ParamSpec("P")
R = TypeVar("R")


class LLM(Verbs):
    """A model, and how to ask it.

    Usable from many threads and event loops at once, and as a context manager. Each verb is there
    twice: `call`, `run`, `stream`, `batch`, `iter_batch` wait; `acall`, `arun`, `astream`,
    `abatch`, `aiter_batch` are awaited.

    Args:
        model: `engine:model`, such as `embedded:folder`; or an engine, which is closed with
            this; or None for the model named in `TYPEDLLM_MODEL`, else the embedded one.
        fallback: further ones, each asked when the service of those before it has failed for
            good; the options below are of the first.
        system: a system text that comes before the instruction of every call.
        chat_template: the raw prompt format that messages are put into, in place of the
            model's own: a family such as `llama2`, or what `chat_format` takes or gives.
        sampling: how tokens are chosen.
        limits: bounds on what an output type leaves open.
        timeout_s: seconds for each result, waits and repairs included; None is no limit.
        policy: how often to send again, and when; None is the environment's, see
            `typedllm.settings.retry_settings`.
        prices: of models, by `engine:model`, for `Usage.cost`; they go before those that are
            known of a provider's models.
        rate: how fast the model is asked at most. What its service tells of its limits is kept to
            without that; all that ask a model by one key share one quota.
        cache: a file that keeps the answers of all calls, and what is there is not asked again;
            None keeps none. Calls that are under way at once are each asked. Where answers are
            sampled, the nth equal request gets the nth answer. Errors and the answers of a
            fallback are not kept; a file that fails later is logged, and harms no call.
        cache_bytes: most bytes of the cache; the least recently used answers go first.
        api_key: for engines that take one.
        base_url: for engines that take one.
        engine_args: further options of the engine, by name.
        observers: are told of every request and its reply.
        log: a file that gets a line of JSON for every request and its reply, keys taken out.

    Raises:
        UsageError: for an unknown engine, an option that it does not take, or a missing model.
    """

    def __init__(
        self,
        model: str | Engine | None = None,
        *,
        fallback: Sequence[str | Engine] = (),
        system: str | None = None,
        chat_template: str | Path | ChatFormat | None = None,
        sampling: Sampling | None = None,
        limits: Limits | None = None,
        timeout_s: float | None = None,
        policy: Policy | None = None,
        prices: Prices | None = None,
        rate: RateLimit | None = None,
        cache: str | Path | None = None,
        cache_bytes: int = 1 << 30,
        api_key: str | None = None,
        base_url: str | None = None,
        engine_args: Mapping[str, Any] | None = None,
        observers: Sequence[Observer] = (),
        log: str | Path | None = None,
    ) -> None:
        options = {"api_key": api_key, "base_url": base_url, **(engine_args or {})}
        check_options(sampling, limits, timeout_s)
        check_kind("policy", policy, Policy)
        check_kind("observers", observers, Sequence)
        check_kind("system", system, str)
        opened = [_opened(model, options), *(_opened(m, {}) for m in checked_models(fallback))]
        check_kind("rate", rate, RateLimit)
        observing = [*_loggers(log, api_key), *observers]
        engines = _formatted(_watched(opened, observing, rate), chat_template)
        self._engine = engines[0]
        self._standing = Standing(
            engines=tuple(engines),
            wording=Wording(system=system),
            sampling=sampling or Sampling(),
            limits=limits or Limits(),
            policy=policy or Policy(**retry_settings()),
            timeout_s=timeout_s,
            prices=checked_prices(prices),
            cache=None if cache is None else Cache(cache, max_bytes=cache_bytes),
        )

    @verb(Options)
    def render(
        self, prompt: Input, output_type: Any = None, **options: Unpack[Options]
    ) -> RenderedPrompt:
        """Show what a call would send, without sending it.

        The arguments are those of `run`.

        Raises:
            UsageError: as `run` does.
        """
        return self._rendered(self.asking(output_type, options), prompt)

    def _rendered(self, asking: Asking, prompt: object) -> RenderedPrompt:
        return rendered_prompt(
            asking.prompt(prompt),
            encoder=encoder_of(self._engine),
            chat_format=self._engine.format if isinstance(self._engine, Formatted) else None,
        )

    @overload
    def function(  # pyright: ignore[reportOverlappingOverload] - the async one is tried first
        self, written: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncFunction[P, R]: ...
    @overload
    def function(self, written: Callable[P, R], /) -> Function[P, R]: ...
    @overload
    def function(self, **options: Unpack[Options]) -> Decorator: ...
    @verb(Options)
    def function(
        self, written: Callable[..., Any] | None = None, /, **options: Unpack[Options]
    ) -> Any:
        """Make a function whose value the model gives, as a decorator.

        The parameters are the variables of the template, the docstring is the template, the return
        annotation is the output type. An `async def` makes one that is awaited. In a method, the
        template calls the object `this`.

        Args:
            written: the function; its body does not run.
            options: `template`, a prompt template in place of the docstring, by name, path or text;
                the others are keywords of `run` for every call.

        Raises:
            UsageError: when the function has no prompt or no return type.
            TemplateError: when the template cannot be read, or wants what is no parameter.
        """
        made = partial(function_of, self, options)
        return made if written is None else made(written)

    @verb(Options)
    def chat(
        self,
        *,
        id: str | None = None,
        history_tokens: int | None = None,
        **options: Unpack[Options],
    ) -> Chat:
        """Begin a conversation, whose turns each see those before them.

        Args:
            id: of the conversation.
            history_tokens: most tokens of the turns that are sent again; the oldest are left out.
            options: keywords of `run` for every turn, such as `system`, `template` and `examples`.
        """
        return Chat(self, options, id=id, history_tokens=history_tokens)

    @verb(ChatOptions)
    def abatch_chats(
        self,
        conversations: Iterable[Conversation],
        output_type: Any = None,
        **options: Unpack[ChatOptions],
    ) -> Coroutine[Any, Any, list[Results[Any]]]:
        """Have planned conversations, many at once, each turn after the one before it.

        Args:
            conversations: the turns of the user, planned.
            output_type: what to answer to each turn, as in `run`.
            options: keywords of `run`, for every turn; `progress` as in `batch`, by conversations.

        Returns:
            For each conversation a result for each turn. After a turn that failed the others of
            that conversation are not asked, and have an error that says so.

        Raises:
            UsageError: for what concerns all of them, such as the output type.
        """
        check_kind("conversations", conversations, Iterable)
        progress = options.pop("progress", False)
        width = self.asking(output_type, options).width  # what concerns all is found before a call
        return all_played(self, list(conversations), output_type, options, progress, width)

    batch_chats = blocking(abatch_chats)

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text, by the engine's tokenizer where it has one.

        Args:
            text: plain text.

        Returns:
            Tokens; where the engine knows of none, a quarter of the bytes, rounded up.
        """
        encoder = encoder_of(self._engine)
        if encoder is not None:
            return len(encoder.tokenizer.encode(text, add_special_tokens=False).ids)
        return quarter(text)

    @verb(Options)
    def estimate(
        self, inputs: Inputs, output_type: Any = None, **options: Unpack[Options]
    ) -> Estimate:
        """Say what a batch would take, without any call.

        Args:
            inputs: as in `batch`; a generator is used up.
            output_type: as in `run`.
            options: as in `run`; with `sampling=Sampling(max_tokens=...)` the answers are bounded.

        Raises:
            UsageError: for what concerns all rows, such as the output type.
        """
        asking = self.asking(output_type, options)
        plan = self.explain(output_type, limits=options.get("limits"))
        return estimated(asking, inputs, plan, lambda prompt: self._rendered(asking, prompt))

    def explain(self, output_type: Any, *, limits: Limits | None = None) -> Plan:
        """Say what this engine enforces of an output type, and what is done about the rest.

        Args:
            output_type: as in `run`.
            limits: bounds on what the output type leaves open.

        Raises:
            UsageError: when the output type cannot be understood, or not be taken by the engine.
        """
        spec = spec_of(cast(AnyType, output_type))
        return compile_spec(spec, self._engine.traits, limits or self._standing.limits).plan

    async def aclose(self) -> None:
        """Close the engines; calls in flight fail, and so do later ones."""
        if self._closed:
            return
        self._closed = True
        try:
            closing = (engine.close() for engine in self._standing.engines)
            ended = await asyncio.gather(*closing, return_exceptions=True)
        finally:
            if self._standing.cache is not None:
                self._standing.cache.close()
        for failure in ended:  # the first; all others are closed by now
            if failure is not None:
                raise failure

    def close(self) -> None:
        """Close the engines; calls in flight fail, and so do later ones."""
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
        return f"LLM({model_name(self._engine)!r})"


def _opened(model: str | Engine | None, options: Mapping[str, Any]) -> Engine:
    if model is None or isinstance(model, str):
        return open_engine(default_model() if model is None else model, options)
    if any(value is not None for value in options.values()):
        raise UsageError("engine options go to the engine itself when an engine is given")
    return checked_engine(model)


def _watched(
    opened: Sequence[Engine], observers: Sequence[Observer], rate: RateLimit | None
) -> list[Engine]:
    """Engines behind what watches them and, outside of that, what keeps them to a quota."""
    engines: list[Engine] = []
    for place, engine in enumerate(opened):
        own = rate if place == 0 else None
        quota = quota_at(engine)
        if quota is None and own is not None:
            quota = Quota(own, in_flight=engine.capacity)
        elif quota is not None and own is not None:
            quota.limit(own)
        watched = Observed(engine, observers)
        engines.append(watched if quota is None else Limited(watched, quota))
    return engines


def _formatted(
    engines: list[Engine], chat_template: str | Path | ChatFormat | None
) -> list[Engine]:
    if chat_template is None:
        return engines
    given = isinstance(chat_template, ChatFormat)
    found = chat_template if given else chat_format(chat_template)
    return [Formatted(engine, found) for engine in engines]


def _loggers(path: str | Path | None, api_key: str | None) -> Iterator[Observer]:
    secrets = () if api_key is None else (api_key,)
    yield LoggingObserver(secrets=secrets)
    if path is not None:
        from typedllm.observers.inference_log import InferenceLog

        yield InferenceLog(path, secrets=secrets)


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
