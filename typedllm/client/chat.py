"""Conversations: each turn is typed by itself and sees the turns before it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast, overload

from typing_extensions import TypeForm, Unpack

from typedllm._checks import check_kind, check_number, check_text
from typedllm.batch.progress import Progress
from typedllm.batch.results import Results
from typedllm.batch.rows import Row, rows_of
from typedllm.batch.run import Running, collect
from typedllm.client.derived import blocking, unwrapped, verb
from typedllm.client.options import AnyType, Options, PlainText, TurnOptions, Untyped
from typedllm.errors import TypedLLMError, UsageError
from typedllm.prompts.collection import Conversation, Turn
from typedllm.prompts.prompt import Prompt
from typedllm.records import Message, Result, Role, Segment

if TYPE_CHECKING:
    from typedllm.client.llm import LLM

__all__ = ["Chat", "ChatTurn", "all_played"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatTurn:
    """A turn that has been answered.

    Attributes:
        user_prompt: what the user said.
        asked: the user's message as it was sent, in the words of the template.
        answer: the model's text.
        context: values for the template.
        metadata: whatever belongs to it.
    """

    user_prompt: str
    asked: str
    answer: str
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def messages(self) -> tuple[Message, Message]:
        """The turn as messages of the user and the model."""
        return _message("user", self.asked), _message("assistant", self.answer)


class Chat:
    """A conversation with a model; made by `LLM.chat`.

    A turn that fails leaves no trace, and can be asked again.

    Attributes:
        id: of the conversation.
        turns: those that have been answered.
    """

    def __init__(
        self, llm: LLM, options: Options, *, id: str | None, history_tokens: int | None
    ) -> None:
        """Begin a conversation.

        Args:
            llm: what answers.
            options: the keywords of every turn.
            id: of the conversation.
            history_tokens: most tokens of the turns that are sent again.

        Raises:
            UsageError: when `history_tokens` is no whole number.
        """
        check_number("history_tokens", history_tokens, whole=True, or_none=True)
        check_kind("id", id, str)
        self.id = id
        self.turns: tuple[ChatTurn, ...] = ()
        self._llm = llm
        self._options = options
        self._history_tokens = history_tokens

    @property
    def history(self) -> tuple[Message, ...]:
        """The turns that are sent again with the next one, as far as `history_tokens` goes."""
        kept: list[ChatTurn] = []
        left = self._history_tokens
        for turn in reversed(self.turns):
            if left is not None:
                left -= self._llm.count_tokens(turn.asked) + self._llm.count_tokens(turn.answer)
                if left < 0:
                    break
            kept.append(turn)
        return tuple(message for turn in reversed(kept) for message in turn.messages())

    @overload
    def arun(
        self, user_prompt: str, output_type: PlainText = None, **turn: Unpack[TurnOptions]
    ) -> Coroutine[Any, Any, Result[str]]: ...
    @overload
    def arun(
        self, user_prompt: str, output_type: dict[str, Any], **turn: Unpack[TurnOptions]
    ) -> Coroutine[Any, Any, Result[dict[str, Any]]]: ...
    @overload
    def arun(
        self, user_prompt: str, output_type: TypeForm[T], **turn: Unpack[TurnOptions]
    ) -> Coroutine[Any, Any, Result[T]]: ...
    @overload
    def arun(
        self, user_prompt: str, output_type: Untyped, **turn: Unpack[TurnOptions]
    ) -> Coroutine[Any, Any, Result[Any]]: ...
    @verb(TurnOptions)
    def arun(
        self, user_prompt: str, output_type: Any = None, **turn: Unpack[TurnOptions]
    ) -> Coroutine[Any, Any, Result[Any]]:
        """Say something, and return a `Result` with the value of the answer or the error.

        Args:
            user_prompt: what the user says.
            output_type: what to answer, as in `LLM.run`.
            turn: `context`, values for the template; `metadata`, given back with the result.

        Raises:
            UsageError: as `LLM.run` does.
        """
        check_text("user_prompt", user_prompt)
        prompt = Prompt(
            user_prompt=user_prompt,
            context={**(self._options.get("context") or {}), **(turn.get("context") or {})},
            history=self.history,
            conversation_id=self.id,
            metadata=turn.get("metadata") or {},
        )
        kind = cast(AnyType, output_type)
        messages = self._llm.render(prompt, kind, **self._options).messages
        asked = messages[-1].text if messages else user_prompt
        return self._answered(prompt, asked, self._llm.arun(prompt, kind, **self._options))

    async def _answered(
        self, prompt: Prompt, asked: str, asking: Coroutine[Any, Any, Result[Any]]
    ) -> Result[Any]:
        result = await asking
        if result.ok:
            turn = ChatTurn(
                user_prompt=prompt.user_prompt,
                asked=asked,
                answer=result.raw or "",
                context=prompt.context,
                metadata=prompt.metadata,
            )
            self.turns = (*self.turns, turn)
        return result

    @overload
    def acall(
        self, user_prompt: str, output_type: PlainText = None, **turn: Unpack[TurnOptions]
    ) -> Coroutine[Any, Any, str]: ...
    @overload
    def acall(
        self, user_prompt: str, output_type: dict[str, Any], **turn: Unpack[TurnOptions]
    ) -> Coroutine[Any, Any, dict[str, Any]]: ...
    @overload
    def acall(
        self, user_prompt: str, output_type: TypeForm[T], **turn: Unpack[TurnOptions]
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def acall(
        self, user_prompt: str, output_type: Untyped, **turn: Unpack[TurnOptions]
    ) -> Coroutine[Any, Any, Any]: ...
    @verb(TurnOptions)
    def acall(
        self, user_prompt: str, output_type: Any = None, **turn: Unpack[TurnOptions]
    ) -> Coroutine[Any, Any, Any]:
        """Say something, and return the value of the answer.

        The arguments are those of `run`.

        Raises:
            TypedLLMError: whatever went wrong, see `typedllm.errors`.
        """
        return unwrapped(self.arun(user_prompt, cast(AnyType, output_type), **turn))

    run = blocking(arun)
    call = blocking(acall)

    def save(self, path: str | Path) -> None:
        """Write the conversation to a file, as JSON.

        Args:
            path: of the file.

        Raises:
            UsageError: when a context or metadata is no JSON, or the file cannot be written.
        """
        content = {"id": self.id, "turns": [asdict(turn) for turn in self.turns]}
        try:
            text = json.dumps(content, ensure_ascii=False, indent=2)
        except (TypeError, ValueError) as error:
            raise UsageError(f"the conversation cannot be written as JSON: {error}") from error
        try:
            Path(path).write_text(text, "utf-8")
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error}") from error

    def load(self, path: str | Path) -> Self:
        """Take id and turns from a file that `save` wrote, and go on from there.

        Args:
            path: of the file.

        Returns:
            This conversation.

        Raises:
            UsageError: when the file holds no conversation.
        """
        try:
            content = json.loads(Path(path).read_text("utf-8"))
            turns = tuple(ChatTurn(**turn) for turn in content["turns"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UsageError(f"{path}: is no saved conversation: {error}") from error
        self.id, self.turns = content.get("id"), turns
        return self


async def _played(
    llm: LLM, conversation: Conversation, output_type: Any, options: Options
) -> Results[Any]:
    """Say the turns of a planned conversation; after one that failed the others are not asked."""
    started = time.monotonic()
    given: Options = {**options}
    if conversation.system_prompt is not None:
        given["system"] = conversation.system_prompt
    if conversation.examples:
        given["examples"] = conversation.examples
    chat = Chat(llm, given, id=conversation.id, history_tokens=None)
    results: list[Result[Any]] = []
    failed: TypedLLMError | None = None
    for number, planned in enumerate(conversation.turns):
        turn = planned if isinstance(planned, Turn) else Turn(planned)
        result: Result[Any]
        if failed is None:
            result = await _said(chat, turn, output_type)
            if result.error is not None:
                failed = TypedLLMError(f"not asked, since turn {number} failed: {result.error}")
        else:
            prompt = Prompt(user_prompt=turn.user_prompt, context=turn.context)
            result = Result(error=failed, prompt=prompt, metadata=turn.metadata)
        results.append(replace(result, id=str(number)))
    spec = llm.asking(output_type, options).task.spec
    return Results(results, wall_s=time.monotonic() - started, spec=spec)


async def all_played(
    llm: LLM,
    conversations: Sequence[Conversation],
    output_type: Any,
    options: Options,
    progress: Progress,
    width: int,
) -> list[Results[Any]]:
    """Have planned conversations, so many at once.

    Args:
        llm: what answers.
        conversations: the turns of each.
        output_type: what to answer to each turn.
        options: the keywords of every turn.
        progress: is told of each conversation that has ended.
        width: how many are under way.
    """
    for position, conversation in enumerate(conversations):
        if not isinstance(cast(object, conversation), Conversation):
            raise UsageError(
                f"conversations[{position}]: expected a Conversation, got {conversation!r:.60};"
                " write Conversation(turns=[...])"
            )

    async def work(row: Row) -> Result[Results[Any]]:
        said = cast(Conversation, row.prompt)
        return Result(value=await _played(llm, said, output_type, options))

    running = Running(width=width, progress=progress)
    results, _ = await collect(list(rows_of(conversations)), work, running)
    return [result.unwrap() for result in results]


async def _said(chat: Chat, turn: Turn, output_type: Any) -> Result[Any]:
    say = cast(Callable[..., Coroutine[Any, Any, Result[Any]]], chat.arun)
    try:
        return await say(
            turn.user_prompt, output_type, context=turn.context, metadata=turn.metadata
        )
    except UsageError as error:
        prompt = Prompt(user_prompt=turn.user_prompt, context=turn.context)
        return Result(error=error, prompt=prompt, metadata=turn.metadata)


def _message(role: Role, text: str) -> Message:
    return Message(role=role, content=(Segment(text=text),))
