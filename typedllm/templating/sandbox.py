"""Where templates run: no way out, and an end to the time and memory that one can take.

Jinja's sandbox keeps a template from the insides of Python. This one besides counts what a template
does (a step is a turn of a loop, a call, a filter, or 20 characters of text), and looks at the size
of what operators, filters and methods would make before they make it.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, NoReturn, cast

import jinja2
from jinja2 import StrictUndefined, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.ext import loopcontrols
from jinja2.filters import do_int
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from markupsafe import Markup

from typedllm.errors import TemplateError
from typedllm.templating.counting import OWN_FILTERS, counting
from typedllm.templating.sizes import (
    BY_FILTER,
    BY_METHOD,
    MOST_CHARS,
    TooLarge,
    check_bits,
    check_given,
    check_made,
    minus,
    modulo,
    plus,
    power,
    times,
)
from typedllm.templating.steps import bounded, spend

__all__ = ["Sandbox", "cause", "compiling"]

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
    (Markup, _TEXT),
    (str, _TEXT),
    (bytes, frozenset[str]()),
    (int, _NUMBER),
    (float, _NUMBER),
)
_CHEAP: Final = frozenset({"get", "items", "keys", "values"})  # of a mapping, whatever its size

_OPERATORS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": plus,
    "-": minus,
    "*": times,
    "**": power,
    "%": modulo,
}


class _Namespace(Namespace):
    """A namespace that is not written out: it could hold others, twice each, and so on."""

    def __repr__(self) -> str:
        return "<namespace>"


def _formatted(text: object, *args: object, **kwargs: object) -> str:
    return modulo(str(text), kwargs or args)


def _whole(value: Any, default: Any = 0, base: int = 10) -> Any:
    return check_bits(do_int(value, default, base))


def _as_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As transformers has it: Jinja's own escapes what HTML does not bear."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


@pass_context
def _spent(context: Context, value: object) -> object:
    """What is put out, once it is counted."""
    spend(1)
    check_made("what is put out", value)
    return value


@contextmanager
def compiling(name: str) -> Generator[None]:
    """Bound what it takes to compile a template, and name what is wrong with it.

    Args:
        name: of the template, for messages.

    Raises:
        TemplateError: when it is not valid Jinja, or too much.
    """
    try:
        with bounded():
            yield
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"{name}, line {error.lineno}: {error.message}") from error
    except jinja2.TemplateError as error:
        raise TemplateError(f"{name}: {error}") from error
    except (RecursionError, MemoryError, SyntaxError) as error:  # of Python's own compiler
        raise TemplateError(f"{name}: it is nested too deeply") from error


def cause(error: Exception) -> Exception:
    """Return an error of a rendering, to be kept with the results of a batch.

    Args:
        error: what a template raised.

    Returns:
        The same; where it was stopped, without the frames, which hold all that it had made.
    """
    stopped = isinstance(error, SecurityError | TooLarge | RecursionError | MemoryError)
    return error.with_traceback(None) if stopped else error


class Sandbox(ImmutableSandboxedEnvironment):
    """An environment for templates from anywhere, inside of `compiling` and `bounded`."""

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
        names = vars(self)["globals"]
        names.pop("lipsum")
        names["namespace"] = _Namespace
        filters = cast(dict[str, Callable[..., Any]], vars(self)["filters"])
        found = {name: made for name, made in filters.items() if name not in _LEFT_OUT}
        found |= {"format": _formatted, "int": _whole, "tojson": _as_json}
        guarded = {name: _guarded(name, made) for name, made in found.items()}
        self.filters: dict[str, Callable[..., Any]] = {**guarded, **OWN_FILTERS}
        self.tests = {name: _guarded(name, made) for name, made in self.tests.items()}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if len(source) > _LONGEST:
            raise jinja2.TemplateError(f"a template has at most {_LONGEST:,} characters")
        return counting(super()._parse(source, name, filename))

    def handle_exception(self, source: str | None = None) -> NoReturn:
        """Raise what a template raised; Jinja would make frames that hold all its values."""
        raise  # noqa: PLE0704 - it is called where an error is handled

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

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Look up an item, which a filter may be told to do over and over: `a.0.0.0.0`."""
        spend(1)
        return super().getitem(obj, argument)

    def call_filter(self, name: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a filter that another one names, such as `map`, but none of those put in."""
        if str(name).startswith("("):
            raise SecurityError(f"no filter is called {name!r}")
        return super().call_filter(name, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Do what an operator does, where it does not make too much."""
        return _OPERATORS[operator](left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call what a template calls."""
        spend(1 + len(args) + len(kwargs))
        owner = getattr(__obj, "__self__", None)
        name = getattr(__obj, "__name__", type(__obj).__name__)
        if isinstance(__obj, Macro) or (isinstance(owner, Mapping) and name in _CHEAP):
            return super().call(__context, __obj, *args, **kwargs)
        args = tuple(map(_listed, args))
        given = [*args, *kwargs.values()]
        method = isinstance(owner, str | list | tuple)
        check_given(name, BY_METHOD if method else {}, [owner, *given] if method else given)
        result = super().call(__context, __obj, *args, **kwargs)
        check_made(name, result)
        return result


def _guarded(name: str, made: Callable[..., Any]) -> Callable[..., Any]:
    """A filter or test that looks at sizes first."""
    leading = 1 if getattr(made, "jinja_pass_arg", None) is not None else 0
    signature = _signature(made)

    @functools.wraps(made)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        spend(1)
        args = tuple(map(_listed, args))
        given = args
        if kwargs and signature is not None:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            given = tuple(bound.arguments.values())
        check_given(name, BY_FILTER, given[leading:])
        result = made(*args, **kwargs)
        check_made(name, result)
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
