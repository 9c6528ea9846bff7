"""Frozen data that flows between the layers; no behaviour beyond reading it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast

from typedllm._checks import check_kind, check_number, check_text
from typedllm.errors import TypedLLMError, UsageError
from typedllm.grammar.tree import Node

T = TypeVar("T")

Role: TypeAlias = Literal["system", "user", "assistant"]
FinishReason: TypeAlias = Literal["stop", "length", "landing", "refusal"]
Ending: TypeAlias = Literal["landing", "fitted", "may be cut"]
Origin: TypeAlias = Literal["asked", "journal", "cache", "shared"]
Tell: TypeAlias = Callable[[str], None]
"""What is called with each piece of an answer's text as it comes, from any thread."""

_MOST_DIGITS = 300  # a float of more than 308 digits before its point is infinite


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A piece of prompt text.

    Attributes:
        text: the text.
        trusted: True for a template's own words, whose special tokens count as such; False for a
            value put into it, which is tokenized without special tokens.
    """

    text: str
    trusted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """The content as one string."""
        return "".join(segment.text for segment in self.content)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        temperature: 0 is greedy; None leaves it to the engine (greedy on local engines).
        top_p: nucleus sampling, in (0, 1]; None is the engine's default.
        max_tokens: the most tokens of an answer; None is the engine's default.
        stop: texts that end a plain-text answer.
        seed: makes sampling repeatable where the engine can.
        extra: further options, passed to the engine by name.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: naming the attribute that is out of its range.
        """
        check_number("Sampling.temperature", self.temperature, or_none=True)
        check_number("Sampling.top_p", self.top_p, most=1, above_least=True, or_none=True)
        check_number("Sampling.max_tokens", self.max_tokens, least=1, whole=True, or_none=True)
        check_number("Sampling.seed", self.seed, whole=True, or_none=True)
        check_kind("Sampling.stop", self.stop, tuple)
        for position, text in enumerate(self.stop):
            check_text(f"Sampling.stop[{position}]", text)
            if not text:
                raise UsageError(f"Sampling.stop[{position}]: an empty text would end any answer")
        check_kind("Sampling.extra", self.extra, Mapping)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds on what a caller left open, so that every answer ends; the Plan names those in force.

    Attributes:
        integer_digits: most digits of an int, and of a float before its point.
        fraction_digits: most digits of a float after its point.
        recursion: how often a recursive type may enter itself.
        string_length: most characters of a string that the caller left open; None is open.
        items: most items of an array, set or dict that the caller left open; None is open.
        extra_properties: whether to write what a JSON Schema allows without naming it: properties
            beyond those it names, and types that none of its keywords is about.
    """

    integer_digits: int = 18
    fraction_digits: int = 15
    recursion: int = 4
    string_length: int | None = None
    items: int | None = None
    extra_properties: bool = False

    @classmethod
    def none(cls) -> Limits:
        """As few bounds as a grammar can do with: all that the output type allows may be written.

        An answer then ends where it is closed, see `Plan.ending`.
        """
        return cls(
            integer_digits=_MOST_DIGITS,
            fraction_digits=60,
            recursion=5,
            extra_properties=True,
        )

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: naming the attribute that is out of its range.
        """
        digits = self.integer_digits
        check_number("Limits.integer_digits", digits, least=1, most=_MOST_DIGITS, whole=True)
        check_number("Limits.fraction_digits", self.fraction_digits, whole=True)
        check_number("Limits.recursion", self.recursion, whole=True)
        check_number("Limits.string_length", self.string_length, whole=True, or_none=True)
        check_number("Limits.items", self.items, whole=True, or_none=True)
        check_kind("Limits.extra_properties", self.extra_properties, bool)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens counted by the engine, over all attempts of a call.

    Attributes:
        input_tokens: of the prompts, those that were cached included.
        output_tokens: of the answers, reasoning included.
        cached_tokens: those of `input_tokens` that the service read from its cache.
        cost: US dollars; None where the price is not known.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: float | None = None

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            cost=_cost_of(self, other),
        )


def _cost_of(one: Usage, other: Usage) -> float | None:
    """The cost of both; not known where that of either is not, but no tokens cost nothing."""
    costs = [usage.cost for usage in (one, other) if usage.tokens or usage.cost is not None]
    if not costs or None in costs:
        return None
    return sum(cost for cost in costs if cost is not None)


@dataclass(frozen=True, slots=True, eq=False)
class Grammar:
    """A constraint as typedllm's own tree of rules; engines print it in their own syntax."""

    root: Node


@dataclass(frozen=True, slots=True, eq=False)
class JsonSchema:
    """A constraint as a JSON Schema; also an output type, for a schema that looks like a spec.

    Attributes:
        schema: JSON Schema 2020-12.
    """

    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Lark:
    """A caller's own Lark grammar, sent as it is to engines that take it."""

    text: str


