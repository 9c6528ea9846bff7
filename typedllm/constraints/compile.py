"""From a spec to what an engine can enforce, with the plan of it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from typedllm.constraints.conflicts import conflicts
from typedllm.constraints.dialect import lower_spec
from typedllm.constraints.fitting import least_budget
from typedllm.constraints.lower import lower
from typedllm.constraints.plan import Notes, Part, Plan
from typedllm.errors import SpecError, UnsupportedConstraint
from typedllm.grammar.closing import reserve, shortest
from typedllm.grammar.complexity import TooComplex
from typedllm.grammar.expression import expression
from typedllm.grammar.pattern import NotRegular, parse_pattern
from typedllm.grammar.tree import Literals, Node, Scalar
from typedllm.records import Constraint, Grammar, JsonSchema, Lark, Limits, Traits
from typedllm.spec.kinds import Choice, Regex
from typedllm.spec.spec import Spec

_CACHED = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiled:
    """A spec made ready for an engine.

    Attributes:
        constraint: what the engine enforces while it decodes; None for nothing.
        plan: what holds by construction and what is only checked.
    """

    constraint: Constraint | None
    plan: Plan


_cache: OrderedDict[tuple[str, Traits, Limits], Compiled] = OrderedDict()
_lock = Lock()


def compile_spec(spec: Spec[Any], traits: Traits, limits: Limits | None = None) -> Compiled:
    """Make a spec ready for an engine; the last ones are kept.

    Args:
        spec: the spec.
        traits: what the engine can do.
        limits: bounds for what the spec leaves open; `Limits()` when None.

    Raises:
        SpecError: when nothing satisfies the spec, or it is too complex for a grammar.
        UnsupportedConstraint: when the spec is a Lark grammar and the engine takes none.
    """
    limits = limits or Limits()
    key = (spec.key, traits, limits)
    with _lock:
        found = _cache.get(key)
        if found is not None:
            _cache.move_to_end(key)
            return found
    try:
        compiled = _compile(spec, traits, limits)
        compiled = replace(compiled, plan=replace(compiled.plan, scores=traits.scores))
    except TooComplex as error:
        raise SpecError(f"the output type is too large for a grammar: {error}") from error
    except RecursionError as error:
        raise SpecError(
            "the output type is nested too deep for a grammar: nest it less, or lower"
            " Limits(recursion=...)"
        ) from error
    with _lock:
        _cache[key] = compiled
        if len(_cache) > _CACHED:
            _cache.popitem(last=False)
    return compiled


def _compile(spec: Spec[Any], traits: Traits, limits: Limits) -> Compiled:
    source = spec.source
    if isinstance(source, Lark):
        if Lark not in traits.takes:
            raise UnsupportedConstraint(
                f"the engine {traits.name} takes no Lark grammar; use Regex, Choice or a type"
            )
        part = Part(pointer="#", keyword="lark", status="by construction")
        return Compiled(
            constraint=source, plan=Plan(engine=traits.name, parts=(part,), ending="may be cut")
        )
    by_schema = JsonSchema in traits.takes and Grammar not in traits.takes
    if by_schema and traits.dialect is not None:
        lowered, plan = lower_spec(spec, traits, limits)
        return Compiled(constraint=lowered, plan=plan)
    notes = Notes()
    if isinstance(source, Choice):
        notes.held("#", ["options"])
        return _guided(Literals(source.options), notes, traits)
    if isinstance(source, Regex):
        try:
            expr = parse_pattern(f"^(?:{source.pattern})$")
        except NotRegular as error:
            notes.checked("#", "pattern", str(error))
            return Compiled(constraint=None, plan=Plan(engine=traits.name, parts=notes.parts))
        notes.held("#", ["pattern"])
        return _guided(Scalar(expr), notes, traits)
    if spec.schema is None:
        return Compiled(constraint=None, plan=Plan(engine=traits.name, parts=()))
    root = lower(spec.schema, limits, notes)
    reasons = notes.impossible[-3:] if root is None else []
    if root is None or any(part.status == "checked after" for part in notes.parts):
        reasons = [*conflicts(spec.schema), *reasons]
    if root is None or reasons:
        raise SpecError(f"no value satisfies the output type: {'; '.join(reasons)}")
    return _guided(root, notes, traits)


def _guided(root: Node, notes: Notes, traits: Traits) -> Compiled:
    expr = expression(root)
    text = shortest(expr)
    if text is None:
        raise SpecError("no text satisfies the output type")
    reserve(expr)  # what is nested too deep for that is found before any call
    if Grammar not in traits.takes:
        for part in notes.parts:
            if part.status == "annotation":
                continue
            notes.checked(part.pointer, part.keyword, f"{traits.name} does not guide decoding")
        return Compiled(constraint=None, plan=Plan(engine=traits.name, parts=notes.parts))
    fits_bytes = least_budget(root) if traits.ending == "fitted" else None
    unfit = traits.ending == "fitted" and fits_bytes is None
    plan = Plan(
        engine=traits.name,
        parts=notes.parts,
        limits=notes.limits,
        ending="may be cut" if unfit else traits.ending,
        least_bytes=len(text),
        fits_bytes=fits_bytes,
    )
    return Compiled(constraint=Grammar(root), plan=plan)
