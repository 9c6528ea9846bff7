"""An answer out of passages that were found for a question. python rag.py [QUESTION]"""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from typedllm import LLM

try:
    import bm25s
except ImportError:
    sys.exit("bm25s is missing: pip install 'typedllm[bm25]'")

PASSAGES = [
    "A ticket for the Museum of the Sea costs 14.50 EUR.",
    "A ticket for the Gallery of Modern Art costs 22.00 USD.",
    "The Museum of the Sea is closed on Mondays.",
    "Children under six go to every museum of the city for nothing.",
    "The tram to the harbour leaves every ten minutes from the main square.",
    "The public library lends books, records and tools, all free of charge.",
]
SHOWN = 2  # passages for each question


class Ticket(BaseModel):
    passages: set[Annotated[int, Field(ge=1, le=SHOWN)]] = Field(min_length=1)
    price: float = Field(ge=0)
    currency: Literal["EUR", "GBP", "USD"]


def find(question: str) -> list[str]:
    """The passages that share the most words with a question, rare words first."""
    index = bm25s.BM25(corpus=PASSAGES)
    index.index(tokens(PASSAGES), show_progress=False)
    found, _ = index.retrieve(tokens(question), k=SHOWN, show_progress=False)
    return [str(passage) for passage in found[0]]


def tokens(texts: str | list[str]) -> Any:
    return bm25s.tokenize(texts, stopwords="en", show_progress=False)


def main(question: str) -> None:
    passages = find(question)
    with LLM() as llm:
        # The template `rag` of the package numbers the passages; a mapping is its values.
        ticket = llm.call({"passages": passages, "question": question}, Ticket, template="rag")

    print(question)
    for number, passage in enumerate(passages, start=1):
        print(f"  [{number}] {passage}")
    print(f"{ticket.price:.2f} {ticket.currency}, says the model, from {sorted(ticket.passages)}")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "What does a ticket for the Museum of the Sea cost?")