Constraint: TypeAlias = Grammar | JsonSchema | Lark


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """What an engine can do, known without loading a model.

    Attributes:
        name: the engine's name in the table, for example `embedded`.
        takes: the kinds of constraint it enforces while it decodes.
        ending: how an answer that grows too long ends: `landing` (the decoder closes it in time),
            `fitted` (asked once more under smaller limits), or `may be cut`.
        logprobs: whether it reports token log-probabilities.
        scores: whether it scores labels.
        dialect: of an engine that takes a JSON Schema, what it knows of that: the name of a row of
            `typedllm.constraints.dialect.RULES`; None where nothing is sure.
    """

    name: str
    takes: frozenset[type[Grammar] | type[JsonSchema] | type[Lark]]
    ending: Ending
    logprobs: bool
    scores: bool = False
    dialect: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """The few values that a place of an answer can have.

    Attributes:
        path: the place, such as `$.topic`.
        values: the labels.
        texts: how each stands in an answer.
    """

    path: str
    values: tuple[Any, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One thing to ask an engine.

    Attributes:
        prompt: messages, or raw text made of segments.
        constraint: what the answer must match, if anything.
        sampling: how tokens are chosen.
        labels: texts of which each is to be scored, in place of an answer.
        begun: the beginning of the answer after which they are scored.
        tell: is called with each piece of the answer's text, from any thread, by an engine that
            can; joined they are the text of the `Completion`. None where nobody listens.
    """

    prompt: tuple[Message, ...] | tuple[Segment, ...]
    constraint: Constraint | None = None
    sampling: Sampling = field(default_factory=Sampling)
    labels: tuple[str, ...] = ()
    begun: str = ""
    tell: Tell | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    """One token of an answer.

    Attributes:
        text: its bytes.
        logprob: natural logarithm of its probability at temperature 1 among the tokens that the
            constraint allowed there; 0.0 where only one was allowed.
    """

    text: bytes
    logprob: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """An engine's answer.

    Attributes:
        text: the answer, without special tokens.
        finish_reason: why it ended; `landing` when the decoder closed it to stay in the budget.
        usage: tokens in and out.
        tokens: the answer's tokens where the engine reports log-probabilities, else None.
        landed_at: number of characters of `text` that the model chose before the landing, or None.
        reasoning: what a model that reasons wrote before the answer, else None.
        scores: where labels were to be scored, the natural logarithm of each one's probability, the
            sum over its tokens in their canonical form.
        temperature: fitted for this model, to divide the scores by; 1 where there is none.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage
    tokens: tuple[Token, ...] | None = None
    landed_at: int | None = None
    reasoning: str | None = None
    scores: tuple[float, ...] = ()
    temperature: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """An engine's failure to answer one request."""

    error: TypedLLMError


Reply: TypeAlias = Completion | Failure


@dataclass(frozen=True, kw_only=True, slots=True)
class Result(Generic[T]):
    """The outcome of one call: a value or an error, never both.

    Attributes:
        value: the typed value; None when there is an error.
        error: what went wrong, or None.
        raw: the model's last text, or None where there was none; where bad parts of an answer were
            asked for anew, the answer with those put in.
        usage: tokens over all attempts.
        attempts: how many requests were sent.
        finish_reason: of the last answer.
        latency_s: seconds from the call to the result.
        confidence: by path (`$.age`), the product of the probabilities of the tokens of that field
            among those the constraint allowed; None on engines without log-probabilities.
        clipped: paths that a landing or a fitted limit cut short.
        reasoning: what a model that reasons wrote before its last answer, else None.
        coercions: what tolerant parsing changed, in words; empty when the text was taken as it is.
        id: the caller's id of the row of a batch, or its position as text; None outside a batch.
        metadata: whatever the caller attached to the row.
        prompt: what was asked, as the caller gave it.
        model: what gave the last answer, as `engine:model`; which of several, where there is a
            fallback.
        distributions: by path, how likely each label of a place is; see `distribution`.
        origin: whether it was asked, or was there already: in a journal, in a cache, or as the
            answer to an equal row.
    """

    value: T | None = None
    error: TypedLLMError | None = None
    raw: str | None = None
    usage: Usage = field(default_factory=Usage)
    attempts: int = 0
    finish_reason: FinishReason | None = None
    latency_s: float = 0.0
    confidence: Mapping[str, float] | None = None
    clipped: tuple[str, ...] = ()
    reasoning: str | None = None
    coercions: tuple[str, ...] = ()
    id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    prompt: object = None
    model: str | None = None
    distributions: Mapping[str, Mapping[Any, float]] = field(
        default_factory=dict[str, Mapping[Any, float]]
    )
    origin: Origin = "asked"

    def distribution(self, path: str = "$") -> Mapping[Any, float]:
        """Return how likely each label of a place is, over all its labels.

        Args:
            path: the place, one of those that the call was given as `distribution=`.

        Returns:
            Probabilities in [0, 1] by label, whose sum is 1. They are what the model says of each
            label as a whole, whatever was chosen, divided by a fitted temperature where the model
            has one.

        Raises:
            UsageError: when the place was not asked for, or the answer has no value there.
        """
        if path not in self.distributions:
            there = ", ".join(self.distributions) or "none"
            raise UsageError(f"there is no distribution of {path}, but of {there}")
        return self.distributions[path]

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.error is None

    def unwrap(self) -> T:
        """Return the value, or raise the error.

        Raises:
            TypedLLMError: the result's own error.
        """
        if self.error is not None:
            raise self.error
        return cast(T, self.value)  # None is a value too, of a T that allows it
