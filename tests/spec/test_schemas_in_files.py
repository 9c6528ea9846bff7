"""Schemas in JSON, YAML and OpenAPI files, with references between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedllm.errors import Invalid, SpecError
from typedllm.records import JsonSchema
from typedllm.spec.openapi import modern
from typedllm.spec.schemas import schema, schemas_in
from typedllm.spec.spec import spec_of

API = """
openapi: 3.0.3
info: {title: Pets, version: 1.0.0}
paths: {}
components:
  schemas:
    Pet:
      type: object
      required: [name, id]
      properties:
        name: {type: string, example: Rex}
        id: {type: integer, minimum: 0, exclusiveMinimum: true}
        born: {type: string, format: date, nullable: true, default: 2020-01-01}
        on: {type: string, enum: [yes, no], nullable: true}
        owner: {$ref: "people.yaml#/Owner", description: ignored, nullable: true}
        kind: {$ref: "#/components/schemas/Kind"}
        friends: {type: array, items: {$ref: "#/components/schemas/Pet"}}
      additionalProperties: false
    Kind:
      oneOf: [{$ref: "#/components/schemas/Cat"}, {$ref: "#/components/schemas/Dog"}]
      discriminator: {propertyName: kind, mapping: {cat: "#/components/schemas/Cat"}}
    Cat: {type: object, properties: {kind: {enum: [cat]}}, required: [kind]}
    Dog: {type: object, properties: {kind: {enum: [dog]}}, required: [kind]}
    Unreached: {$ref: "https://example.com/nothing.json"}
"""
PEOPLE = """
Owner:
  type: object
  properties:
    phone: {type: string, nullable: true}
    pets: {type: array, items: {$ref: "./api.yaml#/components/schemas/Pet"}}
"""


@pytest.fixture
def api(tmp_path: Path) -> Path:
    (tmp_path / "api.yaml").write_text(API)
    (tmp_path / "people.yaml").write_text(PEOPLE)
    return tmp_path / "api.yaml"


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Writes JSON files; returns the path of the first."""

    def write(**files: Any) -> Path:
        for name, content in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
        return tmp_path / f"{next(iter(files))}.json"

    return write


def references(part: Any) -> set[str]:
    if isinstance(part, list):
        return set().union(*map(references, part))
    if not isinstance(part, dict):
        return set()
    own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
    return own.union(*map(references, part.values()))


def test_a_schema_of_an_api(api: Path) -> None:
    pet = schema(f"{api}#/components/schemas/Pet").schema
    assert list(pet["properties"]) == ["name", "id", "born", "on", "owner", "kind", "friends"]
    assert pet["properties"]["id"] == {"type": "integer", "exclusiveMinimum": 0}
    assert pet["properties"]["born"]["default"] == "2020-01-01"
    assert pet["properties"]["on"] == {"type": ["string", "null"], "enum": ["yes", "no", None]}
    assert pet["properties"]["owner"] == {"anyOf": [{"$ref": "#/$defs/Owner"}, {"type": "null"}]}
    assert pet["properties"]["friends"] == {"type": "array", "items": {"$ref": "#"}}
    assert pet["$defs"]["Kind"]["discriminator"]["propertyName"] == "kind"
    assert set(pet["$defs"]) == {"Owner", "Kind", "Cat", "Dog"}
    assert pet["$defs"]["Owner"]["properties"]["phone"] == {"type": ["string", "null"]}
    assert references(pet) <= {"#", *(f"#/$defs/{name}" for name in pet["$defs"])}
    assert schema(Path(f"{api}#/components/schemas/Pet")).schema == pet


def test_answers_for_a_schema_of_an_api(api: Path) -> None:
    spec = spec_of(schema(f"{api}#/components/schemas/Pet"))
    friend = {"name": "Tom", "id": 2, "on": None, "kind": {"kind": "cat"}}
    pet = {"name": "Rex", "id": 1, "owner": {"phone": None, "pets": []}, "friends": [friend]}
    assert spec.read(json.dumps(pet)) == pet
    friend["id"] = 0
    friend["born"] = "2020-13-01"
    with pytest.raises(Invalid) as caught:
        spec.read(json.dumps(pet))
    assert {issue.path for issue in caught.value.issues} == {
        "$.friends[0].id",
        "$.friends[0].born",
    }


