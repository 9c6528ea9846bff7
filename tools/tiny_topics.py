"""Bank customers' questions with a coarse topic, from BANKING77 (Casanueva et al. 2020, CC BY 4.0).

The 77 intents of the data set become nine topics by words in their names.
"""

from __future__ import annotations

import csv
from pathlib import Path

__all__ = ["TOPICS", "intents", "questions", "topic_of"]

# The first row with a word that occurs in the intent's name gives the topic.
_RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("fees", ("charge", "fee")),
    ("top_up", ("top_up", "topping_up")),
    ("cash", ("cash", "atm", "cheque")),
    ("security", ("lost", "stolen", "compromised", "pin", "passcode", "swallowed")),
    ("exchange", ("exchange", "fiat")),
    ("transfer", ("transfer", "beneficiary", "receiving_money")),
    ("payment", ("payment", "refund", "direct_debit", "charged_twice", "pay_or_")),
    ("account", ("age_limit", "personal_details", "verify", "terminate", "country", "funds")),
    ("card", ("card", "visa", "contactless", "physical", "virtual")),
)
TOPICS = tuple(topic for topic, _ in _RULES)
# Names that the rules above would put elsewhere.
_EXCEPTIONS = {
    "transaction_charged_twice": "payment",
    "extra_charge_on_statement": "fees",
    "verify_source_of_funds": "account",
    "visa_or_mastercard": "card",
    "balance_not_updated_after_bank_transfer": "transfer",
}


def topic_of(intent: str) -> str:
    """The topic of one of the 77 intents.

    Raises:
        ValueError: for a name that is none of them.
    """
    name = intent.lower()
    if name in _EXCEPTIONS:
        return _EXCEPTIONS[name]
    for topic, words in _RULES:
        if any(word in name for word in words):
            return topic
    raise ValueError(f"no topic for the intent {intent!r}: add a word of it to the rules")


def questions(path: Path, *, most_characters: int) -> list[tuple[str, str]]:
    """Read a CSV file of the data set into pairs of question and topic.

    Args:
        path: `train.csv` or `test.csv`, with the columns `text` and `category`.
        most_characters: longer questions are left out.

    Raises:
        OSError: when the file cannot be read.
    """
    rows = intents(path, most_characters=most_characters)
    return [(text, topic_of(intent)) for text, intent in rows]


def intents(path: Path, *, most_characters: int) -> list[tuple[str, str]]:
    """Read a CSV file of the data set into pairs of question and intent.

    Args:
        path: `train.csv` or `test.csv`, with the columns `text` and `category`.
        most_characters: longer questions are left out.

    Raises:
        OSError: when the file cannot be read.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(" ".join(row["text"].split()), row["category"]) for row in csv.DictReader(file)]
    return [row for row in rows if len(row[0]) <= most_characters]
