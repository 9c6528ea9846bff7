"""Asking anew for the bad parts of an answer alone, which keeps the good ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Generic, TypeAlias, TypeVar, cast

from typedllm.attempts.task import Task
from typedllm.constraints.compile import compile_spec
from typedllm.constraints.dialect import Lowered
from typedllm.errors import Invalid, Issue, SpecError, TypedLLMError
from typedllm.outcomes import read
from typedllm.output.parse import Reading
from typedllm.output.spans import spans
from typedllm.paths import ROOT, child, steps
from typedllm.prompts.instructions import repair_parts
from typedllm.prompts.templates import Rendered
from typedllm.records import Completion, Constraint, JsonSchema, Request
from typedllm.spec.places import schema_at
from typedllm.spec.spec import Spec, spec_of

__all__ = ["TOOK", "Parts", "parts_of"]

T = TypeVar("T")
Keys: TypeAlias = tuple[str | int, ...]

TOOK = "took the part "
"""What the coercion begins with that says that a part is of a later answer."""

_MOST = 100  # parts that are asked for at once


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts(Generic[T]):
    """The bad parts of an answer.

    Attributes:
        text: the answer, as the spec has it.
        shown: the answer, as the model was asked for it.
        issues: what is wrong with it.
        places: the keys that lead to each part.
        spec: of an object with a member for each part, `part1` and so on.
        constraint: what is enforced of that.
        done: the keys of those that came with earlier answers.
        coercions: what was changed about the first answer's text, in words.
    """

    text: str
    shown: str
    issues: tuple[Issue, ...]
    places: tuple[Keys, ...]
    spec: Spec[Any]
    constraint: Constraint | None
    done: tuple[Keys, ...] = ()
    coercions: tuple[str, ...] = ()

    def request(self, prompt: Rendered, request: Request) -> Request:
        """Make the request for them.

        Args:
            prompt: as it was first sent.
            request: the last one, whose sampling is kept.
        """
        issues: dict[str, list[str]] = {}
        for number, place in enumerate(self.places, start=1):
            told = [str(issue) for issue in self.issues if _within(issue.path, place)]
            issues[f"part{number}, in place of {_path(place)}"] = told
        asked = repair_parts(prompt, self.shown, issues, self.spec)
        return replace(request, prompt=asked, constraint=self.constraint)

    def read(self, task: Task[T], reply: Completion) -> tuple[Completion, Reading[T] | Invalid]:
        """Put the parts that came into the answer.

        Args:
            task: what is asked.
            reply: what came.

        Returns:
            The answer with them, and what it says or what is wrong with it; where what came are no
            such parts, that, and what is wrong with the answer as it was.
        """
        found = read(reply, replace(self.spec, read=_object), self.constraint, None)
        came = "" if isinstance(found, TypedLLMError) else cast(str, found.value)
        there, within = spans(self.text), spans(came)
        end = there[ROOT][1] - 1
        edits: list[tuple[int, int, str]] = []
        done = list(self.done)
        for number, place in enumerate(self.places, start=1):
            if (part := within.get(child(ROOT, f"part{number}"))) is None:
                continue
            written = came[part[0] : part[1]]
            if (span := there.get(_path(place))) is not None:
                edits.append((*span, written))
            else:  # a member of the answer that was missing
                edits.append((end, end, f",{json.dumps(place[-1])}:{written}"))
            done.append(place)
        text = self.text
        for start, stop, written in sorted(edits, reverse=True):
            text = text[:start] + written + text[stop:]
        whole = replace(reply, text=text, finish_reason="stop", tokens=None, landed_at=None)
        try:
            value = task.spec.read(text, task.validation_context)
        except Invalid as error:
            return whole if edits else reply, error
        told = (f"{TOOK}{_path(place)} from a later answer" for place in dict.fromkeys(done))
        return whole, Reading(value=value, coercions=(*self.coercions, *told))


def parts_of(
    task: Task[T], error: Invalid, before: Parts[T] | None = None, *, came: bool = False
) -> Parts[T] | None:
    """Find the parts of an answer that are to be asked for anew.

    A part is an item of a list, the innermost around what is wrong, or else a member of the answer.

    Args:
        task: what is asked.
        error: what is wrong with the answer.
        before: the parts that were asked for last, if that is how the answer came about.
        came: whether any of them came.

    Returns:
        None where the answer is to be asked for as a whole: what is wrong concerns all of it, or
        there is nothing that would be worth keeping.
    """
    # The reader's own error has the JSON that it read, as the spec has it.
    read_error = error.__cause__ if isinstance(error.__cause__, Invalid) else error
    schema, value = task.spec.schema, read_error.partial
    places = () if schema is None else _places(value, error.issues)
    if schema is None or not 0 < len(places) <= _MOST or not _worth_it(value, places):
        return None
    if before is not None and before.places == places and came:
        return None  # it is no better
    inside: dict[str, Any] = {}
    for number, place in enumerate(places, start=1):
        found = schema_at(schema, place)
        if found is None:
            return None
        inside[f"part{number}"] = found
    of_parts = {
        "type": "object",
        "properties": inside,
        "required": list(inside),
        "additionalProperties": False,
        **{word: schema[word] for word in ("$defs", "definitions", "$schema") if word in schema},
    }
    try:
        spec = spec_of(JsonSchema(of_parts))
        constraint = compile_spec(spec, task.engine.traits, task.limits).constraint
    except SpecError:  # as of a reference by its own URI, or a type of more parts than one may have
        return None
    lowered = task.constraint if isinstance(task.constraint, Lowered) else None
    return Parts(
        text=read_error.raw,
        shown=json.dumps(lowered.encode(value) if lowered else value, ensure_ascii=False),
        issues=error.issues,
        places=places,
        spec=spec,
        constraint=constraint,
        done=_done(before, places),
        coercions=before.coercions if before else error.coercions,
    )


def _done(before: Parts[Any] | None, places: Sequence[Keys]) -> tuple[Keys, ...]:
    """The parts of an answer that came with later ones, and are valid."""
    if before is None:
        return ()
    return (*before.done, *(place for place in before.places if place not in places))


def _places(value: Any, issues: Sequence[Issue]) -> tuple[Keys, ...]:
    """The places to ask for, none inside another one; none where it is the whole."""
    found: dict[Keys, None] = {}
    for issue in issues:
        keys = steps(issue.path)
        place = None if keys is None else _place(value, keys)
        if not place:
            return ()
        found[place] = None
    return tuple(
        place for place in found if not any(place[:size] in found for size in range(1, len(place)))
    )


def _place(value: Any, keys: Keys) -> Keys:
    """The innermost item of a list on the way, else the member of the answer."""
    place = keys[:1] if isinstance(value, dict) else ()
    for size, key in enumerate(keys, start=1):
        here = cast(Any, value)
        try:
            value = here[key]
        except (KeyError, IndexError, TypeError):  # a member that is missing
            break
        if isinstance(here, list):
            place = keys[:size]
    return place


def _worth_it(value: Any, places: Sequence[Keys]) -> bool:
    """Whether something large is kept: a list's other items, or members that hold others."""
    if any(len(place) > 1 for place in places):
        return True
    members = enumerate(cast(list[Any], value)) if isinstance(value, list) else value.items()
    kept = [item for key, item in members if (key,) not in places]
    if isinstance(value, list):
        return bool(kept)
    return any(isinstance(item, dict | list) and len(cast(Any, item)) > 0 for item in kept)


def _within(path: str, place: Keys) -> bool:
    return (steps(path) or ())[: len(place)] == place


def _path(place: Keys) -> str:
    return reduce(child, place, ROOT)


def _object(text: str, context: Any = None) -> str:
    """The text of an object, whether its parts are valid or not: the whole is checked with them."""
    try:
        if isinstance(json.loads(text), dict):
            return text
    except (ValueError, RecursionError):  # such as one that is cut
        pass
    raise Invalid("no object", raw=text)
