"""The same buoyant plume through this solver, Mantaflow and PhiFlow, on this machine, in one go.

    python benchmarks/solver.py                                       ours alone, 64³ and 128³
    python benchmarks/solver.py --mantaflow-python A/bin/python --phiflow-python B/bin/python
    python benchmarks/solver.py --kernels --cells 128 256             bytes and time of each kernel
    python benchmarks/solver.py --memory                              peak memory of a 256³ step
    python benchmarks/solver.py --start                               the first step, cold and with cached kernels

A peer lives in an environment of its own (both need Python 3.11):

    python3.11 -m venv A && A/bin/pip install "bpy==4.5.*" --extra-index-url https://download.blender.org/pypi/
    python3.11 -m venv B && B/bin/pip install "phiflow==3.4.*" "torch>=2.6,<2.14"

FLUIDSR_MANTAFLOW_PYTHON and FLUIDSR_PHIFLOW_PYTHON do as well as the options. A peer that is not there is left out.
Contestants take turns, so that what else the machine does meets all alike; each is a process of its own (plume/*.py,
where the plume is described). A turn is two steps, of which the second counts: as in a run, caches then hold what the
step before has left, not what another contestant has. PhiFlow takes one step a turn, in the first `--phiflow-steps`
turns only, or it would be an afternoon. Reported are medians, and the least processor time of all threads, which other
work on the machine disturbs less; the residual is the true one, of the velocity, in the Euclidean norm.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "plume")]


class Contestant:
    """A worker process, asked for one step at a time."""

    def __init__(
        self, script: str, python: str, cells: int, options: argparse.Namespace, **environment: str
    ) -> None:
        command = [
            python, str(HERE / "plume" / script), "--cells", str(cells), "--tolerance", str(options.tolerance),
            "--warm", str(options.warm), "--threads", str(options.threads), "--device", options.device,
        ]  # fmt: skip
        variables = os.environ | {"OMP_NUM_THREADS": str(options.threads)} | environment
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=variables,
        )
        self.name = str(self._read()["ready"])
        self.steps: list[dict[str, Any]] = []

    def step(self, before: int = 0) -> None:
        """A step that counts, after some that do not."""
        assert self.process.stdin is not None
        for _ in range(before + 1):
            self.process.stdin.write("step\n")
            self.process.stdin.flush()
            reported = self._read()
        self.steps.append(reported)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def least(self, key: str) -> float:
        return min(step[key] for step in self.steps)

    def median(self, key: str) -> float:
        return statistics.median(step[key] for step in self.steps)

    def stage(self, name: str) -> float:
        return statistics.median(step["stages"].get(name, 0.0) for step in self.steps)

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"{self.process.args} ended early; run it by hand to see why")


def peers(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Script and interpreter of each peer that is there; says which is not."""
    found = []
    for name, module in (("mantaflow", "bpy"), ("phiflow", "phi")):
        python = getattr(options, f"{name}_python") or os.environ.get(f"FLUIDSR_{name.upper()}_PYTHON")
        if not python:
            print(f"{name}: left out, no interpreter given (--{name}-python)")
        elif subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode != 0:
            print(f"{name}: left out, {python} cannot import {module}")
        else:
            found.append((f"{name}.py", python))
    return found


def race(options: argparse.Namespace, cells: int, found: list[tuple[str, str]]) -> None:
    contestants = [Contestant("ours.py", sys.executable, cells, options)]
    contestants += [Contestant(script, python, cells, options) for script, python in found]
    for turn in range(options.steps):
        for contestant in contestants:
            slow = contestant.name.startswith("PhiFlow")
            if turn < options.phiflow_steps or not slow:
                contestant.step(before=0 if slow else 1)
    ours = contestants[0].median("seconds")
    print(f"\n## {cells}³, residual {options.tolerance:g}, after {options.warm} steps\n")
    print(
        "| | s a step | x ours | CPU s | x ours | advect | project | rest | iterations | residual | peak MiB | steps |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for one in contestants:
        seconds = one.median("seconds")
        advect, project = one.stage("advect"), one.stage("project")
        print(
            f"| {one.name} | {seconds:.4g} | {seconds / ours:.1f} | {one.least('cpu'):.4g} "
            f"| {one.least('cpu') / contestants[0].least('cpu'):.1f} | {advect:.4g} | {project:.4g} "
            f"| {seconds - advect - project:.3g} | {one.median('iterations'):.0f} | {one.median('residual'):.1e} "
            f"| {one.median('peak') / 2**20:.0f} | {len(one.steps)} |",
            flush=True,
        )
        one.close()


def memory(options: argparse.Namespace) -> None:
    """Peak resident memory of two steps at 256³, imports and all."""
    options.warm = 1
    for cells in options.cells or [256]:
        one = Contestant("ours.py", sys.executable, cells, options)
        one.step()
        one.close()
        peak = one.steps[-1]["peak"]
        print(
            f"{cells}³: {peak / 2**20:.0f} MiB at the peak, {peak / cells**3:.1f} bytes a cell, imports included"
        )


def start(options: argparse.Namespace) -> None:
    """Seconds from the start of Python to the end of the first step at 64³."""
    options.warm = 1
    with tempfile.TemporaryDirectory() as folder:
        for kernels in ("compiled", "from the cache"):
            begun = time.perf_counter()
            one = Contestant("ours.py", sys.executable, 64, options, TI_OFFLINE_CACHE_FILE_PATH=folder)
            print(f"first step, kernels {kernels}: {time.perf_counter() - begun:.2f} s")
            one.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="*", help="along an edge (64 128)")
    parser.add_argument("--tolerance", type=float, default=1e-5)
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--warm", type=int, default=20, help="steps before the first that counts")
    parser.add_argument("--phiflow-steps", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="of our own solver")
    parser.add_argument("--mantaflow-python", help="interpreter that can import bpy")
    parser.add_argument("--phiflow-python", help="interpreter that can import phi")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--kernels", action="store_true")
    kind.add_argument("--memory", action="store_true")
    kind.add_argument("--start", action="store_true")
    options = parser.parse_args()
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {options.threads} of {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if options.memory:
        memory(options)
    elif options.start:
        start(options)
    elif options.kernels:
        os.environ.setdefault("OMP_NUM_THREADS", str(options.threads))
        import kernels

        for cells in options.cells or [128]:
            kernels.table(cells, options.device)
    else:
        found = peers(options)
        for cells in options.cells or [64, 128]:
            race(options, cells, found)


if __name__ == "__main__":
    main()
