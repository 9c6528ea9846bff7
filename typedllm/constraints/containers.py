"""Arrays of a JSON Schema as nodes of the tree, and what a container needs around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from typedllm.constraints.lark import UNIQUE_LIMIT
from typedllm.constraints.plan import Notes
from typedllm.grammar.tree import Array, Literals, Node
from typedllm.records import Limits

Schema = Mapping[str, Any]


class Lowering(Protocol):
    """What containers need of the schema around them."""

    @property
    def notes(self) -> Notes:
        """Where to note what becomes of a keyword."""
        ...

    @property
    def limits(self) -> Limits:
        """Bounds for what the schema leaves open."""
        ...

    def node(self, schema: object, pointer: str, depth: int) -> Node | None:
        """The node of a schema inside."""
        ...

    def conjunction(self, parts: Sequence[tuple[object, str]], depth: int) -> Node | None:
        """The node of all of several schemas at once, each with its pointer."""
        ...

    def any_value(self) -> Node:
        """Any JSON value."""
        ...


def note_of(schema: Schema) -> Mapping[str, Any]:
    """What a Python type says beyond its schema."""
    return schema.get("x-typedllm", {})


def array(schema: Schema, pointer: str, depth: int, lowering: Lowering) -> Node | None:
    """The node of an array schema, or None when nothing satisfies it."""
    notes, limits = lowering.notes, lowering.limits
    names = ("items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems")
    notes.held(pointer, [word for word in names if word in schema])
    least, most = int(schema.get("minItems", 0)), schema.get("maxItems")
    if most is None and limits.items is not None:
        most = max(limits.items, least)
        notes.limit(f"arrays of at most {most} items")
    firsts, others = "prefixItems", "items"
    if isinstance(schema.get("items"), list):  # as drafts before 2020-12 have it
        firsts, others = "items", "additionalItems"
    prefix: list[Node] = []
    for index, inner in enumerate(schema.get(firsts, ())):
        if most is not None and index >= most:
            break
        node = lowering.node(inner, f"{pointer}/{firsts}/{index}", depth)
        if node is None:
            most = index
            break
        prefix.append(node)
    item = None
    if most is None or most > len(prefix):
        item = lowering.node(schema.get(others, True), f"{pointer}/{others}", depth)
        if item is None:
            most = len(prefix)
    if most is not None and most < least:
        notes.rule_out(pointer, f"an array of at least {least} and at most {most} valid items")
        return None
    unique = _unique(schema, item, prefix, least, most, pointer, notes)
    if unique and isinstance(item, Literals):
        most = len(item.texts) if most is None else min(most, len(item.texts))
        if most < least:
            notes.rule_out(pointer, f"{least} different items of {len(item.texts)} values")
            return None
    return Array(prefix=tuple(prefix), item=item, min_items=least, max_items=most, unique=unique)


def _unique(
    schema: Schema,
    item: Node | None,
    prefix: Sequence[Node],
    least: int,
    most: int | None,
    pointer: str,
    notes: Notes,
) -> bool:
    """Whether the grammar keeps the items apart."""
    if not schema.get("uniqueItems") or (most is not None and most <= 1):
        return False
    if isinstance(item, Literals) and not prefix and len(item.texts) <= UNIQUE_LIMIT:
        return True
    if note_of(schema).get("kind") != "set":
        notes.checked(pointer, "uniqueItems", "items may repeat")
    elif least > 1:
        notes.checked(pointer, "minItems", "repeated items of a set are merged")
    else:
        notes.rewritten(pointer, "uniqueItems", "repeated items of a set are merged")
    return False
