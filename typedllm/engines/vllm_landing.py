"""Landing inside vLLM: a logits processor that closes guided answers in time.

vLLM loads it by name: `LLM(..., logits_processors=[PROCESSOR])`, for a server
`--logits-processors`. It runs in vLLM's own process, after the grammar's mask, and is told of a
row's grammar by `SamplingParams.extra_args` (over HTTP: `vllm_xargs`). Rows that are far from their
budget cost a comparison a step.

What it says of a step may be thrown away: vLLM also asks it of prompts that are fed in part, and of
rows that have ended meanwhile, both without a mask. So a row is followed only by the tokens that
vLLM has kept, and what no grammar allows is left as it is.

Source of the interface: https://docs.vllm.ai/en/stable/features/custom_logitsprocs/, that of the V1
model runner.
"""

# vllm and torch have types for a part of what they hold, and vllm may not be installed
# pyright: reportMissingImports=false
# pyright: reportUntypedBaseClass=false
# pyright: reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from typedllm.engines.choose import Chooser, choose
from typedllm.engines.guide import Vocabulary
from typedllm.engines.landing import Landing, LandingRow
from typedllm.engines.vllm_options import EXPRESSION, PROBE, PROBED, RESERVE
from typedllm.engines.vllm_reasoning import Reasoning
from typedllm.grammar.wire import loads
from typedllm.records import Sampling

__all__ = ["LandingProcessor"]

_GRAMMARS: Final = 128  # kept
_log = logging.getLogger(__name__)
_loaded = lru_cache(maxsize=_GRAMMARS)(loads)


