"""The embedded engine: a small Llama on NumPy, with guided decoding and continuous batching."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import llguidance.numpy
import numpy as np

from typedllm._checks import check_number
from typedllm.engines.choose import Chooser, choose
from typedllm.engines.encode import PromptEncoder
from typedllm.engines.guide import Vocabulary
from typedllm.engines.row import Row
from typedllm.engines.scoring import Scoring, fitted_temperature
from typedllm.engines.worker import Job, Worker
from typedllm.errors import UsageError
from typedllm.records import Failure, Grammar, Lark, Reply, Request, Traits
from typedllm.tiny.cache import Prefix
from typedllm.tiny.labels import score_labels
from typedllm.tiny.llama import Llama
from typedllm.tiny.prefixes import Prefixes

__all__ = ["EmbeddedEngine"]

_FILES = frozenset({".jinja", ".json", ".safetensors"})  # the suffixes of a model's files
_ROW_CHUNK = 512  # tokens of one prompt fed in a step, so that a long one holds nobody up
_STEP_TOKENS = 8192  # of all prompts that begin in a step, which bounds its memory


class EmbeddedEngine:
    """Runs a Llama-architecture model of a few million parameters in this process, on the CPU.

    NumPy's BLAS decides how many cores it takes; set `OPENBLAS_NUM_THREADS=1` in the environment
    where other programs need them.
    """

    traits = Traits(
        name="embedded",
        takes=frozenset({Grammar, Lark}),
        ending="landing",
        logprobs=True,
        scores=True,
    )

    def __init__(self, folder: str | Path, *, rows: int = 256, cache_bytes: int = 1 << 30) -> None:
        """Load a model.

        Args:
            folder: holds `config.json`, `model.safetensors` (one file, not quantized),
                `tokenizer.json`, and where there are any `tokenizer_config.json`,
                `chat_template.jinja`, `generation_config.json` and `calibration.json`.
            rows: most answers that grow at the same time.
            cache_bytes: about how much memory their keys and values may take; where long prompts
                or answers need more, fewer grow at the same time, but always one.

        Raises:
            UsageError: when a file is missing or not of such a model.
        """
        check_number("rows", rows, least=1, whole=True)
        self._folder = folder = Path(folder)
        self.model = str(folder)
        self.capacity = rows
        llama = Llama.load(folder)
        self.encoder = encoder = PromptEncoder.load(folder)
        ends = _end_tokens(folder, encoder)
        vocabulary = Vocabulary(encoder.tokenizer, llama.shape.vocabulary, ends)
        temperature = fitted_temperature(folder)
        self._worker = Worker(
            lambda: _Batch(
                llama, encoder, vocabulary, temperature, rows=rows, cache_bytes=cache_bytes
            ),
            self.traits.name,
        )

    @cached_property
    def identity(self) -> dict[str, str]:
        """A hash of each of the model's files, since another model may come into its folder."""
        found: dict[str, str] = {}
        for path in self._folder.iterdir():
            if path.suffix in _FILES:
                with path.open("rb") as file:
                    found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        return found

    async def send(self, request: Request) -> Reply:
        """Run one request, together with all others that are under way.

        Args:
            request: what to ask.
        """
        if request.sampling.extra:
            names = ", ".join(request.sampling.extra)
            return Failure(error=UsageError(f"the embedded engine takes no extra option: {names}"))
        return await self._worker.submit(request)

    async def close(self) -> None:
        """End the thread and free the model's memory; what is under way fails."""
        await asyncio.to_thread(self._worker.close)


@dataclass(frozen=True, slots=True)
class _Seat:
    """A job and its answer."""

    job: Job
    row: Row | Scoring
    chooser: Chooser
    prefix: Prefix | None
    shared: int

    @property
    def most_tokens(self) -> int:
        """How many keys and values of its own it may come to have."""
        return len(self.row.feed) + self.row.budget


