"""typedllm's HTTP engine beside instructor, on the same vLLM server: objects a second, client CPU.

python benchmarks/vllm_http.py [--rows 2000] [--guided]

Both ask for the same type with the same messages; instructor in its JSON-schema mode, with as many
calls in flight as the server runs at once. The server is at its defaults, or one of
`typedllm start-server` with --guided.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from typing import Any, Final

import instructor
import openai
from pydantic import BaseModel
from vllm_timing import MAX_TOKENS, TINY, Timed, texts_of, timed

from typedllm import LLM, Sampling
from typedllm.engines.server_commands import server_command
from typedllm.engines.servers import start_server

IN_FLIGHT: Final = 256


class Person(BaseModel):
    """The same four fields."""

    name: str
    age: int
    city: str
    job: str


def by_typedllm(url: str, model: str, texts: Sequence[str]) -> Timed:
    """A batch of typedllm's."""
    with LLM(f"vllm-server:{model}", base_url=url, sampling=Sampling(max_tokens=MAX_TOKENS)) as llm:
        llm.batch(texts[:64], Person)

        def work() -> int:
            results = llm.batch(texts, Person)
            valid.append(sum(result.ok for result in results))
            return sum(result.usage.output_tokens for result in results)

        valid: list[int] = []
        found = timed(work)
        print(f"{'typedllm':<14}{valid[0]:,} of {len(texts):,} valid")
        return found


def by_instructor(url: str, model: str, chats: Sequence[Any]) -> Timed:
    """Calls of instructor's, behind a semaphore."""
    valid, tokens = [0], [0]

    async def every(rows: Sequence[Any]) -> None:
        client = instructor.from_openai(
            openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0),
            mode=instructor.Mode.JSON_SCHEMA,
        )
        free = asyncio.Semaphore(IN_FLIGHT)

        async def one(messages: Any) -> None:
            async with free:
                try:
                    _, raw = await client.chat.completions.create_with_completion(
                        model=model,
                        messages=messages,
                        response_model=Person,
                        max_retries=0,
                        temperature=0,
                        max_tokens=MAX_TOKENS,
                    )
                except Exception:  # an answer that is cut, above all
                    return
                valid[0] += 1
                tokens[0] += raw.usage.completion_tokens

        await asyncio.gather(*map(one, rows))

    asyncio.run(every(chats[:64]))
    valid[0] = tokens[0] = 0

    def work() -> int:
        asyncio.run(every(chats))
        return tokens[0]

    found = timed(work)
    print(f"{'instructor':<14}{valid[0]:,} of {len(chats):,} valid")
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--model", default=str(TINY))
    parser.add_argument("--guided", action="store_true")
    options = parser.parse_args()
    texts = texts_of(options.rows)
    with LLM() as llm:
        prompts = [llm.render(text, Person) for text in texts]
    chats = [[{"role": m.role, "content": m.text} for m in prompt.messages] for prompt in prompts]
    extra = ["--dtype", "float32", "--max-num-seqs", str(IN_FLIGHT)]
    command = server_command(options.model, guided=options.guided, extra=extra)
    with start_server(command) as server:
        found = {"instructor": by_instructor(server.url, server.model, chats)}
        found["typedllm"] = by_typedllm(server.url, server.model, texts)
        again = by_typedllm(server.url, server.model, texts)
        last = by_instructor(server.url, server.model, chats)
    print(f"{'':<14}{'objects/s':>12}{'client CPU ms':>16}{'peak MiB':>12}")
    rates: dict[str, float] = {}
    cpus: dict[str, float] = {}
    for name, other in (("instructor", last), ("typedllm", again)):
        pair = (found[name], other)
        rates[name] = 2 * len(texts) / sum(each.seconds for each in pair)
        cpus[name] = 1000 * sum(each.cpu for each in pair) / (2 * len(texts))
        peak = max(each.peak_mib for each in pair)
        print(f"{name:<14}{rates[name]:>12.1f}{cpus[name]:>16.2f}{peak:>12.0f}")
    faster, cheaper = (each["typedllm"] / each["instructor"] for each in (rates, cpus))
    print(f"typedllm / instructor: objects/s {faster:.2f}, client CPU {cheaper:.2f}")


if __name__ == "__main__":
    main()
