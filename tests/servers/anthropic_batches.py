"""A server of Anthropic's Message Batches on loopback.

https://platform.claude.com/docs/en/api/messages/batches
"""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse
from pydantic import TypeAdapter

from tests.servers.anthropic import KEY, error
from tests.servers.batches import BatchServer

_PARAMS: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsNonStreaming)
_KINDS = {400: "invalid_request_error", 413: "request_too_large", 529: "overloaded_error"}


class AnthropicBatchServer(BatchServer):
    """Refuses what the API refuses, and answers in no order."""

    def said(self, status: int) -> dict[str, Any]:
        return error(_KINDS.get(status, "api_error"), f"no ({status})")

    def done(self, method: str, path: str, body: bytes) -> Any:
        parts = urlsplit(path)
        names = parts.path.removeprefix("/v1/messages/").split("/")
        # SDKs before and since 2.14 send the key so or so
        keys = (self.headers.get("x-api-key"), self.headers.get("Authorization"))
        if not {KEY, f"Bearer {KEY}"} & {*keys} or not self.headers.get("anthropic-version"):
            return 401
        match method, names:
            case "POST", ["batches"]:
                assert self.headers["Content-Type"] == "application/json"
                return self.made(json.loads(body)["requests"])
            case "GET", ["batches"]:
                return self.listed(parse_qs(parts.query))
            case "GET", ["batches", name]:
                return self.state(name)
            case "GET", ["batches", name, "results"]:
                return self.provider.files.get(name, 404)
            case _:
                return 404

    def made(self, requests: list[dict[str, Any]]) -> Any:
        provider = self.provider
        for request in requests:
            assert request.keys() == {"custom_id", "params"}
            known = json.loads(_PARAMS.dump_json(_PARAMS.validate_python(request["params"])))
            assert known == request["params"]
            assert all(each["role"] != "system" for each in request["params"]["messages"])
        assert len({each["custom_id"] for each in requests}) == len(requests)
        batch = {
            **{"id": f"msgbatch_{len(provider.jobs)}", "type": "message_batch"},
            **{"processing_status": "in_progress", "number": len(provider.jobs)},
            **{"created_at": _now(), "expires_at": _now(), "results_url": None},
            "request_counts": _counts(processing=len(requests)),
        }
        provider.requests.append(requests)
        provider.jobs[batch["id"]] = batch
        MessageBatch.model_validate(batch)
        return batch

    def listed(self, query: dict[str, list[str]]) -> dict[str, Any]:
        batches = list(reversed(self.provider.jobs.values()))
        after = query.get("after_id", [""])[0]
        start = [each["id"] for each in batches].index(after) + 1 if after else 0
        page = batches[start : start + 2]  # however many were asked for
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {}
        return {"data": page, "has_more": start + 2 < len(batches), **ends}

    def state(self, name: str) -> Any:
        batch = self.provider.jobs.get(name)
        if batch is None:
            return 404
        if batch["processing_status"] == "in_progress" and not self.provider.held:
            self.end(batch)
        return batch

    def end(self, batch: dict[str, Any]) -> None:
        provider = self.provider
        before = sum(provider.sent[: batch["number"]])
        lines: list[bytes] = []
        kinds: Counter[str] = Counter()
        for place, request in enumerate(provider.requests[batch["number"]]):
            undone = provider.ends.get(batch["number"]) if place % 2 else None
            result = {"type": undone} if undone else self.result(request["params"])
            kinds[result["type"]] += 1
            if before + place == provider.leaves_out:
                continue
            line = {"custom_id": request["custom_id"], "result": result}
            MessageBatchIndividualResponse.model_validate(line)
            lines.append(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        random.Random(0).shuffle(lines)
        provider.files[batch["id"]] = b"".join(lines)
        url = f"{provider.url}/v1/messages/batches/{batch['id']}/results"
        batch |= {"processing_status": "ended", "ended_at": _now(), "results_url": url}
        batch["request_counts"] = _counts(**kinds)

    def result(self, params: dict[str, Any]) -> dict[str, Any]:
        found = self.provider.answer(params)
        if isinstance(found, int):
            return {"type": "errored", "error": self.said(found)}
        return {"type": "succeeded", "message": found}


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _counts(**given: int) -> dict[str, int]:
    kinds = ("processing", "succeeded", "errored", "canceled", "expired")
    return {kind: given.get(kind, 0) for kind in kinds}
