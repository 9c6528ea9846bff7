"""What every engine of a remote API is opened with: a model's name and a key."""

from __future__ import annotations

from typedllm.engines.connection import check_sendable
from typedllm.errors import UsageError
from typedllm.settings import provider_key

__all__ = ["check_model", "key_of"]


def check_model(name: str, model: str) -> None:
    """Check that a model is named.

    Args:
        name: of the engine.
        model: what stands after the colon.

    Raises:
        UsageError: when nothing does.
    """
    if not model:
        raise UsageError(f'{name}: no model; write it after a colon, as in LLM("{name}:a-model")')


def key_of(name: str, *variables: str) -> str:
    """Return the key that the environment has for a provider.

    Args:
        name: of the engine.
        variables: the provider's own names for it; the first that is set counts.

    Raises:
        UsageError: when there is none, or none that can be sent.
    """
    for variable in variables:
        if key := provider_key(variable):
            check_sendable(f"{name}: the environment's {variable}", key)
            return key
    told = " or ".join(variables)
    raise UsageError(f"{name}: no key; give api_key=, or set {told} in the environment")
