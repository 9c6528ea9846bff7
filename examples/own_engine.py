"""An engine of one's own: whatever can answer a request, in one method. python own_engine.py"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from typedllm import LLM, EngineError, Message, Usage
from typedllm.engines.table import EngineRow
from typedllm.records import Completion, Failure, Reply, Request, Traits

# It enforces no constraint: its answers are checked, and one that is not valid is asked for anew.
TRAITS: Final = Traits(name="first", takes=frozenset(), ending="may be cut", logprobs=False)


@dataclass
class FirstNumber:
    """Answers with the first whole number of what the user said; an `Engine` by its form."""

    model: str = "first"
    traits: Traits = TRAITS
    capacity: int = 8  # requests that it likes in flight

    async def send(self, request: Request) -> Reply:
        """Answer a request; what goes wrong is returned, not raised."""
        asked = [part for part in request.prompt if isinstance(part, Message)]
        text = next((turn.text for turn in asked if turn.role == "user"), "")
        if not text.strip():
            return Failure(error=EngineError("there is nothing to read"))
        found = re.search(r"\d+", text)
        answer = f'{{"number": {found[0]}}}' if found else "I see no number."
        usage = Usage(input_tokens=len(text.split()), output_tokens=len(answer.split()))
        return Completion(text=answer, finish_reason="stop", usage=usage)

    async def close(self) -> None:
        """Free what it holds."""


# In a package of one's own it gets a name, for LLM("first") and `--model first`:
#   [project.entry-points."typedllm.engines"]
#   first = "my_package:ROW"
ROW: Final = EngineRow(traits=TRAITS, open=FirstNumber, summary="the first number of a text")


def main() -> None:
    texts = ["I am 36 years old.", "I want 2000 of them!", "There is no number here.", " "]
    with LLM(FirstNumber()) as llm:
        for result in llm.batch(texts, {"number": "int(le=100)"}):
            print(f"{result.prompt!r:26}  {result.attempts} sent  {result.value or result.error}")


if __name__ == "__main__":
    main()
