"""Documents of one folder, and the references between them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, unquote, urljoin, urlsplit

from typedllm.errors import SpecError
from typedllm.spec.dialects import LATEST, declared_dialect
from typedllm.spec.documents import ENDINGS, read_document
from typedllm.spec.keywords import escape
from typedllm.spec.openapi import is_api, is_older_api

__all__ = ["Document", "Folder", "Place", "in_a_fragment", "resolved"]

_SHOWN_NAMES = 10
_IN_A_FRAGMENT = "!$&'()*+,;=:@/?~"  # what RFC 3986 lets stand there as it is


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Document:
    """A file that holds schemas.

    Attributes:
        path: of the file, absolute and without symbolic links.
        content: its JSON value.
        dialect: the draft that it declares, as jsonschema-rs numbers them.
        is_older_api: whether its schemas are those of OpenAPI 3.0; None when it does not tell.
        resources: the pointers of the schemas that have a URI, by that.
        anchors: the pointers of the schemas that have an anchor, by the pointer of the schema with
            a URI that they are in, and their name.
    """

    path: Path
    content: Any
    dialect: int | None
    is_older_api: bool | None
    resources: Mapping[str, str]
    anchors: Mapping[tuple[str, str], str]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Place:
    """A value in a document.

    Attributes:
        document: the document.
        pointer: the JSON pointer of the value; empty for the whole document.
        node: the value.
        base: the URI that references in it are relative to.
        home: the pointer of the schema with that URI.
        is_older_api: whether it is a schema of OpenAPI 3.0.
    """

    document: Document
    pointer: str
    node: Any
    base: str
    home: str
    is_older_api: bool

    def __str__(self) -> str:
        return f"{self.document.path}#{self.pointer}"

    def inner(self, steps: str, node: Any) -> Place:
        """The place of a value inside this one.

        Args:
            steps: the pointer from here to there.
            node: the value there.
        """
        pointer = f"{self.pointer}{steps}"
        uri = _identity(node, self.base, self.document.dialect)
        return Place(
            document=self.document,
            pointer=pointer,
            node=node,
            base=uri or self.base,
            home=pointer if uri else self.home,
            is_older_api=self.is_older_api,
        )


class Folder:
    """The documents of a folder, each of which is read once, when it is first needed."""

    def __init__(self, root: Path) -> None:
        """Take a folder.

        Args:
            root: references lead nowhere outside of it.

        Raises:
            SpecError: when there is no such folder.
        """
        self._root = resolved(root)
        if not self._root.is_dir():
            raise SpecError(f"there is no folder {root}")
        self._documents: dict[Path, Document] = {}
        self._followed: dict[tuple[Path, str, str, bool], Place] = {}
        self._all_read = False

    def document(self, path: Path) -> Document:
        """Read a document.

        Args:
            path: of the file.

        Raises:
            SpecError: when it cannot be read.
        """
        path = resolved(path)
        if path not in self._documents:
            self._documents[path] = _document(path)
        return self._documents[path]

    def place(self, document: Document, fragment: str) -> Place:
        """Find a value of a document.

        Args:
            document: the document.
            fragment: a JSON pointer as in a URI, the name of an anchor, or empty.

        Raises:
            SpecError: when it does not exist.
        """
        return _found(document, "", fragment, is_older_api=bool(document.is_older_api))

    def follow(self, reference: str, origin: Place) -> Place:
        """Find what a reference refers to.

        Args:
            reference: relative to the base of the place that it stands in.
            origin: that place.

        Raises:
            SpecError: naming the reference and the place, when it leads outside of the folder, to
                the network, or to nothing.
        """
        name, _, fragment = reference.partition("#")
        try:
            document, home = (
                self._resource(name, origin) if name else (origin.document, origin.home)
            )
            older = document.is_older_api
            inherited = origin.is_older_api if older is None else older
            return _found(document, home, fragment, is_older_api=inherited)
        except SpecError as error:
            raise SpecError(f'{origin}: the reference "{reference}": {error}') from error

    def _resource(self, name: str, origin: Place) -> tuple[Document, str]:
        uri = urljoin(origin.base, name)
        found = self._known(uri)
        if found is None and not urlsplit(name).scheme and not name.startswith("/"):
            return self._file(name, origin), ""
        if found is None:
            self._read_all()
            found = self._known(uri)
        if found is None and urlsplit(uri).scheme == "file":
            raise SpecError("an absolute path; write it relative to the file it stands in")
        if found is None:
            raise SpecError(
                f"nothing is fetched from the network, and no file in {self._root} has this $id;"
                " save it there, and refer to it by its relative path"
            )
        return found

    def _known(self, uri: str) -> tuple[Document, str] | None:
        for document in self._documents.values():
            if uri in document.resources:
                return document, document.resources[uri]
        return None

    def _file(self, name: str, origin: Place) -> Document:
        path = resolved(origin.document.path.parent / unquote(urlsplit(name).path))
        if not path.is_relative_to(self._root):
            raise SpecError(
                f"outside of the folder {self._root}; give the one that holds both files as folder"
            )
        return self.document(path)

    def _read_all(self) -> None:
        """Read every document right in the folder, for the `$id` it may have."""
        if self._all_read:
            return
        self._all_read = True
        for path in sorted(self._root.iterdir()):
            if path.suffix.lower() in ENDINGS and path.is_file():
                try:
                    if resolved(path).is_relative_to(self._root):
                        self.document(path)
                except SpecError:  # not what is looked for
                    continue


def resolved(path: Path) -> Path:
    """A path without symbolic links.

    Args:
        path: any path.

    Raises:
        SpecError: when it cannot be one, or its links lead in a circle.
    """
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise SpecError(f"{str(path)!r} is no path: {error}") from error


def in_a_fragment(name: str) -> str:
    """A name as a step of a JSON pointer in the fragment of a URI.

    Args:
        name: any text.
    """
    return quote(escape(name), safe=_IN_A_FRAGMENT)


def _document(path: Path) -> Document:
    content = read_document(path)
    older: bool | None = None
    dialect: int | None = None
    if isinstance(content, Mapping):
        root = cast(Mapping[str, Any], content)
        declared = root.get("$schema", root.get("jsonSchemaDialect"))
        older = is_older_api(root) if is_api(root) or declared is not None else None
        dialect = LATEST if older else declared_dialect(declared)
    resources = {path.as_uri(): ""}
    anchors: dict[tuple[str, str], str] = {}
    document = Document(
        path=path,
        content=content,
        dialect=dialect,
        is_older_api=older,
        resources=resources,
        anchors=anchors,
    )
    for place in _places(_whole(document, is_older_api=False)):
        if place.home == place.pointer:
            resources[place.base] = place.pointer
        for name in _anchors(place.node):
            anchors[place.home, name] = place.pointer
    return document


def _places(root: Place) -> Iterator[Place]:
    """The objects and lists in a value, itself first."""
    waiting = [iter((root,))]  # iterators, so that only the way to one place is kept at a time
    while waiting:
        place = next(waiting[-1], None)
        if place is None:
            waiting.pop()
        else:
            yield place
            waiting.append(_inside(place))


def _inside(place: Place) -> Iterator[Place]:
    for step, part in _parts(place.node):
        if isinstance(part, Mapping | list):
            yield place.inner(f"/{escape(step)}", part)


def _whole(document: Document, *, is_older_api: bool) -> Place:
    uri = document.path.as_uri()
    return Place(
        document=document,
        pointer="",
        node=document.content,
        base=_identity(document.content, uri, document.dialect) or uri,
        home="",
        is_older_api=is_older_api,
    )


def _found(document: Document, home: str, fragment: str, *, is_older_api: bool) -> Place:
    """The place of a fragment of a schema that has a URI."""
    fragment = unquote(fragment)
    pointer = f"{home}{fragment}"
    if fragment and not fragment.startswith("/"):
        if (home, fragment) not in document.anchors:
            raise SpecError(f'{document.path} has no anchor "{fragment}"; a pointer begins with #/')
        pointer = document.anchors[home, fragment]
    place = _whole(document, is_older_api=is_older_api)
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        try:
            place = place.inner(f"/{step}", _part(place.node, name))
        except (LookupError, ValueError) as error:
            names = [known for known, _ in _parts(place.node)]
            raise SpecError(f'{place} has no "{name}"{_instead(name, names)}') from error
    return place


def _part(node: object, name: str) -> object:
    if isinstance(node, Mapping):
        return cast(Mapping[str, object], node)[name]
    if isinstance(node, list) and name.isdecimal():
        return cast(list[object], node)[int(name)]
    raise LookupError(name)


def _instead(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; it has {', '.join(names[:_SHOWN_NAMES])}" if names else ""


def _identity(node: object, base: str, dialect: int | None) -> str | None:
    """The URI that a schema gives itself."""
    word = "id" if dialect == 4 else "$id"
    given = cast(Mapping[str, object], node).get(word) if isinstance(node, Mapping) else None
    name = given.partition("#")[0] if isinstance(given, str) else ""
    return urljoin(base, name) if name else None


def _anchors(node: object) -> list[str]:
    if not isinstance(node, Mapping):
        return []
    found = cast(Mapping[str, object], node)
    names = [found.get(word) for word in ("$anchor", "$dynamicAnchor")]
    # Before 2019 an anchor was written as an id.
    for word in ("$id", "id"):
        given = found.get(word)
        names.append(given.partition("#")[2] if isinstance(given, str) else None)
    return [name for name in names if isinstance(name, str) and name]


def _parts(node: object) -> Iterator[tuple[str, object]]:
    if isinstance(node, Mapping):
        yield from cast(Mapping[str, object], node).items()
    elif isinstance(node, list):
        for index, part in enumerate(cast(list[object], node)):
            yield str(index), part