class LandingProcessor(LogitsProcessor):
    """Closes each row that has a grammar of typedllm's before its `max_tokens` are used up."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        """Begin with no row, as vLLM wants it.

        Args:
            vllm_config: the engine's.
            device: of the logits.
            is_pin_memory: not used.
        """
        self._model = vllm_config.model_config
        self._parser: str = vllm_config.structured_outputs_config.reasoning_parser
        self._rows: dict[int, _Row] = {}
        self._vocabulary: Vocabulary | None = None
        self._reasoning: Reasoning | None = None
        self._landing = lru_cache(maxsize=_GRAMMARS)(self._landing_of)

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuse a row that this could not follow, or that asks whether this is there.

        Args:
            sampling_params: of a row.

        Raises:
            ValueError: for that row; vLLM makes HTTP 400 of it, with this text.
        """
        extra: Mapping[str, Any] = sampling_params.extra_args or {}
        if PROBE in extra:
            raise ValueError(PROBED)
        if EXPRESSION not in extra:
            return
        reserve = extra.get(RESERVE)
        if not isinstance(reserve, int) or reserve < 0:
            raise ValueError(f"{RESERVE} has to be a whole number of bytes, not {reserve!r}")
        if sampling_params.ignore_eos:
            raise ValueError("ignore_eos does not go with an answer that is to end")
        try:
            _loaded(extra[EXPRESSION])
        except Exception as error:
            raise ValueError(f"{EXPRESSION} is no expression of typedllm's: {error!r}") from error

    def is_argmax_invariant(self) -> bool:
        """Say that it has a say in greedy rows too."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """Follow rows as they come, move and go."""
        process_dict_updates(self._rows, batch_update, self._row_of)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Let rows near their end take only what can still be closed.

        Args:
            logits: [rows, vocabulary], minus infinity where the grammar allows nothing; changed in
                place.
        """
        near: list[tuple[int, _Row]] = []
        for number, row in self._rows.items():
            if row.is_near_its_end():
                near.append((number, row))
            elif row.is_reasoning:
                # to end all would be to give no answer: it ends the reasoning
                at_end = logits[number, row.ends].max()
                end = row.reasoning_end
                logits[number, end] = torch.maximum(at_end, logits[number, end])
                logits[number, row.ends] = -torch.inf
        if near:
            self._land(logits, near)
        return logits

    def _land(self, logits: torch.Tensor, near: Sequence[tuple[int, _Row]]) -> None:
        vocabulary = self._vocabulary_of(logits.shape[1])
        candidates = logits[[number for number, _ in near]].float().cpu().numpy()
        for candidate, (_, row) in zip(candidates, near, strict=True):
            row.keep_likely(candidate)
        masks = np.full((len(near), -(-logits.shape[1] // 32)), -1, np.int32)
        tokens, _ = choose(candidates, masks, [row.chooser for _, row in near])
        for (number, row), candidate in zip(near, tokens, strict=True):
            try:
                token = row.next(candidate, self._landing(row.expression), vocabulary.texts)
            except Exception:  # one row must not end the engine
                _log.exception("an answer can no longer be followed, and may be cut")
                row.is_lost = True
                continue
            if token is not None:
                logits[number] = -torch.inf
                logits[number, token] = 0

    def _row_of(self, params: Any, prompt: list[int] | None, output: list[int]) -> _Row | None:
        extra: Mapping[str, Any] = params.extra_args or {}
        if EXPRESSION not in extra:
            return None
        if self._parser and self._reasoning is None:
            self._reasoning = Reasoning(self._parser, self._tokenizer())
        reasons = self._reasoning is not None and not self._reasoning.has_ended(prompt or [])
        end = self._reasoning.end if self._reasoning is not None and reasons else None
        return _Row(params, output, end)

    def _landing_of(self, text: str) -> Landing:
        assert self._vocabulary is not None
        return Landing(_loaded(text), self._vocabulary.tokenize)

    def _vocabulary_of(self, size: int) -> Vocabulary:
        if self._vocabulary is None:
            tokenizer = self._tokenizer()
            ends = [tokenizer.eos_token_id]
            self._vocabulary = Vocabulary(tokenizer.backend_tokenizer, size, ends)
        return self._vocabulary

    def _tokenizer(self) -> Any:
        from vllm.tokenizers import cached_tokenizer_from_config

        return cached_tokenizer_from_config(self._model)


class _Row:
    """One answer on its way.

    Attributes:
        chooser: takes its tokens near the end, so that each can be looked at before it counts.
        expression: of its grammar, in the form of `wire`.
        ends: ids of the tokens that end it.
        reasoning_end: the one that ends its reasoning, if it reasons.
        is_lost: whether it cannot be followed.
    """

    def __init__(self, params: Any, output: list[int], reasoning_end: int | None) -> None:
        extra: Mapping[str, Any] = params.extra_args
        self.expression: str = extra[EXPRESSION]
        self.chooser = Chooser(
            Sampling(temperature=params.temperature, top_p=params.top_p, seed=params.seed)
        )
        self.ends: list[int] = list({params.eos_token_id, *params.all_stop_token_ids})
        self.reasoning_end = reasoning_end
        self.is_lost = False
        self._end: int = params.eos_token_id
        self._top_k: int = params.top_k
        self._min_p: float = params.min_p
        self._reserve: int = extra[RESERVE]
        self._budget: int = params.max_tokens - 1  # the last one is for the token that ends it
        self._output = output  # vLLM's own list, which grows
        self._begin = 0 if reasoning_end is None else -1  # of the answer; -1: not yet
        self._searched = 0
        self._row: LandingRow | None = None
        self._followed = 0  # tokens of the output that the row has been told of
        self._closing: list[int] | None = None  # what closes the answer
        self._closing_at = 0  # the place of the first of it in the output

    @property
    def is_reasoning(self) -> bool:
        """Whether the answer has not begun."""
        return self._begin < 0

    def is_near_its_end(self) -> bool:
        """Whether the next token may be the last one that can be chosen freely."""
        if self.is_lost:
            return False
        left = self._budget - len(self._output)
        if self._begin < 0:
            self._look_for_the_begin()
            left -= self._begin < 0  # one for the token that ends the reasoning
        return left - 1 <= self._reserve

    def keep_likely(self, logits: NDArray[np.float32]) -> None:
        """Leave what `top_k` and `min_p` leave, of which the chooser knows nothing.

        Args:
            logits: [vocabulary]; changed in place.
        """
        if 0 < self._top_k < len(logits):
            least = np.partition(logits, -self._top_k)[-self._top_k]
            logits[logits < least] = -np.inf
        if self._min_p > 0 and self.chooser.temperature:
            bound = logits.max() + self.chooser.temperature * np.log(self._min_p)
            logits[logits < bound] = -np.inf

    def next(self, candidate: int, landing: Landing, texts: Sequence[bytes]) -> int | None:
        """The next token: the candidate if the answer can still be closed after it.

        None leaves the choice to vLLM, in a step that it throws away.
        """
        if self._begin < 0:
            return self.reasoning_end
        output = self._output
        if output and output[-1] in self.ends:
            return None
        closed = output[self._closing_at :]
        if self._closing is not None and closed == self._closing[: len(closed)] and closed:
            return self._closing[len(closed)] if len(closed) < len(self._closing) else self._end
        row = self._follow(landing, texts)
        if candidate in self.ends:
            return candidate
        try:
            if row.copy().admits(texts[candidate]):
                return candidate
        except ValueError:  # nothing matches: the step has no mask
            return None
        self._closing, self._closing_at = row.land(), len(output)
        return self._closing[0] if self._closing else self._end

    def _look_for_the_begin(self) -> None:
        for index in range(self._searched, len(self._output)):
            if self._output[index] == self.reasoning_end:
                self._begin = self._followed = index + 1
                return
        self._searched = len(self._output)

    def _follow(self, landing: Landing, texts: Sequence[bytes]) -> LandingRow:
        if self._row is None:
            self._row = landing.row(self._budget - self._begin)
        for token in self._output[self._followed :]:
            if not self._row.admits(texts[token]):
                raise ValueError(f"token {token} leaves no room to close the answer")
            self._followed += 1
        return self._row
