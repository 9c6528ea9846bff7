"""Templates from anywhere: none gets out or takes all time and memory, and ordinary ones work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import typedllm
from tests.templating import bombs
from typedllm import Message, Segment, TemplateError
from typedllm.templating.chat_template import ChatTemplate

LLAMA_3_1 = """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- This block extracts the system message, so we can slot it into the right place. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}

{#- System message + builtin tools #}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if builtin_tools is defined or tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{%- if builtin_tools is defined %}
    {{- "Tools: " + builtin_tools | reject('equalto', 'code_interpreter') | join(", ") + "\\n\\n"}}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}

{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'
            + message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '{"name": "' + tool_call.name + '", ' }}{{- tool_call.arguments | tojson }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
QWEN_2_5 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are Qwen.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first)
        or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
MISTRAL = """{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {%- if loop.first and system_message is defined %}
            {{- ' [INST] ' + system_message + '\\n\\n' + message['content'] + ' [/INST]' }}
        {%- else %}
            {{- ' [INST] ' + message['content'] + ' [/INST]' }}
        {%- endif %}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'] + eos_token}}
    {%- else %}
        {{- raise_exception('Only user and assistant roles are supported') }}
    {%- endif %}
{%- endfor %}
"""
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}"
    "{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}"
)
PHI_3 = (
    "{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'user' %}"
    "{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'assistant' %}"
    "{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)
TURNS = [("system", " Be brief. "), ("user", " Hi "), ("assistant", "Yes?"), ("user", "Bye")]


def made(text: str, **values: Any) -> str:
    return "".join(message.text for message in typedllm.template(text + "\n").render(values))


@pytest.mark.parametrize("text", bombs.WAYS_OUT)
def test_there_is_no_way_out(text: str) -> None:
    with pytest.raises(TemplateError):
        made(text, a=1)


@pytest.mark.slow
def test_no_bomb_takes_all_time_or_memory() -> None:
    command = [sys.executable, "-m", "tests.templating.bombs"]
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run(  # the timeout is a guard
        command, cwd=root, capture_output=True, text=True, timeout=280, check=True
    )
    *not_refused, mebibytes = ended.stdout.splitlines()
    assert not_refused == []
    assert int(mebibytes) < 300


def test_no_link_out_of_a_folder_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, outside = tmp_path / "own", tmp_path / "outside"
    own.mkdir()
    outside.mkdir()
    (outside / "secret.j2").write_text("secret")
    (own / "linked.j2").symlink_to(outside / "secret.j2")
    (own / "folder").symlink_to(outside)
    (own / "inside.j2").write_text("inside")
    (own / "alias.j2").symlink_to(own / "inside.j2")
    monkeypatch.setenv("TYPEDLLM_TEMPLATES", str(own))
    for name in ("linked.j2", "folder/secret.j2", str(outside / "secret.j2"), "../outside/secret"):
        with pytest.raises(TemplateError, match="in none of its folders"):
            made(f"{{% include {name!r} %}}")
    for name in ("linked", "folder/secret"):
        with pytest.raises(TemplateError, match="no template is called"):
            typedllm.template(name)
    assert made("{% include 'alias.j2' %}") == "inside"


def test_includes_without_an_end_are_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "self.j2").write_text("{% include 'self.j2' %}{% include 'self.j2' %}")
    (tmp_path / "page.j2").write_text("x" * 10_000)
    monkeypatch.setenv("TYPEDLLM_TEMPLATES", str(tmp_path))
    with pytest.raises(TemplateError, match="without an end"):
        made("{% include 'self.j2' %}")
    for how in ("", "without context"):
        with pytest.raises(TemplateError, match="more than 1,000,000 steps"):
            made(f"{{% for i in range(9999) %}}{{% include 'page.j2' {how} %}}{{% endfor %}}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ x | upper | replace('A', 'b') | trim }}", "b, C"),
        ("{{ [3, 1, 2] | sort | map('string') | join('-') }}", "1-2-3"),
        ("{{ ['b', 'a', 'b'] | unique | list | length }}", "2"),
        ("{{ range(5) | select('odd') | sum }}", "4"),
        ("{{ d | dictsort | first | last }} {{ d | tojson }}", '1 {"k": 1, "l": "<é>"}'),
        ("{{ [{'n': 2}, {'n': 1}] | map(attribute='n') | list }}", "[2,1]"),
        ("{{ [{'n': 2}, {'n': 1}] | groupby('n') | length }}", "2"),
        ("{% for i in 'abc' %}{{ loop.index }}/{{ loop.length }}{{ i }}"
         "{% if not loop.last %},{% endif %}{% endfor %}", "1/3a,2/3b,3/3c"),
        ("{% for i in range(9) if i is even %}{% if i > 4 %}{% break %}{% endif %}{{ i }}"
         "{% endfor %}", "024"),
        ("{% for i in [1, [2, [3]]] recursive %}"
         "{{ loop(i) if i is iterable else i }}{% endfor %}", "123"),
        ("{% for i in [] %}x{% else %}none{% endfor %}", "none"),
        ("{% set n = namespace(c=0) %}{% for i in range(4) %}{% set n.c = n.c + i %}{% endfor %}"
         "{{ n.c }}", "6"),
        ("{% macro m(a, b='y') %}<{{ a }}{{ b }}>{% endmacro %}{{ m('x') ~ m(1, b=2) }}",
         "<xy><12>"),
        ("{% set s %}a{{ x }}{% endset %}{{ s | length }}", "5"),
        ("{{ '%s is %.2f and %03d' % ('x', 1.5, 7) }}", "x is 1.50 and 007"),
        ("{{ '%s-%s' | format(1, 2) }}{{ 7 % 4 }}{{ 2 ** 10 }}{{ 7 // 2 }}", "1-2310243"),
        ("{{ x.split(', ')[-1] }}{{ x[1:] }}{{ x.startswith('a') }}", "c, cTrue"),
        ("{{ 'a' in x and 3 not in [1, 2] and 1 < 2 <= 2 }}", "True"),
        ("{{ '- ' ~ ('a\n' ~ x) | indent(2) }}", "- a\n  a, c"),
        ("{{ 'one two three' | wordwrap(8) | replace('\n', '/') }}", "one two/three"),
        ("{{ d.get('k') }}{{ d.items() | list | length }}{{ d.z | default('?') }}", "12?"),
        ("{{ x if x is string else '' }}{{ big }}{{ big | default(0) }}", f"a, c{2**70}{2**70}"),
        ("{% include 'instructions/lark.j2' %}",
         "Answer with text that follows this Lark grammar:\ng"),
    ],
)  # fmt: skip
def test_ordinary_templates_work(text: str, expected: str) -> None:
    values = {"x": "a, c", "d": {"k": 1, "l": "<é>"}, "grammar": "g", "big": 2**70}
    assert made(text, **values) == expected


