"""The main job, as the README's first command runs it: seconds and peak memory, by stage.

python benchmarks/main_job.py [SCENE] [FRAMES]
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main(scene: str = "plume", frames: str = "48") -> None:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "run"
        command = [
            sys.executable,
            "-m",
            "fluidsr",
            "simulate",
            scene,
            "--frames",
            frames,
            "-o",
            str(output),
            "-q",
        ]
        started = time.perf_counter()
        subprocess.run(command, check=True)
        total = time.perf_counter() - started
        records = [json.loads(line) for line in (output / "run.jsonl").read_text().splitlines()]
        size = sum(file.stat().st_size for file in (output / "frames").iterdir())
    stages: dict[str, float] = {}
    for record in records:
        for stage, seconds in record["seconds"].items():
            if isinstance(seconds, float):
                stages[stage] = stages.get(stage, 0.0) + seconds
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    print(
        f"{scene}: {len(records)} frames in {total:.1f} s, "
        f"{size / 2**20:.0f} MiB of volumes, {peak:.0f} MiB at the peak"
    )
    for stage, seconds in stages.items():
        note = "  (in two threads beside the rest)" if stage == "write" else ""
        print(f"  {stage:10s}{seconds:8.1f} s{seconds / len(records):8.2f} s a frame{note}")


if __name__ == "__main__":
    main(*sys.argv[1:])
