"""Prompt templates: what they need, what they make, and whose words are whose."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import meta
from pydantic import BaseModel

from typedllm import Message, Segment, TemplateError, template
from typedllm._resources import folder
from typedllm.templating.finding import Kind, find, header_of, template_names

KINDS: tuple[Kind, ...] = ("prompts", "instructions")
SHIPPED = [(kind, name) for kind in KINDS for name in template_names(kind)]
VALUES = {
    "parts": {"part1, in place of $[1]": ["$[1].age: expected int"]},
    "labels": {"spam": "unwanted", "ham": "wanted"},
    "actions": ["search", "answer"],
    "observations": ["a", "b"],
    "passages": ["one", "two"],
    "criteria": ["short"],
    "examples": [{"prompt": "2+2", "answer": "4"}],
    "issues": ["$.age: expected int"],
}
# what steers templates, formats and this package's own marks
STEERING = ("{{ a }}", "{% endblock %}", "{% block user %}", "{#", "#}", "</s>", "[INST]")
MARKS = ("\ue0000\ue001", "\x1f", "(turn)", "user", "\n", "\r\n", " ", "&amp;", "<b>", "\\", "'")
ODD = st.lists(
    st.sampled_from((*STEERING, *MARKS)) | st.text(max_size=4),
    max_size=5,
).map("".join)


class Address(BaseModel):
    city: str


@dataclass
class Person:
    name: str
    home: Address


def text_of(rendered: Any) -> str:
    parts = [part.content if isinstance(part, Message) else (part,) for part in rendered]
    return "".join(segment.text for content in parts for segment in content)


def said(rendered: Any) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in rendered]


def segments_of(rendered: Any) -> list[Segment]:
    parts = [part.content if isinstance(part, Message) else (part,) for part in rendered]
    return [segment for content in parts for segment in content]


def test_the_header_says_what_a_template_needs() -> None:
    found = template(
        "{#\ndescription: Files it.\nvariables: [a]\noptional: [b]\n#}\n{{ a }}{{ b or '-' }}"
    )
    assert (found.description, found.variables, found.optional) == ("Files it.", ("a",), ("b",))
    assert found.makes == "messages" and found.uses("b") and not found.uses("c")
    assert text_of(found.render({"a": 1})) == "1-"


def test_without_a_header_variables_are_found_in_the_source() -> None:
    found = template(
        "{% set own = 1 %}{% for item in items %}{{ item }}{{ loop.index }}{% endfor %}"
        "{% macro m(x) %}{{ x }}{{ deep }}{% endmacro %}"
        "{% if tone is defined %}{{ tone }}{% endif %}"
        "{{ place | default('here') }}{{ own }}{{ range(2) | list }}"
    )
    assert found.variables == ("deep", "items") and found.optional == ("place", "tone")
    assert text_of(found.render({"items": "ab", "deep": ""})) == "a1b2here1[0,1]"


def test_a_comment_that_is_no_mapping_describes() -> None:
    assert template("{# Says hello. #}Hello {{ name }}").description == "Says hello."


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("vars: [a]", "the key 'vars'; known are description, makes, marks, optional, variables"),
        ("1: [a]", "the key '1'"),
        ("a: b: c", "its first comment is not YAML"),
        ("variables: a", "variables: expected a list of texts"),
        ("variables: [[a]]", "variables: expected a list of texts"),
        ("optional: {a: 1}", "optional: expected a list of texts"),
        ("description: [a]", "description: expected a text"),
        ("makes: song", "makes: expected messages or raw, got 'song'"),
    ],
)
def test_a_bad_header_is_named(header: str, message: str) -> None:
    with pytest.raises(TemplateError, match=re.escape(message)):
        template(f"{{#\n{header}\n#}}\n{{{{ a }}}}")


def test_a_missing_variable_lists_what_is_missing_and_what_is_there() -> None:
    found = template("{{ a }} {{ b }} {{ c }}")
    with pytest.raises(TemplateError, match=r"the template needs a, c; there is b, d$"):
        found.render({"d": 1, "b": 2})
    with pytest.raises(TemplateError, match="there is nothing"):
        found.render({})
    with pytest.raises(TemplateError, match=r"no attribute 'x'; there is a, b, c"):
        template("{{ a.x }}{{ b }}{{ c }}").render({"a": 1, "b": 2, "c": 3})


def test_templates_are_found_by_name_path_and_text(tmp_path: Path) -> None:
    path = tmp_path / "own.j2"
    path.write_text("Own {{ a }}")
    assert template("generic/default").variables == ("question",)
    assert template("generic/default.j2").text == template("generic/default").text
    for source in (path, str(path), "Own {{ a }}", "Own\n{{ a }}"):
        assert text_of(template(source).render({"a": 1})).split() == ["Own", "1"]


def test_ones_own_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "extract.j2").write_text("Mine: {{ user_prompt }}")
    (tmp_path / "loose.j2").write_text("{% include 'prompts/extract.j2' %}")
    monkeypatch.setenv("TYPEDLLM_TEMPLATES", str(tmp_path))
    assert text_of(template("extract").render({"user_prompt": "x"})) == "Mine: x"
    assert text_of(template("loose").render({"user_prompt": "x"})) == "Mine: x"
    assert template("classify").variables == ("user_prompt",)  # the package's is still there
    monkeypatch.delenv("TYPEDLLM_TEMPLATES")
    assert "Mine" not in text_of(template("extract").render({"user_prompt": "x"}))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("classfy", "no template is called 'classfy'; did you mean 'classify'"),
        ("zzzzzzzz", "no template is called 'zzzzzzzz'; there are "),
        ("a word " * 999, "no template is called 'a word a word"),
        ("../../pyproject", "no template is called"),
        ("a\0b", "no template is called"),
        (Path("nowhere.j2"), "nowhere.j2: there is no such file"),
        (Path("pyproject.toml"), "there is no such file of the ending .j2"),
        ("a\n{% if %}", "the template, line 2"),
        ("{{ a | upperr }}", "No filter named 'upperr'"),
        ("{% filter upper %}{{ a }}{% endfilter %}", "{% filter %} is not allowed"),
        ("{% autoescape true %}{{ a }}{% endautoescape %}", "{% autoescape %} is not allowed"),
    ],
)
def test_what_is_no_template_is_named(source: str | Path, message: str) -> None:
    with pytest.raises(TemplateError, match=re.escape(message)):
        template(source)


def test_blocks_named_as_roles_are_messages() -> None:
    found = template(
        "{% block system %}S{% endblock %}\n{% block user %}\n {{ a }} \n{% endblock %}\n"
        "{% block assistant %}A{% endblock %}{% block user_2 %}B\n{{ a }}{% endblock %}"
    )
    assert said(found.render({"a": "1"})) == [
        *[("system", "S"), ("user", "1"), ("assistant", "A"), ("user", "B\n1")]
    ]
    assert said(template("Just {{ a }}").render({"a": "1"})) == [("user", "Just 1")]
    other = template("{% block title %}T {{ a }}{% endblock %}")
    assert said(other.render({"a": "1"})) == [("user", "T 1")]


def test_text_outside_of_the_blocks_is_an_error() -> None:
    found = template("{% block user %}{{ a }}{% endblock %}\nand then {{ a }}")
    with pytest.raises(TemplateError, match="'and then' stands outside of the blocks"):
        found.render({"a": 1})


def test_a_template_can_extend_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base.j2").write_text(
        "{% block system %}Base.{% endblock %}{% block user %}{{ a }}{% endblock %}"
    )
    monkeypatch.setenv("TYPEDLLM_TEMPLATES", str(tmp_path))
    found = template(
        "{% extends 'base.j2' %}{% block system %}{{ super() }} More of {{ a }}.{% endblock %}"
    )
    assert said(found.render({"a": "x"})) == [("system", "Base. More of x."), ("user", "x")]
    again = template(
        "{% block user %}U{% endblock %}{% block user_2 %}{{ self.user() }}{% endblock %}"
    )
    assert said(again.render({})) == [("user", "U"), ("user", "U")]


def test_raw_templates_make_segments() -> None:
    found = template(
        "{#\nmakes: raw\n#}\n <s>[INST] {{ a }} [/INST]{% block user %}!{% endblock %} "
    )
    segments = found.render({"a": "</s>"})
    assert all(isinstance(segment, Segment) for segment in segments)
    assert text_of(segments) == " <s>[INST] </s> [/INST]! "
    assert [segment.text for segment in segments_of(segments) if not segment.trusted] == ["</s>"]
    with pytest.raises(TemplateError, match="it makes no text"):
        template("{#\nmakes: raw\n#}\n{{ a }}").render({"a": ""})


def test_a_templates_own_space_at_the_edges_is_trimmed_and_a_values_is_kept() -> None:
    found = template(
        "{% block user %}\n\n{% if 1 %}\n{% endif %}\n {{ a }}\n\n{% if 1 %}\n \n{% endif %}\n"
        "{% endblock %}"
    )
    assert text_of(found.render({"a": " x\n"})) == " x\n"
    assert text_of(template("\n A {{ a }} \n").render({"a": "\n"})) == "A \n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a <b> & 'c'", "a <b> & 'c'"),
        (3, "3"),
        (2.5, "2.5"),
        (True, "True"),
        (None, "None"),
        ([1, "é", None], '[1,"é",null]'),
        ((1, 2), "[1,2]"),
        ({"b": 1, "a": [True]}, '{"b":1,"a":[true]}'),
        ({"z", "y", "x"}, '["x","y","z"]'),
        (Address(city="Oslo"), '{"city":"Oslo"}'),
        (Person("Ada", Address(city="Oslo")), '{"name":"Ada","home":{"city":"Oslo"}}'),
        ([Person("Ada", Address(city="Oslo"))], '[{"name":"Ada","home":{"city":"Oslo"}}]'),
    ],
)
def test_values_of_every_kind_are_written(value: Any, text: str) -> None:
    assert text_of(template("<{{ a }}>").render({"a": value})) == f"<{text}>"


def test_an_error_in_a_template_is_told() -> None:
    with pytest.raises(TemplateError, match="the template: division by zero"):
        template("{{ 1 / a }}").render({"a": 0})


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_a_shipped_templates_header_agrees_with_its_source(kind: Kind, name: str) -> None:
    found = find(name, kind)
    header = header_of(found)
    source = jinja2.Environment().parse(found.text)
    used = meta.find_undeclared_variables(source)
    assert header["description"].endswith(".") and "\n" not in header["description"]
    assert {*header["variables"], *header.get("optional", [])} == used


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_a_shipped_template_renders(kind: Kind, name: str) -> None:
    found = template(name, kind)
    needed = {name: VALUES.get(name, f"<{name}>") for name in found.variables}
    optional = {name: VALUES.get(name, f"<{name}>") for name in found.optional}
    bare, full = found.render(needed), found.render({**needed, **optional})
    for rendered, values in ((bare, needed), (full, {**needed, **optional})):
        text = text_of(rendered)
        assert all(str(value) in text for value in values.values() if isinstance(value, str))
        assert "\n\n\n" not in text and "None" not in text
        assert not re.search(r"[ \t]$", text, re.MULTILINE)


def test_every_shipped_file_is_found() -> None:
    files = {path.stem for path in folder("templates").rglob("*.j2")}
    names = {name.split("/")[-1] for kind in (*KINDS, "models") for name in template_names(kind)}
    assert files == names


@given(st.lists(ODD, min_size=3, max_size=3), st.lists(ODD, max_size=3))
def test_untrusted_segments_are_the_values_and_nothing_else(
    texts: list[str], parts: list[str]
) -> None:
    found = template(
        "{% block system %}<s>{{ a }}|{% if b %}({{ b }}){% endif %}{% endblock %}"
        "{% block user %}{% for part in parts %}- {{ part }}\n{% endfor %}{{ c }}</s>{% endblock %}"
    )
    a, b, c = texts
    rendered = found.render({"a": a, "b": b, "c": c, "parts": parts})
    segments = segments_of(rendered)
    values = "".join(segment.text for segment in segments if not segment.trusted)
    assert values == a + b + "".join(parts) + c
    words = "".join(segment.text for segment in segments if segment.trusted)
    own = ("<s>|()" if b else "<s>|") + "- \n" * len(parts) + "</s>"
    assert words == own
    assert said(rendered) == [
        ("system", f"<s>{a}|({b})" if b else f"<s>{a}|"),
        ("user", "".join(f"- {part}\n" for part in parts) + c + "</s>"),
    ]


@given(
    ODD, st.sampled_from(["~ ''", "| trim", "| replace('x', 'y')", "| e", "| safe", "* 1", "+ ''"])
)
def test_what_is_made_of_a_value_is_not_trusted(value: str, made: str) -> None:
    for text in (
        f"<s>{{{{ a {made} }}}}</s>",
        f"<s>{{% set b %}}{{{{ a {made} }}}}{{% endset %}}{{{{ b }}}}</s>",
        f"{{% macro m(x) %}}{{{{ x {made} }}}}{{% endmacro %}}<s>{{{{ m(a) }}}}</s>",
        f"<s>{{{{ ['', a {made}] | join }}}}</s>",
    ):
        segments = segments_of(template(text).render({"a": value}))
        assert "".join(segment.text for segment in segments if segment.trusted) == "<s></s>"