def test_a_long_document_goes_through() -> None:
    document = "word " * 400_000
    assert made("{{ document }}", document=document) == document


def test_what_stopped_a_template_holds_on_to_nothing_that_it_made() -> None:
    with pytest.raises(TemplateError) as caught:
        made("{{ range(99999) | list }}" * 20)
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__traceback__ is None


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (LLAMA_3_1, "<B><|start_header_id|>system<|end_header_id|>\n\n"
         "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\nBe brief.<|eot_id|>"
         "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\nYes?<|eot_id|>"
         "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\n"),
        (QWEN_2_5, "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n"
         "<|im_start|>assistant\nYes?<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
         "<|im_start|>assistant\n"),
        (MISTRAL, "<B> [INST]  Be brief. \n\n Hi  [/INST] Yes?<E> [INST] Bye [/INST]"),
        (GEMMA, "<B><start_of_turn>user\nBe brief. \n\n Hi<end_of_turn>\n"
         "<start_of_turn>model\nYes?<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n"
         "<start_of_turn>model\n"),
        (PHI_3,
         "<|system|>\n Be brief. <|end|>\n<|user|>\n Hi <|end|>\n<|assistant|>\nYes?<|end|>\n"
         "<|user|>\nBye<|end|>\n<|assistant|>\n"),
    ],
)  # fmt: skip
def test_the_chat_templates_of_real_models_work(source: str, text: str) -> None:
    messages = [Message(role=role, content=(Segment(text=said),)) for role, said in TURNS]
    segments = ChatTemplate(source, {"bos_token": "<B>", "eos_token": "<E>"}).render(messages)
    assert "".join(segment.text for segment in segments) == text
    values = "".join(segment.text for segment in segments if not segment.trusted)
    assert values.replace(" ", "") == "Bebrief.HiYes?Bye"


def test_one_message_shown_many_times_is_bounded() -> None:
    template = ChatTemplate("{% for i in range(9999) %}{{ messages[0].content }}{% endfor %}", {})
    assert len(template.render([Message(role="user", content=(Segment(text="x"),))])) > 9_999
    with pytest.raises(TemplateError, match="more than 20,000,000 characters"):
        template.render([Message(role="user", content=(Segment(text="x" * 9_999),))])


def test_todays_date_is_known_to_a_chat_template() -> None:
    template = ChatTemplate("{{ strftime_now('%Y') }}{{ messages[0].content }}", {})
    segments = template.render([Message(role="user", content=(Segment(text="x"),))])
    assert segments[0].trusted and segments[0].text.isdigit() and len(segments[0].text) == 4
