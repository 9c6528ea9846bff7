"""The seam between the package and whatever runs a model: one method."""

from __future__ import annotations

from typing import Protocol

from typedllm.records import Reply, Request, Traits


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

        Cancelling the awaiting task gives the request up.
        """
        ...

    async def close(self) -> None:
        """Free what the engine holds; sending afterwards fails."""
        ...
