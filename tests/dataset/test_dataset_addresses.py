"""Datasets at addresses of fsspec: the same data, and whole or not at all, without locks and renames."""

from __future__ import annotations

import itertools
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import zarr
from foreign_pairs import shot
from fsspec.implementations.memory import MemoryFileSystem
from synthetic_pairs import write_synthetic

from fluidsr.dataset import DatasetConfig, PatchSampler, Store, generate, import_simulations
from fluidsr.dataset.addresses import Address, Remote, locate, names, remove, size
from fluidsr.dataset.writer import SimulationWriter
from fluidsr.dataset.zarr_groups import finished, read_root
from fluidsr.errors import DatasetError, InputError, RunError
from fluidsr.frame import Frame
from fluidsr.scenes.random_scenes.distribution import load_distribution


@pytest.fixture
def memory() -> Iterator[Remote]:
    """An address that nothing else uses."""
    address = Remote(f"memory://{uuid.uuid4().hex}/smoke.zarr")
    yield address
    remove(address)


def objects(address: Address) -> dict[str, bytes]:
    """Everything there, by its path."""
    if isinstance(address, Path):
        return {str(f.relative_to(address)): f.read_bytes() for f in address.rglob("*") if f.is_file()}
    return {name: fsspec.open(f"{address}/{name}").open().read() for name in address.files()}


def test_folders_stay_folders() -> None:
    assert locate("data/a.zarr") == Path("data/a.zarr")
    assert locate("file:///data/a%20b.zarr") == Path("/data/a b.zarr")
    assert locate(Path("/x")) == Path("/x")
    remote = locate("s3://bucket/a.zarr")
    assert isinstance(remote, Remote) and locate(remote) is remote
    assert str(remote / "sim_00000") == "s3://bucket/a.zarr/sim_00000"
    assert ((remote / "sim_00000").name, remote.stem) == ("sim_00000", "a")


def test_an_address_holds_the_same_as_a_folder(tmp_path: Path, memory: Remote) -> None:
    write_synthetic(memory, simulations=3)  # type: ignore[arg-type]
    write_synthetic(tmp_path / "s", simulations=3)
    assert objects(memory) == objects(tmp_path / "s")
    here, there = Store.open(tmp_path / "s"), Store.open(str(memory))
    for mine, theirs in zip(there.simulations(), here.simulations(), strict=True):
        assert (mine.name, mine.split, mine.attrs) == (theirs.name, theirs.split, theirs.attrs)
        np.testing.assert_array_equal(mine.coarse(3).velocity, theirs.coarse(3).velocity)
        np.testing.assert_array_equal(mine.fine_density(4), theirs.fine_density(4))
    reported, expected = there.describe(), here.describe()
    assert reported.pop("path") == str(memory) and expected.pop("path")
    assert reported == expected
    assert reported["bytes"] == size(tmp_path / "s") > 0
    batches = []
    for store in (here, there):
        with PatchSampler(store, tile=8, batch=4, seed=3) as sampler:
            batches.append(sampler.batch(5))
    np.testing.assert_array_equal(batches[0].coarse, batches[1].coarse)
    with pytest.raises(DatasetError):
        Store.open(str(memory / "sim_00000"))


def test_damage_is_told_with_its_address(memory: Remote) -> None:
    write_synthetic(memory, simulations=1)  # type: ignore[arg-type]
    simulation = Store.open(memory).simulations()[0]
    system = fsspec.filesystem("memory")
    chunk = next(name for name in memory.files() if "sim_00000/high_density/c/3/" in name)
    system.pipe_file(f"{memory}/{chunk}", b"damaged")
    with pytest.raises(DatasetError, match=f"{memory}/sim_00000/high_density: frame 3: cannot be read"):
        simulation.fine(3)
    system.rm(f"{memory}/{chunk}")
    with pytest.raises(DatasetError, match="frame 3: is missing"):
        simulation.fine(3)


def frame() -> Frame:
    return Frame(np.ones((4, 4), np.float32), np.ones((2, 4, 4), np.float32))


ABOUT = {
    "split": "train", "pairs": "imported", "factor": 2, "dt": 0.1, "start_time": 0.0, "origin": [0.0, 0.0],
    "low_cell_size": 1.0, "high_cell_size": 0.5,
}  # fmt: skip


def begun(memory: Remote, frames: int) -> SimulationWriter:
    writer = SimulationWriter(memory, "sim_00001", frames, 2)
    writer.__enter__()
    writer.add(frame(), {"density": np.ones((8, 8), np.float16)})
    return writer


def test_a_simulation_counts_only_when_it_is_whole(memory: Remote) -> None:
    write_synthetic(memory, simulations=1)  # type: ignore[arg-type]
    writer = begun(memory, 2)  # and its process dies
    assert names(memory) == ["sim_00000", "sim_00001", "zarr.json"]
    assert finished(memory) == {"sim_00000"}
    assert [s.name for s in Store.open(memory).simulations()] == ["sim_00000"]
    again = begun(memory, 1)
    again.finish(ABOUT)
    again.__exit__(None, None, None)
    assert finished(memory) == {"sim_00000", "sim_00001"}
    assert Store.open(memory).simulations()[1].frames == 1
    assert len([n for n in memory.files() if n.startswith("sim_00001/low_density/c/")]) == 1
    # Of one whose removal was stopped the metadata are gone first.
    fsspec.filesystem("memory").rm(f"{memory}/sim_00001/zarr.json")
    assert finished(memory) == {"sim_00000"} and len(Store.open(memory).simulations()) == 1
    # One that is stopped clears its own away; one whose objects another has cleared away never counts.
    writer = begun(memory, 1)
    writer.__exit__(KeyboardInterrupt, None, None)
    assert names(memory) == ["sim_00000", "zarr.json"]
    writer = begun(memory, 1)
    chunk = next(n for n in memory.files() if n.startswith("sim_00001/low_velocity/c/"))
    fsspec.filesystem("memory").rm(f"{memory}/{chunk}")
    with pytest.raises(RunError, match="frames of low_velocity vanished"):
        writer.finish(ABOUT)
    assert finished(memory) == {"sim_00000"}


