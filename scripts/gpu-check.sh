#!/usr/bin/env bash
# Checks a built program on a GPU: the numbers, the speed, several runs on one card, a small grid.
#
#   scripts/gpu-check.sh PROGRAM [DEVICE] [OUT]
#
# Needs the program, this folder and benches/peer, Python with PyTorch, and an NVIDIA driver; no Rust
# and no network. DEVICE is cuda:0 where it is not given. Prints one table; OUT, or gpu-check.json,
# gets every number. PARTS chooses the checks; SHAPES, STEPS, PRECISIONS, PEERS and
# RUNS what is timed.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
program="${1:?the built program}"
python="${PYTHON:-python3}"

# The program was linked to libtorch; PyTorch brings it.
libraries="$("$python" - <<'PYTHON'
import pathlib, torch
site = pathlib.Path(torch.__file__).parent
print(":".join(map(str, [site / "lib", *site.parent.glob("nvidia/**/lib")])))
PYTHON
)"
export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec "$python" "$here/gpu_check.py" "$(realpath "$program")" "${2:-cuda:0}" "${3:-gpu-check.json}"
