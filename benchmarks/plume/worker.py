"""What every worker of `benchmarks/solver.py` does: options in, one line of JSON for each step out.

The plume: N³ cells of size 1, closed floor and sides, open top; a sphere of radius N / 10 around a point N * 0.15
above the middle of the floor is filled with smoke of density 1 in each step; steps of 1; buoyancy 3.2 / N cells per
step² and unit of density, so that the plume looks alike at every N. MacCormack for smoke and velocity, then buoyancy,
then the projection. A worker says `ready`, and then answers each line that it reads with a step.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

RADIUS, HEIGHT, LIFT = 0.1, 0.15, 3.2


def options(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--cells", type=int, default=64)
    parser.add_argument(
        "--tolerance", type=float, default=1e-5, help="relative residual of the pressure solve"
    )
    parser.add_argument("--warm", type=int, default=20, help="steps before the first that counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="of our own solver")
    return parser.parse_args()


def serve(name: str, step: Callable[[], dict[str, Any]], warm: Callable[[], Any], count: int) -> None:
    """`step()` returns seconds, seconds by stage, iterations and the true relative residual of one step. Processor
    seconds of all threads, measured around it, are added: they mean something on a busy machine, too."""
    for _ in range(count):
        warm()
    say({"ready": name})
    for _ in sys.stdin:
        begun = time.process_time()
        result = step()
        say(result | {"cpu": time.process_time() - begun, "peak": peak()})


def peak() -> int:
    """Bytes of this process that were in memory at once, at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def say(what: dict[str, Any]) -> None:
    print("\n" + json.dumps(what), flush=True)
