"""Kill the commands at random moments, run them again, and compare every byte with an uninterrupted run.

    python tests/reliability/kills.py                             # a hundred kills over all commands
    python tests/reliability/kills.py render train --kills 10 --seed 7

Each run is a process of its own, forked from this one, which has loaded the program's modules: its start costs
nothing. Half of the kills (SIGKILL) hit at a random file operation of the run, the other half after a random share
of its CPU time, and half of those hit its child processes too. A run is killed up to `MOST_KILLS` times before it is
let finish. A kill has landed if the run was under way: something of it was on the disk, and it had not ended. The
state of a simulation is saved after every frame (normally every five seconds).

Of the logs, times of day and seconds of work are left out of the comparison, TensorBoard's files altogether.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_KILLS = 3
_WRITES = {
    "open",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.truncate",
    "os.listdir",
    "os.scandir",
}
_TINY = [
    "--set", "generator={width: 8, blocks: 1, rise_width: 4}", "--set", "patches={tile: 8, batch: 2, frames: 3}",
    "--set", "precision=float32",
]  # fmt: skip
_PLUME2D = ["simulate", "plume2d", "--set", "domain.resolution=[16,24]", "--set", "domain.cell_size=0.05"]
_PLUME3D = ["simulate", "plume", "--set", "domain.resolution=[8,12,8]", "--set", "domain.cell_size=0.16"]
_SIZE = ["--dim", "2", "--resolution", "16", "--factor", "4", "--simulations", "3"]
_CPU = ["--device", "cpu"]
_EVERY = [word for key, n in (("checkpoint", 2), ("log", 2), ("validate", 4), ("sample", 4)) for word in
          ("--set", f"{key}_every={n}")]  # fmt: skip

# The arguments of each command; {inputs} is the folder of what `make_inputs` makes, {output} that of the run.
CASES = {
    "simulate-2d": [*_PLUME2D, "--frames", "5", "--model", "{inputs}/tiny2.safetensors", "-o", "{output}"],
    "simulate-3d": [*_PLUME3D, "--frames", "4", "--model", "{inputs}/tiny3.safetensors", "-o", "{output}"],
    "upsample": ["upsample", "{inputs}/frames", "--model", "{inputs}/tiny2.safetensors", "-o", "{output}"],
    "convert": ["convert", "{inputs}/frames", "-o", "{output}",
                *(word for kind in ("vdb", "vti", "npz", "vtkhdf") for word in ("--format", kind))],
    "render": ["render", "{inputs}/frames", "-o", "{output}/movie.mp4"],
    "generate-dataset": ["generate-dataset", *_SIZE, "--frames", "4", "--set", "warm_up.frames=2", "-o", "{output}"],
    "import-dataset": ["import-dataset", *(word for side in ("frames", "more") for word in
                       ("--high", f"{{inputs}}/{side}")), "--factor", "4", "-o", "{output}"],
    "retime": ["retime", "{inputs}/frames", "--frame-rate", "60", "-o", "{output}"],
    "restcoords": ["restcoords", "{inputs}/frames", "-o", "{output}"],
    "train": ["train", "--data", "{inputs}/data", "--recipe", "smoke2d-x4", "--steps", "8", *_TINY, *_EVERY,
              "-o", "{output}"],
    "finetune": ["finetune", "--model", "{inputs}/trained", "--data", "{inputs}/data", "--pairs", "2",
                 "--steps", "8", *_EVERY, "-o", "{output}"],
}  # fmt: skip


@dataclass
class Counts:
    """What happened to the runs of one command."""

    landed: int = 0
    rounds: int = 0
    lost: int = 0
    different: int = 0
    left_behind: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.landed} kills landed in {self.rounds} runs: {self.lost} files lost, {self.different} different, "
            f"{self.left_behind} left behind"
        )


def load_modules(names: Sequence[str]) -> None:
    """What the commands `names` import late, and what a fork shall not compute again."""
    modules = ["cli", "pipeline.checkpoint", "pipeline.convert", "pipeline.provenance", "volumes.vtkhdf"]
    if set(names) != {"convert"}:
        modules += ["dataset", "preview", "solver", "training", "upscaling"]
        modules += [
            f"pipeline.{name}"
            for name in (
                "finetune",
                "generate_dataset",
                "import_dataset",
                "render",
                "restcoords",
                "retime",
                "simulate",
                "train",
                "upsample",
            )
        ]
    for name in modules:
        importlib.import_module(f"fluidsr.{name}")
    importlib.import_module("fluidsr.pipeline.provenance").commit()


def start(
    arguments: Sequence[str], output: Path, log: Path, kill_at: int | None, count_to: Path | None
) -> int:
    """The process id of a new run; it kills itself at its file operation `kill_at`, and writes their number to
    `count_to` at its end."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        code = _run(arguments, output, kill_at, count_to)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}")
    finally:
        sys.stdout.flush()
        os._exit(code)


