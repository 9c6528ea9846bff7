"""The vllm-server engine: a vLLM server over HTTP, many prompts in a request where it takes them.

What a server at its defaults enforces depends on the first guided request that anybody sent it, so
it gets a grammar that both of its backends take. Where typedllm's logits processor is found to run
in it, as in servers of `typedllm start-server`, it gets Lark, and closes answers in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from typedllm import _bridge
from typedllm.engines.grammar_texts import FirstUse
from typedllm.engines.openai_client import OpenAIClient
from typedllm.engines.openai_protocol import MALFORMED, STREAMED, malformed, messages_of
from typedllm.engines.openai_streams import streamed
from typedllm.engines.scoring import scored
from typedllm.engines.vllm_options import PROBE, PROBED, check_version
from typedllm.engines.vllm_requests import Asked, body_of, completion_of
from typedllm.errors import EngineError, TypedLLMError, UsageError
from typedllm.records import Failure, Grammar, Lark, Message, Reply, Request, Traits

__all__ = ["VllmServerEngine"]

_NAME: Final = "the vLLM server"
_TOGETHER: Final = 16  # prompts in one request
_LABELS: Final = 64  # label prompts in one request
_KEPT_LABELS: Final = 4096
_IN_FLIGHT: Final = 512
_MEETING_S: Final = 30
_LONG: Final = 1 << 30  # tokens of a context that is not told, as of a LoRA adapter


class VllmServerEngine:
    """Talks to a vLLM server."""

    encoder = None

    def __init__(self, model: str, client: OpenAIClient, *, backend: str | None = None) -> None:
        """Meet the server: its version, its models, and whether it lands.

        Args:
            model: as the server calls it; empty for the first that it has.
            client: calls it.
            backend: `guidance` where the server is known to run on it; None for a server that may
                be on any.

        Raises:
            UsageError: for a server that is too old or has no such model, or a backend that cannot
                be relied on.
            EngineError: when the server does not answer.
        """
        if backend not in (None, "guidance"):
            raise UsageError(f"backend={backend!r}: only 'guidance' can be relied on; leave it out")
        self._client = client
        met = _bridge.run(_meet(self._client, model))
        self.model = met.model
        self.capacity = _IN_FLIGHT
        guidance = backend == "guidance" or met.lands
        self.traits = Traits(
            name="vllm-server",
            takes=frozenset({Grammar, Lark} if guidance else {Grammar}),
            ending="landing" if met.lands else "fitted",
            logprobs=True,
            scores=True,
        )
        self.identity = {"base_url": client.base_url, "guidance": guidance, "lands": met.lands}
        self._asked = Asked(
            model=met.model,
            context=met.context,
            guidance=guidance,
            lands=met.lands,
            fields=met.fields,
        )
        self._batches = True  # whether the server takes several chats in one request
        self._first_use = FirstUse()
        self._groups: dict[tuple[object, ...], _Group] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._labels: dict[str, list[int]] = {}  # token ids of each
        self._closed = False

    async def send(self, request: Request) -> Reply:
        """Run one request, in one of HTTP with others that are asked at the same time.

        One that is told of its answer goes alone.

        Args:
            request: what to ask; `sampling.extra` holds further fields of the server's API.
        """
        if self._closed:
            message = "the vllm-server engine is closed; make a new one"
            return Failure(error=EngineError(message))
        try:
            if request.labels:
                return await self._score(request)
            await self._first_use.of(request.constraint, partial(body_of, request, self._asked))
            body = body_of(request, self._asked)
        except TypedLLMError as error:
            return Failure(error=error)
        if request.tell is not None:
            path, prompts = _prompts([request])
            sent = {**body, **prompts, **STREAMED}
            read = partial(_read_one, request, self._asked)
            return await streamed(self._client, path, sent, request.tell, server=_NAME, read=read)
        chat = isinstance(request.prompt[0], Message)
        if chat and ("vllm_xargs" in body or not self._batches):  # the other endpoint has none
            return (await self._post(body, [request]))[0]
        return await self._grouped(body, request)

    async def close(self) -> None:
        """Give up what is under way, and close the connections."""
        self._closed = True
        for task in list(self._tasks):
            task.get_loop().call_soon_threadsafe(task.cancel)
        await self._client.close()

    async def _grouped(self, body: dict[str, Any], request: Request) -> Reply:
        loop = asyncio.get_running_loop()
        kind = isinstance(request.prompt[0], Message)
        key = (loop, kind, request.constraint, repr(request.sampling))
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(body)
            loop.call_soon(self._flush, key, group)
        future: asyncio.Future[Reply] = loop.create_future()
        group.rows.append((request, future))
        if len(group.rows) == _TOGETHER:
            self._flush(key, group)
        try:
            return await future
        except asyncio.CancelledError:
            if group.task is not None and all(row.done() for _, row in group.rows):
                group.task.cancel()  # nobody waits any more
            raise

    def _flush(self, key: tuple[object, ...], group: _Group) -> None:
        if self._groups.get(key) is group:
            del self._groups[key]
            group.task = asyncio.get_running_loop().create_task(self._run(group))
            self._tasks.add(group.task)
            group.task.add_done_callback(self._tasks.discard)

    async def _run(self, group: _Group) -> None:
        rows = [(request, future) for request, future in group.rows if not future.done()]
        replies: list[Reply] = []
        message = "the vllm-server engine was closed"
        try:
            replies = await self._post(group.body, [request for request, _ in rows])
        except Exception as error:  # no row is to wait for ever
            message = f"the vllm-server engine failed: {error!r}"
        finally:
            replies = replies or [Failure(error=EngineError(message))] * len(rows)
            for (_, future), reply in zip(rows, replies, strict=True):
                if not future.done():
                    future.set_result(reply)

    async def _post(self, body: dict[str, Any], requests: Sequence[Request]) -> list[Reply]:
        """Ask for all at once; where that is refused, each alone, as only some may be to blame."""
        path, prompts = _prompts(requests)
        try:
            answer = await self._client.post(path, {**body, **prompts})
            return completion_of(answer, requests, self._asked)
        except TypedLLMError as error:
            missing = getattr(error, "status", None) in (404, 405)
            if len(requests) == 1 or not (missing or isinstance(error, UsageError)):
                return [Failure(error=error)] * len(requests)
            self._batches = self._batches and not missing
        alone = await asyncio.gather(*(self._post(body, [request]) for request in requests))
        return [reply for replies in alone for reply in replies]

    async def _score(self, request: Request) -> Reply:
        try:
            feed = await self._tokens_of(request)
            labels = [await self._label(text) for text in request.labels]
            scores: list[float] = []
            for start in range(0, len(labels), _LABELS):
                scores += await self._scores(feed, labels[start : start + _LABELS])
        except MALFORMED as error:
            return Failure(error=malformed(_NAME, error))
        return scored(labels, scores, input_tokens=len(feed), temperature=1.0)

    async def _scores(self, feed: list[int], labels: Sequence[list[int]]) -> list[float]:
        body = {
            "model": self.model,
            "prompt": [[*feed, *label] for label in labels],
            "max_tokens": 1,
            "prompt_logprobs": 0,
        }
        answer = await self._client.post("/completions", body)
        choices = sorted(answer["choices"], key=lambda choice: choice["index"])
        return [
            sum(
                place[str(token)]["logprob"]
                for place, token in zip(
                    choice["prompt_logprobs"][-len(label) :], label, strict=True
                )
            )
            for choice, label in zip(choices, labels, strict=True)
        ]

    async def _tokens_of(self, request: Request) -> list[int]:
        if isinstance(request.prompt[0], Message):
            body: dict[str, Any] = {"messages": messages_of(request)}
        else:
            body = {"prompt": "".join(part.text for part in request.prompt)}
        tokens = await self._tokens(body)
        return [*tokens, *(await self._following(request.begun))] if request.begun else tokens

    async def _label(self, text: str) -> list[int]:
        ids = self._labels.get(text)
        if ids is None:
            if len(self._labels) >= _KEPT_LABELS:
                self._labels.clear()
            ids = self._labels[text] = await self._following(text)
        return ids

    async def _following(self, text: str) -> list[int]:
        """The tokens of a text that follows another one."""
        # some vocabularies mark the beginning of a text, which this is not
        plain = {"add_special_tokens": False}
        before = await self._tokens({"prompt": "\n", **plain})
        both = await self._tokens({"prompt": f"\n{text}", **plain})
        if both[: len(before)] != before:
            raise EngineError(f"the vLLM server's tokenizer joins a line break with {text!r}")
        return both[len(before) :]

    async def _tokens(self, body: dict[str, Any]) -> list[int]:
        found = await self._client.post(self._root("/tokenize"), {"model": self.model, **body})
        return list(found["tokens"])

    def _root(self, path: str) -> str:
        return _root(self._client, path)


def _prompts(requests: Sequence[Request]) -> tuple[str, dict[str, Any]]:
    """Where requests are sent together, and how their prompts are said there."""
    if not isinstance(requests[0].prompt[0], Message):
        texts = ["".join(part.text for part in each.prompt) for each in requests]
        return "/completions", {"prompt": texts}
    chats = [messages_of(request) for request in requests]
    if len(chats) == 1:
        return "/chat/completions", {"messages": chats[0]}
    return "/chat/completions/batch", {"messages": chats}


def _read_one(request: Request, asked: Asked, answer: Any) -> Reply:
    return completion_of(answer, [request], asked)[0]


@dataclass(slots=True)
class _Group:
    """Requests of one body that wait for the end of the event loop's turn."""

    body: dict[str, Any]
    rows: list[tuple[Request, asyncio.Future[Reply]]] = field(
        default_factory=list[tuple[Request, asyncio.Future[Reply]]]
    )
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class _Met:
    model: str
    context: int
    lands: bool
    fields: frozenset[str]


