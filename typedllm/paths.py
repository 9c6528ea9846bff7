"""Paths of values inside an answer, as normalized as JSONPath lets them be: `$.items[1].sku`."""

from __future__ import annotations

import json
import re
from typing import Final

ROOT = "$"

_STEP: Final = re.compile(r"\.([^.\[\]'\s]+)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]")

_ESCAPES = str.maketrans(
    {chr(code): f"\\u{code:04x}" for code in range(0x20)}
    | {"'": "\\'", "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
)


def child(path: str, key: str | int) -> str:
    """Return the path of an item or member of the value at `path`.

    Source: RFC 9535, section 2.5.1 for `.name` and section 2.7 for the escapes of other names.

    Args:
        path: the path of the array or object; `$` is the whole answer.
        key: an index of an array, from 0, or a name of an object; a name that is no identifier is
            quoted, as in `$['analysis of A']`, so that different names have different paths.
    """
    if isinstance(key, int):
        return f"{path}[{key}]"
    if key.isidentifier():
        return f"{path}.{key}"
    return f"{path}['{key.translate(_ESCAPES)}']"


def steps(path: str) -> tuple[str | int, ...] | None:
    """Return the keys that lead to a value, as `child` was given them; None for what is no path.

    Args:
        path: such as `$.items[1].sku`.
    """
    found: list[str | int] = []
    at = len(ROOT) if path.startswith(ROOT) else -1
    while 0 <= at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            return None
        found.append(int(step[2]) if step[2] else step[1] or _unescaped(step[3]))
        at = step.end()
    return None if at < 0 else tuple(found)


def _unescaped(name: str) -> str:
    return json.loads('"' + name.replace("\\'", "'").replace('"', '\\"') + '"')
