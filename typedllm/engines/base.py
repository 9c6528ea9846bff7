"""The seam between the package and whatever runs a model: one method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from typedllm.records import Reply, Request, Traits

if TYPE_CHECKING:
    from typedllm.engines.encode import PromptEncoder
    from typedllm.engines.quota import Quota


class Engine(Protocol):
    """Runs requests. Batching is the engine's own affair: `send` is called concurrently."""

    @property
    def traits(self) -> Traits:
        """What the engine can do."""
        ...

    @property
    def model(self) -> str:
        """The model's name or path."""
        ...

    @property
    def capacity(self) -> int:
        """How many requests it likes in flight."""
        ...

    async def send(self, request: Request) -> Reply:
        """Run one request; a failure is returned, never raised.

        Where the request has a `tell`, it is called with each piece of the answer as it comes, by
        an engine that can. Cancelling the awaiting task gives the request up.
        """
        ...

    async def close(self) -> None:
        """Free what the engine holds; sending afterwards fails."""
        ...


def encoder_of(engine: Engine) -> PromptEncoder | None:
    """What turns prompts into the tokens that the model is given, where an engine knows that.

    Args:
        engine: a local one has it as `encoder`.
    """
    return getattr(engine, "encoder", None)


def provider_of(engine: Engine) -> str | None:
    """Name the provider whose prices hold for an engine's model, as genai-prices calls it.

    Args:
        engine: one that is asked at a provider's own address has it as `provider`.
    """
    return getattr(engine, "provider", None)


def identity_of(engine: Engine) -> Mapping[str, Any]:
    """What tells an engine from others of its name and model, as plain JSON values.

    Args:
        engine: one whose answers depend on more than its model has it as `identity`, such as its
            address; never a key or a header.
    """
    return getattr(engine, "identity", {})


def quota_at(engine: Engine) -> Quota | None:
    """What bounds how fast an engine may be asked, for one of a service.

    Args:
        engine: one of a service has it as `quota`, shared by all that ask its model by one key.
    """
    return getattr(engine, "quota", None)


def model_name(engine: Engine) -> str:
    """Name the model of an engine as `LLM` takes it, such as `embedded:folder`.

    Args:
        engine: any.
    """
    name, model = engine.traits.name, engine.model
    return name if model == name else f"{name}:{model}"
