"""The words of the spec language: the names of types, and the constraints each takes."""

from __future__ import annotations

import datetime
import difflib
import uuid
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pydantic

__all__ = ["CONSTRAINTS", "CONTAINERS", "FORMS", "SCALARS", "nearest"]

SCALARS: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "bytes": bytes,
    "Any": Any,
    "Decimal": Decimal,
    "date": datetime.date,
    "datetime": datetime.datetime,
    "time": datetime.time,
    "timedelta": datetime.timedelta,
    "UUID": uuid.UUID,
    "IPv4Address": IPv4Address,
    "IPv6Address": IPv6Address,
    "EmailStr": pydantic.EmailStr,
    "AnyUrl": pydantic.AnyUrl,
    "HttpUrl": pydantic.HttpUrl,
    "AwareDatetime": pydantic.AwareDatetime,
    "NaiveDatetime": pydantic.NaiveDatetime,
    "PastDate": pydantic.PastDate,
    "FutureDate": pydantic.FutureDate,
    "PositiveInt": pydantic.PositiveInt,
    "NonNegativeInt": pydantic.NonNegativeInt,
    "NegativeInt": pydantic.NegativeInt,
    "NonPositiveInt": pydantic.NonPositiveInt,
    "PositiveFloat": pydantic.PositiveFloat,
    "NonNegativeFloat": pydantic.NonNegativeFloat,
    "NegativeFloat": pydantic.NegativeFloat,
    "NonPositiveFloat": pydantic.NonPositiveFloat,
}

CONTAINERS: dict[str, Any] = {
    "list": list,
    "List": list,
    "set": set,
    "Set": set,
    "frozenset": frozenset,
    "FrozenSet": frozenset,
    "tuple": tuple,
    "Tuple": tuple,
    "dict": dict,
    "Dict": dict,
}

FORMS = ("Optional", "Union", "Literal")

_BOUNDS = ("gt", "ge", "lt", "le")
_LENGTHS = ("min_length", "max_length")

CONSTRAINTS: dict[Any, tuple[str, ...]] = {
    str: (*_LENGTHS, "pattern"),
    bytes: _LENGTHS,
    int: (*_BOUNDS, "multiple_of", "strict"),
    float: (*_BOUNDS, "multiple_of", "strict"),
    Decimal: (*_BOUNDS, "multiple_of", "max_digits", "decimal_places"),
    bool: ("strict",),
    datetime.date: _BOUNDS,
    datetime.datetime: _BOUNDS,
    datetime.time: _BOUNDS,
    datetime.timedelta: _BOUNDS,
    list: _LENGTHS,
    set: _LENGTHS,
    frozenset: _LENGTHS,
    tuple: _LENGTHS,
    dict: _LENGTHS,
}

# Words of JSON Schema and of other languages, whose spelling is far from ours.
_FOREIGN = {
    "string": "str",
    "text": "str",
    "integer": "int",
    "number": "float",
    "double": "float",
    "boolean": "bool",
    "null": "None",
    "array": "list",
    "object": "dict[str, Any]",
    "any": "Any",
    "email": "EmailStr",
    "url": "AnyUrl",
    "uri": "AnyUrl",
    "duration": "timedelta",
    "choice": "Literal",
    "enum": "Literal",
}


def nearest(name: str) -> str:
    """Say in words which name of the language was probably meant.

    Args:
        name: a word that the language does not know.
    """
    known = (*SCALARS, "None", *CONTAINERS, *FORMS)
    if name.lower() in _FOREIGN:
        return f'write "{_FOREIGN[name.lower()]}"'
    folded = {word.lower(): word for word in reversed(known)}
    found = difflib.get_close_matches(name.lower(), folded, n=1)
    if found:
        return f'did you mean "{folded[found[0]]}"?'
    return f"the names are {', '.join(known)}"