def test_all_schemas_of_a_file(api: Path) -> None:
    found = dict(schemas_in(api))
    assert list(found) == [
        f"#/components/schemas/{name}" for name in ("Pet", "Kind", "Cat", "Dog", "Unreached")
    ]
    assert isinstance(found.pop("#/components/schemas/Unreached"), SpecError)
    for pointer, one in found.items():
        assert isinstance(one, JsonSchema)
        assert one.schema == schema(f"{api}{pointer}").schema


def test_the_schema_of_a_file_and_its_definitions(written: Callable[..., Path]) -> None:
    definitions = {"a/b %~é": {"type": "integer"}, "c": True}
    path = written(a={"type": "string", "$defs": definitions})
    odd = "#/$defs/a~1b%20%25~0%C3%A9"
    found = dict(schemas_in(path))
    assert list(found) == ["#", odd, "#/$defs/c"]
    assert isinstance(found["#/$defs/c"], SpecError)
    assert schema(f"{path}{odd}").schema == {"type": "integer"}
    path = written(a={"definitions": {"d": {"type": "null"}}})
    assert list(dict(schemas_in(path))) == ["#/definitions/d"]
    with pytest.raises(SpecError, match="there is no schema in it"):
        list(schemas_in(written(a={"title": "nothing"})))


def test_odd_names_of_definitions(written: Callable[..., Path]) -> None:
    names = ["a b", "a/b", "a~b", "a%b", "ö", "a_b", ""]
    path = written(
        a={"$ref": "b.json#/$defs/all"},
        b={
            "$defs": {name: {"const": name} for name in names}
            | {
                "all": {
                    "anyOf": [
                        {"$ref": f"#/$defs/{step}"}
                        for step in ["a%20b", "a~1b", "a~0b", "a%25b", "%C3%B6", "a_b", ""]
                    ]
                }
            }
        },
    )
    spec = spec_of(schema(path))
    for name in names:
        assert spec.read(json.dumps(name)) == name
    with pytest.raises(Invalid):
        spec.read('"c"')


def test_swagger_2(written: Callable[..., Path]) -> None:
    number = {"type": "number", "maximum": 3, "exclusiveMaximum": False}
    parts = {"A": {"$ref": "#/definitions/B", "type": "null"}, "B": number}
    path = written(a={"swagger": "2.0", "definitions": parts})
    assert schema(f"{path}#/definitions/A").schema == {
        "$ref": "#/$defs/B",
        "$defs": {"B": {"type": "number", "maximum": 3}},
    }


def test_open_api_3_1_is_json_schema(written: Callable[..., Path]) -> None:
    part = {"type": ["string", "null"], "nullable": True, "exclusiveMinimum": 3}
    path = written(a={"openapi": "3.1.0", "components": {"schemas": {"A": part}}})
    assert schema(f"{path}#/components/schemas/A").schema == part
    with pytest.raises(SpecError, match=r"name one of its schemas, as in a\.json#/components"):
        schema(path)


NULLABLE = [
    {"type": "string"},
    {"type": "integer", "enum": [1, 2]},
    {"enum": ["a"]},
    {"allOf": [{"type": "string"}], "title": "t"},
    {"oneOf": [{"type": "string"}, {"type": "boolean"}]},
    {"type": "object", "anyOf": [{"required": ["a"]}]},
    {"not": {"type": "null"}},
    {"minLength": 1},
    {},
]


@given(st.sampled_from(NULLABLE), st.none() | st.integers() | st.text("ab") | st.booleans())
def test_nullable_is_the_schema_or_null(part: dict[str, Any], value: object) -> None:
    plain = jsonschema_rs.is_valid(part, value)
    assert jsonschema_rs.is_valid(modern({**part, "nullable": True}), value) == (
        plain or value is None
    )
    assert jsonschema_rs.is_valid(modern({**part, "nullable": False}), value) == plain


