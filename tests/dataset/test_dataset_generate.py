"""Generation with the real solver, tiny: the same arrays whoever computes them, whatever happens."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fluidsr import solver as solver_package
from fluidsr.dataset import DatasetConfig, Store, generate
from fluidsr.errors import InputError, RunError, SceneError, SolverError
from fluidsr.scenes.random_scenes.distribution import load_distribution

SHORT = load_distribution("default", ["warm_up.frames=2"])
COLD = load_distribution("default", ["warm_up.frames=0"])
TINY = DatasetConfig(dim=2, resolution=16, simulations=3, frames=3, seed=11, distribution=SHORT)


def _digests(path: Path) -> dict[str, str]:
    """Of every file but the root's metadata, hidden ones too."""
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.parent != path)
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TINY, made by one process without a break."""
    path = tmp_path_factory.mktemp("whole") / "data"
    report = generate(TINY, path)
    assert report.written == ["sim_00000", "sim_00001", "sim_00002"]
    return path


def test_recorded_frames_are_smoke_on_two_grids(whole: Path) -> None:
    for simulation in Store.open(whole).simulations():
        low, high = simulation.coarse(2), simulation.fine(2)
        assert simulation.factor == 4
        assert max(low.shape) == 16
        assert high.density.max() > 0.1
        assert np.abs(low.velocity).max() > 0
        assert float(low.time) == pytest.approx((2 + 3) * low.dt)
        assert low.density.sum() * 16 == pytest.approx(high.density.sum(), rel=0.05)


@pytest.mark.slow
def test_two_workers_make_the_same_files(whole: Path, tmp_path: Path) -> None:
    reported: list[tuple[str, int]] = []
    report = generate(TINY, tmp_path / "two", workers=2, on_progress=lambda *news: reported.append(news))
    assert report.written == ["sim_00000", "sim_00001", "sim_00002"]
    assert _digests(tmp_path / "two") == _digests(whole)
    assert sum(frames for _, frames in reported) == TINY.simulations * TINY.frames


def test_a_cluster_makes_the_same_files(whole: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra 'distributed' is not installed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as c,
        distributed.Client(c) as client,
    ):
        reported: list[tuple[str, int]] = []
        generate(TINY, tmp_path / "dask", client=client, on_progress=lambda *news: reported.append(news))
    assert _digests(tmp_path / "dask") == _digests(whole)
    assert sum(frames for _, frames in reported) == TINY.simulations * TINY.frames


@pytest.mark.slow
def test_killed_in_the_middle_and_resumed(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "killed"
    code = (
        "from test_dataset_generate import TINY, generate\n"
        f"generate(TINY, {str(path)!r}, on_progress=lambda message, frames: print(message, flush=True))\n"
    )
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=here)
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("sim_00001 frame 2"):
            child.send_signal(signal.SIGKILL)
            break
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    assert list(path.glob(".sim_00001.*.partial"))
    assert [s.name for s in Store.open(path).simulations()] == ["sim_00000"]
    assert Store.open(path).describe()["missing"] == ["sim_00001", "sim_00002"]
    report = generate(TINY, path)
    assert (report.kept, report.written) == (["sim_00000"], ["sim_00001", "sim_00002"])
    assert _digests(path) == _digests(whole)


@pytest.mark.slow
def test_interrupted_from_the_keyboard_nothing_unfinished_stays(whole: Path, tmp_path: Path) -> None:
    def interrupt(message: str, frames: int) -> None:
        if message.startswith("sim_00001 frame 2"):
            raise KeyboardInterrupt

    for workers in (1, 2):
        path = tmp_path / str(workers)
        with pytest.raises(KeyboardInterrupt):
            generate(TINY, path, workers=workers, on_progress=interrupt)
        assert not list(path.glob(".*"))
        assert all(simulation.frames == TINY.frames for simulation in Store.open(path).simulations())
    generate(TINY, path)
    assert _digests(path) == _digests(whole)


@pytest.mark.slow
def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "from fluidsr.dataset import DatasetConfig, generate\n"
        "if __name__ == '__main__':\n"
        "    config = DatasetConfig(dim=2, resolution=32, simulations=2, frames=100000)\n"
        f"    generate(config, {str(tmp_path / 'data')!r}, workers=2,\n"
        "             on_progress=lambda message, frames: print(message, flush=True))\n"
    )
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    parent.send_signal(signal.SIGKILL)
    parent.stdout.close()
    parent.wait()
    deadline = time.monotonic() + 20
    while _session_lives(parent.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _session_lives(parent.pid)


def _session_lives(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_simulation_that_diverges_is_recorded_and_left_out(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = solver_package.Solver.advance
    bad = TINY.simulation_seed(1)

    def diverges(self: solver_package.Solver, seconds: float) -> object:
        if self.setup.sources == _sources(bad) and self.time > 3.5 * seconds:
            raise SolverError("pressure", "did not converge", "use smaller steps")
        return advance(self, seconds)

    monkeypatch.setattr(solver_package.Solver, "advance", diverges)
    path = tmp_path / "data"
    report = generate(TINY, path)
    assert report.failed == {"sim_00001": "pressure: did not converge; use smaller steps"}
    assert report.written == ["sim_00000", "sim_00002"]
    store = Store.open(path)
    assert [s.name for s in store.simulations()] == ["sim_00000", "sim_00002"]
    assert store.describe()["failed"]["sim_00001"]["seed"] == bad
    assert "sources" in store.failed["sim_00001"]["scene"]
    assert store.describe()["missing"] == []
    assert not list((path / "sim_00001").glob("*/"))
    again = generate(TINY, path)
    assert (again.kept, again.written, again.failed) == (["sim_00000", "sim_00001", "sim_00002"], [], {})


def _sources(seed: int) -> object:
    from fluidsr.dataset.simulation_job import scene_of
    from fluidsr.scenes.build import setup_of

    return setup_of(scene_of(TINY, seed).scene).sources


def test_fields_that_are_not_finite_count_as_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = solver_package.Solver.advance

    def overflows(self: solver_package.Solver, seconds: float) -> object:
        report = advance(self, seconds)
        self.density.view(-1)[0] = 1e6  # finite, but not as float16
        return report

    monkeypatch.setattr(solver_package.Solver, "advance", overflows)
    config = DatasetConfig(dim=2, resolution=16, simulations=1, frames=1, distribution=COLD)
    report = generate(config, tmp_path / "data")
    assert "not finite as float16" in report.failed["sim_00000"]


def test_air_that_runs_away_counts_as_diverged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    velocity = solver_package.Solver.velocity
    config = DatasetConfig(dim=2, resolution=16, simulations=1, frames=1, distribution=COLD)
    monkeypatch.setattr(solver_package.Solver, "velocity", lambda self: velocity(self) + 1e3)
    assert "coarse cells per frame" in generate(config, tmp_path / "data").failed["sim_00000"]


def test_another_configuration_is_named_and_a_larger_one_grows(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "data"
    config = DatasetConfig(dim=2, resolution=16, simulations=1, frames=3, distribution=SHORT, seed=11)
    generate(config, path)
    with pytest.raises(InputError, match="seed is 11, not 12; use `overwrite`"):
        generate(
            DatasetConfig(dim=2, resolution=16, simulations=1, frames=3, distribution=SHORT, seed=12), path
        )
    assert generate(TINY, path).kept == ["sim_00000"]
    assert _digests(path) == _digests(whole)
    assert Store.open(path).attrs["simulations"] == 3
    other = DatasetConfig(dim=2, resolution=16, simulations=1, frames=1, distribution=COLD, seed=12)
    assert generate(other, path, overwrite=True).written == ["sim_00000"]
    assert [s.frames for s in Store.open(path).simulations()] == [1]


def test_two_commands_do_not_work_on_one_folder(tmp_path: Path) -> None:
    def second(message: str, frames: int) -> None:
        with pytest.raises(RunError, match="is working on it"):
            generate(TINY, tmp_path / "data")

    one = DatasetConfig(dim=2, resolution=16, simulations=1, frames=1, distribution=COLD)
    assert generate(one, tmp_path / "data", on_progress=second).written == ["sim_00000"]


def test_a_distribution_of_unsound_scenes_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    wide = load_distribution("default", ["kinds={plume: 1}", "sources.noise.scale=1e6"])
    config = DatasetConfig(dim=2, resolution=16, simulations=1, frames=1, distribution=wide)
    with pytest.raises(SceneError, match="scale"):
        generate(config, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_bad_places_and_counts_are_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("")
    with pytest.raises(InputError, match="is a file"):
        generate(TINY, tmp_path / "file")
    with pytest.raises(InputError, match="not a folder"):
        generate(TINY, tmp_path / "file" / "data")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="holds no dataset"):
            generate(TINY, tmp_path / "full", overwrite=overwrite)
    assert (tmp_path / "full" / "thesis.txt").exists()
    with pytest.raises(InputError, match="workers"):
        generate(TINY, tmp_path / "data", workers=0)
    with pytest.raises(InputError, match="leave `workers` or `scheduler` out"):
        generate(TINY, tmp_path / "data", workers=2, client=object())


def test_a_full_disk_stops_the_run_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zarr

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zarr.Array, "__setitem__", full)
    with pytest.raises(RunError, match="the disk is full"):
        generate(TINY, tmp_path / "data")
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["zarr.json"]
