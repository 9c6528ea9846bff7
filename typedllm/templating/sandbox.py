"""Where templates run: no way out, and an end to the time and memory that one can take.

Jinja's sandbox keeps a template from the insides of Python. This one besides counts what a template
does (a step is a turn of a loop, a call, a filter, or 20 characters of text), and looks at the size
of what operators, filters and methods would make before they make it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from typing import Any, Final, TypeVar, cast

from jinja2 import StrictUndefined, TemplateError, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.ext import loopcontrols
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from typedllm.templating.sizes import (
    BY_FILTER,
    BY_METHOD,
    MOST_CHARS,
    check_made,
    check_size,
    modulo,
    plus,
    power,
    times,
    weight,
)

__all__ = ["Sandbox", "bounded", "spend"]

T = TypeVar("T")

_MOST_STEPS: Final = 1_000_000  # of one rendering
_CHARS: Final = 20  # that a step writes
_LONGEST: Final = 1_000_000  # characters of a template
_LEFT_OUT: Final = frozenset({"random", "urlize", "xmlattr", "pprint"})  # no prompt needs them
_TEXT: Final = frozenset(
    {"strip", "lstrip", "rstrip", "upper", "lower", "title", "capitalize", "swapcase", "casefold"}
    | {"split", "rsplit", "splitlines", "partition", "rpartition", "replace", "join"}
    | {"startswith", "endswith", "removeprefix", "removesuffix", "find", "rfind", "index", "count"}
    | {"isdigit", "isalpha", "isalnum", "isdecimal", "isnumeric", "isspace", "isupper", "islower"}
)
_NUMBER: Final = frozenset({"is_integer", "bit_length", "real", "imag"})
_METHODS: Final[tuple[tuple[type, frozenset[str]], ...]] = (
    (str, _TEXT),
    (bytes, frozenset[str]()),
    (int, _NUMBER),
    (float, _NUMBER),
)

_OPERATORS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": plus,
    "*": times,
    "**": power,
    "%": modulo,
}

_left: ContextVar[list[int]] = ContextVar("typedllm_template_steps")


@contextmanager
def bounded() -> Generator[None]:
    """Count the steps of a rendering; after a million of them it is given up."""
    token = _left.set([_MOST_STEPS])
    try:
        yield
    finally:
        _left.reset(token)


def spend(steps: int) -> None:
    """Count steps.

    Raises:
        SecurityError: when there have been too many.
    """
    left = _left.get(None)
    if left is not None:
        left[0] -= steps
        if left[0] < 0:
            raise SecurityError(f"the template takes more than {_MOST_STEPS:,} steps")


def _counted(values: Iterable[T], steps: int) -> Iterator[T]:
    for value in values:
        spend(steps)
        yield value


@pass_context  # which is there when it is rendered only: it is not worked out beforehand
def _passed(context: Context, steps: int) -> str:
    spend(steps)
    return ""


def _made(value: T) -> T:
    check_size(weight(value), "a list")
    return value


def _concatenated(values: list[Any]) -> str:
    texts = [str(value) for value in values]
    check_size(sum(map(len, texts)), "~")
    return "".join(texts)


def _formatted(text: object, *args: object, **kwargs: object) -> str:
    return modulo(str(text), kwargs or args)


@pass_context
def _spent(context: Context, value: object) -> object:
    """What is put out, once it is counted."""
    spend(len(value) // _CHARS if isinstance(value, str) else 0)
    return value


class _Counting(NodeTransformer):
    """Puts the counting into a template, and what looks at sizes."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802 - jinja2's name
        self.generic_visit(node)
        node.iter = _filtered(
            cast(nodes.Expr, node.iter), "_counted", 1 + _chars(node.body) // _CHARS
        )
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Macro:  # noqa: N802
        self.generic_visit(node)
        node.body.insert(0, _passing(node.body))
        return node

    def visit_Template(self, node: nodes.Template) -> nodes.Template:  # noqa: N802
        self.generic_visit(node)
        node.body.insert(0, _passing(node.body))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes), "_concatenated")

    def visit_List(self, node: nodes.List) -> nodes.Filter:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, "_made")

    def visit_Dict(self, node: nodes.Dict) -> nodes.Filter:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, "_made")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, "_made") if node.ctx == "load" else node


