"""How much of a service's limits a batch uses, and how many of its calls are refused.

python benchmarks/limiter.py [--minutes 4]

A server on loopback, in a process of its own, lets in 3,000 requests and 100,000 tokens a minute,
which flow in all the time, and answers like OpenAI's API: after half a second or so, by a 429 with
`retry-after` what is too much, and always with the headers that tell what remains. Where requests
are small, they are what is scarce; where they are large, tokens are. Either the headers are all
that is known, or the server keeps them to itself and the batch is given the limits. The first
minute, when what was saved up is spent, does not count.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from typedllm import LLM
from typedllm.engines.limited import Limited
from typedllm.engines.quota import Quota, RateLimit
from typedllm.engines.table import open_engine

MINUTE_S: Final = 60.0
LIMITS: Final = {"requests": 3_000.0, "tokens": 100_000.0}
LATENCY_S: Final = (0.3, 0.9)
SIZES: Final = {"small": (40, 5), "large": (1_200, 150)}  # bytes of a prompt, words of an answer


@dataclass
class Server:
    """Counts what it lets in, second by second."""

    tells: bool
    words: int
    levels: dict[str, float] = field(default_factory=lambda: dict(LIMITS))
    at: float = field(default_factory=time.monotonic)
    seconds: list[dict[str, float]] = field(default_factory=list[dict[str, float]])

    async def answer(self, request: web.Request) -> web.Response:
        """Let a request in or not."""
        asked = await request.json()
        size = sum(len(each["content"].encode()) for each in asked["messages"])
        words = round(random.uniform(0.5, 1.5) * self.words)
        usage = {"prompt_tokens": 7 + round(size / 3.6), "completion_tokens": words}
        amounts = {"requests": 1.0, "tokens": float(sum(usage.values()))}
        wait_s = self.take(amounts)
        headers = self.headers() if self.tells else {}
        if wait_s:
            headers |= {"retry-after": f"{wait_s:.3f}"}
            error = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
            return web.json_response(error, status=429, headers=headers)
        await asyncio.sleep(random.uniform(*LATENCY_S))
        message = {"role": "assistant", "content": "word " * words}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": usage}, headers=headers)

    def take(self, amounts: dict[str, float]) -> float:
        """Take what a request needs, or return the seconds until there is enough."""
        now = time.monotonic()
        for kind, limit in LIMITS.items():
            flown = (now - self.at) * limit / MINUTE_S
            self.levels[kind] = min(limit, self.levels[kind] + flown)
        self.at = now
        short = {kind: amount - self.levels[kind] for kind, amount in amounts.items()}
        wait_s = max(0.0, *(each / LIMITS[kind] * MINUTE_S for kind, each in short.items()))
        found = {"at": now, "requests": 0.0, "tokens": 0.0, "refused": 1.0}
        if not wait_s:
            found |= {**amounts, "refused": 0.0}
            for kind, amount in amounts.items():
                self.levels[kind] -= amount
        self.seconds.append(found)
        return wait_s

    def headers(self) -> dict[str, str]:
        """What remains, as OpenAI says it."""
        return {
            f"x-ratelimit-{what}-{kind}": value
            for kind, limit in LIMITS.items()
            for what, value in (
                ("limit", f"{limit:.0f}"),
                ("remaining", str(int(max(0.0, self.levels[kind])))),
                ("reset", f"{(1 - self.levels[kind] / limit) * MINUTE_S * 1000:.0f}ms"),
            )
        }


def serve(port: Any, tells: bool, words: int) -> None:
    """Answer until the other side wants to know what came."""

    async def run() -> None:
        server = Server(tells=tells, words=words)
        app = web.Application()
        app.router.add_post("/v1/chat/completions", server.answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port.send(runner.addresses[0][1])
        await asyncio.to_thread(port.recv)
        port.send(server.seconds)

    asyncio.run(run())


async def measured(size: str, told: bool, minutes: float) -> str:
    """Ask for so long, and say what came of it."""
    length, words = SIZES[size]
    here, there = multiprocessing.Pipe()
    started = multiprocessing.get_context("spawn").Process(
        target=serve, args=(there, told, words), daemon=True
    )
    started.start()
    url = f"http://127.0.0.1:{await asyncio.to_thread(here.recv)}/v1"
    engine = open_engine("openai:canned", {"base_url": url, "api_key": "x"})
    ours = RateLimit(requests_per_minute=LIMITS["requests"], tokens_per_minute=LIMITS["tokens"])
    quota = Quota(None if told else ours, in_flight=engine.capacity)
    begun, failed = time.monotonic(), 0

    def prompts() -> Iterator[str]:
        for number in itertools.count():
            yield f"Row {number}: ".ljust(length, "x")

    llm = LLM(Limited(engine, quota))
    async with llm, aclosing(llm.aiter_batch(prompts())) as results:
        async for result in results:
            failed += not result.ok
            if time.monotonic() - begun > minutes * MINUTE_S:
                break
    here.send("what came?")
    came: list[dict[str, float]] = await asyncio.to_thread(here.recv)
    started.join()
    counted = [each for each in came if MINUTE_S <= each["at"] - begun <= minutes * MINUTE_S]
    used = {
        kind: sum(each[kind] for each in counted) / (limit * (minutes - 1))
        for kind, limit in LIMITS.items()
    }
    refused = sum(each["refused"] for each in came)
    return (
        f"{size:<7}{'its headers' if told else 'our limits':<13}{used['requests']:>10.1%}"
        f"{used['tokens']:>10.1%}{len(came):>9,}{refused / len(came):>9.2%}{failed:>8}"
    )


async def main() -> None:
    """Print the table; all cases run at the same time, each with a server of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=4.0, help="more than 1")
    minutes = parser.parse_args().minutes
    cases = itertools.product(SIZES, (True, False))
    rows = await asyncio.gather(*(measured(size, told, minutes) for size, told in cases))
    print("of the allowed, after the first minute", "of all", sep=" " * 15)
    print(f"{'':<20}{'requests':>10}{'tokens':>10}{'calls':>9}{'429':>9}{'failed':>8}")
    print("\n".join(rows))


if __name__ == "__main__":
    asyncio.run(main())
