"""One answer as it grows: what each token means for it, and when it ends."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import replace

from llguidance import LLMatcher

from typedllm.engines.guide import Guide, Vocabulary
from typedllm.engines.telling import Telling
from typedllm.errors import BudgetTooSmall, EngineError, PromptTooLong, UsageError
from typedllm.records import Completion, Failure, FinishReason, Reply, Request, Token, Usage

__all__ = ["DEFAULT_TOKENS", "Row", "budget_of", "decoded", "stops_of"]

DEFAULT_TOKENS = 1024  # of an answer, where the caller sets no max_tokens


class Row:
    """The state of one answer, from its prompt to its reply.

    Attributes:
        budget: most tokens of the answer.
        feed: token ids that the model has not seen yet; at first the prompt.
        matcher: the constraint at the end of the answer so far, or None.
        reply: None until the answer has ended.
    """

    def __init__(
        self, request: Request, prompt: Sequence[int], context: int, vocabulary: Vocabulary
    ) -> None:
        """Begin an answer, with what its constraint forces at once.

        Args:
            request: what was asked.
            prompt: its token ids.
            context: most tokens of prompt and answer together.
            vocabulary: of the model.

        Raises:
            UsageError: when prompt, constraint or `max_tokens` cannot be.
        """
        guide = None if request.constraint is None else vocabulary.guide(request.constraint)
        self.budget = budget_of(request, len(prompt), context, guide)
        self.feed = list(prompt)
        self.matcher = guide.matcher.deep_copy() if guide else None
        self.reply: Reply | None = None
        self._prompt_tokens = len(prompt)
        self._vocabulary = vocabulary
        self._landing = guide.landing.row(self.budget) if guide and guide.landing else None
        self._stops = stops_of(request)
        self._text = bytearray()
        self._tokens: list[Token] = []
        self._telling = Telling(request.tell, self._stops) if request.tell else None
        self._take_forced()
        self._tell()

    def take(self, token: int, logprob: float) -> None:
        """Take the token that was chosen, and those that the constraint forces after it.

        Args:
            token: its id.
            logprob: natural logarithm of its probability.
        """
        if token in self._vocabulary.ends:
            self._finish("stop")
        elif self._append(token, logprob) and self.matcher is not None:
            self.matcher.consume_token(token)
            self._take_forced()
        self._tell()

    def end(self, reason: FinishReason) -> None:
        """End the answer where it is, unless it has ended.

        Args:
            reason: why.
        """
        if self.reply is None:
            self._finish(reason)

    def _tell(self) -> None:
        if self._telling is not None and self.reply is None:
            self._telling.grown(self._text)

    def _take_forced(self) -> None:
        matcher = self.matcher
        if matcher is None or self._ended_by(matcher):
            return
        forced = matcher.compute_ff_tokens()
        if forced and all(self._append(token, 0.0) for token in forced):
            matcher.consume_tokens(forced)
            self._ended_by(matcher)

    def _ended_by(self, matcher: LLMatcher) -> bool:
        """Whether the constraint allows nothing more; then there is a reply."""
        if not matcher.is_stopped():
            return False
        if matcher.is_error():
            message = matcher.get_error()
            self.reply = Failure(error=EngineError(f"the grammar's parser failed: {message}"))
        else:
            self._finish("stop")
        return True

    def _append(self, token: int, logprob: float) -> bool:
        """Add a token to the text, or end the answer before it; False when it has ended."""
        text = self._vocabulary.texts[token]
        if self._landing is not None:
            if not self._landing.admits(text):
                self._land(self._landing.land())
                return False
        elif len(self._tokens) == self.budget:
            self._finish("length")
            return False
        self.feed.append(token)
        self._tokens.append(Token(text, logprob))
        self._text += text
        return not (self._stops and self._stop(len(self._text) - len(text)))

    def _land(self, tokens: Sequence[int]) -> None:
        landed_at = len(decoded(self._text))
        for token in tokens:
            text = self._vocabulary.texts[token]
            self._tokens.append(Token(text, 0.0))
            self._text += text
        self._finish("landing", landed_at=landed_at)

    def _stop(self, before: int) -> bool:
        """End the answer before the first stop text that the last token completed."""
        found = [self._text.find(stop, max(0, before - len(stop) + 1)) for stop in self._stops]
        places = [place for place in found if place >= 0]
        if not places:
            return False
        taken = len(self._tokens)
        excess = len(self._text) - min(places)
        while excess > 0 and excess >= len(self._tokens[-1].text):
            excess -= len(self._tokens.pop().text)
        if excess > 0:
            self._tokens[-1] = replace(self._tokens[-1], text=self._tokens[-1].text[:-excess])
        del self._text[min(places) :]
        self._finish("stop", output_tokens=taken)
        return True

    def _finish(
        self,
        reason: FinishReason,
        *,
        landed_at: int | None = None,
        output_tokens: int | None = None,
    ) -> None:
        count = len(self._tokens) if output_tokens is None else output_tokens
        text = decoded(self._text)
        if self._telling is not None:
            self._telling.ended(text)
        self.reply = Completion(
            text=text,
            finish_reason=reason,
            usage=Usage(input_tokens=self._prompt_tokens, output_tokens=count),
            tokens=tuple(self._tokens),
            landed_at=landed_at,
        )


def decoded(text: bytes | bytearray) -> str:
    """Decode as UTF-8, without a character that is cut at the end."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(text))


def stops_of(request: Request) -> list[bytes]:
    """The texts before which an answer ends; a constraint says itself where its text ends.

    Args:
        request: what was asked.
    """
    if request.constraint is not None:
        return []
    return [text.encode() for text in request.sampling.stop]


def budget_of(request: Request, prompt_tokens: int, context: int, guide: Guide | None) -> int:
    """How many tokens the answer may have.

    Args:
        request: what was asked.
        prompt_tokens: how many there are.
        context: most tokens of prompt and answer together.
        guide: the compiled constraint, if there is one.

    Raises:
        UsageError: when there is no room for one.
    """
    if not prompt_tokens:
        raise UsageError("the prompt is empty; write what is asked")
    least = guide.landing.least_tokens if guide and guide.landing else 1
    asked = request.sampling.max_tokens
    if asked is not None and asked < least:
        raise BudgetTooSmall(
            f"max_tokens is {asked}, and the shortest valid answer has {least} tokens; "
            "allow at least as many"
        )
    room = context - prompt_tokens
    if room < least:
        raise PromptTooLong(
            f"the prompt has {prompt_tokens} tokens, an answer needs {least}, and the model's "
            f"context holds {context}; shorten the prompt"
        )
    return min(room, max(least, DEFAULT_TOKENS) if asked is None else asked)
