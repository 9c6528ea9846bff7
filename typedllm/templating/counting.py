"""Puts into the tree of a template what counts its steps and looks at the sizes of what it makes.

What is put in are filters whose names no template can write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any, Final, TypeVar, cast

from jinja2 import nodes, pass_context
from jinja2.exceptions import TemplateSyntaxError
from jinja2.runtime import Context
from jinja2.visitor import NodeTransformer

from typedllm.templating.sizes import MOST_BITS, check_made, check_size, weight
from typedllm.templating.steps import spend, steps_for

__all__ = ["OWN_FILTERS", "counting"]

T = TypeVar("T")

_MOST_NODES: Final = 20_000  # of the tree; Python takes some kilobytes to compile each
_NODE: Final = 4  # characters of text that take as long as a part of an expression


def _counted(values: Iterable[T]) -> Iterator[T]:
    for value in values:
        spend(1)
        yield value


@pass_context  # which is there when it is rendered only: it is not worked out beforehand
def _passed(context: Context, steps: int) -> str:
    spend(steps)
    return ""


def _made(value: T) -> T:
    check_made("a list", value)
    return value


def _compared(value: T) -> T:
    spend(1 + steps_for(weight(value)))
    return value


def _sliced(value: T) -> T:
    spend(steps_for(len(value)) if isinstance(value, Sized) else 0)
    return value


def _concatenated(values: list[Any]) -> str:
    check_made("~", values)
    texts = [str(value) for value in values]
    check_size(sum(map(len, texts)), "~")
    return "".join(texts)


OWN_FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "(counted)": _counted,
    "(passed)": _passed,
    "(made)": _made,
    "(compared)": _compared,
    "(sliced)": _sliced,
    "(concatenated)": _concatenated,
}


def counting(tree: nodes.Template) -> nodes.Template:
    """Put the counting into a template.

    Args:
        tree: as it was parsed; changed in place.

    Raises:
        TemplateSyntaxError: when it has too many parts, or a number of too many digits.
    """
    if sum(1 for _ in tree.find_all(nodes.Node)) > _MOST_NODES:
        raise TemplateSyntaxError(f"a template has at most {_MOST_NODES:,} parts", 1)
    return _Counting().visit(tree)


class _Counting(NodeTransformer):
    """Every way to run a part of a template again is counted, by how much there is in it."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802 - jinja2's name
        steps = _passing(node.body)
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "(counted)")
        if node.test is not None:
            node.test = _filtered(node.test, "(compared)")
        node.body.insert(0, steps)  # a recursive loop comes in here another way
        return node

    def _counted_body(self, node: Any) -> Any:
        steps = _passing(node.body)
        self.generic_visit(node)
        node.body.insert(0, steps)
        return node

    visit_Macro = visit_CallBlock = visit_Block = visit_Template = _counted_body  # noqa: N815

    def visit_Include(self, node: nodes.Include) -> nodes.Include:  # noqa: N802
        self.generic_visit(node)
        node.with_context = True  # without it, what it made the first time would not be counted
        return node

    def visit_Const(self, node: nodes.Const) -> nodes.Const:  # noqa: N802
        if isinstance(node.value, int) and node.value.bit_length() > MOST_BITS:
            raise TemplateSyntaxError(f"a number above {MOST_BITS} bits", node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes), "(concatenated)")

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:  # noqa: N802
        self.generic_visit(node)
        node.expr = _filtered(node.expr, "(compared)")
        for operand in node.ops:
            operand.expr = _filtered(operand.expr, "(compared)")
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, "(sliced)") if isinstance(node.arg, nodes.Slice) else node

    def _made(self, node: Any) -> nodes.Expr:
        self.generic_visit(node)
        loaded = getattr(node, "ctx", "load") == "load"
        return _filtered(node, "(made)") if loaded else node

    visit_List = visit_Dict = visit_Tuple = _made  # noqa: N815


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(cast(nodes.Expr, node), name, [], [], None, None, lineno=node.lineno)


def _passing(body: list[nodes.Node]) -> nodes.Output:
    """What counts the steps of a part of a template, by its words and the parts in it."""
    size = 0
    for node in nodes.Template(body).find_all(nodes.Node):
        text = getattr(node, "data", None) or getattr(node, "value", None)
        size += _NODE + (len(text) if isinstance(text, str) else 0)
    return nodes.Output([_filtered(nodes.Const(1 + steps_for(size)), "(passed)")])
