"""A topic for each message to a bank, and how sure the model is. python classify.py [TEXT ...]"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Literal

from typedllm import LLM

MESSAGES = Path(__file__).parent / "data" / "messages.csv"
SURE = 0.7

Topic = Literal[
    "account", "card", "cash", "exchange", "fees", "payment", "security", "top_up", "transfer"
]


def main(texts: list[str]) -> None:
    intents = [""] * len(texts)  # what people made of the messages in the file
    if not texts:
        with MESSAGES.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))[:12]
        texts, intents = [row["text"] for row in rows], [row["category"] for row in rows]

    with LLM() as llm:
        # A Literal leaves the model nothing else to say. Texts go in, results come out in order.
        results = llm.batch(texts, Topic)

    unsure = 0
    for text, intent, result in zip(texts, intents, results, strict=True):
        if not result.ok:
            print(f"error        {result.error}")
            continue
        # The probability of the answer among those that were allowed: `$` is the whole of it.
        # An engine that reports no probabilities has None here.
        confidence = (result.confidence or {}).get("$", 0.0)
        unsure += confidence < SURE
        mark = " " if confidence >= SURE else "?"
        print(f"{result.value!s:8} {confidence:4.0%} {mark} {text[:50]:50}  {intent}")

    print(f"\n{results}")
    print(f"{unsure} of {len(texts)} are below {SURE:.0%}; let a person look at those (?)")


if __name__ == "__main__":
    main(sys.argv[1:])
