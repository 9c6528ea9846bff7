"""Any provider that instructor knows: the schema goes by its own way, the answer comes back raw.

instructor wants a Pydantic model, takes its schema, and has it validate the answer. It is given one
that has the schema which was lowered, and keeps the answer as it came.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from pydantic import BaseModel

from typedllm.constraints.dialect import Lowered
from typedllm.engines.openai_answers import completion_of
from typedllm.engines.openai_protocol import messages_of
from typedllm.records import Completion, Reply, Request, Usage

__all__ = ["OURS", "Carrier", "any_completion", "any_request"]

OURS: Final = frozenset(
    {"model", "messages", "temperature", "top_p", "max_tokens", "stop", "seed", "stream"}
    | {"response_model", "max_retries", "hooks", "context", "strict", "token_budget"}
)
"""The arguments that are typedllm's to set."""


class Carrier(BaseModel):
    """Has the schema of a constraint, and takes any answer.

    Attributes:
        text: the answer as it came.
    """

    text: str = ""

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Carrier:
        """Keep the answer.

        Args:
            json_data: its text.
            options: Pydantic's, which have no bearing on it.
        """
        text = json_data if isinstance(json_data, str) else bytes(json_data).decode()
        return cls.model_construct(text=text)

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Carrier:
        """Keep the answer.

        Args:
            obj: what its text says.
            options: Pydantic's, which have no bearing on it.
        """
        return cls.model_construct(text=json.dumps(obj, ensure_ascii=False))


@lru_cache(maxsize=128)
def _carrier(constraint: Lowered) -> type[Carrier]:
    """The model for a constraint; instructor keeps what it makes of it by the class."""

    class answer(Carrier):  # noqa: N801 - it names the tool
        """Give the answer."""

        @classmethod
        def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:
            # instructor names the tool by the title, and changes what it gets
            return {"title": cls.__name__, **json.loads(json.dumps(constraint.schema))}

    return answer


def any_request(request: Request, model: str) -> dict[str, Any]:
    """Make the arguments of a call, by OpenAI's names, which instructor takes for all.

    Args:
        request: what to ask.
        model: instructor's client knows it.
    """
    sampling, constraint = request.sampling, request.constraint
    arguments = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stop": list(sampling.stop) if constraint is None else None,
        "seed": sampling.seed,
        "response_model": _carrier(constraint) if isinstance(constraint, Lowered) else None,
    }
    return {
        "messages": messages_of(request),
        **{name: value for name, value in arguments.items() if value not in (None, [])},
        **sampling.extra,
    }


def any_completion(answer: Mapping[str, Any]) -> Reply:
    """Read an answer: in OpenAI's form, or as instructor found it in another one.

    Args:
        answer: as plain data; under `carried`, its text as instructor found it, if it did.

    Raises:
        ValueError: when it is of no known form.
    """
    carried: str | None = answer.get("carried")
    if "choices" in answer:
        found = completion_of(answer, "the provider")
        found_it = carried is not None and isinstance(found, Completion)
        return replace(found, text=carried) if found_it else found
    if carried is None:
        raise ValueError(f"it is of no known form: {', '.join(answer) or 'nothing'}")
    return Completion(text=carried, finish_reason="stop", usage=Usage())
