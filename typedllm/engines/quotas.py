"""The quotas of this process: one for each model of a service and key, whoever asks it."""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from typing import Final

from typedllm.engines.quota import Quota, RateLimit

__all__ = ["quota_of"]

_quotas: Final[weakref.WeakValueDictionary[str, Quota]] = weakref.WeakValueDictionary()
_quotas_lock = threading.Lock()


def quota_of(
    address: str, model: str, key: str | None, rate: RateLimit | None = None, in_flight: int = 64
) -> Quota:
    """Return the one quota of a model at a service, for as long as somebody uses it.

    Args:
        address: the service's.
        model: as the service calls it.
        key: by which it knows the caller; only a digest of it is kept.
        rate: the caller's own limits; those of the last who gives some are those of all. None
            leaves them as they are.
        in_flight: how many requests the engine likes on their way.
    """
    name = hashlib.sha256("\0".join((address, model, key or "")).encode()).hexdigest()
    with _quotas_lock:
        quota = _quotas.get(name)
        if quota is None:
            quota = _quotas[name] = Quota(rate, in_flight=in_flight)
        elif rate not in (None, quota.rate):
            quota.limit(rate)
        return quota


def _forget() -> None:
    global _quotas_lock  # noqa: PLW0603 - a thread that is gone may have held it
    _quotas_lock = threading.Lock()
    for quota in list(_quotas.values()):
        quota.forget()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)
