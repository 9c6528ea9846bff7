"""From the text of an answer to its value."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, Literal, NoReturn, TypeVar, cast, overload

from pydantic_core import from_json
from typing_extensions import TypeForm

from typedllm.errors import Invalid, Issue
from typedllm.output.candidates import (
    Candidate,
    after_thinking,
    bare,
    embedded,
    forms,
    labelled,
    opens_with_thinking,
    peeled,
)
from typedllm.paths import ROOT
from typedllm.records import JsonSchema, Lark, Result
from typedllm.spec.kinds import Choice, Regex
from typedllm.spec.spec import Spec, spec_of

T = TypeVar("T")

_LAST_NUMBER = re.compile(r"-?[0-9][0-9.eE+-]*+$")
_NO_OPEN_STRING = re.compile(r'(?:[^"]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_MOST_PLACES = 1000  # each costs the spec a reading


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading(Generic[T]):
    """What an answer says.

    Attributes:
        value: the typed value.
        coercions: what was changed about the text, in words; empty when it was taken as it is.
    """

    value: T
    coercions: tuple[str, ...] = ()


def read_answer(text: str, spec: Spec[T], *, tolerant: bool, context: Any = None) -> Reading[T]:
    """Read the text of an answer.

    Args:
        text: the answer.
        spec: what was asked for.
        tolerant: whether to look for the value in a text that is not valid as it is: after
            `<think>...</think>`, in a code fence, in prose (an object or array, or what follows a
            label as in `Score: 4`), as JSON with comments, single quotes, Python's constants, bare
            keys or commas too many, as `{"value": ...}`, or as a bare word. Linear in the length of
            the text; nothing is guessed, and a text that is cut stays invalid.
        context: passed to Pydantic validators as `info.context`.

    Raises:
        Invalid: when there is no value, or when there are several that differ.
    """
    search = _Search(text, spec, context)
    if not (tolerant and opens_with_thinking(text)):
        reading = search.first([Candidate(text)])
        if reading or not tolerant:
            return reading or search.fail(text)
    answer = after_thinking(text)
    if answer is None:
        message = "the text ends inside <think>, before any answer"
        raise Invalid(message, raw=text, issues=[Issue(ROOT, message)])
    whole = (form for each in peeled(answer) for form in forms(each, spec))
    inside = embedded(answer) if spec.schema is not None else ()
    return (
        search.first(whole)
        or search.only(forms(each, spec) for each in inside)
        or search.first(bare(answer, spec))
        or search.only(chain([each], bare(each, spec)) for each in labelled(answer))
        or search.fail(answer.text)
    )


@overload
def parse(
    raw_text: str,
    output_type: Regex | Choice | Lark | None,
    *,
    tolerant: bool = True,
    validation_context: Any = None,
) -> Result[str]: ...
@overload
def parse(
    raw_text: str,
    output_type: JsonSchema,
    *,
    tolerant: bool = True,
    validation_context: Any = None,
) -> Result[Any]: ...
@overload
def parse(
    raw_text: str,
    output_type: Mapping[str, Any],
    *,
    tolerant: bool = True,
    validation_context: Any = None,
) -> Result[dict[str, Any]]: ...
@overload
def parse(
    raw_text: str,
    output_type: TypeForm[T],
    *,
    tolerant: bool = True,
    validation_context: Any = None,
) -> Result[T]: ...
@overload
def parse(
    raw_text: str,
    output_type: str | list[Any],
    *,
    tolerant: bool = True,
    validation_context: Any = None,
) -> Result[Any]: ...
def parse(
    raw_text: str,
    output_type: object,
    *,
    tolerant: bool = True,
    validation_context: Any = None,
) -> Result[Any]:
    """Read a typed value from a text that is already there, such as a log or a judge's answer.

    Args:
        raw_text: the text.
        output_type: any output type that a call takes.
        tolerant: whether to look for the value in a text that is not valid as it is; what was
            changed is listed in the result's `coercions`.
        validation_context: passed to Pydantic validators as `info.context`.

    Returns:
        A result with the value, or with an `Invalid` error.

    Raises:
        SpecError: when the output type cannot be understood.
    """
    spec = spec_of(cast("TypeForm[Any]", output_type))  # the overloads above say which it takes
    try:
        reading = read_answer(raw_text, spec, tolerant=tolerant, context=validation_context)
    except Invalid as error:
        return Result(error=error, raw=raw_text)
    return Result(value=reading.value, raw=raw_text, coercions=reading.coercions)


def partial(text: str) -> object | None:
    """Return the plain JSON value so far of a text that may be cut, or None where there is none.

    Strings are kept as far as they go; numbers and literals only when something follows them.
    """
    if text.lstrip()[:1] not in ("{", "[", '"'):
        return _plain(text)
    number = _LAST_NUMBER.search(text)
    if number and _NO_OPEN_STRING.fullmatch(text):  # there may be more of it
        text = text[: number.start()]
    return _plain(text, partial="trailing-strings")


def partial_within(text: str) -> object | None:
    """Return what can be read of a text, from its first bracket on if it does not begin as JSON.

    Args:
        text: may be cut.
    """
    value = partial(text)
    opening = re.search(r"[{\[]", text)
    return partial(text[opening.start() :]) if value is None and opening else value


class _Search(Generic[T]):
    """Tries candidates until one can be read, and keeps the most telling error."""

    def __init__(self, raw: str, spec: Spec[T], context: Any) -> None:
        self._raw = raw
        self._spec = spec
        self._context = context
        self._error: Invalid | None = None
        self._steps: tuple[str, ...] = ()  # how the text came about that the error is about
        self._size = 0  # of the text that the error is about, if that is a JSON array or object

    def first(self, candidates: Iterable[Candidate]) -> Reading[T] | None:
        """Return the first candidate that is valid."""
        found = self._first(candidates)
        return found[1] if found else None

    def only(self, places: Iterable[Iterable[Candidate]]) -> Reading[T] | None:
        """Return what all places that hold something valid agree on.

        Raises:
            Invalid: when they do not agree, or there are too many places to tell.
        """
        agreed: tuple[Candidate, Reading[T]] | None = None
        for count, candidates in enumerate(places):
            if count == _MOST_PLACES:
                self._refuse(f"the text holds more than {_MOST_PLACES} places to find it in")
            found = self._first(candidates)
            if found and agreed and not self._same(found[0], agreed[0]):
                values = f"{reprlib.repr(agreed[0].text)} and {reprlib.repr(found[0].text)}"
                self._refuse(f"the text holds answers that differ: {values}")
            agreed = agreed or found
        return agreed[1] if agreed else None

    def fail(self, text: str) -> NoReturn:
        """Raise the error of the largest JSON text, else the first one.

        Args:
            text: the part of the raw text that held no value.
        """
        assert self._error is not None  # nothing fails before a candidate was tried
        partial = self._error.partial  # the value that the issues are about, where it is JSON
        if partial is None and self._spec.schema is not None:
            partial = partial_within(text)
        raise Invalid(
            str(self._error),
            raw=self._raw,
            partial=partial,
            issues=self._error.issues,
            coercions=self._steps,
        ) from self._error

    def _first(self, candidates: Iterable[Candidate]) -> tuple[Candidate, Reading[T]] | None:
        for candidate in candidates:
            try:
                value = self._spec.read(candidate.text, self._context)
            except Invalid as error:
                self._remember(candidate, error)
            else:
                return candidate, Reading(value=value, coercions=candidate.steps)
        return None

    def _remember(self, candidate: Candidate, error: Invalid) -> None:
        text = candidate.text
        is_json = text.lstrip()[:1] in ("{", "[") and len(text) > self._size
        if is_json and _plain(text) is not None:
            self._error, self._steps, self._size = error, candidate.steps, len(text)
        elif self._error is None:
            self._error, self._steps = error, candidate.steps

    def _same(self, one: Candidate, other: Candidate) -> bool:
        """Whether two candidates say the same, as plain JSON values where they are JSON."""
        if self._spec.schema is None:
            return one.text == other.text
        return _plain(one.text) == _plain(other.text)

    def _refuse(self, message: str) -> NoReturn:
        raise Invalid(message, raw=self._raw, issues=[Issue(ROOT, message)])


def _plain(text: str, partial: Literal["off", "trailing-strings"] = "off") -> object | None:
    """Return the plain value of a JSON text, or None where it is not JSON."""
    try:
        return from_json(text, allow_partial=partial)
    except (ValueError, TypeError):  # TypeError is pydantic_core's word for a lone surrogate
        return None
