"""Suggestions for what somebody has begun to type. python autocomplete.py [PREFIX]"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

from typedllm import LLM, Choice, Regex, Sampling

MESSAGES = Path(__file__).parent / "data" / "messages.csv"

# A template that makes raw text: the model is given the prefix without a chat around it, as a text
# to go on with.
RAW = "{# makes: raw #}{{ user_prompt }}"


def main(prefix: str) -> None:
    with MESSAGES.open(encoding="utf-8", newline="") as file:
        questions = sorted({row["text"] for row in csv.DictReader(file)})
    endings = [text[len(prefix) :] for text in questions if text.startswith(f"{prefix} ")]
    words = sorted(set(re.findall(r"\b[a-z]{2,}\b", " ".join(questions))))

    with LLM() as llm:
        print(f"{len(endings)} known questions begin with {prefix!r}. The likeliest:")
        for _ in range(min(3, len(endings))):
            result = llm.run(prefix, Choice(endings), template=RAW)
            ending = result.unwrap()
            print(f"  {(result.confidence or {}).get('$', 0.0):4.0%}  {prefix}{ending}")
            endings.remove(ending)  # the next one is the likeliest of the others

        print("New ones, of one to three known words; the packaged model makes little sense here:")
        known = Regex(f"( ({'|'.join(words)})){{1,3}}")
        for seed in range(3):
            warm = Sampling(temperature=0.7, seed=seed)
            print(f"        {prefix}{llm.call(prefix, known, template=RAW, sampling=warm)}")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "How do I")
