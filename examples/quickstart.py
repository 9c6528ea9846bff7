"""Typed values from the model in the package: no key, GPU or download. python quickstart.py"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from typedllm import LLM, Sampling, explain


@dataclass
class Invoice:
    vendor: str
    total: float
    currency: Literal["EUR", "USD", "GBP"]
    due: date


def main() -> None:
    with LLM(sampling=Sampling(max_tokens=120)) as llm:
        # A dict of type words gives a dict.
        person = llm.call("I am Ada Lovelace, 36 years old.", {"name": "str", "age": "int"})
        print(person["name"], person["age"])

        # A class gives an instance; run() says more than call(): the error, if there is one, and
        # how sure the model was of each field.
        result = llm.run("Please pay 249.50 EUR to Nordwind Ltd by 17 May 2024.", Invoice)
        print(result.unwrap())
        for path, probability in (result.confidence or {}).items():
            print(f"  {path} {probability:.0%}")

        # A batch keeps its order, and a row that fails harms no other.
        questions = ["Why was I charged a fee?", "My card is lost!", "How do I top up?"]
        topics = llm.batch(questions, Literal["fees", "security", "top_up"])
        for question, topic in zip(questions, topics, strict=True):
            print(topic.value if topic.ok else topic.error, "-", question)

    # What is enforced while the model writes, and what is only checked; this needs no model.
    print(explain(Invoice))


if __name__ == "__main__":
    main()
