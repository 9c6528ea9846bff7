"""The vllm engine: vLLM in this process, its own loop on a thread, guided by its own backend.

vLLM masks tokens by llguidance, for which typedllm prints its grammar; a logits processor of
typedllm's closes answers in time. A ready-made `vllm.LLM` that was made without these is treated
like a server at its defaults.
"""

# vllm has types for a part of what it holds, and may not be installed
# pyright: reportMissingImports=false
# pyright: reportUntypedBaseClass=false
# pyright: reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import itertools
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vllm.v1.engine.exceptions import EngineDeadError

from typedllm.engines.row import budget_of
from typedllm.engines.scoring import Scoring
from typedllm.engines.vllm_options import landing_options
from typedllm.engines.vllm_rows import Answer, Label, Loaded, label_params, sampling_params
from typedllm.engines.worker import Job, Worker
from typedllm.errors import EngineError, TypedLLMError, UsageError
from typedllm.records import Failure, Grammar, Lark, Reply, Request, Traits

if TYPE_CHECKING:
    from vllm import LLM, SamplingParams

__all__ = ["VllmEngine"]

_DEAD: Final = "vLLM's own process has ended, its log says why; open a new LLM"
_WATCH_S: Final = 0.5
_taken: weakref.WeakSet[LLM] = weakref.WeakSet()  # by an engine


