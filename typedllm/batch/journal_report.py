"""What a journal holds, for people and other programs; it may be written meanwhile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from typedllm.batch.journal_file import open_to_read, reading
from typedllm.batch.saved import Status
from typedllm.batch.store import text_of, usage_of
from typedllm.errors import UsageError
from typedllm.records import Usage

__all__ = ["JournalStatus", "export", "status"]

_COUNTS: Final = "SELECT status, error, count(*) FROM rows GROUP BY status, error ORDER BY 3 DESC"
_SUMS: Final = """
    SELECT ifnull(sum(input_tokens), 0), ifnull(sum(output_tokens), 0),
        ifnull(sum(cached_tokens), 0), sum(cost),
        count(*) FILTER (WHERE cost IS NULL AND input_tokens + output_tokens > 0),
        min(saved_at), max(saved_at)
    FROM rows
"""
_ROWS: Final = """
    SELECT row_id, status, error, saved_at, rest,
        input_tokens, output_tokens, cached_tokens, cost
    FROM rows ORDER BY rowid
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalStatus:
    """What a journal holds.

    Attributes:
        valid: how many rows have a value.
        invalid: how many have an error of the model or the caller, and are not asked again.
        failed: how many have one of the service, and are asked again by the next run.
        errors: how many rows have each kind of error, the most frequent first.
        usage: tokens of all rows, and their cost where that is known of each.
        first: when its oldest row was saved; None where there is none.
        last: when its newest row was saved.
    """

    valid: int
    invalid: int
    failed: int
    errors: Mapping[str, int]
    usage: Usage
    first: datetime | None
    last: datetime | None


def status(path: str | Path) -> JournalStatus:
    """Count what a journal holds.

    Args:
        path: its file.

    Raises:
        JournalError: when there is none, or it cannot be read.
    """
    path = Path(path)
    with closing(open_to_read(path)) as connection, reading(path):
        counts = connection.execute(_COUNTS).fetchall()
        *used, unknown, first, last = connection.execute(_SUMS).fetchone()
    usage = usage_of(*used)
    by_status = dict.fromkeys(("valid", "invalid", "failed"), 0)
    errors: dict[str, int] = {}
    for found, error, count in counts:
        by_status[found] += count
        if error is not None:
            errors[error] = errors.get(error, 0) + count
    return JournalStatus(
        **by_status,
        errors=errors,
        usage=replace(usage, cost=None) if unknown else usage,
        first=_moment(first),
        last=_moment(last),
    )


def export(path: str | Path, to: str | Path) -> int:
    """Write the rows of a journal as JSON Lines, in the order in which they were first finished.

    Each line has `id`, `status`, the `value` as plain JSON or the `error`, `usage`, `saved_at`, and
    what else there is of a `Result`, by its names.

    Args:
        path: the journal's file.
        to: the file to write.

    Returns:
        How many rows there are.

    Raises:
        JournalError: when there is no journal, or it cannot be read.
        UsageError: when the file is the journal itself, or cannot be written.
    """
    path, to = Path(path), Path(to)
    if to.resolve() == path.resolve():
        raise UsageError(f"{to} is the journal itself; name another file to export it to")
    count = 0
    with closing(open_to_read(path)) as connection, reading(path):
        try:
            # a lone surrogate is written as JSON has it, `\ud800`
            with to.open("w", encoding="utf-8", errors="backslashreplace") as file:
                for row in connection.execute(_ROWS):
                    file.write(f"{json.dumps(_line(*row), ensure_ascii=False)}\n")
                    count += 1
        except OSError as error:
            raise UsageError(f"{to} cannot be written: {error}") from error
    return count


def _line(
    row_id: str, found: Status, error: str | None, saved_at: float, rest: str | bytes, *used: Any
) -> dict[str, Any]:
    parts: dict[str, Any] = json.loads(text_of(rest))
    text, plain = parts.pop("text", parts["raw"]), parts.pop("plain", False)
    return {
        "id": row_id,
        "status": found,
        "value": _value(text, plain) if error is None else None,
        "error": None if error is None else {"kind": error, **parts.pop("error")},
        "usage": asdict(usage_of(*used)),
        "saved_at": datetime.fromtimestamp(saved_at, UTC).isoformat(),
        **parts,
    }


def _value(text: str, plain: bool) -> Any:
    try:
        return text if plain else json.loads(text)
    except ValueError:  # an integer of more digits than Python reads
        return text


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
