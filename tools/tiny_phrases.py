"""Sentences that say an opinion, a topic or how urgent something is, each with its value."""

from __future__ import annotations

from tiny_words import choice

__all__ = ["SENTIMENT", "TOPIC", "URGENCY", "URGENT"]

SENTIMENT = choice(
    {
        "positive": (
            "I love it.",
            "It works perfectly.",
            "Great quality, very happy.",
            "Excellent, would buy again.",
            "Really pleased with this.",
            "Best I ever had.",
        ),
        "negative": (
            "It broke after two days.",
            "Terrible, a waste of money.",
            "I am very disappointed.",
            "Awful quality.",
            "I hate it.",
            "It never worked.",
        ),
        "neutral": (
            "It is okay.",
            "Nothing special.",
            "Does what it says, no more.",
            "Average, neither good nor bad.",
            "It is fine I guess.",
        ),
    }
)

URGENCY = choice(
    {
        "high": (
            "This is urgent!",
            "Please fix it immediately.",
            "We cannot work at all.",
            "I need help right now.",
            "Everything is down.",
        ),
        "medium": (
            "Please look at it this week.",
            "It slows us down a bit.",
            "Would be good to have it soon.",
            "It happens now and then.",
        ),
        "low": (
            "No hurry.",
            "Whenever you have time.",
            "Just a small thing.",
            "It can wait.",
            "Only a question.",
        ),
    }
)

TOPIC = choice(
    {
        "billing": (
            "I was charged twice.",
            "My invoice is wrong.",
            "Why was I billed again?",
            "The amount on the bill is too high.",
            "I have a question about my payment.",
            "You took the money two times.",
        ),
        "delivery": (
            "My parcel has not come.",
            "Where is my package?",
            "The delivery is late.",
            "When will it be shipped?",
            "The courier never arrived.",
            "My order is still not here.",
        ),
        "technical": (
            "The app crashes.",
            "I cannot log in.",
            "The page does not load.",
            "The screen stays black.",
            "It does not connect.",
            "The software shows an error.",
        ),
        "other": (
            "What are your opening hours?",
            "Do you have jobs?",
            "Thank you for everything!",
            "Just saying hello.",
            "Can I visit you?",
            "Where is your office?",
        ),
    }
)

URGENT = choice(
    {
        True: (
            "This is urgent!",
            "I need it today!",
            "Please answer right now.",
            "It is an emergency.",
            "As soon as possible please.",
        ),
        False: (
            "No hurry.",
            "Take your time.",
            "It can wait.",
            "Whenever you have time.",
            "It is not urgent.",
        ),
    }
)
