"""Sets of characters, as sorted ranges of code points, and their UTF-8."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

Ranges: TypeAlias = tuple[tuple[int, int], ...]

LAST_CODE_POINT = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)  # not encodable in UTF-8


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Sort and merge ranges of code points, leaving surrogates out."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(_without_surrogates(ranges)):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return tuple(out)


def _without_surrogates(ranges: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    first, last = _SURROGATES
    for low, high in ranges:
        if low < first:
            yield low, min(high, first - 1)
        if high > last:
            yield max(low, last + 1), high


def complement(ranges: Ranges) -> Ranges:
    """All code points outside of sorted, merged ranges."""
    out: list[tuple[int, int]] = []
    begin = 0
    for low, high in ranges:
        out.append((begin, low - 1))
        begin = high + 1
    out.append((begin, LAST_CODE_POINT))
    return merged((low, high) for low, high in out if low <= high)


def intersection(left: Ranges, right: Ranges) -> Ranges:
    """Code points in both of two merged sets of ranges."""
    found = ((max(a, c), min(b, d)) for a, b in left for c, d in right)
    return tuple((low, high) for low, high in found if low <= high)


def contains(ranges: Ranges, point: int) -> bool:
    """Whether a code point is in the ranges."""
    return any(low <= point <= high for low, high in ranges)


def encoded_size(lead: int) -> int:
    """Bytes of the character whose UTF-8 begins with the byte `lead`; 0 when none does."""
    if lead < 0x80:
        return 1
    if 0xC2 <= lead < 0xE0:
        return 2
    if 0xE0 <= lead < 0xF0:
        return 3
    return 4 if 0xF0 <= lead < 0xF5 else 0


def first_char(ranges: Ranges, seen: bytes) -> str | None:
    """The lowest character of the ranges whose UTF-8 begins with `seen`, or None."""
    if not seen:
        return chr(ranges[0][0])
    size = encoded_size(seen[0])
    if len(seen) >= size or any(byte & 0xC0 != 0x80 for byte in seen[1:]):
        return None
    point = seen[0] & (0x7F >> size)
    for byte in seen[1:]:
        point = point << 6 | byte & 0x3F
    missing = 6 * (size - len(seen))
    least = {2: 0x80, 3: 0x800, 4: 0x10000}[size]
    lowest, highest = max(point << missing, least), (point + 1 << missing) - 1
    for low, high in ranges:
        if max(low, lowest) <= min(high, highest):
            return chr(max(low, lowest))
    return None
