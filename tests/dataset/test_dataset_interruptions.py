"""Whatever befalls the processes that make a dataset, and the disk under it: the same store, or one clear line."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from synthetic_pairs import write_synthetic

from fluidsr.dataset import DatasetConfig, Store, generate
from fluidsr.dataset import workers as crew
from fluidsr.dataset.simulation_job import Outcome, SimulationJob, simulate
from fluidsr.errors import DatasetError, RunError, SolverError
from fluidsr.scenes.random_scenes.distribution import load_distribution

OPTIONS = ["--dim", "2", "--resolution", "16", "--simulations", "6", "--frames", "12", "--seed", "11"]
OPTIONS += ["--set", "warm_up.frames=2"]
KILLS = 20
ONE = DatasetConfig(
    dim=2, resolution=16, simulations=2, frames=2, distribution=load_distribution("default", ["warm_up.frames=0"])
)  # fmt: skip


def _digests(path: Path) -> dict[str, str]:
    """Of every file, hidden ones and the metadata too."""
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _start(path: Path, *more: str, limit: int | None = None) -> subprocess.Popen[str]:
    """`fluidsr generate-dataset`, in a session of its own; no file may grow beyond `limit` bytes."""

    def prepare() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-m", "fluidsr.cli", "generate-dataset", "-q", *OPTIONS, *more]
    command += ["-o", str(path)]
    here = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=here, preexec_fn=prepare,
        start_new_session=True,
    )  # fmt: skip


def _run(path: Path, *more: str, limit: int | None = None) -> tuple[int, list[str]]:
    """The exit code, and the lines that say what went wrong."""
    child = _start(path, *more, limit=limit)
    reported, _ = child.communicate(timeout=600)
    return child.returncode, [line for line in reported.splitlines() if not line.startswith("[Taichi]")]


def _until(what: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _at_work(path: Path) -> bool:
    """Whether some simulation has frames already, and is not complete."""
    return any(path.glob(".sim_*.partial/high_density/c/1"))


def _workers(parent: int) -> list[int]:
    """Worker processes that `parent` has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            ppid = int(stat.read_text().rsplit(")", 1)[1].split()[1])
            words = stat.with_name("cmdline").read_text()
        except OSError:
            continue
        if ppid == parent and "spawn_main" in words:
            found.append(int(stat.parent.name))
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an uninterrupted command makes."""
    path = tmp_path_factory.mktemp("interruptions") / "whole"
    assert _run(path) == (0, [])
    return path


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_random_moments_and_run_again_the_store_is_the_same(whole: Path, tmp_path: Path) -> None:
    expected, drawn = _digests(whole), random.Random(5)
    kills, busy, rounds = 0, 0, 0
    path = tmp_path / "round0"
    while kills < KILLS:
        child = _start(path, "--workers", str(1 + kills % 2))
        # From before the first frame on: some moments after the solver has started, or any moment at all.
        if drawn.random() < 0.7:
            done = len([*path.glob("sim_*")])
            _until(
                lambda at=path, c=child, d=done: (
                    _at_work(at) or c.poll() is not None or len([*at.glob("sim_*")]) > d
                )
            )
            time.sleep(drawn.uniform(0, 1.5))
        else:
            time.sleep(drawn.uniform(0, 4))
        busy += _at_work(path)
        child.kill()
        child.communicate()
        there = {
            name: digest for name, digest in _digests(path).items() if name.startswith("sim_") or name == "zarr.json"
        } if path.exists() else {}  # fmt: skip
        assert there.items() <= expected.items(), "what has its name is whole"
        if child.returncode == 0:
            assert there == expected
            rounds += 1
            path = tmp_path / f"round{rounds}"
            continue
        assert child.returncode == -signal.SIGKILL
        kills += 1
    assert busy >= 5, "some were killed in the middle of a simulation"
    assert _run(path) == (0, [])
    assert _digests(path) == expected


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_worker_that_is_killed_costs_no_simulation(whole: Path, tmp_path: Path) -> None:
    child = _start(tmp_path / "data", "--workers", "2")
    _until(lambda: _at_work(tmp_path / "data"))
    os.kill(_workers(child.pid)[0], signal.SIGKILL)
    reported, _ = child.communicate(timeout=600)
    assert child.returncode == 0, reported
    assert _digests(tmp_path / "data") == _digests(whole)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_workers_that_are_killed_again_and_again_end_the_run_in_one_line(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "data"
    child = _start(path, "--workers", "2", "--frames", "4000")
    for _ in range(1 + crew.RETRIES):
        _until(lambda: _at_work(path))
        living = _workers(child.pid)
        os.kill(living[0], signal.SIGKILL)
        _until(lambda gone=living[0]: not Path(f"/proc/{gone}").exists())
        _until(lambda: not _at_work(path))
    reported, _ = child.communicate(timeout=600)
    assert child.returncode == 1
    assert [entry.name for entry in path.iterdir()] == ["zarr.json"]
    assert reported.splitlines() == [
        "Error: --workers: worker processes died 3 times (killed, or out of memory); "
        "use fewer workers and rerun the same command"
    ]


@contextmanager
def _cluster() -> Iterator[tuple[str, list[int]]]:
    """The address of a scheduler with two workers, each a process of its own, and the workers' process ids."""
    distributed = pytest.importorskip("distributed", reason="the extra 'distributed' is not installed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address, [nanny.pid for nanny in cluster.workers.values()]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("killed", [False, True])
def test_two_dask_workers_in_processes_of_their_own_make_the_same_store(
    whole: Path, tmp_path: Path, killed: bool
) -> None:
    path = tmp_path / "data"
    with _cluster() as (address, pids):
        child = _start(path, "--scheduler", address)
        if killed:
            _until(lambda: _at_work(path))
            os.kill(pids[0], signal.SIGKILL)
        reported, _ = child.communicate(timeout=600)
    assert child.returncode == 0, reported
    assert _digests(path) == _digests(whole)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_scheduler_that_is_gone_is_one_line_and_no_loss(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "data"
    with _cluster() as (address, _):
        child = _start(path, "--scheduler", address)
        _until(lambda: _at_work(path))
    reported, _ = child.communicate(timeout=600)
    assert child.returncode == 1
    line = "Error: --scheduler: the scheduler is gone, or dropped the work; start it again and run the same"
    assert f"{line} command again" in reported.splitlines()
    assert "Traceback" not in reported
    assert _run(path) == (0, [])
    assert _digests(path) == _digests(whole)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_is_one_line_and_no_loss(whole: Path, tmp_path: Path, workers: str) -> None:
    """Files that may not grow stand for the disk: the system's error is treated alike."""
    sizes = sorted(p.stat().st_size for p in whole.rglob("*") if p.is_file())
    path = tmp_path / "data"
    code, reported = _run(path, "--workers", workers, limit=sizes[-len(sizes) // 20])
    assert (code, reported) == (
        1,
        [f"Error: {path}: the disk is full; free some space, or write to another disk"],
    )
    assert not [*path.glob(".*")]
    assert _digests(path).items() <= _digests(whole).items()
    assert _run(path, "--workers", workers) == (0, [])
    assert _digests(path) == _digests(whole)


def test_a_disk_that_is_full_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zarr.storage._local as local

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(local, "_put", full)
    with pytest.raises(RunError, match="the disk is full"):
        generate(ONE, tmp_path / "data")
    monkeypatch.undo()
    assert generate(ONE, tmp_path / "data").written == ["sim_00000", "sim_00001"]


def test_killed_over_the_first_of_all_files(tmp_path: Path) -> None:
    """zarr gives a file its name when it is whole; what it was killed over is no reason to refuse the folder."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "zarr.0123.partial").write_text("{")
    generate(ONE, tmp_path / "data")
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["sim_00000", "sim_00001", "zarr.json"]


def test_what_fails_for_an_outside_reason_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def unlucky(job: SimulationJob, report: Callable[[str], None]) -> Outcome:
        calls.append(job.name)
        if calls.count(job.name) <= crew.RETRIES:
            report("frame")
            raise MemoryError("no room for a grid")
        return simulate(job, report)

    monkeypatch.setattr(crew, "simulate", unlucky)
    reported: list[tuple[str, int]] = []
    report = generate(ONE, tmp_path / "data", on_progress=lambda *news: reported.append(news))
    assert report.written == ["sim_00000", "sim_00001"] and not report.failed
    assert len(calls) == 2 * (1 + crew.RETRIES)
    assert sum(frames for _, frames in reported) == ONE.simulations * ONE.frames
    assert ("sim_00000 is restarted", -1) in reported


def test_what_goes_on_failing_ends_the_run_and_what_diverges_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def fails(job: SimulationJob, report: Callable[[str], None]) -> Outcome:
        calls.append(job.name)
        raise MemoryError("no room for a grid")

    monkeypatch.setattr(crew, "simulate", fails)
    with pytest.raises(RunError, match=r"sim_00000: failed 3 times \(MemoryError: no room for a grid\); run"):
        generate(ONE, tmp_path / "data")
    assert len(calls) == 3
    monkeypatch.undo()

    from fluidsr.dataset import pairs

    def diverges(self: pairs.FilteredPair) -> pairs.SimulatedPair:
        calls.append("advance")
        raise SolverError("pressure", "did not converge", "use smaller steps")

    calls.clear()
    monkeypatch.setattr(pairs.FilteredPair, "advance", diverges)
    assert set(generate(ONE, tmp_path / "data").failed) == {"sim_00000", "sim_00001"}
    assert len(calls) == 2
    monkeypatch.undo()
    # Recorded as failed: neither tried again, nor lost, nor missing.
    again = generate(ONE, tmp_path / "data")
    assert (again.written, again.kept) == ([], ["sim_00000", "sim_00001"])
    assert Store.open(tmp_path / "data").describe()["missing"] == []


def test_a_data_set_of_an_older_version_is_used_but_does_not_grow(tmp_path: Path) -> None:
    path = write_synthetic(tmp_path / "data")
    root = path / "zarr.json"
    document = json.loads(root.read_text())
    del document["attributes"]["distribution"]
    root.write_text(json.dumps(document))
    config = DatasetConfig(dim=2, resolution=24, factor=4, simulations=9, frames=5, seed=7)
    with pytest.raises(
        DatasetError, match="older version, which did not record its distribution: it can be used"
    ):
        generate(config, path)
    assert len(Store.open(path).simulations()) == 3
