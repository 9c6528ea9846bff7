"""Type words: a Python annotation in a string, parsed with `ast` and never evaluated."""

from __future__ import annotations

import ast
import io
import math
import tokenize
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import pydantic

from typedllm.errors import SpecError
from typedllm.spec.vocabulary import CONSTRAINTS, CONTAINERS, FORMS, SCALARS, nearest

__all__ = ["enumeration", "type_of_word"]

_MOST_CHARACTERS = 100_000
_MOST_DEPTH = 40  # each level takes Pydantic several frames of Python's stack
_MANY = "write a large enumeration as a list of values"
_SHOWN = 60
_UNHASHABLE = (list, set, dict)


def type_of_word(text: str, path: str) -> Any:
    """Translate a type word into a type that Pydantic takes.

    Args:
        text: such as `int | None` or `str(max_length=40)  # the surname`.
        path: the field's place in the spec, for errors.

    Raises:
        SpecError: naming the field, the column and the mend.
    """
    if len(text) > _MOST_CHARACTERS:
        raise SpecError(
            f"{path}: a type word of {len(text)} characters is over {_MOST_CHARACTERS}; {_MANY}"
        )
    word = _Word(text, path)
    source = text.strip()
    if not source or source.startswith("#"):
        raise word.error('a type is missing; write one such as "str"')
    if "\n" in source or "\r" in source:
        raise word.error("a type word is one line")
    try:
        tree = ast.parse(source, mode="eval").body
        comment = _comment(source)
    except SyntaxError as error:
        column = error.offset - 1 if error.offset else None
        raise word.error(f"not a type ({error.msg})", column) from error
    except ValueError as error:
        raise word.error(f"not a type ({error})") from error
    except (RecursionError, MemoryError):
        raise word.error(f"nested too deep; {_MANY}") from None
    form = word.form(tree, depth=0)
    return Annotated[form, pydantic.Field(description=comment)] if comment else form


def enumeration(values: Sequence[object]) -> Any:
    """Make the `Literal` of some values.

    Args:
        values: texts, numbers, booleans or None, each once.

    Raises:
        ValueError: saying what is wrong with the values.
    """
    if not values:
        raise ValueError("an enumeration needs at least one value")
    for value in values:
        if not isinstance(value, str | int | float | None):
            raise ValueError(f"{_short(value)} is no value of an enumeration")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{value} has no form in JSON")
    # True and 1 are equal in Python and differ in JSON; 1 and 1.0 are the same in both.
    (repeated, times) = Counter((isinstance(v, bool), v) for v in values).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{_short(repeated[1])} comes {times} times in the enumeration")
    return Literal[tuple(values)]


