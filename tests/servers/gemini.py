"""A server of Gemini's generateContent on loopback.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.genai import types
from pydantic import ValidationError

from tests.servers.canned import Asked, Canned, Refusal
from tests.servers.streams import pieces_of

KEY = "AIza-a-key-that-is-secret-enough"
_FIELDS = {"contents", "systemInstruction", "generationConfig", "safetySettings", "tools"}
_TAKEN = {  # of a JSON Schema, as documented at responseJsonSchema
    *("$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum", "items"),
    *("prefixItems", "minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf", "properties"),
    *("additionalProperties", "required", "propertyOrdering"),
}


def error(code: int, status: str, message: str, **more: Any) -> dict[str, Any]:
    """What the API says of an error."""
    return {"error": {"code": code, "message": message, "status": status, **more}}


def content(*parts: Any, finish_reason: str = "STOP", **usage: int) -> dict[str, Any]:
    """An answer as the API gives it; a str is a text."""
    told = [{"text": each} if isinstance(each, str) else each for each in parts]
    counted = {"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 12, **usage}
    found = {
        "candidates": [
            {
                "content": {"role": "model", "parts": told},
                "finishReason": finish_reason,
                "index": 0,
            }
        ],
        "usageMetadata": counted,
        "modelVersion": "gemini",
        "responseId": "r1",
    }
    types.GenerateContentResponse.model_validate(found)
    return found


def unknown_words(schema: Any) -> set[str]:
    """Keywords in a schema that the API does not document."""
    if not isinstance(schema, dict):
        return set()
    found = schema.keys() - _TAKEN
    for home in ("properties", "$defs"):
        for each in schema.get(home, {}).values():
            found |= unknown_words(each)
    for word in ("anyOf", "oneOf", "prefixItems"):
        for each in schema.get(word, []):
            found |= unknown_words(each)
    return found | unknown_words(schema.get("items"))


class GeminiServer(Canned):
    """Answers only what the SDK's own types allow."""

    def is_streamed(self, asked: Asked) -> bool:
        return ":streamGenerateContent" in asked.path

    def check(self, asked: Asked) -> Refusal | None:
        if asked.headers.get("x-goog-api-key") != KEY:
            said = f"API key not valid: {asked.headers.get('x-goog-api-key')}"
            return Refusal(401, error(401, "UNAUTHENTICATED", said))
        body = asked.body
        if unknown := body.keys() - _FIELDS:
            return Refusal(400, error(400, "INVALID_ARGUMENT", f"unknown name {unknown}"))
        try:
            for each in (*body["contents"], body.get("systemInstruction", {})):
                types.Content.model_validate(each)
            config = types.GenerationConfig.model_validate(body.get("generationConfig", {}))
        except ValidationError as wrong:
            return Refusal(400, error(400, "INVALID_ARGUMENT", str(wrong)))
        if {each["role"] for each in body["contents"]} - {"user", "model"}:
            return Refusal(400, error(400, "INVALID_ARGUMENT", "use a valid role: user, model"))
        if unknown := unknown_words(config.response_json_schema):
            return Refusal(400, error(400, "INVALID_ARGUMENT", f"no such keyword {unknown}"))
        return None

    def events(self, answer: Any) -> Iterator[dict[str, Any]]:
        candidate = answer["candidates"][0]
        for part in candidate["content"]["parts"]:
            for piece in pieces_of(part["text"], self.size):
                parts = [{**part, "text": piece}]
                yield {"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0}]}
        ended = {"content": {"role": "model", "parts": [{"text": ""}]}, "index": 0}
        yield {
            **answer,
            "candidates": [{**ended, "finishReason": candidate["finishReason"]}],
        }
