"""A conversation of typed turns, saved to a file and taken up again. python chat.py"""

from __future__ import annotations

import tempfile
from pathlib import Path

from typedllm import LLM, Sampling

# The text of a template; a name or a path does as well. A turn may leave out what is optional.
TEMPLATE = """\
{# optional: [order] #}
{{ user_prompt }}
{% if order %}
The order: {{ order }}
{% endif %}
"""
SYSTEM = "You are a shop's assistant. Be brief."


def main(folder: Path) -> None:
    with LLM(sampling=Sampling(max_tokens=60)) as llm:
        chat = llm.chat(system=SYSTEM, template=TEMPLATE, id="ada-1")

        # Each turn has an output type of its own, and sees the turns before it.
        person = chat.call("Hi, I am Ada Lovelace of Leeds.", {"name": "str", "city": "str"})
        print("who:    ", person)

        # What only this turn needs is its context.
        order = {"number": "A-1207", "items": 3, "placed": "2024-05-17"}
        about = chat.call("When did I order it?", {"placed": "date"}, context={"order": order})
        print("when:   ", about)

        # run() gives a Result. A turn that fails leaves no trace, and can be asked again.
        mood = chat.run("It is still not here. Hurry up!", ["calm", "angry"], metadata={"page": 2})
        print("mood:   ", mood.value if mood.ok else mood.error)

        chat.save(folder / "ada-1.json")
        print("saved:  ", (folder / "ada-1.json").stat().st_size, "bytes of JSON")

        # Another day, with the turns from the file. Of a long conversation only as many of the
        # last turns are sent again as fit into `history_tokens`.
        later = llm.chat(system=SYSTEM, template=TEMPLATE, history_tokens=120)
        later.load(folder / "ada-1.json")
        print("loaded: ", later.id, "with", len(later.turns), "turns")
        print("name:   ", later.call("Who am I?", {"name": "str"}))

        print(f"\nOf {len(later.turns)} turns these go with the next one:")
        for message in later.history:
            print(f"  {message.role:9} {message.text!r}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
