#!/usr/bin/env bash
# Measures the exported graphs on an NVIDIA GPU: see benchmarks/gpu.py. Without a GPU, prints a line and exits with 0.
#
#     benchmarks/gpu.sh
#
# Creates a virtual environment in build/gpu: the development environment with onnxruntime-gpu in place of
# onnxruntime. PYTHON is the interpreter that creates it, by default python3.11.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! nvidia-smi --list-gpus 2>/dev/null | grep -q '^GPU'; then
    echo "no NVIDIA GPU here: CUDA and TensorRT were not measured"
    exit 0
fi

env=build/gpu
if [ ! -e "$env/stamp" ]; then
    "${PYTHON:-python3.11}" -m venv --clear "$env"
    "$env/bin/python" -m pip install --quiet --require-hashes -r requirements/dev.txt
    "$env/bin/python" -m pip uninstall --quiet --yes onnxruntime
    "$env/bin/python" -m pip install --quiet --no-deps \
        "$(grep --only-matching '^onnxruntime-gpu==[0-9.]*' requirements/worker-gpu.txt)"
    "$env/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable .
    touch "$env/stamp"
fi

nvidia-smi --query-gpu=name,driver_version,power.limit --format=csv,noheader
"$env/bin/python" benchmarks/gpu.py
