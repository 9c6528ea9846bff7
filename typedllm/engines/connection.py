"""How a server is reached over HTTP, as a caller says it: checked, and kept out of messages.

Keys, headers and the user of a proxy are secrets, so no message here repeats what was given.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast
from urllib.parse import urlsplit

from typedllm._checks import check_number
from typedllm.errors import UsageError

__all__ = ["Connection", "Verify", "check_sendable", "checked_url"]

Verify: TypeAlias = str | os.PathLike[str] | ssl.SSLContext | bool
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, a token


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """Where a server is, and what is needed on the way to it.

    Attributes:
        base_url: of its API; ends without a slash, such as `http://localhost:8000/v1`.
        api_key: None where it wants none.
        key_header: the header that takes the key, in lower case; None is `Authorization`, as a
            bearer's.
        query: what each URL ends with after its `?`.
        headers: sent with every request; their names come to be in lower case.
        proxy: the URL of an HTTP proxy, with its user and password where it wants them; None for
            what the environment names (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).
        verify: the path of a file with the certificates of the authorities that alone are trusted,
            or a context, which may hold a certificate of the client's own; False trusts every
            server, True those that Python trusts (`SSL_CERT_FILE` is heeded).
        connect_timeout_s: seconds for each address of the server to take the connection.
    """

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    key_header: str | None = None
    query: Mapping[str, str] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    proxy: str | None = field(default=None, repr=False)
    verify: Verify = True
    connect_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        """Check what was given.

        Raises:
            UsageError: naming the attribute that is wrong.
        """
        object.__setattr__(self, "base_url", checked_url("base_url", self.base_url))
        if self.api_key is not None:
            check_sendable("api_key", self.api_key)
            if not self.api_key:  # as of os.environ.get("KEY", "")
                raise UsageError("api_key: it is empty; give the key, or leave it out")
        _check_headers(self.headers)
        named = {name.lower(): value for name, value in self.headers.items()}
        object.__setattr__(self, "headers", named)
        if self.proxy is not None:
            _check_proxy(self.proxy)
        check_number("connect_timeout_s", self.connect_timeout_s, above_least=True)

    def trust(self) -> ssl.SSLContext | bool:
        """Say which certificates of servers are trusted, as HTTP clients take it.

        Raises:
            UsageError: when `verify` is of no kind that it can be, or names no such file.
        """
        given = cast(object, self.verify)  # whatever the hints say
        if isinstance(given, bool | ssl.SSLContext):
            return given
        if not isinstance(given, str | os.PathLike):
            raise UsageError(
                "verify: expected the path of a file of certificates, an ssl.SSLContext or False,"
                f" got {type(given).__name__}"
            )
        path = os.fspath(cast("str | os.PathLike[str]", given))
        try:
            return ssl.create_default_context(cafile=path)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise UsageError(
                f"verify={path!r}: no certificates (PEM) can be read there: {error}"
            ) from error


def checked_url(place: str, url: object) -> str:
    """Check that a URL is one of http or https that holds no secret.

    Args:
        place: what the caller calls it, such as `base_url`.
        url: what was given.

    Returns:
        The URL without a slash at its end.

    Raises:
        UsageError: when it is not.
    """
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        shown = f"={url!r}" if isinstance(url, str) and not re.search("[@?#]", url) else ""
        raise UsageError(
            f"{place}{shown} is no URL of http or https; write it like http://localhost:8000/v1"
        )
    if "@" in parts.netloc:
        raise UsageError(
            f"{place}: the URL holds a user; leave that out, and give"
            ' headers={"Authorization": "Basic ..."}'
        )
    if parts.query or parts.fragment:
        raise UsageError(
            f"{place}: the URL goes on with a ? or a #; leave that out, and where the server wants"
            " it give client=, an openai client with a default_query"
        )
    return cast(str, url).rstrip("/?#")


def check_sendable(place: str, value: object) -> None:
    """Check that a header can hold a value, as RFC 9110 has it; no message repeats the value.

    Args:
        place: what the caller calls it, such as `api_key`.
        value: a key, or what a header is to say.

    Raises:
        UsageError: when it cannot.
    """
    if not isinstance(value, str):
        raise UsageError(f"{place}: expected a str, got {type(value).__name__}")
    if value != value.strip():
        raise UsageError(
            f"{place}: it begins or ends with a blank or a line break, as what is read from a file"
            " does; take that off with .strip()"
        )
    if not (value.isascii() and value.isprintable()):
        raise UsageError(
            f"{place}: only printable ASCII can be sent; see what else got into it, such as a line"
            " break or a letter with an accent"
        )


def _split(url: object) -> Any:
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        return parts if parts is None or parts.port != 0 else None
    except ValueError:
        return None


def _check_headers(headers: object) -> None:
    if not isinstance(headers, Mapping):
        raise UsageError(f"headers: expected a Mapping, got {type(headers).__name__}")
    for name, value in cast("Mapping[object, object]", headers).items():
        if not isinstance(name, str) or not _HEADER.fullmatch(name):
            raise UsageError(f"headers: {name!r} is no name of a header")
        check_sendable(f"headers[{name!r}]", value)


def _check_proxy(proxy: object) -> None:
    parts = _split(proxy)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            "proxy: expected the URL of an HTTP proxy, such as http://proxy.example:3128, with"
            " user:password@ before the host where it wants them"
        )
