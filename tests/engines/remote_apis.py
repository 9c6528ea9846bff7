"""The APIs that are asked through instructor, as tests parametrize over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anthropic
import cohere
from google import genai

from tests.servers import anthropic as anthropic_server
from tests.servers import cohere as cohere_server
from tests.servers import gemini as gemini_server
from tests.servers.canned import Asked, Canned, Refusal, running
from typedllm import LLM
from typedllm.attempts import Policy

CUT = {"anthropic": "max_tokens", "gemini": "MAX_TOKENS", "cohere": "MAX_TOKENS"}


@dataclass(frozen=True)
class Api:
    """One API, and a server of it.

    Attributes:
        model: as `LLM` takes it.
        key: that it wants.
        answer: makes an answer of texts.
        error: makes an error of a status and a text.
        clients: the SDK's clients for an address, by their kind.
        ended: the argument of `answer` that says why it ended.
        url, server: of the one that runs.
    """

    name: str
    model: str
    key: str
    kind: type[Canned]
    answer: Callable[..., dict[str, Any]]
    error: Callable[[int, str], Any]
    clients: dict[str, Callable[[str], Any]]
    ended: str
    url: str = ""
    server: Any = field(default=None)

    @property
    def asked(self) -> list[Asked]:
        return self.server.asked

    def gives(self, *answers: Any) -> None:
        """Set the answers to come; a str is the text of one."""
        self.server.asked.clear()
        self.server.answers[:] = [
            self.answer(each) if isinstance(each, str) else each for each in answers
        ]

    def cut(self, text: str) -> dict[str, Any]:
        return self.answer(text, **{self.ended: CUT[self.name]})

    def refusal(self, status: int, said: str = "no", **headers: str) -> Refusal:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Refusal(status, self.error(status, said), named)

    def opened(self, model: str | None = None, **options: Any) -> LLM:
        """An LLM for it, which tries three times and does not wait."""
        options.setdefault("policy", Policy(attempts=3, min_wait_s=0.0, max_wait_s=0.0))
        if not {"client"} & options.get("engine_args", {}).keys():
            options.setdefault("api_key", self.key)
            options.setdefault("base_url", self.url)
        return LLM(model or self.model, **options)


APIS = {
    api.name: api
    for api in (
        Api(
            name="anthropic",
            model="anthropic:claude-opus-5-5",
            key=anthropic_server.KEY,
            kind=anthropic_server.AnthropicServer,
            answer=anthropic_server.message,
            error=lambda status, said: anthropic_server.error("api_error", said),
            clients={
                "sync": lambda url: anthropic.Anthropic(api_key=anthropic_server.KEY, base_url=url),
                "async": lambda url: anthropic.AsyncAnthropic(
                    api_key=anthropic_server.KEY, base_url=url
                ),
            },
            ended="stop_reason",
        ),
        Api(
            name="gemini",
            model="gemini:gemini-2.5-flash",
            key=gemini_server.KEY,
            kind=gemini_server.GeminiServer,
            answer=gemini_server.content,
            error=lambda status, said: gemini_server.error(status, "UNAVAILABLE", said),
            clients={
                "both": lambda url: genai.Client(
                    api_key=gemini_server.KEY,
                    http_options={"base_url": url, "retry_options": {"attempts": 4}},
                )
            },
            ended="finish_reason",
        ),
        Api(
            name="cohere",
            model="cohere:command-a-03-2025",
            key=cohere_server.KEY,
            kind=cohere_server.CohereServer,
            answer=cohere_server.chat,
            error=lambda status, said: {"message": said},
            clients={
                "sync": lambda url: cohere.ClientV2(cohere_server.KEY, base_url=url),
                "async": lambda url: cohere.AsyncClientV2(cohere_server.KEY, base_url=url),
            },
            ended="finish_reason",
        ),
    )
}
CLIENTS = [(name, kind) for name, api in APIS.items() for kind in api.clients]


@contextmanager
def serving(name: str) -> Iterator[Api]:
    """Run a server of an API."""

    with running(APIS[name].kind) as (url, server):
        yield replace(APIS[name], url=url, server=server)
