"""The transformers engine: any causal model of that library, on CPU or GPU, by its `generate`.

In `generate` sits a logits processor, outlines' with llguidance, that takes the next token of every
row by itself, and so makes `generate` run the model and choose nothing: rows of one batch can have
different constraints, sampling and budgets.
"""

# torch, transformers and outlines have types for a part of what they hold
# pyright: reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import llguidance.numpy
import numpy as np

from typedllm._require import require
from typedllm.engines.choose import Chooser
from typedllm.engines.encode import PromptEncoder
from typedllm.engines.guide import Vocabulary
from typedllm.engines.row import Row
from typedllm.engines.scoring import Scoring, fitted_temperature
from typedllm.engines.transformers_scores import label_scores
from typedllm.engines.worker import Job, Worker
from typedllm.errors import EngineError, UsageError
from typedllm.records import Failure, Grammar, Lark, Reply, Request, Traits

try:
    import torch
    from outlines.backends.llguidance import LLGuidanceLogitsProcessor
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        GenerationConfig,
        LogitsProcessorList,
        PreTrainedModel,
        PreTrainedTokenizerBase,
    )
    from transformers.utils import logging
except ImportError:
    for _module in ("torch", "transformers", "outlines"):
        require(_module, "local")
    raise

__all__ = ["TransformersEngine", "open_model"]


def open_model(
    model: str, *, device: str | None = None, dtype: str | None = None, batch_size: int = 32
) -> TransformersEngine:
    """Load a model and its tokenizer.

    Args:
        model: a folder, or an id of the Hugging Face hub.
        device: such as `cpu` or `cuda:1`; None is the accelerator where there is one.
        dtype: such as `float32` or `bfloat16`; None is the checkpoint's own, but `float32` on the
            CPU, where half precision is slow.
        batch_size: most answers that grow at the same time.

    Raises:
        UsageError: when there is no such model, device or dtype, or the model cannot be used.
    """
    if not model:
        raise UsageError("engine transformers needs a model: transformers:folder-or-id")
    if dtype is not None and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise UsageError(f"{dtype!r} is no dtype of torch; take float32, bfloat16 or float16")
    if device is None:
        device = str(torch.accelerator.current_accelerator() or "cpu")
    if dtype is None:
        dtype = "float32" if device.startswith("cpu") else "auto"
    folder = Path(model).expanduser()
    source = str(folder) if folder.exists() else model
    try:
        with _no_progress_bar():
            tokenizer = AutoTokenizer.from_pretrained(source)
            loaded = cast(Any, AutoModelForCausalLM.from_pretrained(source, dtype=dtype)).to(device)
    except Exception as error:  # of transformers, torch, safetensors and the hub, each its own
        raise UsageError(
            f"transformers cannot load {model!r} on {device}: {error}\nGive the folder of a causal "
            "model (config.json, *.safetensors, tokenizer.json) or an id of the hub that this "
            "machine can reach, and a device that it has."
        ) from None
    return TransformersEngine(model=loaded, tokenizer=tokenizer, batch_size=batch_size)


