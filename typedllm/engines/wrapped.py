"""An engine that stands before another one."""

from __future__ import annotations

from typing import Any

from typedllm.engines.base import Engine
from typedllm.records import Traits

__all__ = ["Wrapped"]


class Wrapped:
    """What an engine before another one has of it: all but `send`."""

    def __init__(self, engine: Engine) -> None:
        """Stand before an engine.

        Args:
            engine: what runs the requests; it is closed with this.
        """
        self._engine = engine

    @property
    def engine(self) -> Engine:
        """The engine that runs the requests."""
        return self._engine

    @property
    def traits(self) -> Traits:
        """What the engine can do."""
        return self._engine.traits

    @property
    def model(self) -> str:
        """The model's name or path."""
        return self._engine.model

    @property
    def capacity(self) -> int:
        """How many requests the engine likes in flight."""
        return self._engine.capacity

    async def close(self) -> None:
        """Close the engine."""
        await self._engine.close()

    def __getattr__(self, name: str) -> Any:
        # Private names are this object's own: copying and pickling ask for them before __init__.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._engine, name)