def _filtered(node: nodes.Expr, name: str, *args: int) -> nodes.Filter:
    return nodes.Filter(node, name, [nodes.Const(arg) for arg in args], [], None, None)


def _passing(body: list[nodes.Node]) -> nodes.Output:
    return nodes.Output([_filtered(nodes.Const(1 + _chars(body) // _CHARS), "_passed")])


def _chars(body: list[nodes.Node]) -> int:
    """Characters of a template's own words in a part of it."""
    inside = [nodes.Template(body)]
    return sum(len(data.data) for node in inside for data in node.find_all(nodes.TemplateData))


class Sandbox(ImmutableSandboxedEnvironment):
    """An environment for templates from anywhere; render inside of `bounded()`."""

    intercepted_binops = frozenset(_OPERATORS)

    def __init__(self, **options: Any) -> None:
        """Make an environment.

        Args:
            options: of `jinja2.Environment`.
        """
        defaults: dict[str, Any] = {"undefined": StrictUndefined, "finalize": _spent}
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # what would be worked out beforehand would not be counted
            extensions=[loopcontrols],
            **(defaults | options),
        )
        vars(self)["globals"].pop("lipsum")
        filters = cast(dict[str, Callable[..., Any]], self.filters)
        found = {name: made for name, made in filters.items() if name not in _LEFT_OUT}
        found["format"] = _formatted
        self.filters = {name: _guarded(name, made) for name, made in found.items()} | {
            "_counted": _counted,
            "_passed": _passed,
            "_made": _made,
            "_concatenated": _concatenated,
        }

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if len(source) > _LONGEST:
            raise TemplateError(f"a template has at most {_LONGEST:,} characters")
        return _Counting().visit(super()._parse(source, name, filename))

    def get_template(self, name: Any, parent: Any = None, globals: Any = None) -> Any:
        """Find a template; what includes it without an end is stopped."""
        spend(1)
        return super().get_template(name, parent, globals)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may use an attribute; of texts and numbers, only some methods."""
        for kind, allowed in _METHODS:
            if isinstance(obj, kind) and hasattr(kind, attr) and attr not in allowed:
                return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """`str.format` is no method that a template may use; so there is nothing to wrap."""
        return None

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Do what an operator does, where it does not make too much."""
        return _OPERATORS[operator](left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call what a template calls."""
        spend(1)
        owner = getattr(__obj, "__self__", None)
        if not isinstance(owner, str):
            return super().call(__context, __obj, *args, **kwargs)
        args = tuple(map(_listed, args))
        check_made(__obj.__name__, BY_METHOD, (owner, *args, *kwargs.values()))
        result = super().call(__context, __obj, *args, **kwargs)
        spend(len(result) // _CHARS if isinstance(result, str) else 0)
        return result


def _guarded(name: str, made: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that looks at sizes first."""
    leading = 1 if getattr(made, "jinja_pass_arg", None) is not None else 0
    signature = _signature(made)

    @functools.wraps(made)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        args = tuple(map(_listed, args))
        given = args
        if kwargs and signature is not None:
            given = tuple(signature.bind(*args, **kwargs).arguments.values())
        check_made(name, BY_FILTER, given[leading:])
        result = made(*args, **kwargs)
        spend(1 + (len(result) // _CHARS if isinstance(result, str) else 0))
        return result

    return guarded


def _listed(value: Any) -> Any:
    """What a filter before gives one by one, as a list, since it is not known how much it is."""
    if not isinstance(value, Iterator):
        return value
    return list(islice(cast(Iterator[Any], value), MOST_CHARS + 1))


def _signature(made: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(made)
    except ValueError:  # of a function that is written in C
        return None
