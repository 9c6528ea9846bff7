"""Few-shot examples: a pool of them, and which of them go with a row."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast, overload

from pydantic_core import to_json

from typedllm._checks import check_text
from typedllm._require import require
from typedllm._resources import folder
from typedllm.errors import Invalid, UsageError
from typedllm.grammar.escapes import quoted
from typedllm.settings import templates_folder
from typedllm.spec.spec import Spec
from typedllm.templating.finding import is_file

__all__ = ["Example", "ExamplePool", "Examples", "Shots", "answered", "check_examples"]


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and the answer that it should get.

    Attributes:
        prompt: the user's text; or the values of the template of the call, by name.
        answer: a text, or a value that is written as JSON.
    """

    prompt: str | Mapping[str, Any]
    answer: Any

    def __post_init__(self) -> None:
        """Check the kind of the prompt.

        Raises:
            UsageError: when it is neither a text nor a mapping.
        """
        if not isinstance(cast(object, self.prompt), Mapping):
            check_text("Example.prompt", self.prompt)

    @property
    def question(self) -> str:
        """The prompt as one text: values come one to a line."""
        if isinstance(self.prompt, str):
            return self.prompt
        return "\n".join(_text(value) for value in self.prompt.values())

    @property
    def reply(self) -> str:
        """The answer as the model would write it."""
        return _text(self.answer)


def _text(value: object) -> str:
    return value if isinstance(value, str) else to_json(value, fallback=str).decode()


def answered(example: Example, spec: Spec[Any]) -> Example:
    """An example whose answer is written as one to an output type is.

    Args:
        example: the example.
        spec: the output type. A text that is none of its answers as it is, such as a label, is
            written as JSON.

    Raises:
        UsageError: when the answer is none of this type, with the reason.
    """
    return Example(example.prompt, _reply(example.reply, isinstance(example.answer, str), spec))


@lru_cache(maxsize=4096)
def _reply(text: str, is_text: bool, spec: Spec[Any]) -> str:
    try:
        spec.read(text)
        return text
    except Invalid as error:
        wrong = error
    if is_text:
        try:
            spec.read(quoted(text))
            return quoted(text)
        except Invalid as error:
            wrong = wrong if spec.schema is None else error
    raise UsageError(f"examples: the answer {text[:80]!r} is none of the output type: {wrong}")


def check_examples(examples: Sequence[object]) -> None:
    """Check that each of some examples is one.

    Args:
        examples: what was given.

    Raises:
        UsageError: with the place of one that is not.
    """
    for position, example in enumerate(examples):
        if not isinstance(example, Example):
            raise UsageError(f"examples[{position}]: expected an Example, got {example!r:.60}")


class Shots(Protocol):
    """Chooses the examples that go with a row."""

    def pick(self, question: str) -> Sequence[Example]:
        """The examples for a row, never the row itself.

        Args:
            question: the row's own text.
        """
        ...


Examples: TypeAlias = Shots | Sequence[Example]
"""Examples for a call: all of a list, or those that are chosen from a pool for each row."""


