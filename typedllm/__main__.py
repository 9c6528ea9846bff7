"""`python -m typedllm` is the command line."""

from __future__ import annotations

from typedllm.cli.main import app

if __name__ == "__main__":
    app()
