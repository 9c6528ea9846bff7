"""How the engines of batch APIs are opened: from a model's name and a caller's options.

Common to all of them are the options of jobs: `jobs`, the file that keeps what is known of them
(None: only as long as the engine is open), those of `Pace`, and `job_requests` and `job_bytes`, the
most of a job where that is to be less than the provider takes. SDKs are imported when an engine is
opened.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from typedllm.engines.base import Engine
from typedllm.engines.connection import Connection, Verify
from typedllm.engines.dialects import DIALECTS, dialect_with, traits_for
from typedllm.engines.instructor_providers import PROVIDERS
from typedllm.engines.instructor_providers import traits_for as remote_traits
from typedllm.engines.keys import check_model, key_of
from typedllm.engines.openai_start import client_for
from typedllm.errors import UsageError
from typedllm.records import Grammar, Lark, Traits

if TYPE_CHECKING:
    from typedllm.engines.job_service import JobLimits, JobService
    from typedllm.engines.openai_client import ReadyClient

__all__ = [
    "ANTHROPIC_BATCH",
    "OPENAI_BATCH",
    "VLLM_BATCH",
    "open_anthropic_batch",
    "open_openai_batch",
    "open_vllm_batch",
]

_DIALECT: Final = replace(DIALECTS["openai"], name="openai-batch")
_PROVIDER: Final = replace(PROVIDERS["anthropic"], name="anthropic-batch")
OPENAI_BATCH: Final = traits_for(_DIALECT)
ANTHROPIC_BATCH: Final = remote_traits(_PROVIDER)
VLLM_BATCH: Final = Traits(
    name="vllm-batch", takes=frozenset({Grammar}), ending="fitted", logprobs=True
)


def open_openai_batch(
    model: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    headers: Mapping[str, str] | None = None,
    proxy: str | None = None,
    verify: Verify | None = None,
    connect_timeout_s: float | None = None,
    client: ReadyClient | None = None,
    sends: str | None = None,
    jobs: str | os.PathLike[str] | None = None,
    quiet_s: float = 2.0,
    poll_s: float = 5.0,
    job_requests: int | None = None,
    job_bytes: int | None = None,
) -> Engine:
    """Open a model of OpenAI's Batch API.

    Args:
        model: as OpenAI calls it.
        base_url: as in `openai_start.open_server`, like those that follow.
        api_key: the same.
        headers: the same.
        proxy: the same.
        verify: the same.
        connect_timeout_s: the same.
        client: the same.
        sends: the same.
        jobs: the file that keeps what is known of jobs, in use by one engine at a time.
        quiet_s: seconds without a further request after which a job is handed in.
        poll_s: seconds before a job is asked about for the second time.
        job_requests: most requests of a job.
        job_bytes: most bytes of a job's file.

    Raises:
        UsageError: when there is no model or no key, or an option that is wrong.
    """
    from typedllm.engines.openai_batches import OPENAI_LIMITS, OpenAIBatches
    from typedllm.engines.openai_files import OpenAIFiles

    check_model(_DIALECT.name, model)
    dialect = _DIALECT if sends is None else dialect_with(_DIALECT, sends)
    given = _given(
        base_url=base_url,
        api_key=api_key,
        headers=headers,
        proxy=proxy,
        verify=verify,
        connect_timeout_s=connect_timeout_s,
    )
    calls = client_for(dialect, OpenAIFiles, client, given)
    limits = _limits(OPENAI_LIMITS, job_requests, job_bytes)
    service = OpenAIBatches(dialect, model, calls, limits)
    return _engine(
        service, model, traits_for(dialect, model), jobs=jobs, quiet_s=quiet_s, poll_s=poll_s
    )


def open_anthropic_batch(
    model: str,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    headers: Mapping[str, str] | None = None,
    client: Any = None,
    jobs: str | os.PathLike[str] | None = None,
    quiet_s: float = 2.0,
    poll_s: float = 5.0,
    job_requests: int | None = None,
    job_bytes: int | None = None,
) -> Engine:
    """Open a model of Anthropic's Message Batches API.

    Args:
        model: as Anthropic calls it.
        api_key: None for the one in `ANTHROPIC_API_KEY`, which is sent to Anthropic's own address
            and no other.
        base_url: of its API; None for where Anthropic has it.
        headers: sent with every call.
        client: an `anthropic.AsyncAnthropic` in place of all that is above, which is not closed
            with the engine.
        jobs: as in `open_openai_batch`, like those that follow.
        quiet_s: the same.
        poll_s: the same.
        job_requests: the same.
        job_bytes: the same.

    Raises:
        UsageError: when there is no model or no key, or an option that is wrong.
        MissingDependency: when the SDK is not installed.
    """
    from typedllm.engines.anthropic_batches import (
        ANTHROPIC_LIMITS,
        AnthropicBatches,
        given_client,
        own_clients,
    )

    name = _PROVIDER.name
    check_model(name, model)
    given = _given(api_key=api_key, base_url=base_url, headers=headers)
    if client is not None:
        for option in given:
            raise UsageError(f"{name}: client= has its own {option}; give only one of them")
        clients = given_client(client)
    else:
        if not given.keys() & {"base_url", "api_key"}:
            given["api_key"] = key_of(name, *_PROVIDER.key_variables)
        reached: dict[str, Any] = {"base_url": _PROVIDER.base_url, **given}
        clients = own_clients(Connection(**reached))
    limits = _limits(ANTHROPIC_LIMITS, job_requests, job_bytes)
    service = AnthropicBatches(_PROVIDER, model, clients, limits, poll_s=poll_s)
    traits = remote_traits(_PROVIDER, model)
    return _engine(service, model, traits, jobs=jobs, quiet_s=quiet_s, poll_s=poll_s)


def open_vllm_batch(
    model: str,
    *,
    folder: str | os.PathLike[str] | None = None,
    backend: str | None = None,
    jobs: str | os.PathLike[str] | None = None,
    quiet_s: float = 2.0,
    poll_s: float = 5.0,
    job_requests: int | None = None,
    job_bytes: int | None = None,
) -> Engine:
    """Open a model that vLLM's batch runner runs.

    Args:
        model: as the runner is given it.
        folder: for the files of requests and answers, see `vllm_batches`.
        backend: `guidance` where the runner is known to be on it.
        jobs: as in `open_openai_batch`, like those that follow; None for `jobs.db` in the folder.
        quiet_s: the same.
        poll_s: the same.
        job_requests: the same.
        job_bytes: the same.

    Raises:
        UsageError: when there is no model or no folder, or an option that is wrong.
    """
    from typedllm.engines.vllm_batches import VLLM_LIMITS, VllmBatches

    name = VLLM_BATCH.name
    check_model(name, model)
    if folder is None:
        raise UsageError(f'{name}: no folder for the files; give engine_args={{"folder": "jobs"}}')
    if backend not in (None, "guidance"):
        raise UsageError(f"backend={backend!r}: only 'guidance' can be relied on; leave it out")
    guidance = backend == "guidance"
    limits = _limits(VLLM_LIMITS, job_requests, job_bytes)
    service = VllmBatches(model, Path(folder), limits, guidance=guidance)
    traits = replace(VLLM_BATCH, takes=frozenset({Grammar, Lark})) if guidance else VLLM_BATCH
    path = Path(folder) / "jobs.db" if jobs is None else jobs
    return _engine(service, model, traits, jobs=path, quiet_s=quiet_s, poll_s=poll_s)


def _limits(theirs: JobLimits, requests: int | None, size: int | None) -> JobLimits:
    limits = replace(theirs, **_given(requests=requests, size=size))
    for option, given, most in (
        ("job_requests", limits.requests, theirs.requests),
        ("job_bytes", limits.size, theirs.size),
    ):
        if given > most:
            raise UsageError(f"{option}={given:,} is more than the provider takes, {most:,}")
    return limits


def _given(**options: Any) -> dict[str, Any]:
    return {option: value for option, value in options.items() if value is not None}


def _engine(
    service: JobService,
    model: str,
    traits: Traits,
    *,
    jobs: str | os.PathLike[str] | None,
    quiet_s: float,
    poll_s: float,
) -> Engine:
    from typedllm.engines.job_desk import Pace
    from typedllm.engines.job_store import JobStore
    from typedllm.engines.jobs import JobsEngine

    pace = Pace(quiet_s=quiet_s, poll_s=poll_s)
    store = JobStore(jobs, f"{service.name} {service.address}")
    return JobsEngine(service, model, traits, store=store, pace=pace)
