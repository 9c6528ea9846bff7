"""Rows of vLLM's running batch: what it is asked, and what comes of its output."""

# vllm has types for a part of what it holds, and may not be installed
# pyright: reportMissingImports=false
# pyright: reportUntypedBaseClass=false
# pyright: reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from typedllm._checks import check_extra
from typedllm._require import require
from typedllm.engines.encode import PromptEncoder
from typedllm.engines.grammar_texts import printed
from typedllm.engines.guide import Vocabulary
from typedllm.engines.replay import Chosen, guided_completion
from typedllm.engines.row import Row, decoded, stops_of
from typedllm.engines.scoring import Scoring, fitted_temperature
from typedllm.engines.telling import Listener, Telling
from typedllm.engines.vllm_options import PROCESSOR
from typedllm.engines.vllm_reasoning import Reasoning
from typedllm.engines.worker import Job
from typedllm.errors import EngineError
from typedllm.records import (
    Completion,
    Failure,
    Reply,
    Request,
    Usage,
)

try:
    from vllm import LLM, SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
except ImportError:
    require("vllm", "vllm")
    raise

__all__ = ["Answer", "Label", "Loaded", "label_params", "sampling_params"]

_OURS: Final = frozenset(
    [
        "n",
        "temperature",
        "top_p",
        "max_tokens",
        "seed",
        "stop",
        "detokenize",
        "logprobs",
        "flat_logprobs",
        "output_kind",
        "structured_outputs",
        "prompt_logprobs",
        "ignore_eos",
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A model in vLLM, with all that is known of it.

    Attributes:
        engine: vLLM's `LLMEngine`.
        context: most tokens of prompt and answer together.
        temperature: fitted for its scores of labels.
        guidance: whether vLLM is on its guidance backend.
        lands: whether typedllm's logits processor closes answers in time.
        reasoning: where it stops reasoning, if it is a model that reasons.
        lora: a `LoRARequest`, or None.
    """

    engine: Any
    encoder: PromptEncoder
    vocabulary: Vocabulary
    context: int
    temperature: float
    guidance: bool
    lands: bool
    reasoning: Reasoning | None
    lora: Any

    @classmethod
    def of(cls, llm: LLM, lora: str | Path | None) -> Loaded:
        """Find out what is to be known of a `vllm.LLM`.

        Raises:
            UsageError: when its tokenizer is not of the fast kind, or its reasoning cannot be told
                from an answer.
        """
        config = llm.llm_engine.vllm_config
        outputs, model = config.structured_outputs_config, config.model_config
        tokenizer: Any = llm.get_tokenizer()
        encoder = PromptEncoder.of_transformers(tokenizer)
        guidance = outputs.backend == "guidance"
        ends = model.try_get_generation_config().get("eos_token_id") or []
        ends = [ends] if isinstance(ends, int) else ends
        request = None
        if lora is not None:
            from vllm.lora.request import LoRARequest

            request = LoRARequest("typedllm", 1, str(lora))
        return cls(
            engine=llm.llm_engine,
            encoder=encoder,
            # the first ends a grammar's text, and vLLM takes the tokenizer's own for that
            vocabulary=Vocabulary(
                encoder.tokenizer,
                max(model.get_vocab_size(), len(tokenizer)),
                list(dict.fromkeys([tokenizer.eos_token_id, *ends])),
            ),
            context=model.max_model_len,
            temperature=fitted_temperature(Path(model.model)),
            guidance=guidance,
            lands=guidance and PROCESSOR in map(str, model.logits_processors or ()),
            reasoning=Reasoning(name, tokenizer) if (name := outputs.reasoning_parser) else None,
            lora=request,
        )

    def listener(self, request: Request, *, reasons: bool) -> Listener | None:
        """Make what tells of an answer, if anyone listens.

        Args:
            request: what was asked.
            reasons: whether the model reasons first.
        """
        if request.tell is None:
            return None
        end = self.reasoning.end if self.reasoning is not None and reasons else None
        telling = Telling(request.tell, stops_of(request))
        return Listener(telling, self.vocabulary.texts, reasoning_end=end)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An answer that vLLM is at work on.

    Attributes:
        job: its request, and who waits for the reply.
        prompt: the request's token ids.
        budget: most tokens of the answer, reasoning included.
        reasons: whether the model reasons first.
        listener: who is told of it as it grows, or None.
    """

    job: Job
    prompt: list[int]
    budget: int
    reasons: bool
    listener: Listener | None

    def take(self, output: Any, loaded: Loaded) -> None:
        """Tell of what vLLM has made so far, and reply when that is all."""
        (made,) = output.outputs
        if made.finish_reason is None:
            if self.listener is not None:
                self.listener.grown(made.token_ids)
            return
        if made.finish_reason not in ("stop", "length"):
            message = f"vLLM ended the answer with {made.finish_reason!r}; its log says why"
            self.job.reply(Failure(error=EngineError(message)))
            return
        reply = self._ended(made, loaded)
        if self.listener is not None and isinstance(reply, Completion):
            self.listener.ended(reply.text)
        self.job.reply(reply)

    def _ended(self, made: Any, loaded: Loaded) -> Reply:
        ids, cut = list(made.token_ids), made.finish_reason == "length"
        if ids and ids[-1] in loaded.vocabulary.ends:
            ids.pop()
            cut = False
        chosen = Chosen(
            texts=[loaded.vocabulary.texts[token] for token in ids],
            logprobs=[min(each, 0.0) for each in made.logprobs.logprobs[: len(ids)]],
            likeliest=[rank == 1 for rank in made.logprobs.ranks[: len(ids)]],
            cut=cut,
        )
        if not self.reasons or loaded.reasoning is None:
            return self._reply(chosen, ids, self.budget, loaded)
        end = loaded.reasoning.end
        thought = ids.index(end) if end in ids else len(ids)
        start = min(thought + 1, len(ids))
        reply = self._reply(chosen.after(start), ids[start:], self.budget - start, loaded)
        if isinstance(reply, Completion):
            text = decoded(b"".join(chosen.texts[:thought])).strip()
            usage = reply.usage + Usage(output_tokens=start)
            reply = replace(reply, reasoning=text, usage=usage)
        return reply

    def _reply(self, chosen: Chosen, ids: list[int], budget: int, loaded: Loaded) -> Reply:
        request = self.job.request
        if request.constraint is not None:
            return guided_completion(
                chosen,
                request.constraint,
                budget=budget if loaded.lands else None,
                input_tokens=len(self.prompt),
            )
        # who listens was told by the listener
        sampling = replace(request.sampling, max_tokens=max(budget, 1))
        quiet = replace(request, sampling=sampling, tell=None)
        row = Row(quiet, self.prompt, loaded.context, loaded.vocabulary)
        for token, logprob in zip(ids, chosen.logprobs, strict=True):
            if row.reply is None:
                row.take(token, logprob)
        row.end("length" if chosen.cut else "stop")
        assert row.reply is not None
        return row.reply


@dataclass(frozen=True, slots=True)
class Label:
    """A label that vLLM scores, as the end of a prompt."""

    job: Job
    number: int
    scoring: Scoring
    scores: dict[int, float]

    def take(self, output: Any, loaded: Loaded) -> None:
        """Take the label's score; reply when it was the last one."""
        ids = self.scoring.labels[self.number]
        told = output.prompt_logprobs[-len(ids) :]
        self.scores[self.number] = sum(
            place[token].logprob for place, token in zip(told, ids, strict=True)
        )
        if len(self.scores) == len(self.scoring.labels):
            in_order = [self.scores[number] for number in range(len(self.scores))]
            self.scoring.finish(in_order, loaded.temperature)
            assert self.scoring.reply is not None
            self.job.reply(self.scoring.reply)


def label_params() -> SamplingParams:
    """What to ask for a label at the end of a prompt: how likely each token of the prompt is."""
    return SamplingParams(
        max_tokens=1,
        prompt_logprobs=0,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def sampling_params(
    request: Request, most_tokens: int, extra: Mapping[str, Any], *, guidance: bool
) -> SamplingParams:
    """What to ask for an answer.

    Args:
        request: what was asked.
        most_tokens: of the answer, the one that ends it included.
        extra: for logits processors.
        guidance: whether vLLM is on its guidance backend.

    Raises:
        UsageError: for an option that vLLM does not have.
    """
    sampling, options = request.sampling, dict(request.sampling.extra)
    known = SamplingParams.__struct_fields__
    check_extra(options, ours=_OURS, known=known, whose="vLLM's SamplingParams")
    extra = {**(options.pop("extra_args", None) or {}), **extra}
    outputs = None
    if request.constraint is not None:
        outputs = StructuredOutputsParams(
            grammar=printed(request.constraint, "a vLLM at its defaults", lark=guidance)
        )
    stops = outputs is None and bool(sampling.stop)  # a constraint says itself where its text ends
    return SamplingParams(
        temperature=sampling.temperature or 0.0,
        top_p=1.0 if sampling.top_p is None else sampling.top_p,
        max_tokens=most_tokens,
        seed=sampling.seed,
        stop=list(sampling.stop) if stops else None,
        detokenize=stops,
        logprobs=0,
        flat_logprobs=True,
        output_kind=RequestOutputKind.CUMULATIVE if request.tell else RequestOutputKind.FINAL_ONLY,
        structured_outputs=outputs,
        extra_args=extra or None,
        **options,
    )
