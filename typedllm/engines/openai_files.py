"""Files of a server of OpenAI's protocol, sent and read in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from inspect import iscoroutinefunction
from typing import Any, BinaryIO

from typedllm.engines.job_service import lines_of
from typedllm.engines.openai_client import OpenAIClient
from typedllm.errors import TypedLLMError

__all__ = ["OpenAIFiles"]


class OpenAIFiles(OpenAIClient):
    """A server that keeps files; a caller's own client that is not async holds them in memory."""

    async def upload(self, name: str, file: BinaryIO, *, purpose: str) -> str:
        """Send a file, and return the server's name for it.

        Args:
            name: to be shown with it.
            file: at its start.
            purpose: as the API calls it, such as `batch`.

        Raises:
            TypedLLMError: what went wrong, and on whose side.
        """
        create: Any = (self._ready or self._client()).files.create
        sent: dict[str, Any] = {"file": (name, file, "application/jsonl"), "purpose": purpose}
        try:
            if not iscoroutinefunction(create):
                return (await asyncio.to_thread(create, **sent)).id
            return (await create(**sent)).id
        except Exception as error:
            failure = self._translated(error)
        raise failure

    async def lines(self, id: str) -> AsyncIterator[bytes]:
        """Yield the lines of a file.

        Args:
            id: the server's name for it.

        Raises:
            TypedLLMError: what went wrong, and on whose side.
        """
        files: Any = (self._ready or self._client()).files
        try:
            if not iscoroutinefunction(files.content):
                content = await asyncio.to_thread(files.content, id)
                for line in content.content.split(b"\n"):
                    yield line
                return
            async with files.with_streaming_response.content(id) as response:
                async for line in lines_of(response.iter_bytes()):
                    yield line
            return
        except TypedLLMError:
            raise
        except Exception as error:
            failure = self._translated(error)
        raise failure