class _Word:
    """One type word on its way into a type; keeps what errors need."""

    def __init__(self, text: str, path: str) -> None:
        self._text = text
        self._path = path
        self._indent = len(text) - len(text.lstrip())

    def error(self, message: str, column: int | None = None) -> SpecError:
        """Make the error of this word.

        Args:
            message: what is wrong, and the mend.
            column: characters before the place, without the word's indent.
        """
        place = "" if column is None else f", column {self._indent + column + 1}"
        return SpecError(f"{self._path}: {_short(self._text)}{place}: {message}")

    def error_at(self, node: ast.AST, message: str) -> SpecError:
        """Make the error of one part of this word."""
        offset = getattr(node, "col_offset", 0)  # in bytes of UTF-8
        return self.error(message, len(self._text.lstrip().encode()[:offset].decode()))

    def form(self, node: ast.expr, depth: int) -> Any:
        """Translate one node."""
        if depth > _MOST_DEPTH:
            raise self.error_at(node, f"nested more than {_MOST_DEPTH} deep")
        match node:
            case ast.Constant(value=None):
                return type(None)
            case ast.Constant() | ast.UnaryOp():
                return self._enumeration(node, (node,))
            case ast.Name():
                return self._named(node)
            case ast.BinOp(op=ast.BitOr()):
                return self._union(node, _operands(node), depth)
            case ast.Subscript(value=ast.Name(id=name)):
                return self._subscript(node, name, depth)
            case ast.Call(func=ast.Name() | ast.Subscript()):
                return self._constrained(node, depth)
            case ast.Attribute(attr=name):
                raise self.error_at(node, f'write "{name}", without the module')
            case ast.Call():
                raise self.error_at(node, "constraints go on one type, like int(ge=0) | None")
            case ast.List():
                raise self.error_at(node, 'no type; write "list[...]"')
            case ast.Dict():
                raise self.error_at(node, "no type; write an object as a dict, not in a string")
            case _:
                raise self.error_at(node, "no type")

    def _named(self, node: ast.Name) -> Any:
        if node.id in SCALARS:
            return SCALARS[node.id]
        if node.id in CONTAINERS:
            return CONTAINERS[node.id]
        if node.id in FORMS:
            raise self.error_at(node, f'"{node.id}" needs its members: "{node.id}[...]"')
        raise self.error_at(node, f'unknown type "{node.id}"; {nearest(node.id)}')

    def _enumeration(self, node: ast.AST, members: Sequence[ast.expr]) -> Any:
        try:
            return enumeration([self._constant(member) for member in members])
        except ValueError as error:
            raise self.error_at(node, str(error)) from error

    def _constant(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=str() | int() | float() | None as value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -value
            case _:
                raise self.error_at(node, "no value; write a quoted text or a number")

    def _union(self, node: ast.AST, members: Sequence[ast.expr], depth: int) -> Any:
        values = [member for member in members if _is_value(member)]
        forms: list[Any] = []
        for member in members:
            if not _is_value(member):
                forms.append(self.form(member, depth + 1))
            elif member is values[0]:
                forms.append(self._enumeration(node, values))
        return _either(forms)

    def _subscript(self, node: ast.Subscript, name: str, depth: int) -> Any:
        members = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if not members:
            raise self.error_at(node, f'"{name}[...]" needs its members')
        if name == "Literal":
            return self._enumeration(node, members)
        if name == "Union":
            return self._union(node, members, depth)
        if name == "Optional":
            (item,) = self._members(node, members, 1, depth)
            return item | None
        if name in SCALARS:
            raise self.error_at(node, f'"{name}" takes no members; constraints go in (...)')
        if name not in CONTAINERS:
            raise self.error_at(node, f'unknown type "{name}"; {nearest(name)}')
        return self._container(node, CONTAINERS[name], members, depth)

    def _container(
        self, node: ast.Subscript, kind: Any, members: Sequence[ast.expr], depth: int
    ) -> Any:
        if kind is tuple:
            match members:
                case [item, ast.Constant(value=last)] if last is ...:
                    return tuple[self.form(item, depth + 1), ...]
                case _:
                    return tuple[self._members(node, members, len(members), depth)]
        if kind is dict:
            key, value = self._members(node, members, 2, depth)
            if key is type(None) or _bare(key) in CONTAINERS.values():
                raise self.error_at(members[0], "no type of a key; write a scalar such as str")
            return dict[key, value]
        (item,) = self._members(node, members, 1, depth)
        if kind is list:
            return list[item]
        if _bare(item) in _UNHASHABLE:
            raise self.error_at(members[0], "cannot be in a set; write list[...] around it")
        return set[item] if kind is set else frozenset[item]

    def _members(
        self, node: ast.AST, members: Sequence[ast.expr], count: int, depth: int
    ) -> tuple[Any, ...]:
        if len(members) != count:
            raise self.error_at(node, f"{len(members)} members where {count} belong")
        return tuple(self.form(member, depth + 1) for member in members)

    def _constrained(self, node: ast.Call, depth: int) -> Any:
        form = self.form(node.func, depth + 1)
        allowed = CONSTRAINTS.get(_bare(form), ())
        if _bare(form) is tuple and ... not in get_args(form):
            allowed = ()
        if node.args:
            raise self.error_at(node.args[0], "a constraint goes by name, like int(ge=0)")
        constraints: dict[str, Any] = {}
        for keyword in node.keywords:
            name = keyword.arg
            if name is None or name not in allowed:
                takes = ", ".join(allowed) or "none"
                base = ast.unparse(node.func)
                raise self.error_at(keyword, f'{base} has no constraint "{name}"; it takes {takes}')
            if name in constraints:
                raise self.error_at(keyword, f'constraint "{name}" comes twice')
            constraints[name] = self._limit(keyword, name, _bare(form))
        return self._annotated(node, form, constraints)

    def _limit(self, keyword: ast.keyword, name: str, base: Any) -> Any:
        """Read the value of a constraint as the type that it needs."""
        value = self._constant(keyword.value)
        match name:
            case "pattern":
                fits = isinstance(value, str)
            case "strict":
                fits = isinstance(value, bool)
            case "min_length" | "max_length" | "max_digits" | "decimal_places":
                fits = type(value) is int and value >= 0
            case _ if base in (int, float):
                fits = type(value) in (int, base) and math.isfinite(value)
            case _:
                try:
                    return pydantic.TypeAdapter(base).validate_python(value)
                except pydantic.ValidationError:
                    fits = False
        if not fits:
            raise self.error_at(keyword, f"{name} cannot be {_short(value)}")
        return value

    def _annotated(self, node: ast.AST, form: Any, constraints: dict[str, Any]) -> Any:
        for low, high in (("ge", "le"), ("gt", "lt"), ("min_length", "max_length")):
            if low in constraints and high in constraints and constraints[low] > constraints[high]:
                raise self.error_at(node, f"no value has {low} above {high}")
        annotated: Any = Annotated[form, pydantic.Field(**constraints)]
        try:
            pydantic.TypeAdapter[Any](annotated)
        except Exception as error:  # whatever Pydantic finds, the caller wrote it
            reason = str(error).strip().splitlines()[-1].strip()
            raise self.error_at(node, f"constraint does not work ({reason})") from error
        return annotated


def _comment(source: str) -> str:
    """The comments of a type word, joined; a `#` inside quotes is none."""
    if "#" not in source:
        return ""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    found = (token.string for token in tokens if token.type == tokenize.COMMENT)
    return " ".join(comment.lstrip("#").strip() for comment in found).strip()


def _operands(node: ast.expr) -> list[ast.expr]:
    """The members of `a | b | c`, left to right, without recursing down its left side."""
    found: list[ast.expr] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        found.append(node.right)
        node = node.left
    return [node, *reversed(found)]


def _either(forms: Sequence[Any]) -> Any:
    """The union of some types."""
    union = forms[0]
    for form in forms[1:]:
        union = union | form
    return union


def _is_value(node: ast.expr) -> bool:
    """Whether a member of a union is a value of an enumeration, not a type."""
    if isinstance(node, ast.Constant):
        return node.value is not None
    return isinstance(node, ast.UnaryOp)


def _bare(form: Any) -> Any:
    """A type without its constraints and members: `list` of `list[int]`."""
    if get_origin(form) is Annotated:
        form = get_args(form)[0]
    return get_origin(form) or form


def _short(value: object) -> str:
    """A value as it is written, cut to a length that fits a message."""
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 4]}...{shown[-1]}"
