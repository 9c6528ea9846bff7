"""The engines that go through instructor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from typedllm._checks import check_extra, check_text
from typedllm.constraints.dialect import Lowered
from typedllm.engines.instructor_calls import Calls
from typedllm.engines.instructor_errors import translated
from typedllm.engines.instructor_providers import Provider, Stream, traits_for
from typedllm.engines.openai_protocol import MALFORMED
from typedllm.engines.quotas import quota_of
from typedllm.engines.telling import say
from typedllm.errors import EngineError, TypedLLMError, UnsupportedConstraint, UsageError
from typedllm.records import Completion, Failure, Message, Reply, Request, Tell

__all__ = ["InstructorEngine", "arguments_of"]

_IN_FLIGHT: Final = 64


class InstructorEngine:
    """Talks to one model of one provider; a request is one call.

    Attributes:
        provider: what genai-prices calls the provider, where its prices hold; else None.
    """

    encoder = None

    def __init__(
        self,
        provider: Provider,
        model: str,
        client: Callable[[], Any],
        *,
        known: Collection[str] = (),
        close: Callable[[], Awaitable[None]] | None = None,
        base_url: str = "",
        sent: Mapping[str, str] | None = None,
        prices: str | None = None,
    ) -> None:
        """Prepare to ask a model; nothing is called yet.

        Args:
            provider: who has it.
            model: as the provider calls it.
            client: gives instructor's client, the same one in one event loop.
            known: names that `Sampling.extra` may have; empty where nobody tells.
            close: closes the clients, where they are ours.
            base_url: where the provider is, for messages; empty where that is not known.
            sent: the key and the headers that are sent, which are kept out of messages.
            prices: what genai-prices calls the provider, where its prices hold.
        """
        self._provider = provider
        self._calls = Calls(client)
        self._known = known
        self._close = close
        self._base_url = base_url
        self._sent = sent or {}
        self.provider = prices
        self.identity = {"base_url": base_url}
        key = "\0".join((sent or {}).values())
        self.quota = quota_of(base_url or provider.name, model, key, in_flight=_IN_FLIGHT)
        self.model = model
        self.capacity = _IN_FLIGHT
        self.traits = traits_for(provider, model)
        self._closed = False

    async def send(self, request: Request) -> Reply:
        """Run one request.

        Args:
            request: what to ask; `sampling.extra` holds further options of the provider's API.
        """
        name = self._provider.name
        try:
            if self._closed:
                raise EngineError(f"the {name} engine is closed; make a new one")
            arguments = arguments_of(request, self._provider, self.model, known=self._known)
            if request.tell is None or self._provider.stream is None:
                answer = await self._calls.create(arguments)
                with self._reading():
                    return self._provider.completion(answer)
            return await self._told(arguments, self._provider.stream(arguments), request.tell)
        except TypedLLMError as error:
            return Failure(error=error)
        except Exception as error:  # the SDKs' exceptions have no class in common
            return Failure(error=translated(error, name, self._base_url, self._sent))

    async def close(self) -> None:
        """Close the connections, but for those of a client that was given."""
        self._closed = True
        self._calls.close()
        if self._close is not None:
            await self._close()

    async def _told(self, arguments: Mapping[str, Any], stream: Stream, tell: Tell) -> Reply:
        told = ""

        def take(piece: dict[str, Any]) -> None:
            nonlocal told
            with self._reading():
                new = stream.take(piece)
            told += new
            say(tell, new)

        await self._calls.stream(arguments, take)
        with self._reading():
            reply = self._provider.completion(stream.answer)
        if isinstance(reply, Completion) and reply.text.startswith(told):
            say(tell, reply.text[len(told) :])  # what came in another place than was asked for
        return reply

    @contextmanager
    def _reading(self) -> Generator[None]:
        try:
            yield
        except MALFORMED as error:
            name = self._provider.name
            raise EngineError(f"what came from {name} is no answer of its API: {error!r}") from None


def arguments_of(
    request: Request, provider: Provider, model: str, *, known: Collection[str]
) -> dict[str, Any]:
    """Make the arguments of a call.

    Args:
        request: what to ask.
        provider: who is asked.
        model: as the provider calls it.
        known: names that `Sampling.extra` may have; empty where nobody tells.

    Raises:
        UsageError: for an option that is typedllm's to set or that there is not, for text that is
            none, or raw text.
        UnsupportedConstraint: for a constraint that the provider does not take.
    """
    name = provider.name
    if request.labels:
        raise UnsupportedConstraint(f"the engine {name} scores no labels")
    if request.constraint is not None and not isinstance(request.constraint, Lowered):
        kind = type(request.constraint).__name__
        raise UnsupportedConstraint(f"the engine {name} takes no {kind}")
    text = "".join(part.text for part in request.prompt)
    check_text("prompt", text)
    if not text:
        raise UsageError("the prompt is empty; write what is asked")
    if not isinstance(request.prompt[0], Message):
        raise UsageError(f"{name} takes no raw text: ask with messages, without chat_template=")
    check_extra(request.sampling.extra, ours=provider.ours, known=known, whose=name)
    return provider.request(request, model)
