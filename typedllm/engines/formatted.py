"""An engine that is given raw text in the format of a model family, in place of messages."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from typedllm.engines.base import Engine
from typedllm.engines.wrapped import Wrapped
from typedllm.errors import UsageError
from typedllm.records import Failure, Message, Reply, Request
from typedllm.templating.chat_format import ChatFormat

__all__ = ["Formatted"]


class Formatted(Wrapped):
    """Puts the messages of each request into a raw format before the engine gets them.

    Attributes:
        format: what they are put into.
    """

    def __init__(self, engine: Engine, format: ChatFormat) -> None:
        """Put an engine behind a format.

        Args:
            engine: takes raw text.
            format: of the model's family.
        """
        super().__init__(engine)
        self.format = format

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
        return await self._engine.send(request)