def test_a_failed_simulation_is_recorded(memory: Remote) -> None:
    write_synthetic(memory, simulations=1)  # type: ignore[arg-type]
    with SimulationWriter(memory, "sim_00001", 3, 2) as writer:
        writer.add(frame(), {"density": np.ones((8, 8), np.float16)})
        writer.fail({"seed": 3}, "it diverged")
    assert Store.open(memory).failed == {"sim_00001": {"seed": 3, "failed": "it diverged"}}
    assert [n for n in memory.files() if n.startswith("sim_00001")] == ["sim_00001/zarr.json"]


class _PowerCut(Exception):
    pass


def has_root(address: Remote) -> bool:
    try:
        read_root(address)
    except DatasetError:
        return False
    return True


def _cut_after(writes: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """From the object `writes` on, nothing reaches the memory any more: nothing is written, nothing removed."""
    count = itertools.count()
    done = [0]

    def guarded(original: Any) -> Any:
        def call(self: Any, path: str, *rest: Any, **more: Any) -> Any:
            done[0] = next(count)
            if done[0] >= writes:
                raise _PowerCut
            return original(self, path, *rest, **more)

        return call

    for name in ("pipe_file", "rm", "_rm", "rm_file"):
        monkeypatch.setattr(MemoryFileSystem, name, guarded(getattr(MemoryFileSystem, name)))
    return lambda: done[0]


@pytest.mark.slow
def test_cut_off_at_any_object_an_import_leaves_whole_simulations_and_goes_on(
    memory: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [shot(seed, numbers=(1,)) for seed in range(2)]
    import_simulations(wanted, memory)
    whole, cuts, complete = objects(memory), 0, set()
    for writes in itertools.count():
        remove(memory)
        with monkeypatch.context() as patch:
            _cut_after(writes, patch)
            try:
                import_simulations(wanted, memory)
                ended = True
            except RunError as error:
                assert "cannot be used" in str(error)
                ended = False
        if ended:
            break
        cuts += 1
        if has_root(memory):
            found = Store.open(memory).simulations()
            complete.add(len(found))
            for simulation in found:
                simulation.coarse(0), simulation.fine(0, fields=("velocity",))
        import_simulations(wanted, memory)
        assert objects(memory) == whole
    assert cuts > 20 and complete == {0, 1, 2}


def tiny(simulations: int) -> DatasetConfig:
    distribution = load_distribution("default", ["kinds={blobs: 1}", "warm_up.frames=0"])
    return DatasetConfig(
        dim=2, resolution=8, factor=2, simulations=simulations, frames=2, distribution=distribution
    )


@pytest.mark.slow
def test_generation_goes_on_at_an_address(tmp_path: Path, memory: Remote) -> None:
    generate(tiny(2), tmp_path / "s")

    def stop(message: str, frames: int) -> None:
        if message == "sim_00001 frame 1":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tiny(2), memory, on_progress=stop)
    assert finished(memory) == {"sim_00000"}
    report = generate(tiny(2), str(memory))
    assert (report.kept, report.written) == (["sim_00000"], ["sim_00001"])
    assert objects(memory) == objects(tmp_path / "s")
    with pytest.raises(DatasetError, match="factor is 2, not 4"):
        generate(DatasetConfig(dim=2, resolution=8, factor=4), memory)
    with pytest.raises(InputError, match="exists in one process only"):
        generate(tiny(2), memory, workers=2)
    generate(tiny(1), memory, overwrite=True)
    assert names(memory) == ["sim_00000", "zarr.json"]


@pytest.mark.slow
def test_workers_write_to_one_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system without what only folders have: as an object store that other processes see."""
    monkeypatch.setenv("FSSPEC_FILE", '{"auto_mkdir": true}')  # of the workers
    monkeypatch.setitem(fsspec.config.conf, "file", {"auto_mkdir": True})
    address = Remote(f"file://{tmp_path}/remote")
    report = generate(tiny(4), address, workers=2)
    assert len(report.written) == 4
    generate(tiny(4), tmp_path / "folder")
    assert objects(tmp_path / "remote") == objects(tmp_path / "folder")


def test_what_is_no_address_is_reported(memory: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError, match=r"smoke.zarr: is not a dataset \(no zarr.json\)"):
        Store.open(memory)
    with pytest.raises(InputError, match=r"nosuch://a: is not an address .*; use s3://"):
        Store.open("nosuch://a")
    zarr.create_group(zarr.storage.FsspecStore.from_url(str(memory / "below")), zarr_format=3)
    with pytest.raises(InputError, match="is not empty and holds no dataset"):
        import_simulations([shot()], memory)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InputError, match=r"s3://a: needs a driver .*; pip install 'fluidsr\[remote\]'"):
        Store.open("s3://a")
    for name in [name for name in sys.modules if name == "fsspec" or name.startswith("fsspec.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"memory://a: needs fsspec; pip install 'fluidsr\[remote\]'"):
        Store.open("memory://a")
