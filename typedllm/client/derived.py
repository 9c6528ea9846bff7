"""The sync form of a verb, made from its async one, so that none is written twice.

Type checkers carry overloads through these functions, so the forms made here are typed like the
verbs they are made from.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, ParamSpec, TypeVar

from typedllm._bridge import iterate, run
from typedllm.errors import UsageError
from typedllm.records import Limits, Result, Sampling

__all__ = ["blocking", "streaming", "unwrapped", "verb"]

P = ParamSpec("P")
R = TypeVar("R")


def verb(options: type) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Show a verb's keywords, and make an unknown one an error that names the mend.

    Args:
        options: the TypedDict of the keywords.
    """
    keywords = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in options.__annotations__.items()
    ]

    def decorate(ask: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(ask)
        positional = list(signature.parameters.values())[:-1]  # before the options
        signature = signature.replace(parameters=[*positional, *keywords])
        known = signature.parameters.keys()

        @functools.wraps(ask)
        def form(*args: P.args, **given: P.kwargs) -> R:
            if not given.keys() <= known:
                raise _unknown(given.keys() - known, ask.__name__, list(known)[1:])
            return ask(*args, **given)

        form.__signature__ = signature  # pyright: ignore[reportAttributeAccessIssue]
        return form

    return decorate


def blocking(verb: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """Make the sync form of an async verb; `acall` becomes `call`."""

    @functools.wraps(verb)
    def form(*args: P.args, **options: P.kwargs) -> R:
        return run(verb(*args, **options))

    return _named(form, verb.__name__.removeprefix("a"))


def streaming(verb: Callable[P, AsyncGenerator[R, None]]) -> Callable[P, Generator[R, None, None]]:
    """Make the sync form of a verb that returns an async iterator."""

    @functools.wraps(verb)
    def form(*args: P.args, **options: P.kwargs) -> Generator[R, None, None]:
        return iterate(verb(*args, **options))

    return _named(form, verb.__name__.removeprefix("a"))


def _unknown(names: Iterable[str], verb: str, known: Sequence[str]) -> UsageError:
    name = min(names)
    for record in (Sampling, Limits):
        if any(field.name == name for field in fields(record)):
            mend = f"write {record.__name__.lower()}={record.__name__}({name}=...)"
            break
    else:
        near = get_close_matches(name, known, n=1)
        mend = f"did you mean {near[0]}?" if near else f"its keywords are {', '.join(known)}"
    return UsageError(f"{verb.removeprefix('a')} takes no keyword {name!r}; {mend}")


async def unwrapped(result: Coroutine[Any, Any, Result[R]]) -> R:
    """Await a result, and return its value or raise its error."""
    return (await result).unwrap()


def _named(form: Callable[P, R], name: str) -> Callable[P, R]:
    form.__qualname__ = f"{form.__qualname__.removesuffix(form.__name__)}{name}"
    form.__name__ = name
    # What the async verb returns is not what this one does.
    signature = inspect.signature(form).replace(return_annotation=inspect.Signature.empty)
    form.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    return form
