"""How long 10,000 prompts take to render, beside plain Jinja: seconds, and the ratio.

python benchmarks/rendering.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jinja2

from typedllm import chat_format, template

COUNT = 10_000
ROUNDS = 3
SOURCE = """{% block system %}You are a {{ role }} of {{ company }}.{% endblock %}
{% block user %}
Answer this customer, {{ name }}, kindly:

{{ message }}
{% endblock %}"""
ROWS = [
    {
        "role": "clerk",
        "company": "Nordwind Ltd",
        "name": f"Customer {number}",
        "message": f"Where is my parcel {number}? It should have come on Monday.",
    }
    for number in range(COUNT)
]


def best(render: Callable[[dict[str, str]], object]) -> float:
    """Seconds for all rows, the best of some rounds."""
    times: list[float] = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for row in ROWS:
            render(row)
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Print a line each."""
    plain = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(SOURCE)
    ours: Any = template(SOURCE)
    chatml = chat_format("chatml")
    floor = best(plain.render)
    for name, seconds in (
        ("jinja2 alone, one text", floor),
        ("messages, values told from words", best(ours.render)),
        ("and as raw text in ChatML", best(lambda row: chatml.render(ours.render(row)))),
    ):
        print(f"{name:34} {seconds:6.3f} s for {COUNT:,}   {seconds / floor:5.2f}")


if __name__ == "__main__":
    main()
