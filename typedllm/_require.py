"""Import what an extra installs, or say how to install it."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from typedllm.errors import MissingDependency

__all__ = ["require"]


def require(module: str, extra: str) -> ModuleType:
    """Import a module that an extra of typedllm installs.

    Args:
        module: the module's full name, such as `transformers`.
        extra: the extra that brings it, such as `local`.

    Raises:
        MissingDependency: with the command that installs it, when it cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependency(
            f"{module} cannot be imported ({error}); install it: pip install 'typedllm[{extra}]'"
        ) from error
