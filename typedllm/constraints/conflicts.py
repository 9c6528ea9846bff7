"""Schemas that no value satisfies, for reasons that no grammar sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema_rs import canonical

from typedllm.constraints.branching import branches_too_much
from typedllm.constraints.references import References


def conflicts(schema: Mapping[str, Any]) -> list[str]:
    """Why no value at all satisfies a schema, as jsonschema-rs' algebra proves it.

    Args:
        schema: a JSON Schema.

    Returns:
        The keywords in conflict with their places; empty when there is no proof of one.
    """
    references = References(schema)

    def target(reference: str) -> object:
        return references.target(reference) if references.resolves(reference) else True

    if branches_too_much([schema], target):
        return []
    try:
        found = canonical.find_unsatisfiable(dict(schema))
    except ValueError:  # what the algebra does not model is not proven anything
        return []
    reason = found.get("")
    if reason is None:
        return []
    causes = getattr(reason, "causes", ())
    places = [f"#{cause.pointer} {', '.join(cause.keywords)}" for cause in causes]
    return places or ["# the whole schema"]
