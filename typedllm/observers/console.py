"""Inferences in the standard logging, for people to read."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import TextIO

from typedllm._terminal import printable
from typedllm.engines.base import Engine, model_name
from typedllm.errors import EngineError, TypedLLMError, UsageError
from typedllm.observers.observed import LOGGER, OnReply
from typedllm.observers.redaction import Redaction
from typedllm.records import Completion, Failure, Message, Reply, Request

__all__ = ["LoggingObserver", "log_to_console"]


class LoggingObserver:
    """An observer that logs each inference to the logger `typedllm`.

    A line at INFO says which model answered, with the tokens in and out, the seconds and the
    reason it ended; a failure is a line at WARNING. At DEBUG come the messages and the answer.
    Keys and other secrets are taken out, see `typedllm.observers.redaction`.
    """

    def __init__(self, *, secrets: Iterable[str] = ()) -> None:
        """Say which secrets are known.

        Args:
            secrets: texts that are taken out wherever they occur, such as the API key in use.
        """
        self._redaction = Redaction(secrets)

    def sent(self, request: Request, engine: Engine) -> OnReply:
        """Wait for the reply, with which all is logged.

        Args:
            request: what is sent.
            engine: where to.
        """

        def on_reply(reply: Reply, seconds: float) -> None:
            if isinstance(reply, Completion) and not LOGGER.isEnabledFor(logging.INFO):
                return  # as for most of ten thousand rows
            name = model_name(engine)
            if isinstance(reply, Failure):
                told = self._shown(_told(reply.error))
                LOGGER.warning("%s failed after %.2f s: %s", name, seconds, told)
            else:
                usage, ended = reply.usage, reply.finish_reason
                tokens_in, tokens_out = usage.input_tokens, usage.output_tokens
                form = "%s: %d tokens in, %d out, %.2f s, %s"
                LOGGER.info(form, name, tokens_in, tokens_out, seconds, ended)
            if LOGGER.isEnabledFor(logging.DEBUG):
                LOGGER.debug("%s%s", name, self._conversation(request, reply))

        return on_reply

    def _conversation(self, request: Request, reply: Reply) -> str:
        turns = [(part.role, part.text) for part in request.prompt if isinstance(part, Message)]
        if not turns:
            turns = [("prompt", "".join(part.text for part in request.prompt))]
        if isinstance(reply, Completion):
            turns.append(("answer", reply.text))
        return "".join(f"\n  {role}: {self._shown(text)}" for role, text in turns)

    def _shown(self, text: str) -> str:
        return printable(self._redaction.text(text))


class _ConsoleHandler(logging.StreamHandler[TextIO]):
    """Told from the application's own handlers by its class."""


def log_to_console(level: str | int = "INFO") -> logging.Handler:
    """Show on standard error what the package logs; handlers of the root logger show it too.

    Called again, it changes the level only. To show nothing any more, remove the handler:
    `logging.getLogger("typedllm").removeHandler(handler)`.

    Args:
        level: the least level to show: `DEBUG` with the messages and answers, `INFO` with a line
            for each inference, `WARNING` with failures only; or a number of `logging`.

    Returns:
        The handler.

    Raises:
        UsageError: for a level that `logging` does not know.
    """
    number = _number(level)
    found = [handler for handler in LOGGER.handlers if isinstance(handler, _ConsoleHandler)]
    handler = found[0] if found else _ConsoleHandler()
    handler.stream = sys.stderr  # which may have been put in another's place, and that be closed
    handler.setLevel(number)
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)-7s %(name)s  %(message)s", "%H:%M:%S")
    )
    LOGGER.addHandler(handler)  # nothing, when it is there
    LOGGER.setLevel(number)
    return handler


def _number(level: str | int) -> int:
    given: object = level  # of callers without a type checker
    known = logging.getLevelNamesMapping()
    if isinstance(given, str) and given.upper() in known:
        return known[given.upper()]
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    raise UsageError(f"level: expected one of {', '.join(known)}, or a number, got {given!r:.40}")


def _told(error: TypedLLMError) -> str:
    text = f"{type(error).__name__}: {error}"
    if not isinstance(error, EngineError):
        return text
    status = "" if error.status is None else f"status {error.status}"
    request_id = "" if error.request_id is None else f"request {error.request_id}"
    retryable = "may succeed later" if error.retryable else ""
    facts = ", ".join(fact for fact in (status, request_id, retryable) if fact)
    return f"{text} ({facts})" if facts else text