async def _meet(client: OpenAIClient, model: str) -> _Met:
    try:
        async with asyncio.timeout(_MEETING_S):
            version = (await client.get(_root(client, "/version")))["version"]
            models = (await client.get("/models"))["data"]
            known = {each["id"]: each.get("max_model_len") or _LONG for each in models}
            check_version(version)
            if model and model not in known:
                raise UsageError(
                    f"the vLLM server at {client.base_url} has no model {model!r}; it has"
                    f" {', '.join(known)}"
                )
            found = model or next(iter(known))
            lands, fields = await _lands(client, found), await _fields(client)
            return _Met(found, known[found], lands, fields)
    except TimeoutError:
        raise EngineError(
            f"no answer from the vLLM server at {client.base_url} in {_MEETING_S} s", retryable=True
        ) from None
    except (KeyError, TypeError, AttributeError, StopIteration) as error:
        raise UsageError(
            f"what answers at {client.base_url} is no vLLM server ({error!r}); for another one that"
            " speaks OpenAI's protocol use the engine openai"
        ) from error
    finally:
        await client.close()


async def _fields(client: OpenAIClient) -> frozenset[str]:
    """The names that the server's API knows, since it ignores those that it does not."""
    try:
        schemas = (await client.get(_root(client, "/openapi.json")))["components"]["schemas"]
        return frozenset(
            name
            for kind in ("ChatCompletionRequest", "CompletionRequest")
            for name in schemas[kind]["properties"]
        )
    except (TypedLLMError, KeyError, TypeError):
        return frozenset()  # it was told not to tell


async def _lands(client: OpenAIClient, model: str) -> bool:
    """Ask typedllm's logits processor whether it is there; without it, the option is ignored."""
    body = {"model": model, "prompt": "?", "max_tokens": 1, "vllm_xargs": {PROBE: 1}}
    try:
        await client.post("/completions", body)
    except UsageError as error:
        if PROBED not in str(error):
            raise
        return True
    return False


def _root(client: OpenAIClient, path: str) -> str:
    return client.base_url.removesuffix("/v1") + path
