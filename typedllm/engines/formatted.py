"""An engine that is given raw text in the format of a model family, in place of messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from typedllm.engines.base import Engine
from typedllm.errors import UsageError
from typedllm.records import Failure, Message, Reply, Request, Traits
from typedllm.templating.chat_format import ChatFormat

__all__ = ["Formatted"]


class Formatted:
    """Puts the messages of each request into a raw format before the engine gets them.

    Attributes:
        engine: what runs the requests.
        format: what they are put into.
    """

    def __init__(self, engine: Engine, format: ChatFormat) -> None:
        """Put an engine behind a format.

        Args:
            engine: takes raw text.
            format: of the model's family.
        """
        self.engine = engine
        self.format = format

    @property
    def traits(self) -> Traits:
        """What the engine can do."""
        return self.engine.traits

    @property
    def model(self) -> str:
        """The model's name or path."""
        return self.engine.model

    @property
    def capacity(self) -> int:
        """How many requests the engine likes in flight."""
        return self.engine.capacity

    async def send(self, request: Request) -> Reply:
        """Run one request; one with a value that could end a turn fails.

        Args:
            request: what to ask.
        """
        if request.prompt and isinstance(request.prompt[0], Message):
            messages = cast(tuple[Message, ...], request.prompt)
            try:
                request = replace(request, prompt=self.format.render(messages))
            except UsageError as error:
                return Failure(error=error)
        return await self.engine.send(request)

    async def close(self) -> None:
        """Close the engine."""
        await self.engine.close()

    def __getattr__(self, name: str) -> Any:  # such as `encoder`, where the engine has one
        return getattr(self.engine, name)
