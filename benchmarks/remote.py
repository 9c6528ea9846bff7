"""What a typed call of a remote API costs the client: openai engine, instructor, the bare SDK.

python benchmarks/remote.py [--rows 10000]

A server on loopback, in a process of its own, gives the same canned answer to every call; 64 calls
are in flight, and the client has one core (on Linux).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import instructor
import openai
from aiohttp import web
from pydantic import BaseModel
from vllm_timing import Timed, timed

from typedllm import LLM

IN_FLIGHT: Final = 64


class Person(BaseModel):
    """What is asked for."""

    name: str
    age: int
    city: str
    job: str


CONTENT: Final = '{"name":"Ada Lund","age":36,"city":"Bergen","job":"nurse"}'
ANSWER: Final = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "canned",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": CONTENT},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 40, "completion_tokens": 20, "total_tokens": 60},
    }
).encode()


def serve(port: Any) -> None:
    """Answer until the process is ended."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=ANSWER, content_type="application/json")

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


async def in_flight(rows: int, ask: Callable[[int], Awaitable[object]]) -> None:
    """Ask so often, with as many workers as calls may be in flight."""
    numbers = iter(range(rows))

    async def work() -> None:
        for number in numbers:
            await ask(number)

    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))


def bare(url: str, rows: int) -> int:
    """The SDK's plain `post`, and Pydantic's own reading of the answer's text."""

    async def run() -> None:
        async with openai.AsyncOpenAI(
            base_url=url, api_key="x", max_retries=0, http_client=openai.DefaultAioHttpClient()
        ) as client:

            async def ask(number: int) -> None:
                body = {"model": "canned", "messages": [{"role": "user", "content": f"{number}"}]}
                answer: Any = await client.post("/chat/completions", body=body, cast_to=object)
                Person.model_validate_json(answer["choices"][0]["message"]["content"])

            await in_flight(rows, ask)

    asyncio.run(run())
    return rows


def by_instructor(url: str, rows: int) -> int:
    """Calls of instructor's, in its JSON-schema mode."""

    async def run() -> None:
        client = instructor.from_openai(
            openai.AsyncOpenAI(base_url=url, api_key="x", max_retries=0),
            mode=instructor.Mode.JSON_SCHEMA,
        )

        async def ask(number: int) -> None:
            await client.chat.completions.create(
                model="canned",
                messages=[{"role": "user", "content": f"{number}"}],
                response_model=Person,
                max_retries=0,
            )

        await in_flight(rows, ask)

    asyncio.run(run())
    return rows


def by_typedllm(url: str, rows: int) -> int:
    """A batch of typedllm's."""
    with LLM("openai:canned", base_url=url, api_key="x") as llm:
        results = llm.batch([f"{number}" for number in range(rows)], Person)
    assert all(result.ok for result in results)
    return rows


def measured(name: str, url: str, rows: int) -> Timed:
    """Time one of the ways, after what is made once."""
    way = {"post of the SDK": bare, "openai engine": by_typedllm, "instructor": by_instructor}[name]
    way(url, 64)
    return timed(partial(way, url, rows))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    rows = parser.parse_args().rows
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{here.recv()}/v1"
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(server.pid or 0, {cores[-1]})
        os.sched_setaffinity(0, {cores[0]})
    counts = {"post of the SDK": rows, "openai engine": rows, "instructor": max(rows // 5, 1)}
    found: dict[str, list[Timed]] = {name: [] for name in counts}
    for name in [*counts, *reversed(counts), *counts, *reversed(counts)]:  # favours none
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # for its memory
            found[name].append(pool.apply(measured, (name, url, counts[name])))
    server.terminate()
    print(f"{'':<18}{'calls/s':>10}{'CPU ms':>10}{'peak MiB':>10}   calls/s of each run")
    rates: dict[str, float] = {}
    for name, runs in found.items():
        calls = len(runs) * counts[name]
        rates[name] = calls / sum(each.seconds for each in runs)
        cpu = 1000 * sum(each.cpu for each in runs) / calls
        peak = max(each.peak_mib for each in runs)
        told = " ".join(f"{counts[name] / each.seconds:.0f}" for each in runs)
        print(f"{name:<18}{rates[name]:>10.0f}{cpu:>10.2f}{peak:>10.0f}   {told}")
    engine = rates["openai engine"]
    print(
        f"openai engine: {engine / rates['instructor']:.1f} times instructor,"
        f" {engine / rates['post of the SDK']:.2f} of the SDK's post"
    )


if __name__ == "__main__":
    main()
