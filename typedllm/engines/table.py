"""The engine table: for each engine its name, its traits and how to open it, without loading it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

from typedllm._checks import nearest
from typedllm._require import require
from typedllm.engines.base import Engine
from typedllm.engines.dialects import DIALECTS, traits_for
from typedllm.engines.instructor import open_any, open_provider
from typedllm.engines.instructor_providers import PROVIDERS
from typedllm.engines.instructor_providers import traits_for as remote_traits
from typedllm.engines.job_start import (
    ANTHROPIC_BATCH,
    OPENAI_BATCH,
    VLLM_BATCH,
    open_anthropic_batch,
    open_openai_batch,
    open_vllm_batch,
)
from typedllm.engines.openai_start import open_azure, open_server, open_vllm_server
from typedllm.engines.scripted import TRAITS as SCRIPTED
from typedllm.errors import UsageError
from typedllm.records import Grammar, Lark, Traits

__all__ = ["TINY", "EngineRow", "engine_names", "engine_row", "open_engine", "traits_of"]

_GROUP: Final = "typedllm.engines"
TINY: Final = Path(__file__).parent.parent / "tiny" / "model"


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineRow:
    """An engine as the table knows it; a plugin's entry point names one of these.

    Attributes:
        traits: what the engine can do; `traits.name` is what stands before the colon.
        open: makes the engine of what stands after the colon; its keyword-only parameters are the
            options the engine takes (`**` where it checks them itself). Imports what it needs when
            it is called.
        summary: one line for lists of engines.
    """

    traits: Traits
    open: Callable[..., Engine]
    summary: str


def _embedded(model: str, *, rows: int = 256, cache_bytes: int = 1 << 30) -> Engine:
    from typedllm.engines.embedded import EmbeddedEngine

    return EmbeddedEngine(Path(model) if model else TINY, rows=rows, cache_bytes=cache_bytes)


def _transformers(
    model: str, *, device: str | None = None, dtype: str | None = None, batch_size: int = 32
) -> Engine:
    require("torch", "local")  # before a module that imports it: the extra is to be named
    from typedllm.engines.transformers import open_model

    return open_model(model, device=device, dtype=dtype, batch_size=batch_size)


def _vllm(model: str, **options: Any) -> Engine:
    from typedllm.engines.vllm_start import start

    return start(model, options)


def _scripted(model: str, *, seed: int = 0) -> Engine:
    from typedllm.engines.scripted import Scripted

    return Scripted(seed=seed)


def _local(name: str) -> Traits:
    takes = frozenset({Grammar, Lark})
    return Traits(name=name, takes=takes, ending="landing", logprobs=True, scores=True)


_ROWS: Final = {
    row.traits.name: row
    for row in (
        EngineRow(
            traits=_local("embedded"),
            open=_embedded,
            summary="a small Llama-architecture model (a folder; none: the packaged one), on NumPy",
        ),
        EngineRow(
            traits=_local("transformers"),
            open=_transformers,
            summary="any causal model (a folder or a hub id), on CPU or GPU",
        ),
        EngineRow(
            traits=_local("vllm"),
            open=_vllm,
            summary="vLLM in this process (a folder or a hub id); its own options by engine_args",
        ),
        EngineRow(
            traits=Traits(
                name="vllm-server",
                takes=frozenset({Grammar}),  # Lark too, where it is known to be on guidance
                ending="fitted",
                logprobs=True,
                scores=True,
            ),
            open=open_vllm_server,
            summary="a vLLM server over HTTP (a model's name; base_url)",
        ),
        *(
            EngineRow(
                traits=traits_for(dialect),
                open=open_azure if dialect.name == "azure" else partial(open_server, dialect.name),
                summary=dialect.summary,
            )
            for dialect in DIALECTS.values()
        ),
        *(
            EngineRow(
                traits=remote_traits(provider),
                open=partial(open_provider, provider.name) if provider.base_url else open_any,
                summary=provider.summary,
            )
            for provider in PROVIDERS.values()
        ),
        EngineRow(
            traits=OPENAI_BATCH,
            open=open_openai_batch,
            summary="OpenAI's Batch API: jobs within a day, at half the price (jobs)",
        ),
        EngineRow(
            traits=ANTHROPIC_BATCH,
            open=open_anthropic_batch,
            summary="Anthropic's Message Batches: jobs within a day, at half the price (jobs)",
        ),
        EngineRow(
            traits=VLLM_BATCH,
            open=open_vllm_batch,
            summary="vLLM's batch runner: files of requests and of answers in a folder (folder)",
        ),
        EngineRow(
            traits=SCRIPTED,
            open=_scripted,
            summary="no model: random valid answers, for tests of one's own code",
        ),
    )
}


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=_GROUP)}


def engine_names() -> list[str]:
    """Return the names of all engines, plugins last."""
    return list(dict.fromkeys([*_ROWS, *_plugins()]))


@lru_cache(maxsize=64)
def engine_row(name: str) -> EngineRow:
    """Find an engine in the table or among the plugins (entry points `typedllm.engines`).

    Raises:
        UsageError: for an unknown name, with the known ones and the nearest; for a plugin that
            does not give an `EngineRow`.
    """
    if name in _ROWS:
        return _ROWS[name]
    point = _plugins().get(name)
    if point is None:
        known = engine_names()
        raise UsageError(
            f"no engine is called {name!r}{nearest(name, known)}; the engines are "
            f"{', '.join(known)}, and a model is written engine:model"
        )
    row = point.load()
    if not isinstance(row, EngineRow):
        raise UsageError(
            f"the plugin of engine {name!r}, {point.value}, is a {type(row).__name__}; it has to "
            "be a typedllm.engines.table.EngineRow"
        )
    return row


def traits_of(name: str) -> Traits:
    """Return what an engine can do, without a model.

    Args:
        name: the engine, such as `embedded`; a model after a colon makes no difference.

    Raises:
        UsageError: for an unknown name.
    """
    return engine_row(name.partition(":")[0]).traits


def open_engine(model: str, options: Mapping[str, Any]) -> Engine:
    """Open the engine of a model.

    Args:
        model: `engine:model`, or only `engine` for its default.
        options: options of that engine by name; those that are None are left out.

    Raises:
        UsageError: for an unknown engine, or an option that it does not take.
    """
    name, _, rest = model.partition(":")
    row = engine_row(name)
    given = {option: value for option, value in options.items() if value is not None}
    parameters = inspect.signature(row.open).parameters.values()
    takes = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)  # and checks them itself
    for option in given:
        if option not in takes and not takes_any:
            has = f"its options are {', '.join(takes)}" if takes else "it takes none"
            raise UsageError(
                f"engine {name} takes no option {option!r}{nearest(option, takes)}; {has}"
            )
    return row.open(rest, **given)
