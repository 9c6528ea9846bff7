"""Keys: what tells a request of a batch from all others, the same in every process.

Each hash is a BLAKE2b (RFC 7693) of 16 bytes over parts of which each says where it ends, so that
no two requests are written alike.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import astuple, dataclass
from hashlib import blake2b
from typing import Any, Final

from typedllm.attempts import Task
from typedllm.engines.base import Engine, identity_of
from typedllm.errors import UsageError
from typedllm.prompts.templates import Rendered
from typedllm.records import Sampling, Segment

__all__ = ["Counted", "Key", "Keys", "engine_key", "is_fixed", "is_repeatable"]

_VERSION: Final = 1  # of how a request is written here; another one makes all keys new


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """What tells a row from all others.

    Attributes:
        request: a hash of what is asked: the prompt in words, the output type, the limits, the
            sampling, and the places whose labels are scored.
        engine: a hash of what is asked: its name, its model, and what else changes its answers.
        occurrence: which of several samples of one request it is, from 0; 0 where all answers to it
            are the same.
    """

    request: str
    engine: str
    occurrence: int = 0


class Keys:
    """Makes the keys of the requests of one call."""

    def __init__(self, task: Task[Any], *, classifies: bool = False) -> None:
        """Hash what the rows have in common.

        Args:
            task: what is asked; its fallbacks do not count.
            classifies: whether labels are scored in place of an answer.

        Raises:
            UsageError: when an option has no form as JSON, naming it.
        """
        self._engine = engine_key(task.engine)
        self._common = blake2b(_written(_parts_of(task, classifies)), digest_size=16)

    def of(self, prompt: Rendered) -> Key:
        """The key of a request, or of the first of several samples of it.

        Args:
            prompt: the messages, or the raw segments.
        """
        common = self._common.copy()
        common.update(_said(prompt))
        return Key(request=common.hexdigest(), engine=self._engine)


class Counted:
    """Counts equal requests, for any number of threads."""

    def __init__(self) -> None:
        # By 8 bytes of the hash: two requests that shared them would be counted as one, no more.
        self._counts: Counter[int] = Counter()
        self._turn = threading.Lock()

    def earlier(self, key: Key) -> int:
        """Count a request, and return how many equal ones were before it.

        Args:
            key: of the request.
        """
        at = int(key.request[:16], 16)
        with self._turn:
            count = self._counts[at]
            self._counts[at] = count + 1
        return count


def engine_key(engine: Engine) -> str:
    """Hash what tells an engine from all others; keys and headers are no part of it.

    Args:
        engine: any.

    Raises:
        UsageError: when its `identity` has no form as JSON.
    """
    parts = {
        "version": _VERSION,
        "name": engine.traits.name,
        "model": engine.model,
        "identity": _json(identity_of(engine), f"the identity of the engine {engine.traits.name}"),
    }
    return blake2b(_written(parts), digest_size=16).hexdigest()


def is_repeatable(task: Task[Any], *, classifies: bool) -> bool:
    """Say whether all answers to a request are the same.

    Args:
        task: what is asked.
        classifies: whether labels are scored in place of an answer.
    """
    sampling = task.sampling
    local = task.engine.traits.ending == "landing"  # which is greedy where it is told nothing
    return classifies or is_fixed(sampling) or (local and sampling.temperature is None)


def is_fixed(sampling: Sampling) -> bool:
    """Say whether the caller has asked for the same answer to equal requests.

    Args:
        sampling: how tokens are chosen.
    """
    return sampling.temperature == 0 or sampling.seed is not None


def _parts_of(task: Task[Any], classifies: bool) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "spec": task.spec.key,
        "limits": astuple(task.limits),
        "sampling": _sampled(task.sampling),
        "scored": [(labels.path, labels.texts) for labels in task.scored],
        "classifies": classifies,
    }


def _sampled(sampling: Sampling) -> list[Any]:
    numbers = (sampling.temperature, sampling.top_p)
    counts = (sampling.max_tokens, sampling.seed)
    return [
        [None if number is None else float(number) for number in numbers],  # 0 is 0.0
        [None if count is None else int(count) for count in counts],
        sampling.stop,
        _json(sampling.extra, "Sampling.extra"),
    ]


def _json(value: object, what: str) -> str:
    """Canonical JSON: keys in order, no blanks."""
    try:
        return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{what}: {error}; a journal and a cache know a request by its options, so write them"
            " as plain JSON values"
        ) from error


def _written(parts: dict[str, Any]) -> bytes:
    return _bytes(_json(parts, "the request"))


def _said(prompt: Rendered) -> bytes:
    """A prompt as bytes, each text with its number of characters before it."""
    parts: list[str] = []
    for part in prompt:
        content = (part,) if isinstance(part, Segment) else part.content
        if not isinstance(part, Segment):
            parts.append(f"{part.role}{len(content)}:")
        for segment in content:
            text = segment.text
            parts.append(f"{'t' if segment.trusted else 'v'}{len(text)}:")
            parts.append(text)
    return _bytes("".join(parts))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
