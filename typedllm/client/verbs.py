"""The verbs of an LLM: to ask once or many times, awaited or waited for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar, cast, overload

from typing_extensions import TypeForm, Unpack

from typedllm.attempts import attempts, classified
from typedllm.batch.results import Results
from typedllm.client.asking import Asking, Flow, Standing
from typedllm.client.batches import collected, iterated
from typedllm.client.derived import blocking, streaming, unwrapped, verb
from typedllm.client.options import AnyType, BatchOptions, Inputs, Options, PlainText, Untyped
from typedllm.client.stream import Event, StartsAnew, streamed
from typedllm.errors import UsageError
from typedllm.output.streamed import Item, Partial
from typedllm.prompts.prompt import Input
from typedllm.records import Result

__all__ = ["Verbs"]

T = TypeVar("T")


class Verbs:
    """What an LLM can be asked.

    Each verb is there twice: `call`, `run`, `stream`, `batch`, `iter_batch` wait; `acall`, `arun`,
    `astream`, `abatch`, `aiter_batch` are awaited.
    """

    _standing: Standing
    _closed = False

    def asking(self, output_type: Any, options: Options, flow: Flow = attempts) -> Asking:
        """What the requests of a call have in common, for what is built on the verbs.

        Args:
            output_type: what to answer.
            options: the keywords of the call.
            flow: how it is asked.

        Raises:
            UsageError: for what concerns the whole call, such as the output type.
        """
        if self._closed:
            raise UsageError("this LLM is closed; ask before close(), or make another")
        return self._standing.asking(output_type, options, flow)

    @overload
    def arun(
        self, prompt: Input, output_type: PlainText = None, **options: Unpack[Options]
    ) -> Coroutine[Any, Any, Result[str]]: ...
    @overload
    def arun(
        self, prompt: Input, output_type: dict[str, Any], **options: Unpack[Options]
    ) -> Coroutine[Any, Any, Result[dict[str, Any]]]: ...
    @overload
    def arun(
        self, prompt: Input, output_type: TypeForm[T], **options: Unpack[Options]
    ) -> Coroutine[Any, Any, Result[T]]: ...
    @overload
    def arun(
        self, prompt: Input, output_type: Untyped, **options: Unpack[Options]
    ) -> Coroutine[Any, Any, Result[Any]]: ...
    @verb(Options)
    def arun(
        self, prompt: Input, output_type: Any = None, **options: Unpack[Options]
    ) -> Coroutine[Any, Any, Result[Any]]:
        """Ask once, and return a `Result` with the value or the error.

        Each keyword goes before what was given to the `LLM`, where that has it too.

        Args:
            prompt: a text; a conversation as a list of messages; a `Prompt`; or values for the
                template, as a mapping.
            output_type: what to answer: any Python type that Pydantic takes, a dict or another
                word of the spec language, a JSON Schema, `Regex`, `Choice` or `Lark`; None is
                plain text.
            options: `sampling`, how tokens are chosen; `system`, a system text that comes before
                the instruction (an empty one is none); `template`, a prompt template by name, path
                or text, and `context`, values for it; `examples`, a list of few-shot examples or
                those that a pool chooses; `limits`, bounds on what the output type leaves open;
                `timeout_s`, seconds for the result, waits and repairs included;
                `validation_context`, passed to Pydantic validators as `info.context`.

        Raises:
            UsageError: when the prompt or the output type cannot be understood, the template cannot
                be rendered, or the engine has no way to take the output type.
        """
        asking = self.asking(output_type, options)
        return asking.sent(prompt, asking.prompt(prompt))

    @overload
    def acall(
        self, prompt: Input, output_type: PlainText = None, **options: Unpack[Options]
    ) -> Coroutine[Any, Any, str]: ...
    @overload
    def acall(
        self, prompt: Input, output_type: dict[str, Any], **options: Unpack[Options]
    ) -> Coroutine[Any, Any, dict[str, Any]]: ...
    @overload
    def acall(
        self, prompt: Input, output_type: TypeForm[T], **options: Unpack[Options]
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def acall(
        self, prompt: Input, output_type: Untyped, **options: Unpack[Options]
    ) -> Coroutine[Any, Any, Any]: ...
    @verb(Options)
    def acall(
        self, prompt: Input, output_type: Any = None, **options: Unpack[Options]
    ) -> Coroutine[Any, Any, Any]:
        """Ask once, and return the value.

        The arguments are those of `run`.

        Raises:
            TypedLLMError: whatever went wrong, see `typedllm.errors`.
        """
        return unwrapped(self.arun(prompt, cast(AnyType, output_type), **options))

    @overload
    def astream(
        self, prompt: Input, output_type: TypeForm[list[T]], **options: Unpack[Options]
    ) -> AsyncGenerator[Item[T] | StartsAnew | Result[list[T]], None]: ...
    @overload
    def astream(
        self, prompt: Input, output_type: PlainText = None, **options: Unpack[Options]
    ) -> AsyncGenerator[Partial | StartsAnew | Result[str], None]: ...
    @overload
    def astream(
        self, prompt: Input, output_type: dict[str, Any], **options: Unpack[Options]
    ) -> AsyncGenerator[Partial | StartsAnew | Result[dict[str, Any]], None]: ...
    @overload
    def astream(
        self, prompt: Input, output_type: TypeForm[T], **options: Unpack[Options]
    ) -> AsyncGenerator[Event | Result[T], None]: ...
    @overload
    def astream(
        self, prompt: Input, output_type: Untyped, **options: Unpack[Options]
    ) -> AsyncGenerator[Event | Result[Any], None]: ...
    @verb(Options)
    def astream(
        self, prompt: Input, output_type: Any = None, **options: Unpack[Options]
    ) -> AsyncGenerator[Event | Result[Any], None]:
        """Ask once, and yield what there is of the answer while it comes.

        The arguments are those of `run`.

        Yields:
            For a list of one kind of item an `Item` for each, whole and validated, as soon as it is
            complete; else a `Partial` with the plain JSON, or the text, so far. `StartsAnew` where
            the answer is asked for again, after which nothing counts that came before. Last the
            `Result`, which is that of `run`.

        Raises:
            UsageError: as `run` does.
        """
        asking = self.asking(output_type, options)
        return streamed(asking, prompt, asking.prompt(prompt))

    @overload
    def abatch(
        self, inputs: Inputs, output_type: PlainText = None, **options: Unpack[BatchOptions]
    ) -> Coroutine[Any, Any, Results[str]]: ...
    @overload
    def abatch(
        self, inputs: Inputs, output_type: dict[str, Any], **options: Unpack[BatchOptions]
    ) -> Coroutine[Any, Any, Results[dict[str, Any]]]: ...
    @overload
    def abatch(
        self, inputs: Inputs, output_type: TypeForm[T], **options: Unpack[BatchOptions]
    ) -> Coroutine[Any, Any, Results[T]]: ...
    @overload
    def abatch(
        self, inputs: Inputs, output_type: Untyped, **options: Unpack[BatchOptions]
    ) -> Coroutine[Any, Any, Results[Any]]: ...
    @verb(BatchOptions)
    def abatch(
        self, inputs: Inputs, output_type: Any = None, **options: Unpack[BatchOptions]
    ) -> Coroutine[Any, Any, Results[Any]]:
        """Ask many times at once, and return the results in the order of the inputs.

        A row that fails is a result with an error; it raises nothing and harms no other row.

        Args:
            inputs: prompts, such as a `PromptCollection`.
            output_type: what to answer to each.
            options: those of `run`, `timeout_s` for each row; `ids`, an id for each input, for
                `Result.id` (its position as text when there are none); `metadata`, a mapping for
                each input, for `Result.metadata`; `progress`, True to show how far it has come, or
                a function that is called with a snapshot after each row; `journal`, a file that
                keeps what came of each row, so that the same call goes on where it was stopped
                (with `retry_failed` and `any_engine`, see `BatchOptions`); `budget`, what all rows
                may use before no further one is begun.

        Raises:
            UsageError: for what concerns all rows, such as the output type.
        """
        asking = self.asking(output_type, options)
        return collected(asking, inputs, options)

    @overload
    def aiter_batch(
        self, inputs: Inputs, output_type: PlainText = None, **options: Unpack[BatchOptions]
    ) -> AsyncGenerator[Result[str], None]: ...
    @overload
    def aiter_batch(
        self, inputs: Inputs, output_type: dict[str, Any], **options: Unpack[BatchOptions]
    ) -> AsyncGenerator[Result[dict[str, Any]], None]: ...
    @overload
    def aiter_batch(
        self, inputs: Inputs, output_type: TypeForm[T], **options: Unpack[BatchOptions]
    ) -> AsyncGenerator[Result[T], None]: ...
    @overload
    def aiter_batch(
        self, inputs: Inputs, output_type: Untyped, **options: Unpack[BatchOptions]
    ) -> AsyncGenerator[Result[Any], None]: ...
    @verb(BatchOptions)
    def aiter_batch(
        self, inputs: Inputs, output_type: Any = None, **options: Unpack[BatchOptions]
    ) -> AsyncGenerator[Result[Any], None]:
        """Ask many times at once, and yield each result as soon as it is there.

        The arguments are those of `batch`. The inputs may be endless: no more of them are taken
        than are in flight; a generator is advanced in a thread of its own. `Result.id` tells which
        input a result belongs to. When a `budget` is spent, the rows left of a list or tuple have
        the error `NotAsked`; of other inputs no more is taken, and the iterator ends. Closing it
        cancels what is in flight.

        Raises:
            UsageError: for what concerns all rows, such as the output type.
        """
        asking = self.asking(output_type, options)
        return iterated(asking, inputs, options)

    @overload
    def aclassify(
        self, prompt: Input, labels: TypeForm[T], **options: Unpack[Options]
    ) -> Coroutine[Any, Any, Result[T]]: ...
    @overload
    def aclassify(
        self, prompt: Input, labels: Untyped, **options: Unpack[Options]
    ) -> Coroutine[Any, Any, Result[Any]]: ...
    @verb(Options)
    def aclassify(
        self, prompt: Input, labels: Any, **options: Unpack[Options]
    ) -> Coroutine[Any, Any, Result[Any]]:
        """Give a text one of some labels, and say how likely each of them is.

        Nothing is decoded: the model scores each label as a whole, and the likeliest is the value.

        Args:
            prompt: as in `run`.
            labels: a list of texts or numbers, a `Literal`, an `Enum`, `bool`, or an int with
                bounds close together.
            options: as in `run`.

        Returns:
            The result; `result.distribution()` is the whole distribution.

        Raises:
            UsageError: when these are no labels, the engine scores none, or as `run` does.
        """
        asking = self.asking(labels, {**options, "distribution": ["$"]}, classified)
        return asking.sent(prompt, asking.prompt(prompt))

    @overload
    def aclassify_batch(
        self, inputs: Inputs, labels: TypeForm[T], **options: Unpack[BatchOptions]
    ) -> Coroutine[Any, Any, Results[T]]: ...
    @overload
    def aclassify_batch(
        self, inputs: Inputs, labels: Untyped, **options: Unpack[BatchOptions]
    ) -> Coroutine[Any, Any, Results[Any]]: ...
    @verb(BatchOptions)
    def aclassify_batch(
        self, inputs: Inputs, labels: Any, **options: Unpack[BatchOptions]
    ) -> Coroutine[Any, Any, Results[Any]]:
        """Give each of many texts one of some labels; the arguments are those of `classify`."""
        asking = self.asking(labels, {**options, "distribution": ["$"]}, classified)
        return collected(asking, inputs, options)

    run = blocking(arun)
    classify = blocking(aclassify)
    classify_batch = blocking(aclassify_batch)
    call = blocking(acall)
    stream = streaming(astream)
    batch = blocking(abatch)
    iter_batch = streaming(aiter_batch)
