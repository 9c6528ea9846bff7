"""The bridge, in real threads, real loops and real processes."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor

import pytest

from typedllm._bridge import iterate, run
from typedllm.errors import UsageError

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("NAME", default="nobody")


async def who(wait_s: float = 0.0) -> tuple[str, str]:
    await asyncio.sleep(wait_s)
    return NAME.get(), threading.current_thread().name


def script(text: str, *, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=timeout_s, check=False
    )


def test_it_runs_in_a_thread_of_its_own_with_the_callers_context():
    token = NAME.set("ada")
    try:
        assert run(who()) == ("ada", "typedllm")
    finally:
        NAME.reset(token)
    assert run(who())[0] == "nobody"


def test_exceptions_come_through():
    async def fail() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        run(fail())


async def test_it_works_inside_a_running_loop():
    assert run(who())[1] == "typedllm"


def test_eight_threads_wait_at_the_same_time():
    def call(number: int) -> tuple[str, str]:
        NAME.set(str(number))
        return run(who(0.2))

    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        assert [name for name, _ in pool.map(call, range(8))] == [str(n) for n in range(8)]
    assert time.monotonic() - started < 8 * 0.2


def test_waiting_for_itself_is_an_error_not_a_deadlock():
    async def nested() -> object:
        return run(who())

    with pytest.raises(UsageError, match="async twin"):
        run(nested())


async def counted(log: list[str]) -> AsyncGenerator[int, None]:
    try:
        for number in range(3):
            yield number
            await asyncio.sleep(0)
    finally:
        log.append("closed")


def test_iterate_yields_everything_and_closes():
    log: list[str] = []
    assert list(iterate(counted(log))) == [0, 1, 2]
    assert log == ["closed"]


def test_closing_the_iterator_closes_the_source():
    log: list[str] = []
    for _ in (items := iterate(counted(log))):
        break
    assert log == []
    items.close()
    assert log == ["closed"]


def test_an_error_of_the_source_comes_through_after_its_items():
    async def source() -> AsyncGenerator[int, None]:
        yield 1
        raise LookupError("gone")

    items = iterate(source())
    assert next(items) == 1
    with pytest.raises(LookupError, match="gone"):
        next(items)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs POSIX signals")
def test_ctrl_c_cancels_the_coroutine_and_is_raised_again():
    outcome = script(
        """
import asyncio, os, signal, threading, time
from typedllm._bridge import run

async def work():
    try:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        raise

async def later():
    return "still usable"

started = time.monotonic()
try:
    run(work())
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - started < 10)
print(run(later()))
"""
    )
    assert outcome.stdout.split("\n")[:3] == ["cancelled", "interrupted True", "still usable"]
    assert outcome.stderr == ""


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs fork")
def test_a_forked_child_gets_a_loop_of_its_own():
    outcome = script(
        """
import asyncio, os, threading
from typedllm._bridge import run

async def pid():
    await asyncio.sleep(0)
    return os.getpid(), threading.get_ident()

assert run(pid())[0] == os.getpid()
child = os.fork()
if child == 0:
    print(run(pid())[0] == os.getpid(), flush=True)
    os._exit(0)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), run(pid())[0] == os.getpid())
"""
    )
    assert outcome.stdout.split() == ["True", "0", "True"]


def test_the_interpreter_ends_with_an_iterator_half_way():
    outcome = script(
        """
import asyncio
from typedllm._bridge import iterate

async def source():
    while True:
        await asyncio.sleep(0.001)
        yield 1

items = iterate(source())
print(next(items))
"""
    )
    assert outcome.stdout.split() == ["1"]
    assert outcome.stderr == ""
    assert outcome.returncode == 0


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt])
def test_what_would_end_a_loop_is_its_callers(raised: type[BaseException]):
    async def ends() -> None:
        raise raised

    async def goes_on() -> int:
        await asyncio.sleep(0)
        return 7

    async def within_a_task() -> None:
        await asyncio.create_task(ends())

    for work in (ends, within_a_task):
        with pytest.raises(raised):
            run(work())
    assert run(goes_on()) == 7


def test_an_iterator_that_is_forgotten_on_the_loops_own_thread_closes_itself():
    closed = threading.Event()

    async def endless() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    iterator = iterate(endless())
    assert next(iterator) == 1
    holder = [iterator]
    del iterator

    async def forget() -> None:
        holder.clear()

    run(forget())
    assert closed.wait(5)