class _Batch:
    """The running batch; rows join and leave at every step."""

    def __init__(
        self,
        llama: Llama,
        encoder: PromptEncoder,
        vocabulary: Vocabulary,
        temperature: float,
        *,
        rows: int,
        cache_bytes: int,
    ) -> None:
        shape = llama.shape
        self._llama = llama
        self._encoder = encoder
        self._vocabulary = vocabulary
        self._temperature = temperature
        self._rows = rows
        token_bytes = 2 * 4 * shape.layers * shape.kv_heads * shape.head_width
        self._cache_tokens = cache_bytes // token_bytes
        self._prefixes = Prefixes(llama.prefix)
        self._block = llama.block()
        self._seats: list[_Seat] = []  # in the order of the block's rows
        self._waiting: deque[_Seat] = deque()
        # made here, on the thread that runs: threads of a pool do not survive a fork
        self._executor = llguidance.LLExecutor()

    def room(self) -> int:
        return self._rows - len(self._seats) - len(self._waiting)

    def step(self, new: Sequence[Job]) -> bool:
        for job in new:
            self._begin(job)
        self._leave()
        if not self._seats:
            self._block = self._llama.block()  # frees what a long row has made it grow to
        self._join()
        if self._seats:
            self._decode()
            self._leave()
        return bool(self._seats or self._waiting)

    def _begin(self, job: Job) -> None:
        request, context = job.request, self._llama.shape.context
        row: Row | Scoring
        try:
            if request.labels:
                row = Scoring(request, self._encoder, context)
            else:
                prompt = self._encoder.encode(request.prompt, context=context)
                row = Row(request, prompt, context, self._vocabulary)
        except UsageError as error:
            job.reply(Failure(error=error))
            return
        if row.reply is not None:  # all of it was forced
            job.reply(row.reply)
            return
        prefix, shared = self._prefixes.share(row.feed[:])
        del row.feed[:shared]
        self._waiting.append(_Seat(job, row, Chooser(request.sampling), prefix, shared))

    def _join(self) -> None:
        """Let in who waits, in order, as far as memory goes."""
        tokens = 0
        longest = max((seat.most_tokens for seat in self._seats), default=0)
        while self._waiting:
            seat = self._waiting[0]
            if seat.job.ended:
                self._waiting.popleft()
                continue
            tokens += min(len(seat.row.feed), _ROW_CHUNK)
            longest = max(longest, seat.most_tokens)
            if self._seats and (
                tokens > _STEP_TOKENS or (len(self._seats) + 1) * longest > self._cache_tokens
            ):
                return
            self._seats.append(self._waiting.popleft())
            self._block.add(seat.prefix, seat.shared)

    def _decode(self) -> None:
        """Feed every row, and take the next token of each whose prompt is fed."""
        fed = [seat.row.feed[:_ROW_CHUNK] for seat in self._seats]
        counts = np.array([len(part) for part in fed])
        tokens = np.array([token for part in fed for token in part])
        logits = self._llama.forward(self._block, tokens, counts)
        growing: list[int] = []  # numbers of the rows that take a token
        rows: list[Row] = []
        for number, (seat, part) in enumerate(zip(self._seats, fed, strict=True)):
            row = seat.row
            del row.feed[: len(part)]
            if row.feed:
                continue
            if isinstance(row, Scoring):
                scores = score_labels(self._llama, self._block, number, logits[number], row.labels)
                row.finish(scores, self._temperature)
            else:
                growing.append(number)
                rows.append(row)
        if rows:
            if len(rows) < len(self._seats):
                logits = logits[growing]
            choosers = [self._seats[number].chooser for number in growing]
            chosen = choose(logits, self._masks(rows), choosers)
            for row, token, logprob in zip(rows, *chosen, strict=True):
                row.take(token, logprob)

    def _masks(self, rows: Sequence[Row]) -> np.ndarray[Any, np.dtype[np.int32]]:
        free = self._vocabulary.free
        masks = np.empty((len(rows), len(free)), np.int32)
        guided: list[tuple[llguidance.LLMatcher, int]] = []
        for number, row in enumerate(rows):
            if row.matcher is None:
                masks[number] = free
            else:
                guided.append((row.matcher, number))
        if guided:
            llguidance.numpy.fill_next_token_bitmask_par(self._executor, guided, masks)
        return masks

    def _leave(self) -> None:
        """Reply to rows that have ended, and drop those that nobody waits for."""
        for number in reversed(range(len(self._seats))):
            seat = self._seats[number]
            if seat.row.reply is not None:
                seat.job.reply(seat.row.reply)
            if seat.job.ended:
                self._block.remove(number)
                self._seats[number] = self._seats[-1]
                del self._seats[-1]


def _end_tokens(folder: Path, encoder: PromptEncoder) -> list[int]:
    """Ids of the tokens that end an answer, from the first file that names them.

    Raises:
        UsageError: when none does.
    """
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        if path.exists():
            found: int | list[int] | None
            found = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
            if found is not None:
                return [found] if isinstance(found, int) else found
    token = encoder.tokenizer.token_to_id(encoder.special.get("eos_token", ""))
    if token is None:
        raise UsageError(
            f"{folder}: no file names the token that ends an answer; "
            "write eos_token_id into generation_config.json"
        )
    return [token]