class ExamplePool(Sequence[Example]):
    """Examples to choose from.

    `first`, `sample` and `similar` each give `Shots` for the `examples=` of a call.
    """

    def __init__(self, examples: Iterable[Example]) -> None:
        """Keep examples.

        Args:
            examples: at least one.

        Raises:
            UsageError: when there is none, or something else than an `Example`.
        """
        self._examples = tuple(examples)
        check_examples(self._examples)
        if not self._examples:
            raise UsageError("examples: a pool needs at least one")

    @classmethod
    def load(cls, name: str | Path) -> ExamplePool:
        """Load a pool of JSON lines, each with `prompt` and `answer`.

        Args:
            name: of a pool, looked up as `examples/NAME.jsonl` in the folder that
                `TYPEDLLM_TEMPLATES` names, then in the package's own; or the path of a file.

        Raises:
            UsageError: when there is no such pool, or a line is not an example, with its number.
        """
        path = _path(name)
        return cls(_read(path, number, line) for number, line in _lines(path))

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        return self._examples[index]

    def __len__(self) -> int:
        return len(self._examples)

    def first(self, count: int) -> Shots:
        """The first examples of the pool, for every row.

        Args:
            count: how many.
        """
        return _Ordered(self._examples, self._checked(count), self._id(f"first {count}"))

    def sample(self, count: int, *, seed: int = 0) -> Shots:
        """Examples drawn once, the same for every row, so that the rows share their beginning.

        A row that was drawn itself gets the next one in its place.

        Args:
            count: how many.
            seed: makes the draw repeatable.
        """
        drawn = random.Random(seed).sample(self._examples, len(self._examples))
        way = self._id(f"sample {count} {seed}")
        return _Ordered(tuple(drawn), self._checked(count), way)

    def similar(self, count: int) -> Shots:
        """The examples most similar to each row by BM25 over their words, the most similar last.

        Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, in bm25s.

        Args:
            count: how many.

        Raises:
            MissingDependency: when bm25s is not installed.
        """
        return _Similar(self._examples, self._checked(count), self._id(f"similar {count}"))

    def _id(self, way: str) -> str:
        content = to_json([(each.prompt, each.answer) for each in self], fallback=str)
        return f"{way} of {hashlib.sha256(content).hexdigest()[:16]}"

    def _checked(self, count: int) -> int:
        if not 0 < count <= len(self._examples):
            raise UsageError(f"examples: from 1 to {len(self._examples)} of this pool, not {count}")
        return count


@dataclass(frozen=True, slots=True)
class _Ordered:
    """The first of some examples that are not the row itself."""

    examples: tuple[Example, ...]
    count: int
    id: str

    def pick(self, question: str) -> Sequence[Example]:
        others = (each for each in self.examples if not _same(each, question))
        return [each for _, each in zip(range(self.count), others, strict=False)]


class _Similar:
    """The examples most similar to the row."""

    def __init__(self, examples: tuple[Example, ...], count: int, id: str) -> None:
        self.id = id
        self._examples = examples
        self._count = count
        self._bm25: Any = require("bm25s", "bm25")

    @cached_property
    def _index(self) -> Any:
        words = self._words([each.question for each in self._examples])
        if not words.vocab:  # as in a pool of numbers of one digit
            return None
        index = self._bm25.BM25()
        index.index(words, show_progress=False)
        return index

    def _ranked(self, question: str) -> Iterator[Example]:
        if self._index is None:
            return iter(self._examples)
        every = len(self._examples)
        found = self._index.retrieve(self._words([question]), k=every, show_progress=False)
        return (self._examples[number] for number in cast(Sequence[int], found[0][0]))

    def _words(self, texts: list[str]) -> Any:
        return self._bm25.tokenize(texts, stopwords=None, show_progress=False)

    def pick(self, question: str) -> Sequence[Example]:
        others = (each for each in self._ranked(question) if not _same(each, question))
        return [each for _, each in zip(range(self._count), others, strict=False)][::-1]


def _same(example: Example, question: str) -> bool:
    return example.question.strip() == question.strip()


def _path(name: str | Path) -> Path:
    if isinstance(name, str) and not name.endswith(".jsonl"):
        for root in (templates_folder(), folder("templates")):
            path = root and root / "examples" / f"{name}.jsonl"
            if path and is_file(path):
                return path
    path = Path(name)
    if not is_file(path):
        raise UsageError(f"no pool of examples is called {str(name)[:100]!r}, and it is no file")
    return path


def _lines(path: Path) -> Iterable[tuple[int, str]]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    return [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _read(path: Path, number: int, line: str) -> Example:
    try:
        found: Any = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{path}, line {number}: not JSON: {error}") from error
    if not isinstance(found, dict) or not {"prompt", "answer"} <= cast(Any, found).keys():
        raise UsageError(f"{path}, line {number}: expected an object with prompt and answer")
    try:
        return Example(cast(Any, found["prompt"]), found["answer"])
    except UsageError as error:
        raise UsageError(f"{path}, line {number}: {error}") from None
