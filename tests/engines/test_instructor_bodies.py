"""What each provider is sent, to the letter: recorded on loopback, compared with a file beside.

The servers refuse what the vendors' own types do not know. After a wanted change write the file
anew, and read its difference:

    RENEW_SNAPSHOTS=1 python -m pytest tests/engines/test_instructor_bodies.py
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.engines.remote_apis import APIS, Api, serving
from tests.servers.anthropic import message, tool
from tests.servers.canned import Refusal
from typedllm import LLM, Sampling

SNAPSHOT: Final = Path(__file__).with_name("instructor_bodies.json")
SHAPE: Final = {
    "name": "str(max_length=8)  # of the person",
    "age": "int(ge=0, le=120) | None",
    "kind": ["staff", "guest"],
    "homes": "list[str](min_length=1, max_length=3)",
}
VALUE: Final = {"name": "Ada", "age": 36, "kind": "guest", "homes": ["Oslo"]}
SAMPLING: Final = Sampling(temperature=0.5, top_p=0.9, max_tokens=64)
EXAMPLE: Final = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
# An older model of Anthropic's, and what no strict schema says.
CASES: Final = [*APIS, "an older claude"]


@pytest.fixture(scope="module", params=CASES)
def sent(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a provider was sent; written into the file where that was asked for."""
    name: str = request.param
    older = name == "an older claude"
    with serving("anthropic" if older else name) as api:
        model = "anthropic:claude-3-haiku-20240307" if older else api.model
        found = {kind: made(api, model) for kind, made in KINDS.items()}
    if os.environ.get("RENEW_SNAPSHOTS"):
        kept = json.loads(SNAPSHOT.read_text()) if SNAPSHOT.exists() else {}
        SNAPSHOT.write_text(json.dumps({**kept, name: found}, indent=1) + "\n")
    yield name, found


def only(api: Api) -> dict[str, Any]:
    (asked,) = api.asked
    return {"path": asked.path, "body": asked.body}


def given(api: Api, model: str, value: Any) -> Any:
    """An answer in the place where it was asked for."""
    in_tool = "claude-3" in model or (api.name == "anthropic" and "a" in value)
    return message(tool(value), stop_reason="tool_use") if in_tool else json.dumps(value)


def typed(api: Api, model: str) -> dict[str, Any]:
    api.gives(given(api, model, VALUE))
    with api.opened(model) as llm:
        value = llm.call("Who?", SHAPE, system="You know people.", sampling=SAMPLING)
    assert value == VALUE
    return only(api)


def streamed(api: Api, model: str) -> dict[str, Any]:
    api.gives(given(api, model, {"value": 3}))
    with api.opened(model) as llm:
        assert [*llm.stream("How many?", int)][-1].unwrap() == 3
    return only(api)


def plain(api: Api, model: str) -> dict[str, Any]:
    api.gives("Ada")
    with api.opened(model, sampling=Sampling(stop=("END",))) as llm:
        assert llm.call([*EXAMPLE, {"role": "user", "content": "Who?"}]) == "Ada"
    return only(api)


def open_keys(api: Api, model: str) -> dict[str, Any]:
    api.gives(given(api, model, {"a": 1}))
    with api.opened(model) as llm:
        assert llm.call("Count", dict[str, int]) == {"a": 1}
    return only(api)


KINDS: Final = {"typed": typed, "streamed": streamed, "plain": plain, "open keys": open_keys}


def test_what_is_sent_is_what_was_sent_before(sent: tuple[str, dict[str, Any]]):
    name, found = sent
    kept = json.loads(SNAPSHOT.read_text())
    assert found == kept.get(name), "see the top of this file for how to renew the snapshot"


def test_the_servers_find_what_the_types_do_not_know(sent: tuple[str, dict[str, Any]]):
    name, found = sent
    body = found["typed"]["body"]
    with serving("anthropic" if name == "an older claude" else name) as api:
        for wrong in ({**body, "ebnf": "root ::= x"}, {**body, "messages": 3, "contents": 3}):
            api.gives("x")
            refused = post(api, found["typed"]["path"], wrong)
            assert isinstance(refused, Refusal) or name == "cohere"


def post(api: Api, path: str, body: Any) -> Refusal | None:
    """What a server says of a body."""
    from tests.servers.canned import Asked

    headers = {"authorization": f"Bearer {api.key}", "x-goog-api-key": api.key}
    return api.server.check(api.server, Asked(path, headers, body))


def test_the_snapshot_has_no_others():
    assert json.loads(SNAPSHOT.read_text()).keys() == set(CASES)


def test_extra_options_are_passed_by_name():
    for name, extra, place in (
        ("anthropic", {"top_k": 5, "metadata": {"user_id": "u"}}, ()),
        ("gemini", {"top_k": 5, "thinking_config": {"thinking_budget": 0}}, ("generationConfig",)),
        ("cohere", {"k": 5, "safety_mode": "OFF"}, ()),
    ):
        with serving(name) as api, api.opened(sampling=Sampling(extra=extra)) as llm:
            api.gives("x")
            assert isinstance(llm, LLM)
            assert llm.call("Say") == "x"
            body = api.asked[-1].body
        for step in place:
            body = body[step]
        assert {"topK", "top_k", "k"} & body.keys()
        assert {"metadata", "thinkingConfig", "safety_mode"} & body.keys()
