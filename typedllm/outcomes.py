"""From an engine's answer to what comes of it: a value or an error, and the result of a call."""

from __future__ import annotations

from typing import Any, TypeVar

from typedllm.constraints.dialect import Lowered
from typedllm.constraints.fitting import cut_short
from typedllm.errors import Invalid, Refused, Truncated, TypedLLMError
from typedllm.grammar.closing import steps
from typedllm.grammar.expression import expression
from typedllm.grammar.regular import derive_all, nullable
from typedllm.output.confidence import clipped, confidence
from typedllm.output.parse import Reading, partial, read_answer
from typedllm.output.spans import spans
from typedllm.paths import ROOT
from typedllm.records import Completion, Constraint, Grammar, Result, Usage
from typedllm.spec.spec import Spec

__all__ = ["read", "result"]

T = TypeVar("T")


def read(
    reply: Completion, spec: Spec[T], constraint: Constraint | None, context: Any
) -> Reading[T] | TypedLLMError:
    """Read an answer; one that was cut is taken only where nothing more could have come.

    Args:
        reply: the answer.
        spec: what was asked for.
        constraint: what the engine enforced.
        context: passed to Pydantic validators.

    Returns:
        What the answer says, or what is wrong with it.
    """
    text = reply.text
    if reply.finish_reason == "refusal":
        return Refused("the model declined to answer", raw=text)
    cut = reply.finish_reason == "length"
    lowered = constraint if isinstance(constraint, Lowered) else None
    if lowered is not None:  # its answers are in another form than the spec's
        spec = lowered.reading(spec)
    # A cut answer is taken only as it is: what could be dug out of it may not be what was coming.
    sure = constraint is not None and (lowered is None or lowered.enforced)
    tolerant = not sure and not cut
    try:
        reading = read_answer(text, spec, tolerant=tolerant, context=context)
    except Invalid as error:
        return _truncated(reply, error, lowered) if cut else error
    may_go_on = cut and _may_go_on(text, spec, constraint)
    return _truncated(reply, None, lowered) if may_go_on else reading


def _may_go_on(text: str, spec: Spec[Any], constraint: Constraint | None) -> bool:
    # Valid, but perhaps not the end: `12` of 123, or guided text that the grammar had not ended.
    if isinstance(constraint, Grammar):
        rest = derive_all(expression(constraint.root), text.encode("utf-8", "surrogatepass"))
        if nullable(rest):
            return bool(steps(rest))
    if isinstance(constraint, Lowered) and text.rstrip()[-1:] == "}":
        return False
    if spec.schema is None:
        return constraint is not None
    return text.rstrip()[-1:].isdigit()


def _truncated(reply: Completion, error: Invalid | None, lowered: Lowered | None) -> Truncated:
    came = partial(reply.text)
    begun = {path: path for path in spans(reply.text)}
    if lowered is not None:
        came, begun = lowered.unwrapped(came), lowered.places(begun)
    return Truncated(
        f"the answer was cut after {reply.usage.output_tokens} tokens; raise max_tokens",
        raw=reply.text,
        partial=came,
        issues=error.issues if error else (),
        path=next(reversed(begun), ROOT),
    )


def result(
    outcome: Reading[T] | TypedLLMError,
    last: Completion | None,
    *,
    usage: Usage,
    attempts: int,
    latency_s: float,
    asked: Constraint | None = None,
    enforced: Constraint | None = None,
    model: str | None = None,
) -> Result[T]:
    """Make the result of a call.

    Args:
        outcome: the value, or what went wrong.
        last: the last answer, if there was one.
        usage: tokens over all attempts.
        attempts: how many requests were sent.
        latency_s: seconds from the call on.
        asked: the constraint of the call.
        enforced: that of the last request, which may have been fitted to a budget.
        model: what gave the last answer.
    """
    reading = None if isinstance(outcome, TypedLLMError) else outcome
    tokens = last.tokens if last and reading else None
    probable = confidence(last.text, tokens) if last and tokens is not None else None
    if probable is not None and isinstance(enforced, Lowered):
        probable = enforced.places(probable)
    return Result(
        value=reading.value if reading else None,
        error=outcome if isinstance(outcome, TypedLLMError) else None,
        raw=last.text if last else None,
        usage=usage,
        attempts=attempts,
        finish_reason=last.finish_reason if last else None,
        latency_s=latency_s,
        confidence=probable,
        clipped=_clipped(last, asked, enforced) if last and reading else (),
        reasoning=last.reasoning if last else None,
        coercions=reading.coercions if reading else (),
        model=model,
    )


def _clipped(
    last: Completion, asked: Constraint | None, enforced: Constraint | None
) -> tuple[str, ...]:
    landed = () if last.landed_at is None else clipped(last.text, last.landed_at)
    if not (isinstance(asked, Grammar) and isinstance(enforced, Grammar)) or asked is enforced:
        return landed
    return tuple(dict.fromkeys((*landed, *cut_short(asked, enforced, last.text))))
