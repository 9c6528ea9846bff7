"""URLs, URIs and IRIs, as expressions whose every text strict validators accept.

Source of the grammars: RFC 3986 (URI), RFC 3987 (IRI), RFC 6570 (URI Template), and the URL
standard (https://url.spec.whatwg.org), by which Pydantic reads.
"""

from __future__ import annotations

from typedllm.constraints.excluding import excluding, in_any_case
from typedllm.constraints.hosts import IPV4, IPV6
from typedllm.grammar.characters import complement, intersection, merged
from typedllm.grammar.pattern import parse_pattern
from typedllm.grammar.regular import Expr, alt, chars, concat, literal, optional, repeat, words

_PORT = r"(?:6553[0-5]|655[0-2]\d|65[0-4]\d{2}|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3})"

# What follows the scheme of a URL that Python's types take.
_LABEL = r"[a-z0-9](?:-?[a-z0-9]){0,30}"  # no two hyphens in a row, which keeps punycode (xn--) out
# The last label begins with a letter: one of digits alone would be read as an IPv4 address.
_HOST = rf"(?:{IPV4}|(?:{_LABEL}\.){{0,3}}[a-z](?:-?[a-z0-9]){{0,30}})"
_PATH_CHAR = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-F]{2})"
# With all of %.. escapes this stays below the 2,083 characters that Pydantic allows.
_PATH = rf"(?:/(?:{_PATH_CHAR}|/){{0,255}})?"
_AFTER_PATH = rf"(?:\?(?:{_PATH_CHAR}|[/?]){{0,255}})?(?:#(?:{_PATH_CHAR}|[/?]){{0,63}})?"
_AFTER_SCHEME = rf"://{_HOST}(?::{_PORT})?{_PATH}{_AFTER_PATH}"

_HEX = "[0-9A-Fa-f]"
_PLAIN = "!$&'()*+,;=A-Za-z0-9._~-"
_UCS = "".join(
    f"{chr(low)}-{chr(high)}"
    for low, high in [(0xA0, 0xD7FF), (0xF900, 0xFDCF), (0xFDF0, 0xFFEF)]
    + [(plane << 16, (plane << 16) + 0xFFFD) for plane in range(1, 14)]
    + [(0xE1000, 0xEFFFD)]
)
_PRIVATE = "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"

# By the URL standard the host of these is a domain: no label begins with xn-- (which would have to
# be valid punycode), and the last one is no number.
_WEB = ("ftp", "http", "https", "ws", "wss")
_SPECIAL = ("file", *_WEB)
_DOMAIN_CHAR = "[A-Za-z0-9_-]"
_XN = (
    rf"[Xx](?:[A-MO-Za-mo-z0-9_-]{_DOMAIN_CHAR}*)?"
    rf"|[Xx][Nn](?:-?[A-Za-z0-9_]{_DOMAIN_CHAR}*|-)?"
)
_DOMAIN = (
    rf"(?:(?:[A-WYZa-wyz0-9_-]{_DOMAIN_CHAR}*|{_XN})\.)*"
    rf"(?:[A-WYZa-wyz_]{_DOMAIN_CHAR}*|{_XN})\.?"
)


def url(schemes: tuple[str, ...]) -> Expr:
    """URLs of some schemes (none: of the web): ASCII, with a host, and of a bounded length."""
    return concat(words(schemes or _WEB), _whole(_AFTER_SCHEME))


def uri() -> Expr:
    """URIs that the URL standard takes as well."""
    user, path, address = _whole(f"(?:{_char(':')}*@)?"), _whole(_path()), _whole(rf"\[{IPV6}\]")
    port, local = _whole(f"(?::(?:{_PORT}|0)?)?"), _whole(_local_path())
    domain = alt(_whole(f"{IPV4}|{_DOMAIN}"), address)
    web, file = in_any_case(words(_WEB)), in_any_case(literal("file:"))
    slashes, opaque = literal("//"), alt(_whole(f"{_char()}+"), address)
    host = concat(user, opaque, port)
    return concat(
        alt(
            concat(web, literal("://"), user, domain, port, path),
            concat(file, alt(concat(slashes, optional(domain), path), local)),
            concat(_other_scheme(), alt(concat(slashes, optional(host), path), local)),
        ),
        _whole(_after_path()),
    )


def _whole(pattern: str) -> Expr:
    return parse_pattern(f"^(?:{pattern})$")


def _other_scheme() -> Expr:
    letters = merged([(ord("a"), ord("z"))])
    later = merged([*letters, (ord("0"), ord("9")), *((ord(c), ord(c)) for c in "+.-")])
    firsts = merged((ord(name[0]), ord(name[0])) for name in _SPECIAL)
    out = [concat(chars(intersection(letters, complement(firsts))), repeat(chars(later)))]
    for first in sorted({name[0] for name in _SPECIAL}):
        rests = tuple(name[1:] for name in _SPECIAL if name[0] == first)
        out.append(concat(literal(first), excluding(rests, later, 0, None)))
    return concat(in_any_case(alt(*out)), literal(":"))


def _char(also: str = "") -> str:
    return rf"(?:[{also}{_PLAIN}]|%{_HEX}{{2}})"


def _after_path(also: str = "", private: str = "") -> str:
    return rf"(?:\?{_char(':@/?' + also + private)}*)?(?:#{_char(':@/?' + also)}*)?"


def _path(also: str = "") -> str:
    return rf"(?:/{_char(':@' + also)}*)*"


def _local_path(also: str = "") -> str:
    """A path that follows a scheme; one of two slashes would begin a host."""
    return rf"/?(?:{_char(':@' + also)}+{_path(also)})?"


def _iri(also: str, private: str) -> tuple[str, str]:
    """Patterns of what names its scheme, and of what may be relative to something that does."""
    host = rf"(?:{_char(also)}*|\[(?:{IPV6}|v{_HEX}+\.[:{_PLAIN}]+)\])"
    rooted = rf"//(?:{_char(':' + also)}*@)?{host}(?::\d*)?{_path(also)}"
    scheme, local, after = "[A-Za-z][A-Za-z0-9+.-]*:", _local_path(also), _after_path(also, private)
    # The first part of a relative path has no colon, which would end a scheme.
    relative = rf"(?:/(?:{_char(':@' + also)}+{_path(also)})?|{_char('@' + also)}+{_path(also)})?"
    return (
        f"{scheme}(?:{rooted}|{local}){after}",
        f"(?:(?:{scheme})?{rooted}|{scheme}{local}|{relative}){after}",
    )


_, _URI_REFERENCE = _iri("", "")
_IRI, _IRI_REFERENCE = _iri(_UCS, _PRIVATE)
_NAME_CHAR = rf"(?:[A-Za-z0-9_]|%{_HEX}{{2}})"
_NAME = rf"{_NAME_CHAR}+(?:\.{_NAME_CHAR}+)*(?::[1-9]\d{{0,3}}|\*)?"

PATTERNS: dict[str, str] = {
    "uri-reference": _URI_REFERENCE,
    "iri": _IRI,
    "iri-reference": _IRI_REFERENCE,
    "uri-template": (
        r"(?:[^\x00-\x20\x22'<>%\\^`{|}\x7f]"
        rf"|%{_HEX}{{2}}|\{{[+#./;?&=,!@|]?{_NAME}(?:,{_NAME})*\}})*"
    ),
}
