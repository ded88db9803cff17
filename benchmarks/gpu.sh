#!/usr/bin/env bash
# On a machine with a CUDA device, a Python with torch, and perhaps no network:
#
#   benchmarks/gpu.sh bench              the GPU tests, then the benchmarks
#   benchmarks/gpu.sh data RECIPE        pairs for a recipe, into data/ (kept between calls where the machine is)
#   benchmarks/gpu.sh train RECIPE       data if need be, then nine minutes of training; call again to go on
#   benchmarks/gpu.sh more RECIPE N      the parts of the training from the Nth, where they did not fit into one call
#   benchmarks/gpu.sh take RECIPE        keep the parts that lie in resume/, where they do not all fit into one call
#
# Wheels in .whl/ are installed first. Results come to $OUT (default: out/), at most 8 files of 16 MiB and 64 MiB
# in all: what borrowed machines let through. A training stays in runs/gpu/ and comes as a tar in parts,
# RECIPE.tar.aa and so on (cat them to unpack); tempogan-3d has nine, in three calls. On a machine that does not
# have it, it goes on from the parts in resume/ (copy them there). INIT names a model to start from. DEVICE=cpu and
# SMALL=1 try it all on a laptop.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-out}; device=${DEVICE:-cuda}; job=${1:?bench, data, train, more or take}; recipe=${2:-smoke3d-x4}
kept=runs/gpu
mkdir -p "$out" "$kept/taken" data

if compgen -G '.whl/*.whl' >/dev/null; then
  site=$(mktemp -d)
  python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" .whl/*.whl
  export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
fluidsr() { python3 -m fluidsr "$@"; }

case $recipe in *2d*) dim=2 coarse=64 simulations=20 frames=120 ;; *) dim=3 coarse=32 simulations=20 frames=60 ;; esac
if [ -n "${SMALL:-}" ]; then coarse=16 simulations=3 frames=4; fi
store=data/$recipe.zarr

make_data() {
  fluidsr generate-dataset --dim $dim --resolution $coarse --factor 4 --simulations $simulations --frames $frames \
    --device "$device" -o "$store"
}

# Parts of the training from number $1 on, as many as $OUT may hold.
hand() {
  local number=0 part bytes
  for part in "$kept/$recipe.tar."*; do
    number=$((number + 1))
    if [ "$number" -lt "$1" ]; then continue; fi
    bytes=$({ cat "$out"/* 2>/dev/null; cat "$part"; } | wc -c)
    if [ $((bytes + (1 << 20))) -gt $((64 << 20)) ] || [ "$(ls "$out" | wc -l)" -ge 8 ]; then
      echo "gpu.sh: parts from $number on are kept here; 'gpu.sh more $recipe $number' hands them out"
      return
    fi
    cp "$part" "$out/"
  done
}

take() { if compgen -G "resume/$recipe.tar.*" >/dev/null; then cp "resume/$recipe.tar."* "$kept/taken/"; fi; }

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
    take
    if [ ! -d "$kept/$recipe" ] && compgen -G "$kept/taken/$recipe.tar.*" >/dev/null; then
      cat "$kept/taken/$recipe.tar."* | tar xf - -C "$kept" ||
        { rm -rf "${kept:?}/$recipe"; echo "gpu.sh: a part of $recipe is missing" >&2; exit 1; }
    fi
    rm -f "$kept/taken/$recipe.tar."*
    fluidsr train --data "$store" --recipe "$recipe" --device "$device" --minutes "${MINUTES:-9}" -o "$kept/$recipe" \
      ${INIT:+--init "$INIT"} ${SMALL:+--steps 3 --set patches.tile=8} | tee "$out/train.log"
    for file in "$recipe.safetensors" metrics.jsonl; do
      if [ "$(wc -c <"$kept/$recipe/$file")" -lt $((16 << 20)) ]; then cp "$kept/$recipe/$file" "$out/"; fi
    done
    rm -f "$kept/$recipe.tar."*
    tar cf - -C "$kept" "$recipe" | split -b 15M - "$kept/$recipe.tar."
    hand 1 ;;
  more) hand "${3:?the number of the first part}" ;;
  take) take ;;
  *) echo "gpu.sh: bench, data, train, more or take, not '$job'" >&2; exit 2 ;;
esac
