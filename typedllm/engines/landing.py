"""Landing: closing an answer in time, so that it ends inside its budget and is valid.

A row's answer is followed in the grammar as it grows. While more tokens are left than closing can
take from anywhere, that costs nothing; after that, each token is taken only if what it leads to can
still be closed, and the first one that cannot is replaced by the shortest close.
"""

from __future__ import annotations

from collections.abc import Callable

from typedllm.grammar.closing import reserve, shortest
from typedllm.grammar.regular import Expr, derive_all


class Landing:
    """What landing needs to know of a grammar; made once and shared by its rows.

    Attributes:
        expr: what the whole answer matches.
        reserve: the most bytes that closing takes from anywhere.
        least_tokens: tokens of a shortest answer; no smaller budget can hold one.
    """

    def __init__(self, expr: Expr, tokenize: Callable[[bytes], list[int]]) -> None:
        """Measure a grammar.

        Args:
            expr: the constraint's expression.
            tokenize: turns bytes into token ids; no more ids than bytes.
        """
        self.expr = expr
        self.reserve = reserve(expr)
        self._tokenize = tokenize
        self.least_tokens = len(self.closing(expr))

    def closing(self, expr: Expr) -> list[int]:
        """The tokens of the shortest text that matches."""
        text = shortest(expr)
        if text is None:
            raise ValueError("nothing closes this text: it does not match the grammar")
        return self._tokenize(text)

    def row(self, budget: int) -> LandingRow:
        """Follow one answer.

        Args:
            budget: the most tokens of the answer, at least `least_tokens`.
        """
        return LandingRow(self, self.expr, self.reserve, budget)


class LandingRow:
    """One answer on its way through the grammar."""

    def __init__(self, landing: Landing, expr: Expr, reserve_bytes: int, budget: int) -> None:
        """Begin before the first token.

        Args:
            landing: the grammar's part.
            expr: what may follow.
            reserve_bytes: the most bytes that closing takes from anywhere.
            budget: tokens left.
        """
        self._landing = landing
        self._expr = expr
        self._reserve = reserve_bytes
        self._left = budget
        self._unread: list[bytes] = []

    def copy(self) -> LandingRow:
        """The same answer, to be followed apart from this one."""
        row = LandingRow(self._landing, self._expr, self._reserve, self._left)
        row._unread = [*self._unread]
        return row

    def admits(self, token: bytes) -> bool:
        """Take the next token, if the answer can still be closed in the budget after it.

        Args:
            token: the token's bytes, allowed by the grammar.

        Returns:
            True when the token was taken; False when the answer must be closed now.
        """
        self._unread.append(token)
        if self._left - 1 > self._reserve:  # closing takes at most a token a byte
            self._left -= 1
            return True
        before = derive_all(self._expr, b"".join(self._unread[:-1]))
        after = derive_all(before, token)
        self._unread.clear()
        if len(self._landing.closing(after)) > self._left - 1:
            self._expr = before
            return False
        self._expr = after
        self._left -= 1
        return True

    def land(self) -> list[int]:
        """The tokens that close the answer from what was taken."""
        self._expr = derive_all(self._expr, b"".join(self._unread))
        self._unread.clear()
        return self._landing.closing(self._expr)
