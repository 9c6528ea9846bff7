"""The embedded model is given the words that it was trained with."""

from __future__ import annotations

import hashlib
import json

from typedllm._resources import folder
from typedllm.engines.table import TINY


def test_the_models_templates_are_those_that_it_was_trained_with():
    trained = json.loads((TINY / "trained_on.json").read_text("utf-8"))
    config = json.loads((TINY / "tokenizer_config.json").read_text("utf-8"))
    typed = (folder("templates") / "instructions" / "typed.j2").read_text("utf-8")
    texts = {"instructions/typed.j2": typed, "chat": config["chat_template"]}

    now = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}

    assert now == trained, (
        "the words of the embedded model's prompts have changed, and it was trained with the old"
        " ones: put them back, or train it anew (make train-tiny BANKING77=folder), which writes"
        " typedllm/tiny/model/trained_on.json"
    )
