"""Where in a model's text its answer may stand, and in what words it got there.

The functions only cut and rewrite text; whether a candidate is an answer is for the spec to say.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from typedllm.output.mend import mend
from typedllm.output.scan import documents
from typedllm.spec.kinds import Choice
from typedllm.spec.spec import Spec

_BYTE_ORDER_MARK = "\ufeff"
_THINK, _THOUGHT = "<think>", "</think>"
_FENCE = "```"
_FENCE_LANGUAGE = re.compile(r"[ \t]*+[\w+-]*+[ \t]*+\n|(?:json|JSON)[ \t]++")
_WRAPPED = re.compile(r'\s*+\{\s*+"value"\s*+:(.*)\}\s*+', re.DOTALL)
# Neither `12:30` nor `https://...` has a label.
_LABELLED = re.compile(
    r"^[ \t*_#>-]*+([^\W\d][^\n:{}\[\]\"]{0,60}+):(?=[ \t*_])([^\n]*\S)", re.MULTILINE
)
_SPACE = f"{_BYTE_ORDER_MARK} \t\r\n"
_LEADING = re.compile(f"[{_SPACE}]*+")
_JSON_OPENINGS = ("{", "[", '"')
_DRESS = _SPACE + "\"'`*_"  # what models put around a bare word: quotes, emphasis, fences


class Candidate(NamedTuple):
    """A text that may be the answer.

    Attributes:
        text: the text.
        steps: how it was made from the model's text, in words.
    """

    text: str
    steps: tuple[str, ...] = ()

    def then(self, text: str, *steps: str) -> Candidate:
        """Return the candidate that further steps make of this one."""
        return Candidate(text, self.steps + steps)


def opens_with_thinking(text: str, start: int = 0) -> bool:
    """Whether a text begins with `<think>`, so that no part of it is the answer as it stands."""
    return text.startswith(_THINK, _after_space(text, start))


def after_thinking(text: str) -> Candidate | None:
    """Return what follows the thinking that opens a text, or None where that does not end.

    A `</think>` whose opening was part of the prompt counts, if the text is not JSON.
    """
    start = 0
    first = text.find(_THOUGHT)
    begins_as_json = text.startswith(_JSON_OPENINGS, _after_space(text, 0))
    if first >= 0 and text.find(_THINK, 0, first) < 0 and not begins_as_json:
        start = first + len(_THOUGHT)
    while opens_with_thinking(text, start):
        end = text.find(_THOUGHT, start)
        if end < 0:
            return None
        start = end + len(_THOUGHT)
    if not start:
        return Candidate(text)
    start = _after_space(text, start)
    return Candidate(text[start:], (f"skipped {start} characters of thinking",))


def peeled(candidate: Candidate) -> Iterator[Candidate]:
    """Yield a text as it is, without what surrounds it, and without its code fence."""
    yield candidate
    text = whole = candidate.text
    if text.lstrip().startswith(_BYTE_ORDER_MARK):
        text = text.lstrip().removeprefix(_BYTE_ORDER_MARK)
        candidate = candidate.then(text, "dropped a byte order mark")
    if text != text.strip():
        text = text.strip()
        candidate = candidate.then(text, "dropped whitespace around the answer")
    if text is not whole:
        yield candidate
    if len(text) > 2 * len(_FENCE) and text.startswith(_FENCE) and text.endswith(_FENCE):
        inner = _unlabelled(text[len(_FENCE) : -len(_FENCE)])
        yield candidate.then(inner.strip(), "took the answer out of a code fence")


def forms(candidate: Candidate, spec: Spec[Any]) -> Iterator[Candidate]:
    """Yield a text if it is not the model's own, mended if it should be JSON, and unwrapped.

    Wrapped is what stands in `{"value": ...}`.
    """
    if candidate.steps:
        yield candidate
    if spec.schema is not None:
        text, steps = mend(candidate.text)
        if steps:
            candidate = candidate.then(text, *steps)
            yield candidate
    if wrapped := _WRAPPED.fullmatch(candidate.text):
        value = wrapped[1].strip()
        if spec.schema is None:
            value = _string(value)
        yield candidate.then(value, 'took the answer out of {"value": ...}')


def embedded(candidate: Candidate) -> Iterator[Candidate]:
    """Yield each object or array that stands in the text, whatever is around it."""
    for start, end in documents(candidate.text):
        yield candidate.then(
            candidate.text[start:end],
            f"dropped {len(candidate.text) - (end - start)} characters around the JSON",
        )


def bare(candidate: Candidate, spec: Spec[Any]) -> Iterator[Candidate]:
    """Yield readings of a word or line that was meant as a scalar: an option, a number, a text."""
    text = _undressed(candidate.text)
    option = _option(text, spec)
    if option is not None:
        written = str(option) if spec.schema is None else json.dumps(option)
        step = f"took {reprlib.repr(candidate.text)} for the choice {option!r}"
        yield candidate.then(written, step)
    if spec.schema is not None:
        if text != candidate.text:
            dressed = candidate.then(text, "dropped quotes, marks or space around the answer")
            yield from forms(dressed, spec)
        if _may_be_string(candidate.text, spec.schema):
            for content in (candidate.text.strip(_SPACE), text):
                quoted = json.dumps(content, ensure_ascii=False)
                yield candidate.then(quoted, f"read it as the text {reprlib.repr(content)}")


def labelled(candidate: Candidate) -> Iterator[Candidate]:
    """Yield what stands in code fences, and what follows a label such as `Score:` on its line."""
    for fenced in candidate.text.split(_FENCE)[1::2]:
        yield candidate.then(_unlabelled(fenced).strip(), "took the answer out of a code fence")
    for match in _LABELLED.finditer(candidate.text):
        yield candidate.then(match[2].strip(_DRESS), f"took what follows '{match[1]}:'")


def _after_space(text: str, start: int) -> int:
    """Return the index of the first character from `start` on that is more than space."""
    match = _LEADING.match(text, start)
    return match.end() if match else start


def _unlabelled(fenced: str) -> str:
    """Return the content of a code fence without the name of its language."""
    language = _FENCE_LANGUAGE.match(fenced)
    return fenced[language.end() :] if language else fenced


def _undressed(text: str) -> str:
    """Return a text without the quotes, marks and space around it and the full stop after it."""
    return text.lstrip(_DRESS).rstrip(_DRESS + ".")


def _string(value: str) -> str:
    """Return the content of a JSON string; another text as it is."""
    try:
        content: object = json.loads(value)
    except ValueError:
        return value
    return content if isinstance(content, str) else value


def _may_be_string(text: str, schema: Mapping[str, Any]) -> bool:
    """Whether a text can be meant as a string; broken JSON is not, where JSON is an answer too."""
    if schema.get("type") == "string":
        return text.lstrip()[:1] not in _JSON_OPENINGS
    return not any(opening in text for opening in _JSON_OPENINGS)


def _option(text: str, spec: Spec[Any]) -> object | None:
    """Return the only option of a choice that differs from the text in case and dress alone."""
    folded = text.casefold()
    found = [each for each in _options(spec) if _undressed(str(each)).casefold() == folded]
    return found[0] if folded and len(found) == 1 else None


def _options(spec: Spec[Any]) -> tuple[object, ...]:
    """Return the options of a spec that is a choice as a whole, else nothing."""
    if isinstance(spec.source, Choice):
        return spec.source.options
    schema: Mapping[str, Any] = spec.schema or {}
    definition = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    schema = schema.get("$defs", {}).get(definition, schema)
    return tuple(schema.get("enum", [schema["const"]] if "const" in schema else []))