class VllmEngine:
    """Runs a model by vLLM in this process.

    It can be given to `LLM` with a `vllm.LLM` of one's own: `typedllm.LLM(VllmEngine(llm))`.
    """

    def __init__(
        self,
        llm: LLM,
        *,
        lora: str | Path | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        """Take a `vllm.LLM`.

        Args:
            llm: made with `PROCESSOR` among its `logits_processors` and guidance as the backend of
                its structured outputs, it lands; else answers that grow too long are asked for once
                more.
            lora: folder or id of a LoRA adapter for all requests.
            on_close: called when the engine is closed; without it, the `vllm.LLM` stays usable.

        Raises:
            UsageError: when its tokenizer is not of the fast kind, or another engine has it.
        """
        if llm in _taken:
            raise UsageError(
                "another engine of typedllm's runs on this vllm.LLM; close that one first"
            )
        loaded = Loaded.of(llm, lora)
        _taken.add(llm)
        self.traits = Traits(
            name="vllm",
            takes=frozenset({Grammar, Lark} if loaded.guidance else {Grammar}),
            ending="landing" if loaded.lands else "fitted",
            logprobs=True,
            scores=True,
        )
        self.model: str = llm.model_config.model
        self.identity = {"dtype": str(llm.model_config.dtype), "lora": lora, "lands": loaded.lands}
        self.capacity = 2 * llm.llm_engine.vllm_config.scheduler_config.max_num_seqs
        self.encoder = loaded.encoder
        self._on_close = on_close
        self._llm = llm
        self._rows: dict[str, Answer | Label] = {}
        self._loaded = loaded
        self._worker = Worker(lambda: _Batch(loaded, self.capacity, self._rows), self.traits.name)
        _watch(llm.llm_engine.engine_core)

    async def send(self, request: Request) -> Reply:
        """Run one request, together with all others that are under way.

        Args:
            request: what to ask; `sampling.extra` holds further fields of vLLM's `SamplingParams`.
        """
        return await self._worker.submit(request)

    async def close(self) -> None:
        """End the thread, and vLLM where it was started with this; what is under way fails."""
        await asyncio.to_thread(self._worker.close)
        _give_up(self._loaded, self._rows)
        _taken.discard(self._llm)
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            await asyncio.to_thread(on_close)


def _watch(core: Any) -> None:
    """Wake vLLM's loop when its process has died, for whose answer it would wait for ever.

    Args:
        core: the client of that process, whose monitor takes note of its death; where vLLM runs
            without one there is nothing to watch.
    """
    if not hasattr(core, "outputs_queue"):
        return
    watched = weakref.ref(core)

    def watch() -> None:
        while (here := watched()) is not None:
            if here.resources.engine_dead:
                here.outputs_queue.put_nowait(EngineDeadError())
                return
            del here
            time.sleep(_WATCH_S)

    threading.Thread(target=watch, name="vllm-watch", daemon=True).start()


def _give_up(loaded: Loaded, rows: dict[str, Answer | Label]) -> None:
    """Have vLLM drop rows, and forget them."""
    if rows:
        with suppress(EngineDeadError):
            loaded.engine.abort_request(list(rows))
        rows.clear()


class _Batch:
    """vLLM's running batch; rows join and leave at every step."""

    def __init__(self, loaded: Loaded, capacity: int, rows: dict[str, Answer | Label]) -> None:
        self._loaded = loaded
        self._capacity = capacity
        self._rows = rows
        self._name = uuid.uuid4().hex  # so that no row is taken for one of another batch
        self._numbers = itertools.count()
        _give_up(loaded, rows)  # those of a batch that crashed

    def room(self) -> int:
        return self._capacity - len(self._rows)

    def step(self, new: Sequence[Job]) -> bool:
        for job in new:
            self._begin(job)
        given_up = {name: row for name, row in self._rows.items() if row.job.ended}
        for name in given_up:
            del self._rows[name]
        _give_up(self._loaded, given_up)
        if self._rows:
            for output in self._stepped():
                row = self._rows.get(output.request_id)
                if row is None:
                    continue
                if output.finished:
                    del self._rows[output.request_id]
                self._take(row, output)
        return bool(self._rows)

    def _take(self, row: Answer | Label, output: Any) -> None:
        try:
            row.take(output, self._loaded)
        except Exception as error:  # what one row comes to is no concern of the others
            failure = EngineError(f"vLLM's answer cannot be read: {error!r}")
            failure.__cause__ = error
            row.job.reply(Failure(error=failure))

    def _stepped(self) -> Sequence[Any]:
        try:
            return self._loaded.engine.step()
        except EngineDeadError as error:
            raise RuntimeError(_DEAD) from error

    def _begin(self, job: Job) -> None:
        try:
            if job.request.labels:
                self._begin_labels(job)
            else:
                self._begin_answer(job)
        except TypedLLMError as error:
            job.reply(Failure(error=error))
        except Exception as error:  # of vLLM, which checks a request before it takes it
            if isinstance(error, EngineDeadError):
                raise RuntimeError(_DEAD) from error
            job.reply(Failure(error=UsageError(f"vLLM refuses the request: {error}")))

    def _begin_answer(self, job: Job) -> None:
        loaded, request = self._loaded, job.request
        prompt = loaded.encoder.encode(request.prompt, context=loaded.context)
        guide = None if request.constraint is None else loaded.vocabulary.guide(request.constraint)
        budget = budget_of(request, len(prompt), loaded.context, guide)
        reasons = loaded.reasoning is not None and not loaded.reasoning.has_ended(prompt)
        room = loaded.context - len(prompt)
        most = budget if guide is None else min(budget + 1, room)  # and the one that ends it
        extra: Mapping[str, Any] = {}
        if loaded.lands and guide is not None and guide.landing is not None:
            extra = landing_options(guide.landing.expr)
            budget = most - 1
        params = sampling_params(request, most, extra, guidance=loaded.guidance)
        listener = loaded.listener(request, reasons=reasons)
        answer = Answer(job=job, prompt=prompt, budget=budget, reasons=reasons, listener=listener)
        self._add(answer, prompt, params)

    def _begin_labels(self, job: Job) -> None:
        scoring = Scoring(job.request, self._loaded.encoder, self._loaded.context - 1)
        scores: dict[int, float] = {}
        for number, label in enumerate(scoring.labels):
            self._add(Label(job, number, scoring, scores), [*scoring.feed, *label], label_params())

    def _add(self, row: Answer | Label, prompt: list[int], params: SamplingParams) -> None:
        name = f"{self._name}-{next(self._numbers)}"
        loaded = self._loaded
        loaded.engine.add_request(
            name, {"prompt_token_ids": prompt}, params, lora_request=loaded.lora
        )
        self._rows[name] = row
