"""Where a model that reasons stops reasoning, as vLLM's own parsers know it."""

# pyright: reportMissingImports=false
# pyright: reportUntypedBaseClass=false
# pyright: reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vllm.reasoning import ReasoningParserManager

from typedllm.errors import UsageError

__all__ = ["Reasoning"]


class Reasoning:
    """A reasoning parser of vLLM's, on one tokenizer.

    Attributes:
        end: the token that ends reasoning.
    """

    def __init__(self, name: str, tokenizer: Any) -> None:
        """Find the parser.

        Args:
            name: as vLLM's `reasoning_parser` has it, such as `qwen3`.
            tokenizer: of the model.

        Raises:
            UsageError: when reasoning does not end with a token of its own.
        """
        self._parser: Any = ReasoningParserManager.get_reasoning_parser(name)(tokenizer)
        several = getattr(self._parser, "reasoning_end_token_ids", None) or ()
        found = getattr(self._parser, "end_token_id", several[0] if len(several) == 1 else None)
        if found is None:
            raise UsageError(
                f"with vLLM's reasoning parser {name!r} no single token ends the reasoning, so an"
                " answer cannot be told from it; open the model without reasoning_parser"
            )
        self.end: int = found

    def has_ended(self, prompt: Sequence[int]) -> bool:
        """Whether a prompt leaves nothing to reason, as with thinking switched off.

        Args:
            prompt: token ids.
        """
        return self._parser.is_reasoning_end(prompt)
