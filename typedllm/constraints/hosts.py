"""Addresses and names of hosts, as patterns that strict validators accept."""

from __future__ import annotations

_BYTE = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
IPV4 = rf"(?:{_BYTE}\.){{3}}{_BYTE}"

_GROUP = "[0-9A-Fa-f]{1,4}"
IPV6 = "(?:" + "|".join(
    [
        rf"(?:{_GROUP}:){{7}}{_GROUP}",
        rf"(?:{_GROUP}:){{1,7}}:",
        *(rf"(?:{_GROUP}:){{1,{7 - n}}}(?::{_GROUP}){{1,{n}}}" for n in range(1, 7)),
        rf":(?::{_GROUP}){{1,7}}",
        "::",
        rf"(?:{_GROUP}:){{6}}{IPV4}",
        rf"(?:{_GROUP}:){{1,5}}:{IPV4}",
        *(rf"(?:{_GROUP}:){{1,{5 - n}}}(?::{_GROUP}){{1,{n}}}:{IPV4}" for n in range(1, 5)),
        rf":(?::{_GROUP}){{0,5}}:{IPV4}",
    ]
) + ")"  # fmt: skip


def label(most: int) -> str:
    """A label of 7 to `most` characters or fewer, without `--` as its third and fourth (`xn--`)."""
    alnum, inner = "[A-Za-z0-9]", "[A-Za-z0-9-]"
    return (
        rf"{alnum}(?:{inner}{{0,2}}{alnum}"
        rf"|{inner}(?:{alnum}{inner}|-{alnum}){inner}{{0,{most - 5}}}{alnum})?"
    )


# Each of these has at most 253 characters; to count them all would take a state for each.
HOSTNAME = (
    rf"(?:{label(63)}(?:\.{label(63)}){{0,2}}"
    rf"|(?:{label(63)}\.)?(?:{label(31)}\.){{0,4}}{label(31)}"
    rf"|(?:{label(15)}\.){{0,14}}{label(15)})"
)
# What stands before the last label of one that is written after an @, with all its dots.
EMAIL_DOMAIN = rf"(?:(?:{label(15)}\.){{1,10}}|(?:{label(31)}\.){{1,5}}|(?:{label(63)}\.){{1,2}})"

# Letters of a script, and marks that follow them. Capitals and the like become small letters.
_SCRIPTS: tuple[tuple[str, str], ...] = (
    ("À-ÖØ-öø-įı-ľŁ-ňŊ-ž", ""),  # Latin; without İ, which becomes two characters
    ("Α-ΡΣ-ώ", ""),  # Greek
    ("Ѐ-ҁҊ-ҿ", ""),  # Cyrillic
    ("Ա-Ֆա-ֆ", ""),  # Armenian
    ("ა-ჺ", ""),  # Georgian
    (
        "\u0904-\u0928\u092a-\u0930\u0932\u0933\u0935-\u0939",
        "\u0901-\u0903\u093e-\u094d",
    ),  # Devanagari
    ("\u0e01-\u0e30\u0e32\u0e40-\u0e46", "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"),  # Thai
)
_EAST_ASIAN = "々ぁ-ゖァ-ヺー一-龥가-힣"
_RIGHT_TO_LEFT = "[א-תء-غف-يپچژکگی]"  # Hebrew, Arabic and Persian; such a label has no others


def _label_of(letters: str, marks: str, most: int, most_with_hyphens: int) -> str:
    # With most characters, the punycode still has at most 61, of the 63 of a label.
    first, later = f"[a-zA-Z0-9{letters}]", f"[a-zA-Z0-9{letters}{marks}]"
    return f"{first}(?:{later}{{0,{most - 1}}}|(?:-?{later}){{0,{most_with_hyphens - 1}}})"


_LABELS = [label(61), *(_label_of(*script, 28, 16) for script in _SCRIPTS)]
_LABEL = f"(?:{'|'.join([*_LABELS, _label_of(_EAST_ASIAN, '', 14, 10)])})"
_TO_LEFT = rf"(?:{_RIGHT_TO_LEFT}{{1,26}}\.){{0,2}}{_RIGHT_TO_LEFT}{{1,26}}(?:\.[A-Za-z]{{1,24}})?"
IDN_HOSTNAME = rf"(?:(?:{_LABEL}\.){{0,3}}{_LABEL}|{_TO_LEFT}|{HOSTNAME})"