def _run(arguments: Sequence[str], output: Path, kill_at: int | None, count_to: Path | None) -> int:
    from fluidsr.cli import main
    from fluidsr.pipeline.checkpoint import Checkpoint

    Checkpoint.is_due = lambda self: True  # type: ignore[method-assign]
    operations, root = [0], str(output)

    def count(event: str, details: tuple[Any, ...]) -> None:
        if event in _WRITES and str(details[0]).startswith(root):
            operations[0] += 1
            if operations[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    try:
        main([*arguments, "-q"])
    except SystemExit as stop:
        if count_to is not None:
            count_to.write_text(str(operations[0]))
        return int(stop.code or 0)
    return 70


def cpu_seconds(pid: int) -> float:
    """What the process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def finish(pid: int, log: Path, expected: int = 0) -> float:
    """Wait for a run that nobody kills; its CPU seconds. Raises RuntimeError where it ends otherwise than expected."""
    _, status, usage = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status) != expected:
        raise RuntimeError(f"exit code {os.waitstatus_to_exitcode(status)}: {log.read_text()[-2000:]}")
    return usage.ru_utime + usage.ru_stime


def make_inputs(folder: Path, names: Sequence[str]) -> None:
    """Models of a few weights, four frames, and a dataset: what the commands `names` read."""
    folder.mkdir()
    if {"simulate-2d", "simulate-3d", "upsample"} & set(names):
        finish(_forked(_make_models, folder), folder / "log")
    if {"upsample", "convert", "render", "import-dataset", "retime", "restcoords"} & set(names):
        _write_frames(folder / "frames")
    if "import-dataset" in names:
        _write_frames(folder / "more", first=11)
    if {"train", "finetune"} & set(names):
        _complete(["generate-dataset", *_SIZE, "--frames", "6", *_CPU], folder / "data")
    if "finetune" in names:
        trained = folder / "trained"
        _complete([*_filled_in(CASES["train"][:-2], folder, trained), *_CPU], trained)


def _filled_in(words: Sequence[str], inputs: Path, output: Path) -> list[str]:
    return [word.replace("{inputs}", str(inputs)).replace("{output}", str(output)) for word in words]


def _complete(arguments: Sequence[str], output: Path) -> None:
    log = output.parent / "log"
    finish(start([*arguments, "-o", str(output)], output, log, None, None), log)


def _write_frames(folder: Path, first: int = 1) -> None:
    import numpy as np

    from fluidsr.frame import Frame
    from fluidsr.volumes import write

    folder.mkdir()
    for number in range(first, first + 4):
        density = np.random.default_rng(number).random((16, 24), np.float32)
        velocity = np.stack([density, -density])
        frame = Frame(density, velocity=velocity, cell_size=0.05, time=number / 24)
        write(folder / f"smoke_{number:04d}.vdb", frame)


def _forked(work: Any, *arguments: Any) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work(*arguments)
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def _make_models(folder: Path) -> None:
    import torch

    from fluidsr.models import Card, SmokeGenerator, save
    from fluidsr.models.store import properties_of

    for dim in (2, 3):
        torch.manual_seed(1)
        generator = SmokeGenerator(dim, 4, width=8, blocks=1, rise_width=4)
        card = Card(name="tiny", **properties_of(generator), density_range=(0, 2), velocity_range=(-9, 9))
        save(folder / f"tiny{dim}.safetensors", generator, card)


def contents(output: Path) -> dict[str, str]:
    """A digest of every file by its path, without what no two runs have in common."""
    return {
        str(path.relative_to(output)): hashlib.sha256(_comparable(path)).hexdigest()
        for path in sorted(output.rglob("*"))
        if path.is_file() and "tensorboard" not in path.parts
    }


def _comparable(path: Path) -> bytes:
    if path.suffix == ".jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        kept = [
            {k: v for k, v in line.items() if not k.startswith(("seconds", "steps_per_second", "share_"))}
            for line in lines
        ]
        return json.dumps(kept).encode()
    if path.name.startswith("checkpoint"):
        from fluidsr import checkpoints

        saved = checkpoints.read(path)
        saved.record.pop("seconds")
        words = [json.dumps(saved.record, sort_keys=True).encode()]
        words += [name.encode() + tensor.numpy().tobytes() for name, tensor in sorted(saved.tensors.items())]
        return b"\n".join(words)
    return path.read_bytes()


def finished_files(output: Path) -> dict[Path, tuple[int, int]]:
    """The files of what counts as finished (frames in the log, simulations with their names), each with its inode and
    time: a run that goes on leaves them alone."""
    files: list[Path] = [path for path in output.glob("sim_*/**/*") if path.is_file()]
    with open(output / "run.jsonl") if (output / "run.jsonl").exists() else open(os.devnull) as log:  # noqa: PTH123
        for line in log:
            if line.endswith("\n"):
                files += [output / name for name in json.loads(line).get("files", {})]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


class Case:
    """A command: its uninterrupted run, and what happened to those that were killed."""

    def __init__(self, name: str, inputs: Path, folder: Path, seed: int) -> None:
        self.name, self.folder, self.counts = name, folder, Counts()
        self._inputs, self._log, self._drawn = inputs, folder / "log", random.Random(f"{seed} {name}")
        folder.mkdir()
        output, number = folder / "whole" / "run", folder / "operations"
        pid = start(self._arguments(output), output, self._log, None, number)
        self._cpu = finish(pid, self._log)
        self._operations = int(number.read_text())
        self._whole = contents(output)

    def _arguments(self, output: Path) -> list[str]:
        words = _filled_in(CASES[self.name], self._inputs, output)
        return words if self.name in ("convert", "restcoords", "import-dataset") else [*words, *_CPU]

    def round(self, most: int) -> None:
        """Start a run, kill it up to `most` times, let it finish, and compare what it leaves."""
        counts, drawn = self.counts, self._drawn
        # Some files are named after the folder.
        output = self.folder / f"round{counts.rounds}" / "run"
        counts.rounds += 1
        kept: dict[Path, tuple[int, int]] = {}
        killed, complete = [], False
        for _ in range(drawn.randint(1, most)):
            pid, complete = self._kill_once(output)
            if complete or not output.exists():
                break
            killed.append(pid)
            for path, before in finished_files(output).items():
                self._check_kept(path, kept.setdefault(path, before))
            if (output / "movie.mp4").exists():
                break  # killed after it had its name
        if not complete:
            # A movie that is there is not drawn again (exit code 2); what lies beside it is cleared up.
            drawn_before = (output / "movie.mp4").exists()
            finish(
                start(self._arguments(output), output, self._log, None, None),
                self._log,
                2 if drawn_before else 0,
            )
        for pid in killed:
            wait_for_group(pid)  # a movie's encoder outlives the run
        counts.landed += len(killed)
        for path, before in kept.items():
            self._check_kept(path, before)
        self._compare(contents(output))

    def _kill_once(self, output: Path) -> tuple[int, bool]:
        """Start the command and kill it at a random moment; its process, and whether it ended before that."""
        drawn = self._drawn
        at_operation = drawn.randint(1, self._operations) if drawn.random() < 0.5 else None
        moment, group = drawn.random() * self._cpu, drawn.random() < 0.5
        pid = start(self._arguments(output), output, self._log, at_operation, None)
        try:
            ended, status = os.waitpid(pid, os.WNOHANG if at_operation is None else 0)
            while not ended:
                if cpu_seconds(pid) >= moment and output.exists():
                    os.killpg(pid, signal.SIGKILL) if group else os.kill(pid, signal.SIGKILL)
                    ended, status = os.waitpid(pid, 0)
                else:
                    time.sleep(0.005)
                    ended, status = os.waitpid(pid, os.WNOHANG)
        except BaseException:
            os.killpg(pid, signal.SIGKILL)
            raise
        code = os.waitstatus_to_exitcode(status)
        if code not in (0, -signal.SIGKILL):
            raise RuntimeError(f"{self.name}: exit code {code}: {self._log.read_text()[-2000:]}")
        return pid, code == 0

    def _check_kept(self, path: Path, before: tuple[int, int]) -> None:
        now = path.stat() if path.exists() else None
        if now is None or (now.st_ino, now.st_mtime_ns) != before:
            self.counts.lost += 1
            self.counts.problems.append(f"{self.name}: {path.name} was finished, and is gone or made again")

    def _compare(self, here: dict[str, str]) -> None:
        whole, counts = self._whole, self.counts
        lost, left = whole.keys() - here.keys(), here.keys() - whole.keys()
        different = {path for path in whole.keys() & here.keys() if whole[path] != here[path]}
        counts.lost += len(lost)
        counts.different += len(different)
        counts.left_behind += len(left)
        for kind, paths in (("lost", lost), ("different", different), ("left behind", left)):
            counts.problems += [f"{self.name}: {path}: {kind}" for path in sorted(paths)]


def wait_for_group(pid: int, seconds: float = 60.0) -> None:
    """Until the children of a killed process have ended, too."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)


def harness(names: Sequence[str], kills: int, seed: int, minutes: float) -> list[Counts]:
    """Kill the commands `names` in turn until `kills` have landed in all, or the time is over; prints and returns the
    counts of each."""
    load_modules(names)
    until = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as root:
        inputs = Path(root) / "inputs"
        make_inputs(inputs, names)
        cases = [Case(name, inputs, Path(root) / name, seed) for name in names]
        landed = 0
        for case in itertools.cycle(cases):
            if landed >= kills or time.monotonic() > until:
                break
            before = case.counts.landed
            case.round(min(MOST_KILLS, kills - landed))
            landed += case.counts.landed - before
            print(f"  {case.name}: {case.counts}", file=sys.stderr, flush=True)
    for case in cases:
        print(f"{case.name}: {case.counts}", *case.counts.problems, sep="\n  ")
    return [case.counts for case in cases]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=f"{', '.join(CASES)}; none: all")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so long")
    options = parser.parse_args()
    if unknown := set(options.commands) - set(CASES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    total = Counts()
    for counts in harness(options.commands or list(CASES), options.kills, options.seed, options.minutes):
        for key in ("landed", "rounds", "lost", "different", "left_behind"):
            setattr(total, key, getattr(total, key) + getattr(counts, key))
    print(f"together: {total}")
    sys.exit(bool(total.lost or total.different or total.left_behind))


if __name__ == "__main__":
    main()
