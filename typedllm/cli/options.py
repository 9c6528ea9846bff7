"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = ["Limit", "MaxTokens", "Model", "Out", "Seed", "System", "Temperature"]

Model: TypeAlias = Annotated[
    str | None,
    typer.Option(help="engine:model; else the one in TYPEDLLM_MODEL, else the embedded one."),
]
System: TypeAlias = Annotated[
    str | None, typer.Option(help="A text that tells the model what it does.")
]
MaxTokens: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="The most tokens of an answer.")
]
Temperature: TypeAlias = Annotated[
    float | None, typer.Option(min=0, help="0 takes the likeliest tokens.")
]
Seed: TypeAlias = Annotated[int | None, typer.Option(help="Makes sampling repeatable.")]
Limit: TypeAlias = Annotated[int | None, typer.Option(min=1, help="Read only so many rows.")]
Out: TypeAlias = Annotated[
    Path | None, typer.Option(help="Write to this .parquet, .jsonl or .csv file.")
]
