"""The tree of rules: what an answer may look like, free of any engine's syntax.

Six kinds of node describe compact JSON, with keys in the order of the spec. Recursion is unrolled
to a bound before a tree is made, so a tree is a finite graph whose shared parts are shared objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from typedllm.grammar.regular import Expr


@dataclass(frozen=True, slots=True, eq=False)
class Literals:
    """One of a set of JSON texts (or plain texts, at the root of a `Choice`)."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A JSON string.

    Attributes:
        pattern: what its characters match (before JSON escapes), or None for any.
        min_length: least number of characters.
        max_length: most characters, or None for open.
    """

    pattern: Expr | None = None
    min_length: int = 0
    max_length: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """Text outside quotes that matches an expression: a number, or a caller's `Regex`."""

    expr: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """A JSON array.

    Attributes:
        prefix: nodes of the first items, one by one (a tuple type).
        item: the node of each further item, or None for no further item.
        min_items: least number of items, prefix included.
        max_items: most items, prefix included, or None for open.
        unique: whether no item may repeat; only with `Literals` as item and no prefix.
    """

    prefix: tuple[Node, ...] = ()
    item: Node | None = None
    min_items: int = 0
    max_items: int | None = None
    unique: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A named property of an object."""

    name: str
    node: Node
    required: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Object:
    """A JSON object: its members in order, then further entries.

    Attributes:
        members: the named properties, in the order of generation.
        entries: pairs of key node (`Text` or `Literals`) and value node for further entries.
        min_properties: least number of members and entries that are written.
        max_properties: most members and entries that are written, or None for open.
        max_entries: most further entries, or None for open.
    """

    members: tuple[Member, ...] = ()
    entries: tuple[tuple[Text | Literals, Node], ...] = ()
    min_properties: int = 0
    max_properties: int | None = None
    max_entries: int | None = None

    @property
    def entry_bounds(self) -> tuple[int, int | None] | None:
        """Least and most entries after some members; None where it matters which are written."""
        needed = sum(member.required for member in self.members)
        left_out = len(self.members) - needed
        least = max(self.min_properties - max(needed, 1), 0)
        most = self.max_entries if self.entries else 0
        room = None if self.max_properties is None else self.max_properties - needed
        if left_out:
            binds = room is not None and (most is None or room < left_out + most)
            return None if least or binds else (0, most)
        bounds = [bound for bound in (most, room) if bound is not None]
        return least, min(bounds, default=None)


@dataclass(frozen=True, slots=True, eq=False)
class OneOf:
    """Any one of several nodes."""

    branches: tuple[Node, ...]


Node: TypeAlias = Literals | Text | Scalar | Array | Object | OneOf
