"""Typed rows from a CSV file, each in its place, errors too. python batch.py [FILE COLUMN [OUT]]"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path

from typedllm import LLM

EMAILS = [
    "Please pay 249.50 EUR to Nordwind Ltd by 17 May 2024.",
    "Invoice from Smith Ltd: total 1200.00 GBP.",
    "Minutes of the meeting. " * 2_000,  # too long for the model: an error of this row only
    "What a lovely day!",  # no invoice at all; the packaged model makes one up
]
INVOICE = {
    "vendor": "str(max_length=30)",
    "total": "float(ge=0)",
    "currency": ["EUR", "USD", "GBP"],
}


def main(path: Path, column: str, out: str | None = None) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    with LLM() as llm:
        # Whatever belongs to a row can go along with it, and comes back with its result.
        results = llm.batch([row[column] for row in rows], INVOICE, metadata=rows)

    for number, result in enumerate(results, start=1):
        shown = result.value if result.ok else type(result.error).__name__
        print(f"{number:3}  {result.metadata[column][:53]:53}  {shown}")

    print(f"\n{results}\n{results.summary()}")
    if out is not None:
        results.to_parquet(out)  # a row a result; the columns' types are those of INVOICE
    for position, error in results.errors().items():
        print(f"row {position + 1}: {error}")


def example(folder: Path) -> Path:
    path = folder / "emails.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text"], *([email] for email in EMAILS)])
    return path


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]), *sys.argv[2:4])
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(example(Path(folder)), "text")
