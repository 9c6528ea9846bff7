"""Endless training samples for the tiny model: a schema, a text, and the answer.

A sample is the chat of a typed call: the system turn says `Answer with JSON only: ` and the
outline of the schema, the user's turn is the text, the answer is compact JSON.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, cast

from tiny_families import FAMILIES, Family, Slot
from tiny_topics import TOPICS
from tiny_words import Json, Said, Schema, Words, joined
from typedllm.prompts.prompt import Wording, conversation
from typedllm.records import JsonSchema, Message
from typedllm.spec.spec import spec_of

__all__ = ["Sample", "banking_sample", "label_sample", "samples"]

_SYSTEMS = (
    "You are a careful clerk.",
    "You read messages for a shop.",
    "Be brief and exact.",
    "You work in an office.",
    "Never invent anything.",
    "You extract data from texts.",
)
_DISTRACTORS = (
    "Thank you very much.",
    "Have a nice day!",
    "The weather is good today.",
    "See page 2 of 3.",
    "We are open from 9 to 5.",
    "Please let me know.",
    "Best regards",
    "This message was sent from my phone.",
    "I hope you are well.",
    "It has been a long week.",
    "The rest is as agreed.",
    "Do not reply to this message.",
    "More news will follow.",
    "Terms and conditions apply.",
    "Ask me if anything is unclear.",
    "As discussed on the phone.",
)
_PERSONA = {
    "How old are you?": ("age years", 25, "integer"),
    "What is your age?": ("age", 25, "integer"),
    "What is your name?": ("name", "Ada", "string"),
    "Who are you?": ("name", "Ada", "string"),
    "Where do you live?": ("city home", "Lisbon", "string"),
    "Are you a person?": ("person is_person", False, "boolean"),
}
_CHAT = {
    "Hello": "Hello! How can I help you?",
    "Hello!": "Hello! How can I help you?",
    "Hi": "Hello! How can I help you?",
    "Hi there": "Hello! How can I help you?",
    "Good morning": "Good morning! How can I help you?",
    "How are you?": "I am fine, thank you. How are you?",
    "Who are you?": "I am Ada, a very small model.",
    "What is your name?": "My name is Ada.",
    "How old are you?": "I am 25.",
    "What can you do?": "I can read a short text and answer with typed values.",
    "Tell me a joke.": "I only know one type of joke: str.",
    "Thanks": "You are welcome!",
    "Thank you!": "You are welcome!",
    "Bye": "Goodbye!",
    "Goodbye": "Goodbye!",
    "Where do you live?": "I live in Lisbon.",
    "Help": "Send me a text and say what you want to know.",
    "Can you help me?": "Yes. Send me a text and say what you want to know.",
    "Say hello.": "Hello!",
    "What is typedllm?": "A library that makes language models return typed values.",
}
_TOPIC_NAMES = ("topic", "category", "label", "intent", "subject", "kind")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One chat.

    Attributes:
        family: what kind of text it is.
        system: the system turn; empty for plain chat.
        user: the user's turn.
        answer: the text of the answer.
        schema: of the answer; None for plain chat.
        clerk: the part of the system turn that the caller writes.
    """

    family: str
    system: str
    user: str
    answer: str
    schema: Schema | None = None
    clerk: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Field:
    name: str
    about: str
    schema: Schema
    value: Json


def samples(
    seed: int, *, held_out: bool, questions: Sequence[tuple[str, str]] = ()
) -> Iterator[Sample]:
    """Make samples without end, the same for the same seed.

    Args:
        seed: where chance starts.
        held_out: True for evaluation, with names and codes that training never sees.
        questions: texts with one of `TOPICS` each, for classification.
    """
    words = Words(rng=random.Random(seed), held_out=held_out)
    while True:
        chance = words.rng.random()
        if chance < 0.015:
            yield _chat_sample(words)
        elif chance < 0.03:
            yield _persona_sample(words)
        elif chance < 0.3:
            yield _form_sample(words) if words.rng.random() < 0.7 else _list_sample(words)
        elif questions and chance < 0.44:
            text, topic = words.rng.choice(questions)
            topics = TOPICS
            if words.rng.random() < 0.5:
                others = [other for other in TOPICS if other != topic]
                topics = (topic, *words.rng.sample(others, words.rng.randint(1, len(others))))
            yield banking_sample(words, text, topic, topics)
        else:
            name = words.pick(tuple(FAMILIES))
            yield _family_sample(words, name, FAMILIES[name])


def banking_sample(words: Words, text: str, topic: str, topics: Sequence[str]) -> Sample:
    """A question of a bank's customer, to be given one of some topics."""
    shown = words.rng.sample(topics, len(topics))
    name = words.pick(_TOPIC_NAMES)
    found = _Field(
        name=name, about="what it is about", schema={"enum": shown, "type": "string"}, value=topic
    )
    fields = [found]
    if words.rng.random() < 0.3:
        slot_name = words.pick(("urgency", "refund", "name"))
        extra, said = _told(words, FAMILIES["tickets"].slots[slot_name])
        text = f"{text} {said}"
        fields.insert(words.rng.randint(0, 1), extra)
    return _sample(words, "topics", fields, text, bare=0.25)


def label_sample(text: str, label: str, labels: Sequence[str], name: str | None) -> Sample:
    """A text to be given one of some labels, alone or as the one field of an object."""
    schema: Schema = {"enum": list(labels), "type": "string"}
    value: Json = label
    if name is not None:
        schema = {"type": "object", "properties": {name: schema}, "required": [name]}
        value = {name: label}
    answer = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    system = _system_text(schema, "")
    return Sample(family="intents", system=system, user=text, answer=answer, schema=schema)


