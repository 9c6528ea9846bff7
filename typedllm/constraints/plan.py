"""The Plan: for one spec on one engine, what holds by construction and what is only checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from typedllm.records import Ending

Status: TypeAlias = Literal[
    "annotation", "by construction", "rewritten", "checked after", "refused"
]
_WORST_LAST: tuple[Status, ...] = ("annotation", "by construction", "rewritten", "checked after")


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One keyword of the spec and what becomes of it.

    Attributes:
        pointer: JSON pointer of the schema that has it, such as `#/properties/age`.
        keyword: the keyword, such as `maximum`; `x-typedllm` for a rule of a Python type.
        status: how it holds.
        reason: why, where it is not simply held by construction.
    """

    pointer: str
    keyword: str
    status: Status
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What an engine does with a spec.

    Attributes:
        engine: the engine's name.
        parts: every keyword of the spec, in its order.
        limits: the bounds chosen for the caller, in words.
        ending: how an answer that grows too long ends; None for plain text.
        least_bytes: bytes of a shortest valid answer, where a grammar is known.
        fits_bytes: where the ending is `fitted`, the most bytes of an answer under the least limits
            it can be fitted to; with a `max_tokens` of at least so many, the second attempt always
            ends.
        scores: whether the engine can tell how likely each label is.
    """

    engine: str
    parts: tuple[Part, ...]
    limits: tuple[str, ...] = ()
    ending: Ending | None = None
    least_bytes: int | None = None
    fits_bytes: int | None = None
    scores: bool = True

    @property
    def guaranteed(self) -> bool:
        """Whether every answer is valid by construction: nothing is left to be checked after."""
        return all(part.status not in ("checked after", "refused") for part in self.parts)

    @property
    def told(self) -> tuple[Part, ...]:
        """The parts without what only describes, such as titles."""
        return tuple(part for part in self.parts if part.status != "annotation" or part.reason)

    @property
    def last_lines(self) -> list[str]:
        """How an answer that grows too long ends, and what the engine cannot tell of it."""
        lines: list[str] = []
        if self.ending is not None:
            fits = self.fits_bytes  # a token may be as little as a byte
            within = "" if fits is None else f" (always within {fits:,} tokens)"
            lines.append(f"ending: {self.ending}{within}")
        if not self.scores:
            lines.append("distributions: none, this engine scores no labels")
        return lines

    def __str__(self) -> str:
        asserting = [part for part in self.parts if part.status != "annotation"]
        held = sum(part.status == "by construction" for part in asserting)
        lines = [f"engine: {self.engine}", f"by construction: {held} of {len(asserting)} keywords"]
        for status in ("rewritten", "checked after", "refused", "annotation"):
            found = [part for part in self.told if part.status == status]
            lines += [f"{status}: {p.pointer} {p.keyword}: {p.reason}" for p in found]
        lines += [f"limit: {limit}" for limit in self.limits]
        return "\n".join([*lines, *self.last_lines])


class Notes:
    """Collects the parts and limits of a plan while a schema is turned into a tree."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, str], Part] = {}
        self._limits: dict[str, None] = {}
        self.impossible: list[str] = []

    def held(self, pointer: str, keywords: Iterable[str]) -> None:
        """Keywords that the tree holds by construction."""
        for keyword in keywords:
            self._note(pointer, keyword, "by construction", "")

    def annotation(self, pointer: str, keyword: str, reason: str = "") -> None:
        """A keyword that says nothing about which values are valid."""
        self._note(pointer, keyword, "annotation", reason)

    def rewritten(self, pointer: str, keyword: str, reason: str) -> None:
        """A keyword that is held in another form."""
        self._note(pointer, keyword, "rewritten", reason)

    def checked(self, pointer: str, keyword: str, reason: str) -> None:
        """A keyword that the tree does not hold."""
        self._note(pointer, keyword, "checked after", reason)

    def has(self, pointer: str, keyword: str) -> bool:
        """Whether something has been noted of a keyword."""
        return (pointer, keyword) in self._parts

    def _note(self, pointer: str, keyword: str, status: Status, reason: str) -> None:
        # A schema that is met on several ways is as good as on the worst of them.
        known = self._parts.get((pointer, keyword))
        if known is None or _WORST_LAST.index(known.status) < _WORST_LAST.index(status):
            part = Part(pointer=pointer, keyword=keyword, status=status, reason=reason)
            self._parts[pointer, keyword] = part

    def limit(self, text: str) -> None:
        """A bound chosen for the caller."""
        self._limits[text] = None

    def rule_out(self, pointer: str, reason: str) -> None:
        """A schema that nothing satisfies."""
        self.impossible.append(f"{pointer}: {reason}")

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts so far."""
        return tuple(self._parts.values())

    @property
    def limits(self) -> tuple[str, ...]:
        """The limits so far."""
        return tuple(self._limits)
