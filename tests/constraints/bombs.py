"""JSON Schemas that are small to write and large to work out; each is tried in its own process.

python -m tests.constraints.bombs NAME
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.memory import peak_mib
from typedllm import JsonSchema, SpecError, explain

Schema = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent.parent
LETTERS = "abcdefghij"
INTEGER = {"type": "integer"}


@dataclass
class Outcome:
    """What one bomb came to.

    Attributes:
        told: how the Plan or the `SpecError` begins.
        seconds: for the Plan or the error.
        peak_mib: the most memory of the process, the schema and the interpreter included.
    """

    told: str
    seconds: float
    peak_mib: float


def nested(depth: int, around: Callable[[Schema], Schema]) -> Schema:
    """A schema in a schema in a schema."""
    found: Schema = INTEGER
    for _ in range(depth):
        found = around(found)
    return found


def doubled(combined: Callable[[list[Schema]], Schema], depth: int = 40) -> Schema:
    """Definitions each of which refers to the next one twice."""
    definitions = {
        f"d{level}": combined([{"$ref": f"#/$defs/d{level + 1}"}] * 2) for level in range(depth)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{depth}": INTEGER}}


def properties(count: int) -> Schema:
    """So many properties."""
    return {f"p{number}": INTEGER for number in range(count)}


def pair(number: int) -> list[Schema]:
    """Two branches that objects may satisfy one, other or both of."""
    return [{"required": [f"p{number}"]}, {"required": [f"q{number}"]}]


def linked(around: Callable[[dict[str, Schema]], Schema], names: str = LETTERS) -> Schema:
    """Definitions each of which refers to all."""
    references = {name: {"$ref": f"#/$defs/{name}"} for name in names}
    return {"$ref": "#/$defs/a", "$defs": {name: around(references) for name in names}}


BOMBS: dict[str, Callable[[], Schema]] = {
    "allOf doubled 40 times": lambda: doubled(lambda two: {"allOf": two}),
    "anyOf doubled 40 times": lambda: doubled(lambda two: {"anyOf": two}),
    "oneOf doubled 40 times": lambda: doubled(lambda two: {"oneOf": two}),
    "items doubled 40 times": lambda: doubled(
        lambda two: {"type": "array", "prefixItems": two, "minItems": 2, "maxItems": 2}
    ),
    "required properties doubled 40 times": lambda: doubled(
        lambda two: {
            "type": "object",
            "properties": dict(zip("ab", two, strict=True)),
            "required": ["a", "b"],
        }
    ),
    "allOf of 30 anyOf": lambda: {
        "type": "object",
        "allOf": [{"anyOf": pair(number)} for number in range(30)],
    },
    "allOf of 30 oneOf": lambda: {
        "type": "object",
        "allOf": [{"oneOf": pair(number)} for number in range(30)],
    },
    "allOf of 30 anyOf of one property": lambda: {
        "type": "object",
        "allOf": [{"properties": {"a": {"anyOf": pair(number)}}} for number in range(30)],
    },
    "allOf of 40 if": lambda: {
        "type": "object",
        "allOf": [
            {"if": {"properties": {f"p{n}": {"const": 1}}}, "then": pair(n)[1], "else": pair(n)[0]}
            for n in range(40)
        ],
    },
    "60 dependencies": lambda: {
        "type": "object",
        "properties": properties(60),
        "dependentRequired": {f"p{n}": [f"p{(7 * n + 3) % 60}"] for n in range(60)},
    },
    "oneOf of 1,000 objects": lambda: {
        "oneOf": [
            {"type": "object", "properties": {f"p{n}": INTEGER}, "required": [f"p{n}"]}
            for n in range(1000)
        ]
    },
    "not of a shared anyOf, 60 deep": lambda: nested(
        60, lambda inner: {"not": {"anyOf": [inner, {"properties": {"a": inner}}]}}
    ),
    "1,000,000 properties": lambda: {"type": "object", "properties": properties(10**6)},
    "1,000,000 values": lambda: {"enum": [f"value {number}" for number in range(10**6)]},
    "33,000 required properties": lambda: {
        "type": "object",
        "properties": properties(33_000),
        "required": list(properties(33_000)),
    },
    "500,000 values": lambda: {"enum": [f"value {number}" for number in range(500_000)]},
    "20,000 objects as values": lambda: {"enum": [{"a": [n, {"b": n}]} for n in range(20_000)]},
    "45,000 branches": lambda: {"anyOf": [{"const": number} for number in range(45_000)]},
    "100,000 patterns of names": lambda: {
        "type": "object",
        "patternProperties": {f"^p{number}$": INTEGER for number in range(10**5)},
    },
    "40 overlapping patterns of names": lambda: {
        "type": "object",
        "patternProperties": {f"a{n}.*b": {"type": "integer", "minimum": n} for n in range(40)},
    },
    "arrays 1,000 deep": lambda: nested(1000, lambda inner: {"type": "array", "items": inner}),
    "arrays 100,000 deep": lambda: nested(10**5, lambda inner: {"type": "array", "items": inner}),
    "not 1,000 deep": lambda: nested(1000, lambda inner: {"not": inner}),
    "a value 1,000 deep": lambda: {"const": nested(1000, lambda inner: {"a": inner})},
    "maxItems of a billion": lambda: nested(
        8, lambda inner: {"type": "array", "items": inner, "maxItems": 10**9}
    ),
    "minItems of a billion": lambda: {"type": "array", "items": INTEGER, "minItems": 10**9},
    "minItems of a thousand, 8 deep": lambda: nested(
        8, lambda inner: {"type": "array", "items": inner, "minItems": 1000}
    ),
    "maxLength of a billion with a pattern": lambda: {
        "type": "string",
        "pattern": "^[a-z]+$",
        "maxLength": 10**9,
    },
    "minLength of a million with a pattern": lambda: {
        "type": "string",
        "pattern": "^(ab|cde)+$",
        "minLength": 10**6,
    },
    "minProperties of a billion": lambda: {"type": "object", "minProperties": 10**9},
    "{0,100000}": lambda: {"type": "string", "pattern": "^a{0,100000}$"},
    "{100000}": lambda: {"type": "string", "pattern": "^(ab?){100000}$"},
    "{0,1000} three deep": lambda: {"type": "string", "pattern": "^((a{0,1000}){0,1000}){0,1000}$"},
    "(((a+)+)+)+": lambda: {"type": "string", "pattern": "^(((a+)+)+)+$"},
    "(a|a)*(a|aa)+": lambda: {"type": "string", "pattern": "^(a|a)*(a|aa)+$"},
    "the 60th character from the end": lambda: {"type": "string", "not": {"pattern": "a.{60}$"}},
    "6 characters from the end": lambda: {
        "type": "string",
        "allOf": [{"pattern": f"{letter}.{{20}}$"} for letter in "abcdef"],
    },
    "30 look-aheads": lambda: {
        "type": "string",
        "pattern": "^" + "".join(f"(?=.*{c}.{{{n}}}x)" for n, c in enumerate(LETTERS * 3)) + ".*$",
    },
    "multiples of ten primes": lambda: {
        "type": "string",
        "allOf": [{"pattern": f"^(a{{{n}}})*$"} for n in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29)],
    },
    "a pattern of 700,000 characters": lambda: {
        "type": "string",
        "pattern": f"^({'|'.join(f'word{n}' for n in range(10**5))})$",
    },
    "numbers of 4,000 digits": lambda: {**INTEGER, "minimum": 10**4000, "maximum": 10**4001},
    "numbers of 5,000 digits": lambda: {**INTEGER, "minimum": 10**5000},
    "multipleOf of 10**-300": lambda: {"type": "number", "multipleOf": 1e-300},
    "objects that hold each other": lambda: linked(
        lambda others: {"type": "object", "properties": others}
    ),
    "arrays that hold each other": lambda: linked(
        lambda others: {
            "anyOf": [{"type": "null"}, *({"type": "array", "items": o} for o in others.values())]
        }
    ),
    "references in a circle": lambda: {
        "$ref": "#/$defs/a",
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
    },
    "10,000 references in a row": lambda: {
        "$ref": "#/$defs/d0",
        "$defs": {
            **{f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(10**4)},
            "d10000": INTEGER,
        },
    },
}


def tried(name: str) -> Outcome:
    """Try a bomb in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.constraints.bombs", name],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        timeout=120,  # a guard against hangs; how long it takes is for the benchmark
    )
    if done.returncode:
        raise RuntimeError(f"{name}: exit status {done.returncode}: {done.stderr[-2000:]}")
    return Outcome(**json.loads(done.stdout))


def main() -> None:
    """Try a bomb here, and print its outcome as JSON."""
    schema = BOMBS[sys.argv[1]]()
    started = time.perf_counter()
    try:
        told = f"Plan, {'held entirely' if explain(JsonSchema(schema)).guaranteed else 'checked'}"
    except SpecError as error:
        told = f"SpecError: {error}"
    seconds = time.perf_counter() - started
    print(json.dumps({"told": told[:200], "seconds": seconds, "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
