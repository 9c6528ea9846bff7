"""How long it takes to make an output type ready: compiled, printed, and loaded by llguidance.

python benchmarks/compile.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Annotated, Any, Literal

from llguidance import LLMatcher, LLTokenizer
from pydantic import EmailStr, Field, create_model

from typedllm.constraints.compile import compile_spec
from typedllm.constraints.lark import print_lark
from typedllm.engines.landing import Landing
from typedllm.grammar.expression import expression
from typedllm.records import Grammar, Traits
from typedllm.spec.spec import spec_of

TYPES = 50
PROCESSES = 5
TRAITS = Traits(name="guided", takes=frozenset({Grammar}), ending="landing", logprobs=False)


def ten_fields(number: int) -> Any:
    """A new model of ten fields, which no cache knows."""
    address = create_model("Address", street=(str, ...), town=(str, ...))
    return create_model(
        f"Person{number}",
        name=(str, ...),
        age=(Annotated[int, Field(ge=0, le=120 + number)], ...),
        score=(float, ...),
        member=(bool, ...),
        born=(date, ...),
        level=(Literal["bronze", "silver", "gold"], ...),
        tags=(list[str], ...),
        note=(str | None, None),
        address=(address, ...),
        mail=(EmailStr, ...),
    )


def milliseconds(work: Callable[[], object]) -> float:
    """Wall milliseconds of one run."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def first_compile() -> float:
    """Milliseconds of the first compile of this process."""
    spec = spec_of(ten_fields(0))
    return milliseconds(lambda: compile_spec(spec, TRAITS))


def first_of_a_process() -> float:
    """Milliseconds of the first compile in a fresh process."""
    command = [sys.executable, __file__, "--first"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    """Print one line a step."""
    first = statistics.median(first_of_a_process() for _ in range(PROCESSES))
    first_compile()
    models = [ten_fields(number) for number in range(1, TYPES + 1)]
    tokenizer = LLTokenizer("byte")
    times: dict[str, list[float]] = {}

    def timed(step: str, work: Callable[[], object]) -> None:
        times.setdefault(step, []).append(milliseconds(work))

    for model in models:
        timed("spec (Pydantic's schema)", partial(spec_of, model))
        spec = spec_of(model)
        timed("compile", partial(compile_spec, spec, TRAITS))
        timed("compile, cached", partial(compile_spec, spec, TRAITS))
        grammar = compile_spec(spec, TRAITS).constraint
        assert isinstance(grammar, Grammar)
        timed("print as Lark", partial(print_lark, grammar.root))
        expr = expression(grammar.root)
        timed("landing", partial(Landing, expr, list))
        lark = LLMatcher.grammar_from_lark(print_lark(grammar.root))
        timed("LLMatcher", partial(LLMatcher, tokenizer, lark))
    print(f"ten fields, CPython {sys.version.split()[0]}; median of {TYPES} types")
    print(f"{'first compile of a process':28} {first:8.2f} ms (median of {PROCESSES})")
    for step, found in times.items():
        worst = statistics.quantiles(found, n=10)[8]
        print(f"{step:28} {statistics.median(found):8.2f} ms (9 of 10 below {worst:.2f})")


if __name__ == "__main__":
    if sys.argv[1:] == ["--first"]:
        print(first_compile())
    else:
        main()