def test_cycles_across_files(written: Callable[..., Path]) -> None:
    path = written(
        a={"type": "object", "properties": {"b": {"$ref": "b.json"}, "me": {"$ref": "a.json"}}},
        b={"type": "object", "properties": {"a": {"$ref": "a.json#"}, "me": {"$ref": "#"}}},
    )
    assert schema(path).schema == {
        "type": "object",
        "properties": {"b": {"$ref": "#/$defs/b"}, "me": {"$ref": "#"}},
        "$defs": {
            "b": {"type": "object", "properties": {"a": {"$ref": "#"}, "me": {"$ref": "#/$defs/b"}}}
        },
    }


def test_references_by_id_and_anchor(written: Callable[..., Path]) -> None:
    home = "https://example.com/schemas"
    path = written(
        a={
            "$id": f"{home}/a",
            "anyOf": [
                {"$ref": "b.json"},
                {"$ref": f"{home}/c"},
                {"$ref": "inner#four"},
                {"$ref": "#/$defs/five/$defs/local"},
            ],
            "$defs": {
                "inner": {"$id": "inner", "$defs": {"x": {"$anchor": "four", "const": 4}}},
                "five": {
                    "$id": "five",
                    "$defs": {"local": {"$ref": "#/$defs/me"}, "me": {"const": 5}},
                },
            },
        },
        b={"const": 2},
        c={"$id": f"{home}/c", "const": 3},
    )
    bundled = schema(path).schema
    assert references(bundled) == {f"#/$defs/{name}" for name in bundled["$defs"]}
    spec = spec_of(schema(path))
    assert [spec.read(str(value)) for value in (2, 3, 4, 5)] == [2, 3, 4, 5]
    for other in ("1", "6"):
        with pytest.raises(Invalid):
            spec.read(other)


def test_what_looks_like_a_reference(written: Callable[..., Path]) -> None:
    part = {"properties": {"$ref": {"const": {"$ref": "x.json"}}}, "examples": [{"$ref": "y"}]}
    assert schema(written(a=part)).schema == part
    path = written(a={"$ref": "#/definitions/b", "definitions": {"b": part, "c": True}})
    assert schema(path).schema == {"$ref": "#/$defs/b", "$defs": {"b": part}}
    fields = {"definitions": {"term": "str"}, "title": "str"}
    assert schema(written(a=fields)).schema == fields


