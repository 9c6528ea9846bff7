"""A server of OpenAI's protocol on loopback that echoes numbers, counts, and fails at times."""

from __future__ import annotations

import asyncio
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

_FAULTS: Final = ("429", "429 with Retry-After", "500", "503", "reset", "cut JSON", "invalid")


@dataclass
class Counted:
    """What a server was asked, and how it answers.

    Attributes:
        faults: the share of calls that go wrong.
        delay_s: seconds before each answer.
        asked: how often each number was asked for.
        failed: how often each fault was given.
    """

    faults: float = 0.0
    delay_s: float = 0.0
    asked: Counter[int] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        users = [each for each in body["messages"] if each["role"] == "user"]
        number = int(re.findall(r"\d+", users[0]["content"])[0])
        self.asked[number] += 1
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.chance.random() < self.faults:
            return await self._fault(request, number)
        return web.json_response(completion(f'{{"n":{number}}}'))

    async def _fault(self, request: web.Request, number: int) -> web.StreamResponse:
        fault = self.chance.choice(_FAULTS)
        self.failed[fault] += 1
        told = {"error": {"message": f"out of order ({fault})"}}
        if fault[:3].isdigit():
            headers = {"Retry-After": "0"} if "Retry-After" in fault else {}
            return web.json_response(told, status=int(fault[:3]), headers=headers)
        if fault == "invalid":
            return web.json_response(completion(f'{{"n":"number {number}"}}'))
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        text = json.dumps(completion(f'{{"n":{number}}}')).encode()
        if fault == "reset":
            response.content_length = len(text)
        await response.prepare(request)
        await response.write(text[: len(text) // 2])
        if fault == "reset" and request.transport is not None:
            request.transport.abort()
        return response


def completion(content: str) -> dict[str, Any]:
    """An answer as the protocol has it."""
    message = {"role": "assistant", "content": content}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
    }


@contextmanager
def counted_server(**given: Any) -> Generator[Counted]:
    """Start one, in a thread of its own."""
    counted = Counted(**given)
    loop = asyncio.new_event_loop()
    runner: list[web.AppRunner] = []

    async def start() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", counted.answer)
        runner.append(web.AppRunner(app, access_log=None, handler_cancellation=False))
        await runner[0].setup()
        await web.TCPSite(runner[0], "127.0.0.1", 0).start()
        counted.url = f"http://127.0.0.1:{runner[0].addresses[0][1]}/v1"

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield counted
    finally:
        asyncio.run_coroutine_threadsafe(runner[0].cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
