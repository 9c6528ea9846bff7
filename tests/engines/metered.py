"""A service that lets in so many requests and tokens a minute, and time that passes by itself."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from typedllm.engines.allowances import headers_came
from typedllm.errors import EngineError
from typedllm.records import (
    Completion,
    Failure,
    Message,
    Reply,
    Request,
    Sampling,
    Segment,
    Traits,
    Usage,
)

T = TypeVar("T")

MINUTE_S = 60.0
TRAITS = Traits(name="metered", takes=frozenset(), ending="may be cut", logprobs=False)


class _Jumping(selectors.DefaultSelector):
    """Waits no time, and says how much it would have waited."""

    waited_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("all wait, and nothing will ever happen")
        if not ready and timeout:
            self.waited_s += timeout
        return ready


class TimelessLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to when something happens next."""

    def __init__(self) -> None:
        self.jumping = _Jumping()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.waited_s


def in_no_time(main: Coroutine[Any, Any, T]) -> T:
    """Run something that waits, without waiting."""
    with asyncio.Runner(loop_factory=TimelessLoop) as runner:
        return runner.run(main)


def now() -> float:
    """The time of the running loop, which begins with 0; a quota's clock."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return 0.0


@dataclass(kw_only=True)
class Metered:
    """An engine at a service with two buckets, which are refilled all the time.

    It knows how long its answers will be, so it charges what they take when it lets a request in.
    """

    requests: float
    tokens: float
    burst: float = 1.0  # of a minute, that may come at once
    latency_s: float = 1.0
    tells: bool = True
    taken: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    order: list[str] = field(default_factory=list[str])
    refused: int = 0
    on_way: int = 0
    most_on_way: int = 0
    model: str = "metered"
    capacity: int = 64
    traits: Traits = TRAITS

    def __post_init__(self) -> None:
        self.limits = {"requests": self.requests, "tokens": self.tokens}
        self.levels = {kind: limit * self.burst for kind, limit in self.limits.items()}
        self.at = 0.0

    async def send(self, request: Request) -> Reply:
        self.on_way += 1
        self.most_on_way = max(self.most_on_way, self.on_way)
        try:
            return await self._sent(request)
        finally:
            self.on_way -= 1

    async def _sent(self, request: Request) -> Reply:
        usage = usage_of(request)
        wait_s = self._take({"requests": 1, "tokens": usage.tokens})
        headers = self._headers() if self.tells else {}
        if wait_s:
            self.refused += 1
            headers_came(headers)
            error = EngineError("slow down", retryable=True, status=429, retry_after_s=wait_s)
            return Failure(error=error)
        self.taken.append((now(), usage.tokens))
        self.order.append(request.prompt[0].text.strip())
        await asyncio.sleep(self.latency_s)
        headers_came(headers)
        return Completion(text="yes", finish_reason="stop", usage=usage)

    async def close(self) -> None:
        """Nothing is open."""

    def _take(self, amounts: dict[str, int]) -> float:
        for kind, limit in self.limits.items():
            refilled = self.levels[kind] + (now() - self.at) * limit / MINUTE_S
            self.levels[kind] = min(limit * self.burst, refilled)
        self.at = now()
        waits_s = [
            max(0.0, amount - self.levels[kind]) / self.limits[kind] * MINUTE_S
            for kind, amount in amounts.items()
        ]
        if not any(wait_s > 1e-6 for wait_s in waits_s):
            for kind, amount in amounts.items():
                self.levels[kind] -= amount
            return 0.0
        return max(waits_s)

    def _headers(self) -> dict[str, str]:
        return {
            f"x-ratelimit-{what}-{kind}": value
            for kind, limit in self.limits.items()
            for what, value in (
                ("limit", str(int(limit))),
                ("remaining", str(int(max(0.0, self.levels[kind])))),
                ("reset", f"{(limit - self.levels[kind]) / limit * MINUTE_S:.3f}s"),
            )
        }


def usage_of(request: Request) -> Usage:
    """What a request takes: a token for four bytes, and as many in the answer as its seed says."""
    size = sum(len(part.text.encode()) for part in request.prompt)
    return Usage(input_tokens=size // 4, output_tokens=request.sampling.seed or 0)


def request_of(
    name: object = "", *, tokens_in: int = 10, tokens_out: int = 10, max_tokens: int | None = None
) -> Request:
    """A request that takes so many tokens."""
    text = str(name).ljust(4 * tokens_in)
    return Request(
        prompt=(Message(role="user", content=(Segment(text=text),)),),
        sampling=Sampling(seed=tokens_out, max_tokens=max_tokens),
    )