def test_the_draft_goes_along(written: Callable[..., Path]) -> None:
    uri = "http://json-schema.org/draft-07/schema#"
    part = {"items": [{"const": 1}], "additionalItems": False}
    path = written(a={"$schema": uri, "definitions": {"b": part}}, c={"$ref": "a.json"})
    assert schema(f"{path}#/definitions/b").schema == {"$schema": uri, **part}
    path = written(d={"$schema": f"{uri}", "$ref": "e.json"}, e={"$schema": uri.replace("7", "4")})
    with pytest.raises(SpecError, match=r"another draft; write the same \$schema in d.json and e"):
        schema(path)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("../out.json", "outside of the folder .*; give the one that holds both files as folder"),
        ("..%2fout.json", "outside of the folder"),
        ("link.json", "outside of the folder"),
        ("%2fetc%2fhostname", "outside of the folder"),
        ("/etc/hostname", "an absolute path; write it relative"),
        ("file:///etc/hostname", "an absolute path; write it relative"),
        ("http://127.0.0.1:9/x.json", r"nothing is fetched .* no file in .* has this \$id; save"),
        ("//127.0.0.1/x.json", "nothing is fetched from the network|absolute path"),
        ("urn:x", "nothing is fetched from the network"),
        ("none.json", "cannot be read: No such file"),
        ("circle.json", "Symlink loop|cannot be read: Too many levels"),
        ("%00.json", "is no path"),
        ("#/$defs/non", r'a.json#/\$defs has no "non"; did you mean "none"\?'),
        ("#/x", 'a.json# has no "x"; it has'),
        ("#/$defs/none/type/0", 'has no "0"'),
        ("#x", 'a.json has no anchor "x"'),
    ],
)
def test_references_that_lead_nowhere(
    written: Callable[..., Path], reference: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    written(out=True)
    (tmp_path / "in" / "link.json").symlink_to(tmp_path / "out.json")
    (tmp_path / "in" / "circle.json").symlink_to(tmp_path / "in" / "circle.json")
    path = tmp_path / "in" / "a.json"
    inner = {"items": {"$ref": reference}}
    path.write_text(json.dumps({"properties": {"p/q": inner}, "$defs": {"none": {"type": "null"}}}))
    with pytest.raises(SpecError, match=f"(?s){message}") as caught:
        schema(path)
    place = f'{path.resolve()}#/properties/p~1q/items: the reference "{reference}": '
    assert str(caught.value).startswith(place)


def test_a_wider_folder(written: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    written(out={"type": "null"})
    path = tmp_path / "in" / "a.json"
    path.write_text('{"$ref": "../out.json"}')
    wider = schema(str(path), folder=str(tmp_path)).schema
    assert wider == {"$ref": "#/$defs/out", "$defs": {"out": {"type": "null"}}}
    with pytest.raises(SpecError, match="there is no folder"):
        schema(path, folder=tmp_path / "none")


def test_dynamic_references_stay_in_their_file(written: Callable[..., Path]) -> None:
    tree = {"$dynamicAnchor": "node", "properties": {"next": {"$dynamicRef": "#node"}}}
    assert schema(written(a=tree)).schema == tree
    with pytest.raises(SpecError, match=r"b.json#/properties/next: \$dynamicRef is not followed"):
        schema(written(a={"$ref": "b.json"}, b=tree))


def test_names_that_are_no_schemas(written: Callable[..., Path]) -> None:
    path = written(a={"$defs": {"Order": {}, "n": 3}})
    with pytest.raises(SpecError, match='has no "Ordr"; did you mean "Order"'):
        schema(f"{path}#/$defs/Ordr")
    with pytest.raises(SpecError, match=r"a.json#/\$defs/n: a JSON Schema is an object, not int"):
        schema(f"{path}#/$defs/n")


LEAVES = st.sampled_from([{"type": "integer"}, {"type": "null"}, {"minLength": 2}, {"const": "a"}])


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    """Two files whose definitions refer to each other."""
    places = [f"{file}.json#/$defs/{name}" for file in "ab" for name in "xy"]
    inner = LEAVES | st.sampled_from([{"$ref": place} for place in places])
    lists = st.lists(inner, min_size=1, max_size=2)
    part = st.one_of(
        LEAVES,
        st.builds(lambda one: {"type": "array", "items": one}, inner),
        st.builds(lambda some: {"type": "object", "properties": {"p": {"anyOf": some}}}, lists),
    )
    drawn = {file: {"$defs": {name: draw(part) for name in "xy"}} for file in "ab"}
    return {"a": {"type": ["array", "object"], "items": draw(inner), **drawn["a"]}, "b": drawn["b"]}


VALUES = st.recursive(
    st.none() | st.integers(0, 2) | st.sampled_from(["a", "ab"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("p"), inner),
    max_leaves=5,
)


@given(files(), VALUES)
def test_a_bundle_accepts_what_the_files_do(
    tmp_path_factory: pytest.TempPathFactory, drawn: dict[str, Any], value: Any
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name, content in drawn.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    bundled = dict(schema(folder / "a.json").schema)
    whole = {
        "$id": "https://x/root.json",
        "$ref": "a.json",
        "$defs": {name: {**content, "$id": f"{name}.json"} for name, content in drawn.items()},
    }
    assert jsonschema_rs.is_valid(bundled, value) == jsonschema_rs.is_valid(whole, value)


def test_deep_schemas_are_no_recursion_error(tmp_path: Path) -> None:
    deep: Any = {"$ref": "#/$defs/a"}
    for _ in range(490):
        deep = {"items": deep}
    text = json.dumps({"type": "array", **deep, "$defs": {"a": {"type": "null"}}})
    (tmp_path / "a.json").write_text(text)
    assert schema(tmp_path / "a.json").schema["$defs"] == {"a": {"type": "null"}}