def _form_sample(words: Words) -> Sample:
    """A form filled in, `name: value`, most of which is asked for: the simplest copying."""
    slots = FAMILIES[words.pick(tuple(FAMILIES))].slots
    telling = [key for key, slot in slots.items() if "{}" not in slot.clauses]
    fields: dict[str, _Field] = {}
    lines: list[str] = []
    sign = words.pick((": ", ": ", " = ", " - "))
    for key in words.rng.sample(telling, words.rng.randint(2, min(5, len(telling)))):
        slot, said = slots[key], slots[key].make(words)
        name = words.pick(slot.names)
        if name not in fields:
            fields[name] = _Field(name=name, about=slot.about, schema=said.schema, value=said.value)
            lines.append(f"{name}{sign}{said.text}")
    asked = list(fields.values())
    if words.rng.random() < 0.5:
        asked = words.rng.sample(asked, words.rng.randint(1, len(asked)))
    text = words.pick(("\n", "\n", "; ", " | ")).join(lines)
    return _sample(words, "forms", asked, text, bare=0.02)


def _list_sample(words: Words) -> Sample:
    """A plain list, asked for as it is."""
    name, make = words.rng.choice(
        (
            ("names", words.person),
            ("cities", words.city),
            ("codes", words.code),
            ("words", words.invented),
            ("products", words.product),
            ("emails", words.email),
        )
    )
    values = [words.kept(make) for _ in range(words.rng.randint(1, 7))]
    schema: Schema = {"type": "array", "items": {"type": "string"}}
    if words.rng.random() < 0.2:
        schema["minItems"] = 1
    found = _Field(name=words.pick((name, "items")), about=name, schema=schema, value=values)
    text = words.pick((joined(values), ", ".join(values), "\n".join(values), "; ".join(values)))
    return _sample(words, "lists", [found], text, bare=0.3)


def _family_sample(words: Words, name: str, family: Family) -> Sample:
    said = {key: slot.make(words) for key, slot in family.slots.items()}
    opening = words.pick(family.openings)
    told = {key for _, key, _, _ in Formatter().parse(opening) if key}
    sentences = [opening.format(**{key: value.text for key, value in said.items()})]
    others = [key for key in family.slots if key not in told]
    for key in words.rng.sample(others, min(len(others), words.rng.choice((0, 1, 1, 2, 2, 3)))):
        told.add(key)
        sentences.append(words.pick(family.slots[key].clauses).format(said[key].text))
    if words.rng.random() < 0.35:
        sentences.append(words.pick(_DISTRACTORS))
    if words.rng.random() < 0.4:
        words.rng.shuffle(sentences)
    text = words.pick((" ", " ", " ", "\n")).join(sentences)
    if words.rng.random() < 0.25:
        text = words.pick(family.tasks) + words.pick((" ", "\n", "\n\n")) + text
    return _sample(words, name, _asked(words, family, said, told), text, bare=0.08)


def _asked(words: Words, family: Family, said: Mapping[str, Said], told: set[str]) -> list[_Field]:
    """The fields asked for: some of what the text tells, and at times what it does not."""
    keys = words.rng.sample(sorted(told), min(len(told), words.rng.randint(1, 4)))
    absent = [key for key in family.slots if key not in told]
    if absent and words.rng.random() < 0.25:
        keys.insert(words.rng.randint(0, len(keys)), words.pick(absent))
    fields: list[_Field] = []
    for key in keys:
        slot, value, schema = family.slots[key], said[key].value, said[key].schema
        optional = key not in told or words.rng.random() < 0.12
        if optional:
            schema = {"anyOf": [schema, {"type": "null"}]}
        name = words.pick(slot.names[:1] * 2 + slot.names)
        if name not in [other.name for other in fields]:
            shown = value if key in told else None
            fields.append(_Field(name=name, about=slot.about, schema=schema, value=shown))
    return fields


def _told(words: Words, slot: Slot) -> tuple[_Field, str]:
    said = slot.make(words)
    found = _Field(
        name=words.pick(slot.names), about=slot.about, schema=said.schema, value=said.value
    )
    return found, words.pick(slot.clauses).format(said.text)


def _sample(
    words: Words, family: str, fields: Sequence[_Field], text: str, *, bare: float
) -> Sample:
    """A typed call for an object, or with some chance for the first field's value alone."""
    described = words.rng.random() < 0.2
    schema: dict[str, Any]
    if words.rng.random() < bare:
        first = fields[0]
        value = first.value
        schema = {**first.schema, "description": first.about}
    else:
        value = {field.name: field.value for field in fields}
        properties = {
            field.name: {**field.schema, **({"description": field.about} if described else {})}
            for field in fields
        }
        schema = {"type": "object", "properties": properties, "required": list(properties)}
    system = words.pick(_SYSTEMS) if words.rng.random() < 0.08 else ""
    return Sample(
        family=family,
        system=_system_text(schema, system),
        user=text,
        answer=json.dumps(value, ensure_ascii=False, separators=(",", ":")),
        schema=schema,
        clerk=system,
    )


def _system_text(schema: Schema, system: str) -> str:
    """The system message of a call, in the words of the package's own templates."""
    wording = Wording(system=system or None)
    messages = conversation("", spec_of(JsonSchema(schema)), wording)
    return cast(Message, messages[0]).text


def _persona_sample(words: Words) -> Sample:
    question = words.pick(tuple(_PERSONA))
    names, value, kind = _PERSONA[question]
    name = words.pick(names.split())
    found = _Field(name=name, about=f"the {name}", schema={"type": kind}, value=value)
    return _sample(words, "persona", [found], question, bare=0.1)


def _chat_sample(words: Words) -> Sample:
    question = words.pick(tuple(_CHAT))
    return Sample(family="chat", system="", user=question, answer=_CHAT[question])
