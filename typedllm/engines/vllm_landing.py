"""Landing inside vLLM: a logits processor that closes guided answers in time.

vLLM loads it by name: `LLM(..., logits_processors=[PROCESSOR])`, for a server
`--logits-processors`. It runs in vLLM's own process, after the grammar's mask, and is told of a
row's grammar by `SamplingParams.extra_args` (over HTTP: `vllm_xargs`). Rows that are far from their
budget cost a comparison a step.

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

from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from typedllm.engines.choose import Chooser, choose
from typedllm.engines.guide import Vocabulary
from typedllm.engines.landing import Landing, LandingRow
from typedllm.engines.vllm_options import EXPRESSION, PROBE, PROBED, REASONING_END, RESERVE
from typedllm.grammar.wire import loads
from typedllm.records import Sampling

__all__ = ["LandingProcessor"]

_GRAMMARS = 128  # kept


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
        self._rows: dict[int, _Row] = {}
        self._vocabulary: Vocabulary | None = None
        self._landing = lru_cache(maxsize=_GRAMMARS)(self._landing_of)

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Answer the question whether this processor is there, which is a row of its own.

        Args:
            sampling_params: of a row.

        Raises:
            ValueError: for that row; vLLM makes HTTP 400 of it, with this text.
        """
        if PROBE in (sampling_params.extra_args or {}):
            raise ValueError(PROBED)

    def is_argmax_invariant(self) -> bool:
        """Say that it has a say in greedy rows too."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """Follow rows as they come, move and go."""
        process_dict_updates(self._rows, batch_update, _row_of)

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
                at_end = logits[number, row.ends]
                reasoning_end = logits[number, row.reasoning_end]
                logits[number, row.reasoning_end] = torch.maximum(at_end.max(), reasoning_end)
                logits[number, row.ends] = -torch.inf
        if near:
            self._land(logits, near)
        return logits

    def _land(self, logits: torch.Tensor, near: Sequence[tuple[int, _Row]]) -> None:
        vocabulary = self._vocabulary_of(logits.shape[1])
        candidates = logits[[number for number, _ in near]].float().cpu().numpy()
        masks = np.full((len(near), -(-logits.shape[1] // 32)), -1, np.int32)
        tokens, _ = choose(candidates, masks, [row.chooser for _, row in near])
        for (number, row), candidate in zip(near, tokens, strict=True):
            token = row.next(candidate, self._landing(row.expression), vocabulary.texts)
            logits[number] = -torch.inf
            logits[number, token] = 0

    def _landing_of(self, text: str) -> Landing:
        assert self._vocabulary is not None
        return Landing(loads(text), self._vocabulary.tokenize)

    def _vocabulary_of(self, size: int) -> Vocabulary:
        if self._vocabulary is None:
            from vllm.tokenizers import cached_tokenizer_from_config

            tokenizer: Any = cached_tokenizer_from_config(self._model)
            ends = [tokenizer.eos_token_id]
            self._vocabulary = Vocabulary(tokenizer.backend_tokenizer, size, ends)
        return self._vocabulary


def _row_of(params: Any, prompt: list[int] | None, output: list[int]) -> _Row | None:
    extra: Mapping[str, Any] = params.extra_args or {}
    return _Row(params, extra, output) if EXPRESSION in extra else None


class _Row:
    """One answer on its way.

    Attributes:
        chooser: takes its tokens near the end, so that each can be looked at before it counts.
        expression: of its grammar, in the form of `wire`.
        ends: ids of the tokens that end it.
        reasoning_end: the one that ends its reasoning, if it reasons.
    """

    def __init__(self, params: Any, extra: Mapping[str, Any], output: list[int]) -> None:
        self.expression: str = extra[EXPRESSION]
        self.chooser = Chooser(
            Sampling(temperature=params.temperature, top_p=params.top_p, seed=params.seed)
        )
        self._reserve = int(extra[RESERVE])
        self._budget: int = params.max_tokens - 1  # the last one is for the token that ends it
        self.ends: list[int] = list({params.eos_token_id, *params.all_stop_token_ids})
        self._end: int = params.eos_token_id
        self.reasoning_end: int | None = extra.get(REASONING_END)
        self._output = output  # vLLM's own list, which grows
        self._begin = 0 if self.reasoning_end is None else -1  # of the answer; -1: not yet
        self._searched = 0
        self._row: LandingRow | None = None
        self._followed = 0  # tokens of the output that the row has been told of
        self._closing: deque[int] | None = None

    @property
    def is_reasoning(self) -> bool:
        """Whether the answer has not begun."""
        return self._begin < 0

    def is_near_its_end(self) -> bool:
        """Whether the next token may be the last one that can be chosen freely."""
        left = self._budget - len(self._output)
        if self._begin < 0:
            self._look_for_the_begin()
            left -= self._begin < 0  # one for the token that ends the reasoning
        return left - 1 <= self._reserve

    def next(self, candidate: int, landing: Landing, texts: Sequence[bytes]) -> int:
        """The next token: the candidate if the answer can still be closed after it."""
        if self._begin < 0:
            assert self.reasoning_end is not None
            return self.reasoning_end
        row = self._follow(landing, texts)
        self._followed = len(self._output) + 1
        if self._closing is None:
            if candidate in self.ends:
                return candidate
            if row.admits(texts[candidate]):
                return candidate
            self._closing = deque(row.land())
        return self._closing.popleft() if self._closing else self._end

    def _look_for_the_begin(self) -> None:
        for index in range(self._searched, len(self._output)):
            if self._output[index] == self.reasoning_end:
                self._begin = self._followed = index + 1
                return
        self._searched = len(self._output)

    def _follow(self, landing: Landing, texts: Sequence[bytes]) -> LandingRow:
        row = self._row
        if row is None:
            row = self._row = landing.row(self._budget - self._begin)
        for token in self._output[self._followed :]:
            if self._closing is None and not row.admits(texts[token]):
                self._closing = deque(row.land())  # a row that vLLM put off while it landed
            if self._closing:
                self._closing.popleft()
        return row
