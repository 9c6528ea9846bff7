"""A server of OpenAI's files and batches on loopback.

https://platform.openai.com/docs/api-reference/batch and .../files
"""

from __future__ import annotations

import json
import random
import time
from email.parser import BytesParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

from openai.types import Batch, FileObject

from tests.servers.batches import BatchServer
from tests.servers.openai_types import check_request

KEY = "sk-a-key-that-is-secret"


class OpenAIBatchServer(BatchServer):
    """Refuses what the API refuses, and answers in no order."""

    def said(self, status: int) -> dict[str, Any]:
        return {"error": {"message": f"no ({status})", "type": "error", "code": None}}

    def done(self, method: str, path: str, body: bytes) -> Any:
        parts = urlsplit(path)
        names = parts.path.removeprefix("/v1/").split("/")
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            return 401
        match method, names:
            case "POST", ["files"]:
                return self.uploaded(body)
            case "GET", ["files", name, "content"]:
                return self.provider.files.get(name, 404)
            case "POST", ["batches"]:
                return self.made(json.loads(body))
            case "GET", ["batches"]:
                return self.listed(parse_qs(parts.query))
            case "GET", ["batches", name]:
                return self.state(name)
            case _:
                return 404

    def uploaded(self, body: bytes) -> dict[str, Any]:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form = {
            part.get_param("name", header="content-disposition"): part
            for part in BytesParser().parsebytes(head + body).get_payload()  # type: ignore
        }
        assert form["purpose"].get_payload() == "batch"  # type: ignore
        content: bytes = form["file"].get_payload(decode=True)  # type: ignore
        name = f"file-{len(self.provider.files)}"
        self.provider.files[name] = content
        found = {"id": name, "object": "file", "bytes": len(content), "created_at": 1}
        found |= {"filename": "x.jsonl", "purpose": "batch", "status": "processed"}
        FileObject.model_validate(found)
        return found

    def made(self, given: dict[str, Any]) -> Any:
        provider = self.provider
        if given["input_file_id"] not in provider.files or given["completion_window"] != "24h":
            return 400
        number = len(provider.jobs)
        batch = {
            **{"id": f"batch_{number}", "object": "batch", "status": "in_progress"},
            **{"created_at": int(time.time()), "number": number},
            **{name: given[name] for name in ("endpoint", "input_file_id", "completion_window")},
            "metadata": given.get("metadata"),
        }
        lines = provider.files[given["input_file_id"]].decode().split("\n")
        assert lines.pop() == ""
        requests = [json.loads(line) for line in lines]
        errors = [
            {"line": place + 1, "code": "invalid", "message": f"line {place + 1}: {wrong}"}
            for place, request in enumerate(requests)
            if (wrong := self.wrong(request, given["endpoint"]))
        ]
        if errors:
            batch |= {"status": "failed", "errors": {"object": "list", "data": errors}}
        assert len({each["custom_id"] for each in requests}) == len(requests)
        provider.requests.append(requests)
        provider.jobs[batch["id"]] = batch
        Batch.model_validate(batch)
        return batch

    def wrong(self, request: dict[str, Any], endpoint: str) -> str:
        assert request.keys() == {"custom_id", "method", "url", "body"}
        assert request["method"] == "POST"
        assert request["url"] == endpoint
        if endpoint == "/v1/chat/completions":
            check_request(request["body"])
        return "is refused" if "is refused" in json.dumps(request["body"]) else ""

    def listed(self, query: dict[str, list[str]]) -> dict[str, Any]:
        batches = list(reversed(self.provider.jobs.values()))
        after = query.get("after", [""])[0]
        start = [each["id"] for each in batches].index(after) + 1 if after else 0
        page = batches[start : start + 2]  # however many were asked for
        return {"object": "list", "data": page, "has_more": start + 2 < len(batches)}

    def state(self, name: str) -> Any:
        batch = self.provider.jobs.get(name)
        if batch is None:
            return 404
        if batch["status"] == "in_progress" and not self.provider.held:
            self.end(batch)
        return batch

    def end(self, batch: dict[str, Any]) -> None:
        provider = self.provider
        status = provider.ends.get(batch["number"], "completed")
        if status == "failed":
            full = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
            batch |= {"status": status, "errors": {"object": "list", "data": [full]}}
            return
        told: dict[str, list[bytes]] = {"output": [], "error": []}
        before = sum(provider.sent[: batch["number"]])
        for place, request in enumerate(provider.requests[batch["number"]]):
            if before + place == provider.leaves_out:
                continue
            done = status == "completed" or place % 2 == 0
            kind, line = self.answered(request) if done else ("error", self.undone(status))
            line |= {"id": f"batch_req_{place}", "custom_id": request["custom_id"]}
            told[kind].append(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        for kind, lines in told.items():
            random.Random(0).shuffle(lines)
            if lines:
                batch[f"{kind}_file_id"] = name = f"file-{len(provider.files)}"
                provider.files[name] = b"".join(lines)
        batch["status"] = status

    def answered(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        found = self.provider.answer(request["body"])
        status = found if isinstance(found, int) else 200
        body = self.said(found) if isinstance(found, int) else found
        response = {"status_code": status, "request_id": "req_1", "body": body}
        return "output" if status == 200 else "error", {"response": response, "error": None}

    def undone(self, status: str) -> dict[str, Any]:
        message = f"This request could not be executed, since the batch is {status}."
        return {"response": None, "error": {"code": f"batch_{status}", "message": message}}
