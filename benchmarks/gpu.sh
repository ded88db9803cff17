#!/usr/bin/env bash
# On a machine with a CUDA device, a Python with torch, and perhaps no network:
#
#   benchmarks/gpu.sh bench              the GPU tests, then the benchmarks
#   benchmarks/gpu.sh data RECIPE        pairs for a recipe, into data/ (kept between calls where the machine is)
#   benchmarks/gpu.sh train RECIPE       data if need be, then nine minutes of training; call again to go on
#
# Wheels in .whl/ are installed first. Results come to $OUT (default: out/), in files below 16 MiB; a training is a tar in
# parts, RECIPE.tar.aa and so on (cat them to unpack), and goes on from the parts that lie in resume/ (copy them there).
# INIT names a model to start from. DEVICE=cpu and SMALL=1 try it all on a laptop.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-out}; device=${DEVICE:-cuda}; job=${1:?bench, data or train}; recipe=${2:-smoke3d-x4}
mkdir -p "$out" data

if compgen -G '.whl/*.whl' >/dev/null; then
  site=$(mktemp -d)
  python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" .whl/*.whl
  export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
fluidsr() { python3 -m fluidsr.cli "$@"; }

case $recipe in *2d*) dim=2 coarse=64 simulations=20 frames=120 ;; *) dim=3 coarse=32 simulations=20 frames=60 ;; esac
if [ -n "${SMALL:-}" ]; then coarse=16 simulations=3 frames=4; fi
store=data/$recipe.zarr

make_data() {
  fluidsr generate-dataset --dim $dim --resolution $coarse --factor 4 --simulations $simulations --frames $frames \
    --device "$device" -o "$store"
}

sizes='128 256'; if [ -n "${SMALL:-}" ]; then sizes=32; fi
case $job in
  bench)
    if python3 -c 'import pytest' 2>/dev/null; then python3 -m pytest -m gpu | tee "$out/tests.log"; fi
    python3 benchmarks/solver.py --kernels --cells $sizes --device "$device" | tee "$out/kernels.txt"
    python3 benchmarks/solver.py --cells $sizes --device "$device" | tee "$out/solver.txt"
    python3 benchmarks/training.py smoke2d-x4 smoke2d-x4-gan tempogan-2d smoke3d-x4 smoke3d-x4-gan tempogan-3d \
      --device "$device" | tee "$out/training.txt"
    python3 benchmarks/main_job.py plume 48 | tee "$out/main_job.txt" ;;
  data) make_data ;;
  train)
    make_data
    if compgen -G "resume/$recipe.tar.*" >/dev/null; then cat "resume/$recipe.tar."* | tar xf - -C "$out"; fi
    fluidsr train --data "$store" --recipe "$recipe" --device "$device" --minutes "${MINUTES:-9}" -o "$out/$recipe" \
      ${INIT:+--init "$INIT"} ${SMALL:+--steps 3 --set patches.tile=8} | tee "$out/train.log"
    cp "$out/$recipe/$recipe.safetensors" "$out/$recipe/metrics.jsonl" "$out/"
    tar cf - -C "$out" "$recipe" | split -b 15M - "$out/$recipe.tar."
    rm -r "${out:?}/$recipe" ;;
  *) echo "gpu.sh: bench, data or train, not '$job'" >&2; exit 2 ;;
esac