class TransformersEngine:
    """Runs a causal model of the transformers library in this process."""

    traits = Traits(
        name="transformers",
        takes=frozenset({Grammar, Lark}),
        ending="landing",
        logprobs=True,
        scores=True,
    )

    def __init__(
        self, *, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int = 32
    ) -> None:
        """Take a model that is loaded, and set it to evaluation.

        What its generation config says of sampling and penalties does not count: requests do.

        Args:
            model: on the device where it is to run.
            tokenizer: the model's, of the fast kind.
            batch_size: most answers that grow at the same time; others wait until all of these
                have ended.

        Raises:
            UsageError: when the tokenizer is of the slow kind or of another model, or nothing
                names the token that ends an answer.
        """
        self.model = model.name_or_path or type(model).__name__
        self.identity = {"dtype": str(model.dtype)}
        self.capacity = 2 * batch_size  # the next batch waits while one runs
        loaded = _Loaded.of(model.eval(), tokenizer)
        self.encoder = loaded.encoder
        self._worker = Worker(lambda: _Batches(loaded, batch_size), self.traits.name)

    async def send(self, request: Request) -> Reply:
        """Run one request, in a batch with others that wait.

        Args:
            request: what to ask.
        """
        if request.sampling.extra:
            names = ", ".join(request.sampling.extra)
            message = f"the transformers engine takes no extra option: {names}"
            return Failure(error=UsageError(message))
        return await self._worker.submit(request)

    async def close(self) -> None:
        """End the thread after the batch that runs; what still waits then fails."""
        await asyncio.to_thread(self._worker.close)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Loaded:
    """A model with all that is known of it.

    Attributes:
        context: most tokens of prompt and answer together.
        pad: id of the token that fills up the shorter prompts of a batch.
        end: id of a token that ends an answer.
        temperature: fitted for its scores of labels.
    """

    model: Any  # its `generate` has no complete types
    encoder: PromptEncoder
    vocabulary: Vocabulary
    context: int
    pad: int
    end: int
    temperature: float

    @classmethod
    def of(cls, model: Any, tokenizer: Any) -> _Loaded:
        encoder = PromptEncoder.of_transformers(tokenizer)
        config = model.config.get_text_config()
        ends = _end_tokens(model.generation_config, config, tokenizer)
        return cls(
            model=model,
            encoder=encoder,
            vocabulary=Vocabulary(encoder.tokenizer, config.vocab_size, ends),
            context=getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length,
            pad=ends[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
            end=ends[0],
            temperature=fitted_temperature(Path(model.name_or_path)),
        )


def _end_tokens(*sources: Any) -> list[int]:
    """Ids of the tokens that end an answer, from the first source that names them."""
    for source in sources:
        found: int | list[int] | None = getattr(source, "eos_token_id", None)
        if found is not None:
            return [found] if isinstance(found, int) else found
    raise UsageError(
        "nothing names the token that ends an answer; set model.generation_config.eos_token_id"
    )


@dataclass(frozen=True, slots=True)
class _Seat:
    """A job and its answer."""

    job: Job
    row: Row
    chooser: Chooser

    @property
    def ended(self) -> bool:
        return self.row.reply is not None or self.job.ended


class _Batches:
    """Runs one batch a step: whatever waits, as one call of `generate`."""

    def __init__(self, loaded: _Loaded, batch_size: int) -> None:
        self._loaded = loaded
        self._batch_size = batch_size
        # made here, on the thread that runs: threads of a pool do not survive a fork
        self._executor = llguidance.LLExecutor()

    def room(self) -> int:
        return self._batch_size

    def step(self, new: Sequence[Job]) -> bool:
        seats = [seat for seat in map(self._begin, new) if seat is not None]
        if seats:
            try:
                self._generate(seats)
                message = "transformers ended the answer too early"
            except Exception as error:  # the next batch may fare better
                message = f"transformers failed to generate: {type(error).__name__}: {error}"
                if isinstance(error, torch.OutOfMemoryError):
                    message += "\nOpen the engine with a smaller batch_size."
            for seat in seats:
                if not seat.ended:
                    seat.job.reply(Failure(error=EngineError(message)))
        return False

    def _score(self, job: Job) -> None:
        loaded = self._loaded
        asked = Scoring(job.request, loaded.encoder, loaded.context)
        scores = label_scores(loaded.model, asked.feed, asked.labels, rows=self._batch_size)
        asked.finish(scores, loaded.temperature)
        if asked.reply is not None:
            job.reply(asked.reply)

    def _begin(self, job: Job) -> _Seat | None:
        loaded = self._loaded
        try:
            if job.request.labels:
                self._score(job)
                return None
            prompt = loaded.encoder.encode(job.request.prompt, context=loaded.context)
            row = Row(job.request, prompt, loaded.context, loaded.vocabulary)
        except UsageError as error:
            job.reply(Failure(error=error))
            return None
        if row.reply is not None:  # all of it was forced
            job.reply(row.reply)
            return None
        return _Seat(job, row, Chooser(job.request.sampling))

    def _generate(self, seats: Sequence[_Seat]) -> None:
        loaded = self._loaded
        prompts = [list(seat.row.feed) for seat in seats]
        for seat in seats:
            seat.row.feed.clear()
        longest = max(map(len, prompts))
        padded = [[loaded.pad] * (longest - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        # what is not set here comes from the model's own config
        config = GenerationConfig(
            max_new_tokens=1 + max(seat.row.budget for seat in seats),  # one to end an answer
            min_length=0,
            do_sample=False,
            num_beams=1,
            num_return_sequences=1,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            use_cache=True,
            return_dict_in_generate=False,
            pad_token_id=loaded.pad,
            eos_token_id=loaded.end,
        )
        device = loaded.model.device
        answers = _Answers(seats, loaded, self._executor)
        with torch.inference_mode():
            loaded.model.generate(
                input_ids=torch.tensor(padded, device=device),
                attention_mask=torch.tensor(mask, device=device),
                generation_config=config,
                logits_processor=LogitsProcessorList([answers]),
            )


class _Answers(LLGuidanceLogitsProcessor):
    """Takes the next token of every row, and leaves only that one to `generate`.

    outlines' processor has one grammar, and masks row after row; this one has a matcher a row, and
    masks all at once.
    """

    def __init__(
        self, seats: Sequence[_Seat], loaded: _Loaded, executor: llguidance.LLExecutor
    ) -> None:
        super().__init__("", None, "torch")
        self._seats = seats
        self._vocabulary = loaded.vocabulary
        self._end = loaded.end
        self._executor = executor

    def process_logits(self, input_ids: Any, logits: Any) -> Any:
        """Let each row choose that has nothing forced, and allow what it feeds to the model."""
        choosing = [
            number
            for number, seat in enumerate(self._seats)
            if not seat.ended and not seat.row.feed
        ]
        if choosing:
            self._take(logits[choosing], [self._seats[number] for number in choosing])
        following = [self._end if seat.ended else seat.row.feed.pop(0) for seat in self._seats]
        logits.fill_(-torch.inf)
        logits[range(len(following)), following] = 0
        return logits

    def _take(self, logits: torch.Tensor, seats: Sequence[_Seat]) -> None:
        allowed = torch.from_numpy(self._allowed(seats)).to(logits.device)
        logits.masked_fill_(allowed == 0, -torch.inf)
        chosen = _choose(logits, [seat.chooser for seat in seats])
        for seat, token, logprob in zip(seats, *chosen, strict=True):
            seat.row.take(token, logprob)
            if seat.row.reply is not None:
                seat.job.reply(seat.row.reply)

    def _allowed(self, seats: Sequence[_Seat]) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The allowed tokens, [rows, vocabulary]."""
        free = self._vocabulary.free
        masks = np.empty((len(seats), len(free)), np.int32)
        guided: list[tuple[llguidance.LLMatcher, int]] = []
        for number, seat in enumerate(seats):
            if seat.row.matcher is None:
                masks[number] = free
            else:
                guided.append((seat.row.matcher, number))
        if guided:
            llguidance.numpy.fill_next_token_bitmask_par(self._executor, guided, masks)
        count = len(self._vocabulary.texts)
        return np.unpackbits(masks.view(np.uint8), axis=1, count=count, bitorder="little")


def _choose(logits: torch.Tensor, choosers: Sequence[Chooser]) -> tuple[list[int], list[float]]:
    """Choose a token for each row, on the logits' device.

    Args:
        logits: [rows, vocabulary], `-inf` for what is not allowed.
        choosers: one a row.

    Returns:
        The token ids, and the natural logarithm of the probability that each had at temperature 1
        among the allowed tokens.
    """
    logprobs = logits.log_softmax(1)
    tokens = logits.argmax(1)
    warm = [row for row, chooser in enumerate(choosers) if chooser.random is not None]
    if warm:
        tokens[warm] = _sample(logprobs[warm], [choosers[row] for row in warm])
    return tokens.tolist(), logprobs.gather(1, tokens[:, None])[:, 0].tolist()


def _sample(logprobs: torch.Tensor, choosers: Sequence[Chooser]) -> torch.Tensor:
    def column(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, device=logprobs.device)[:, None]

    weights = (logprobs / column([chooser.temperature for chooser in choosers])).softmax(1)
    top_p = [chooser.top_p for chooser in choosers]
    if min(top_p) < 1:
        ordered, order = weights.sort(dim=1, descending=True)
        # nucleus sampling: those that the more probable ones do not yet make up for
        ordered[ordered.cumsum(1) - ordered >= column(top_p)] = 0
        weights = weights.scatter(1, order, ordered)
    sums = weights.cumsum(1)
    draws = [chooser.random.random() for chooser in choosers if chooser.random is not None]
    return torch.searchsorted(sums, column(draws) * sums[:, -1:], right=True)[:, 0]


@contextmanager
def _no_progress_bar() -> Generator[None]:
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
