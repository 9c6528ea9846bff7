"""Templates that try to get out, or to take all time and memory; each is refused.

`python bombs.py` tries all of them, as prompt templates and as chat templates, and prints what was
not refused and the most memory that it took.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.memory import peak_mib

PRIME = 2**61 - 1  # the multiples of it have all the same hash
CHAIN = 40  # doublings, after which there is more than any memory


def doubled(first: str, step: str, shown: str) -> str:
    """A value in which the one before it stands twice, many times over."""
    sets = [f"{{% set v0 = {first} %}}"]
    sets += [f"{{% set v{n + 1} = {step.replace('V', f'v{n}')} %}}" for n in range(CHAIN)]
    return "".join(sets) + shown.replace("V", f"v{CHAIN}")


def again(body: str, before: str = "") -> str:
    """Something large, and what is done with it over and over."""
    return f"{before}{{% for i in range(99999) %}}{body}{{% endfor %}}"


def deeper(value: str, before: str = "") -> str:
    """A macro that keeps something large and calls itself."""
    head = f"{before}{{% macro f(n) %}}{{% set y = {value} %}}"
    return head + "{{ f(n + 1) }}{{ y | length }}{% endmacro %}{{ f(0) }}"


NUMBERS = "{% set b = range(99999) | list %}{% set c = range(99999) | list %}"
TABLE = "{% set d = dict.fromkeys(range(99999)) %}"
LONG = "{% set t = 'x' * 900000 %}"

WAYS_OUT = [
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ '' | attr('__class__') }}",
    "{{ [''] | map(attribute='__class__') | list }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ range.__class__ }}",
    "{{ [1].__getitem__ }}",
    "{{ ([1] | map('string') | reverse).__class__ }}",
    "{{ (1 | abs).__add__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func.__globals__ }}",
    "{% for i in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "{{ 'a'.encode() }}",
    "{{ ('a' | e).unescape() }}",
    "{{ (1).to_bytes(10**9, 'big') }}",
    "{{ 'a' | urlize }}",
    "{{ 'a' | xmlattr }}",
    "{{ lipsum(n=1000) }}",
    "{{ [1].append(2) }}",
    "{{ {}.update({1: 2}) }}",
    "{{ (-1000000000) | _passed }}",
    "{{ [-1000000000] | map('(passed)') | list }}",
    "{{ [1] | map('(made)') | list }}",
    "{% import 'prompts/extract.j2' as x %}",
    "{% from 'prompts/extract.j2' import x %}",
    "{% include '/etc/passwd' %}",
    "{% include '../pyproject.toml' %}",
    "{% include ['/etc/passwd', '../../etc/passwd'] %}",
    "{% include '..' ~ '/pyproject.toml' %}",
    "{% extends '/etc/passwd' %}",
]

TOO_LARGE = [
    "{{ range(10**9) | list }}",
    "{{ 'a' * 10**8 }}",
    "{{ 5 * 'a' * 10**8 }}",
    "{{ [0] * 10**8 }}",
    "{{ (0,) * 10**8 }}",
    "{{ ['a' * 900000] * 100000 ~ '' }}",
    "{{ [[1] * 1000] * 1000 * 1000 }}",
    "{{ 10**10**8 }}",
    "{{ 2**64 }}",
    "{{ '9' * 900000 | int }}{{ ('f' * 900000) | int(base=16) }}",
    "{{ 1e308 | int }}",
    "{{ '%100000000d' % 1 }}",
    "{{ '%*d' % (10**9, 1) }}",
    "{{ '%.99999999f' % 1 }}",
    "{{ '%(a)999s' * 2000 % {'a': 1} }}",
    "{{ '%s' * 2000 | format('x' * 900000) }}",
    "{{ '%99999999d' | format(1) }}",
    "{{ 'a' | center(10**9) }}",
    "{{ 'a'.ljust(10**9) }}{{ 'a'.zfill(10**9) }}",
    "{{ ('\t' * 1000).expandtabs(10**6) }}",
    r"{{ ('a\n' * 200000) | indent(100000) }}",
    r"{{ ('a\r' * 200000) | indent(width=100000, blank=true) }}",
    r"{{ ('a\n' * 250000) | wordwrap(wrapstring='x' * 400000) }}",
    r"{{ ('\n' * 250000) | wordwrap(1000000, wrapstring='x' * 400000) }}",
    "{{ ('a' * 900000) | wordwrap(1) }}",
    "{{ ('a' * 90000) | replace('a', 'b' * 100000) }}",
    "{{ ('a' * 900).replace('', 'b' * 100000) }}",
    "{{ 'x'.join(['a'] * 100) }}{{ ('x' * 100000).join('a' * 100) }}",
    "{{ range(99999) | map('string') | join('x' * 1000) }}",
    "{{ [1, 2, 3] | tojson(indent=10**8) }}",
    "{{ ([1] * 100000) | tojson(separators=('x' * 100000, ':')) }}",
    "{{ [1] | batch(10**9, 'x') | list }}",
    "{{ [1] | slice(10**9) | list }}",
    "{{ 1.5 | round(10**9) }}",
    "{{ ([[1]] * 100000) | sum(start=[]) | length }}",
    f"{{{{ range(0, {99999 * PRIME}, {PRIME}) | unique | list }}}}",
    f"{{{{ range(0, 99999 * {PRIME}, {PRIME}) | unique | list }}}}",
    f"{{{{ range(0, '{99999 * PRIME}' | int, {PRIME}) | unique | list }}}}",
    doubled("['x']", "[V, V]", "{{ V }}"),
    doubled("['x']", "(V, V)", "{{ V }}"),
    doubled("['x']", "{'a': V, 'b': V}", "{{ V | string }}"),
    doubled("['x']", "dict(a=V, b=V)", "{{ V | string }}"),
    doubled("{'a': 'x'}", "{'a': V.values(), 'b': V.values()}", "{{ V.values() }}"),
    doubled("'x'", "V ~ V", "{{ V }}"),
    doubled("'x'", "V + V", "{{ V }}"),
    doubled("1", "V + V + V + V", "{{ V }}"),
    doubled("1", "V - (0 - V) - (0 - V) - (0 - V)", "{{ V }}"),
    "x" * 1_000_001,
    "{# description: " + "x" * 10_000 + " #}{{ a }}",
    "{# " + "[" * 9_000 + " #}{{ a }}",
    "{#\ndescription: [&a [x, x], &b [*a, *a], &c [*b, *b]]\n#}{{ a }}",
]

TOO_LONG = [
    "{% for i in range(3000) %}{% for j in range(3000) %}x{% endfor %}{% endfor %}",
    again("{{ i }}" * 2000),
    again("{{ '" + "x" * 20_000 + "' }}"),
    again("x" * 20_000),
    again("{% set a = 1 %}" * 2000),
    again("{% set x %}" + "x" * 5000 + "{% endset %}"),
    again("{% if self.a() %}{% endif %}", "{% block a %}" + "x" * 500_000 + "{% endblock %}"),
    "{% for i in range(1000) recursive %}"
    "{% if loop.depth0 < 1 %}{{ loop(range(99999)) }}{% else %}x{% endif %}{% endfor %}",
    "{% for i in range(1000) if i < 1000 recursive %}"
    "{% if loop.depth0 < 1 and loop(range(1000, 99999)) %}{% endif %}{% endfor %}",
    "{% macro f(n) %}{{ f(n - 1) ~ f(n - 1) if n else '' }}{% endmacro %}{{ f(60) }}",
    again("{% if -1 in b %}{% endif %}", NUMBERS),
    again("{% if b == c %}{% endif %}", NUMBERS),
    again("{% if b is eq(c) %}{% endif %}", NUMBERS),
    again("{% if b | length %}{% endif %}", NUMBERS),
    again("{% set a = b[1:] %}", NUMBERS),
    again("{% if b.count(1) %}{% endif %}", NUMBERS),
    again("{{ b | sort | length }}", NUMBERS),
    again("{{ b | min }}", NUMBERS),
    again("{{ loop.cycle(*b) }}", NUMBERS),
    again("{% if loop.changed(b if i is odd else c) %}{% endif %}", NUMBERS),
    NUMBERS + "{{ b | select('in', c) | list | length }}",
    again("{% if d.copy() %}{% endif %}", TABLE),
    again("{% if 5 in d.values() %}{% endif %}", TABLE),
    again("{% if d.items() == d.items() %}{% endif %}", TABLE),
    again("{{ (['ab'] * 90000) | groupby(0) | length }}"),
    again("{{ 'a' in t }}{{ t ~ i == t }}", LONG),
    again("{{ t.upper() | length }}", LONG),
    again("{{ t | title | length }}", LONG),
    again("{{ t | urlencode | length }}", LONG),
    again("{{ ('<a>' * 300000) | striptags }}"),
    again("{{ ('a ' * 300000) | truncate(5) }}"),
    again("{{ ('a' * 400000).rfind('b' ~ 'a' * 200000) }}"),
    again("{{ ('a' * 400000).strip('b' * 400000 ~ 'a') }}"),
    again("{{ ('a' * 400000) | trim('b' * 400000 ~ 'a') }}"),
    "{{ (['a'] * 100000) | map(attribute='0.' * 100000 ~ '0') | list }}",
    "{{ (['a'] * 100000) | sort(attribute='0.' * 1000 ~ '0') }}",
    "{{ range(99999) | map('center', 1000) | list }}",
    "{{ range(99999) | map('string') | map('center', 1000) | join }}",
    "{% set n = namespace(x=[]) %}" + again("{% set n.x = [n.x] %}"),
    "{% set n = namespace(x=()) %}" + again("{% set n.x = (n.x,) %}") + "{{ {n.x: 1} }}",
    "{% set n = namespace(x=()) %}" + again("{% set n.x = cycler(n.x).items %}"),
    "{% set n = namespace(x='') %}" + again("{% set n.x = n.x ~ 'abc' %}"),
    deeper("('\U0001f600' * 900000) ~ n"),
    deeper("t[n:]", "{% set t = '\U0001f600' * 900000 %}"),
    deeper("dict.fromkeys(range(99999))"),
    deeper("t.split()", "{% set t = 'aa ' * 200000 %}"),
    deeper("(range(50000) | batch(1) | list)"),
]

TOO_DEEP = [
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% block a %}{{ self.a() }}{% endblock %}",
    "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{{ " + "(" * 100_000 + "1" + ")" * 100_000 + " }}",
    "{{ " + "[" * 100_000 + "1" + "]" * 100_000 + " }}",
    "{{ " + "not " * 100_000 + "1 }}",
    "{{ " + "-" * 100_000 + "1 }}",
    "{{ " + "1+" * 50_000 + "1 }}",
    "{{ a" + ".b" * 50_000 + " }}",
    "{{ a" + "|e" * 50_000 + " }}",
    "{% if 1 %}" * 10_000 + "{% endif %}" * 10_000,
    "{% for i in [1] %}" * 30 + "{% endfor %}" * 30,
    "{% if a %}" + "{% elif a %}" * 15_000 + "{% endif %}",
    "{{ a }}" * 50_000,
    "{{ [" + "a," * 100_000 + "] }}",
    "{{ 'a' | center(900000) }}" * 10_000,
    "{{ " * 100_000,
    "{# " * 100_000,
]

ALL = [*WAYS_OUT, *TOO_LARGE, *TOO_LONG, *TOO_DEEP]


def not_refused() -> Iterator[str]:
    """What came of each that was not refused as it should be."""
    from typedllm import Message, Segment, TemplateError, chat_format, template

    messages = [Message(role="user", content=(Segment(text="Hi"),))]
    for text in ALL:
        ways = (
            lambda text=text: template(text + "\n").render({"a": 1}),
            lambda text=text: chat_format(text + "\n").render(messages),
        )
        for way in ways:
            try:
                came = f"made {str(way())[:200]}"
            except TemplateError:
                continue
            except BaseException as error:
                came = f"raised {error!r}"[:200]
            yield f"{text[:100]!r} {came}"


if __name__ == "__main__":
    for line in not_refused():
        print(line)
    print(round(peak_mib()))
