"""ExternalPair simulations: cells of two sides that fit, frames that belong together, and what is left out."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_pairs import CELL, DT, shot, side, smoke
from hypothesis import given
from hypothesis import strategies as st

from fluidsr.dataset import ExternalPair, Store, import_simulations, survey
from fluidsr.dataset.pair_checks import Extent, of_both, of_fine
from fluidsr.errors import DatasetError, InputError
from fluidsr.frame import Frame
from fluidsr.frame_grid import FrameGrid
from fluidsr.models.resample import downsample

SIDES = {"low": "coarse", "high": "fine"}


def taken_from(foreign: ExternalPair, which: str, number: int) -> Frame:
    found: Frame = getattr(foreign, SIDES[which]).take(number).frame
    return found


def tree(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in sorted(path.rglob("*")) if f.is_file()}


def changed(foreign: ExternalPair, which: str, number: int, **changes: Any) -> ExternalPair:
    """`foreign` with one frame of a side changed; without it where `changes` are empty."""
    old = getattr(foreign, SIDES[which])
    frames = {n: old.take(n).frame for n in old.numbers}
    frames[number] = frames[number].replace(**changes)
    if not changes:
        del frames[number]
    return dataclasses.replace(foreign, **{SIDES[which]: side(frames, label=f"the {which} side")})


def test_both_sides_come_back_as_they_were(tmp_path: Path) -> None:
    foreign = shot(numbers=(3, 4, 5))
    report = import_simulations([foreign], tmp_path / "s", provenance={"by": "test"})
    assert (report.written, report.kept, report.failed) == (["sim_00000"], [], {})
    store = Store.open(tmp_path / "s")
    assert (store.dim, store.factor, store.attrs["simulations"]) == (2, 2, 1)
    (simulation,) = store.simulations("train")
    assert (simulation.frames, simulation.dt, simulation.seed) == (3, DT, None)
    for index in range(3):
        low, high = simulation.coarse(index), simulation.fine(index, fields=("velocity",))
        for mine, which in ((low, "low"), (high, "high")):
            theirs = taken_from(foreign, which, index + 3)
            np.testing.assert_array_equal(mine.density, theirs.density)
            np.testing.assert_array_equal(mine.velocity, theirs.velocity)
            assert (mine.cell_size, mine.origin) == (theirs.cell_size, theirs.origin)
            assert mine.time == pytest.approx((index + 3) * DT)
    assert simulation.attrs["pairs"] == "imported" and simulation.attrs["first_frame"] == 3
    speed = np.sqrt((simulation.coarse(0).velocity ** 2).sum(0)).max() * DT / CELL
    assert simulation.attrs["cells_per_frame"]["greatest"][0] == pytest.approx(speed, rel=1e-3)


def test_tight_boxes_become_one_box_around_both(tmp_path: Path) -> None:
    """Smoke that moves, each frame of each side in the box of its smoke: every value stays where it was."""
    rng = np.random.default_rng(1)
    whole = {"low": (14, 13, 12), "high": (28, 26, 24)}
    frames: dict[str, dict[int, Frame]] = {"low": {}, "high": {}}
    truth: dict[tuple[str, int], Frame] = {}
    for name, shape in whole.items():
        cell = CELL if name == "low" else CELL / 2
        for number in (1, 2, 3):
            full = smoke(shape, cell, number, origin=(0.0,) * 3)
            first = rng.integers(1, 6, 3)
            inside = tuple(slice(a, a + int(n)) for a, n in zip(first, rng.integers(2, 6, 3), strict=True))
            mask = np.zeros(shape, np.float32)
            mask[inside] = 1
            truth[name, number] = full.with_fields({k: v * mask for k, v in full.fields().items()})
            cut = {k: v[(..., *inside)] for k, v in full.fields().items()}
            frames[name][number] = full.with_fields(cut, origin=tuple(first * cell))
    # A frame without any smoke is a file without a voxel: one empty cell at the origin of the indices.
    frames["low"][2] = Frame(np.zeros((1, 1, 1), np.float32), cell_size=CELL, dt=DT, origin=(-9.0,) * 3)
    truth["low", 2] = truth["low", 2].with_fields({k: v * 0 for k, v in truth["low", 2].fields().items()})
    pair = {name: side(found, tight=True) for name, found in frames.items()}
    import_simulations([ExternalPair(pair["high"], pair["low"])], tmp_path / "s")
    (simulation,) = Store.open(tmp_path / "s").simulations()
    assert simulation.coarse_shape < whole["low"]  # nowhere near the whole domain
    for index in range(3):
        for name, mine in (
            ("low", simulation.coarse(index)),
            ("high", simulation.fine(index, fields=("velocity",))),
        ):
            theirs = truth[name, index + 1]
            assert mine.density.sum() == theirs.density.sum()
            start = np.rint(np.divide(mine.origin, mine.cell_size)).astype(int)
            for cell in np.argwhere(mine.density):
                at = tuple(cell + start)
                assert mine.density[tuple(cell)] == theirs.density[at]
                assert (mine.velocity[(slice(None), *cell)] == theirs.velocity[(slice(None), *at)]).all()


_SPAN = st.tuples(st.integers(-30, 30), st.integers(1, 40))


@given(
    low=st.lists(_SPAN, min_size=2, max_size=3),
    high=st.lists(_SPAN, min_size=3, max_size=3),
    factor=st.sampled_from([2, 4, 8]),
    cell=st.floats(1e-3, 1e3),
    place=st.floats(-100, 100),
)
def test_the_box_of_two_tight_sides_holds_both_in_whole_coarse_cells(
    low: list[tuple[int, int]], high: list[tuple[int, int]], factor: int, cell: float, place: float
) -> None:
    high, fine = high[: len(low)], cell / factor
    coarse_box = FrameGrid(tuple(n for _, n in low), cell, tuple((place + a) * cell for a, _ in low))
    fine_box = FrameGrid(tuple(n for _, n in high), fine, tuple(place * cell + a * fine for a, _ in high))
    grids = of_both(Extent(coarse_box, True), Extent(fine_box, True))
    assert grids.factor == factor and grids.fine.shape == tuple(n * factor for n in grids.coarse.shape)
    assert grids.coarse.origin == grids.fine.origin
    first = np.subtract(grids.coarse.origin, coarse_box.origin) / cell
    np.testing.assert_allclose(first, np.rint(first), atol=1e-6)  # on the coarse side's own cells
    ends = np.subtract(grids.coarse.end, coarse_box.origin) / fine
    starts = first * factor
    fine_start = np.subtract(fine_box.origin, coarse_box.origin) / fine
    fine_end = fine_start + fine_box.shape
    for lowest, highest in ((0, np.multiply(coarse_box.shape, factor)), (fine_start, fine_end)):
        assert (starts <= np.add(lowest, 1e-6)).all() and (ends >= np.subtract(highest, 1e-6)).all()
    # And no coarse cell more than that takes.
    tight = np.minimum(0, fine_start), np.maximum(np.multiply(coarse_box.shape, factor), fine_end)
    assert (starts > tight[0] - factor - 1e-6).all() and (ends < tight[1] + factor + 1e-6).all()


def test_boxes_that_were_rounded_to_whole_cells_share_what_they_have(tmp_path: Path) -> None:
    """A domain of 2.15 x 1.8 m: 21.5 coarse cells are rounded up on one side, 43 fine ones are exact."""
    low, high = smoke((22, 18), 0.1, 1), smoke((43, 36), 0.05, 2)
    report = import_simulations([ExternalPair(side({1: high}), side({1: low}))], tmp_path / "s")
    assert report.failed == {}
    (simulation,) = Store.open(tmp_path / "s").simulations()
    np.testing.assert_array_equal(simulation.coarse(0).density, low.density[:21])
    np.testing.assert_array_equal(simulation.fine(0).density, high.density[:42])
    # And at the lower ends: the fine box begins a fine cell later.
    later = high.replace(origin=(0.05, 0.0))
    import_simulations([ExternalPair(side({1: later}), side({1: low}))], tmp_path / "s", overwrite=True)
    (simulation,) = Store.open(tmp_path / "s").simulations()
    assert simulation.coarse(0).origin == pytest.approx((0.1, 0.0))
    np.testing.assert_array_equal(simulation.coarse(0).velocity, low.velocity[:, 1:22])
    np.testing.assert_array_equal(simulation.fine(0).density, high.density[1:43])


def test_a_fine_side_alone_is_cut_or_padded_to_whole_coarse_cells() -> None:
    known = FrameGrid((21, 18), 0.5, (1.0, -1.0))
    grids = of_fine(Extent(known), 4)
    assert (grids.coarse.shape, grids.fine.shape, grids.coarse.origin) == ((5, 4), (20, 16), (1.0, -1.0))
    grids = of_fine(Extent(known, tight=True), 4)
    assert (grids.coarse.shape, grids.coarse.origin) == ((8, 7), (-1.0, -3.0))
    with pytest.raises(InputError, match="fewer than a coarse one"):
        of_fine(Extent(FrameGrid((3, 9), 1.0, (0.0, 0.0))), 4)


def test_without_a_coarse_side_it_is_filtered_from_the_fine_one(tmp_path: Path) -> None:
    fine = {n: smoke((17, 14), CELL, n) for n in (1, 2)}
    import_simulations([ExternalPair(side(fine), factor=4)], tmp_path / "s", fine_fields=())
    (simulation,) = Store.open(tmp_path / "s").simulations()
    assert (simulation.coarse_shape, simulation.fine_shape) == ((4, 3), (16, 12))
    low = simulation.coarse(1)
    for mine, theirs in ((low.density[None], fine[2].density[None]), (low.velocity, fine[2].velocity)):
        cut = torch.from_numpy(theirs[:, :16, :12].copy())
        np.testing.assert_array_equal(mine, downsample(cut[None], 4)[0].numpy())
    np.testing.assert_array_equal(simulation.fine(1).density, fine[2].density[:16, :12])
    assert simulation.fine(1, fields=("velocity",)).velocity is None  # fine_fields did not ask for it
    assert simulation.attrs["pairs"] == "filtered"


def test_files_that_know_no_cell_size_are_told_apart_by_their_shapes(tmp_path: Path) -> None:
    low, high = smoke((6, 8), 1.0, 1), smoke((12, 16), 1.0, 2)
    foreign = ExternalPair(side({1: high}, unit="cells/frame"), side({1: low}, unit="cells/frame"))
    import_simulations([foreign], tmp_path / "s")
    (simulation,) = Store.open(tmp_path / "s").simulations()
    coarse, fine = simulation.coarse(0), simulation.fine(0, fields=("velocity",))
    assert (coarse.cell_size, fine.cell_size) == (1.0, 0.5)
    np.testing.assert_allclose(coarse.velocity_in_cells(), low.velocity, rtol=1e-6)
    np.testing.assert_allclose(fine.velocity_in_cells(), high.velocity, rtol=1e-3)


def test_every_second_frame_lasts_twice_as_long(tmp_path: Path) -> None:
    import_simulations([shot(numbers=(2, 4, 6))], tmp_path / "s")
    (simulation,) = Store.open(tmp_path / "s").simulations()
    assert simulation.dt == pytest.approx(2 * DT)
    assert simulation.coarse(2).time == pytest.approx(6 * DT)


def _moved(foreign: ExternalPair, by: float) -> ExternalPair:
    frames = {n: foreign.fine.take(n).frame for n in foreign.fine.numbers}
    moved = {n: f.replace(origin=tuple(o + by for o in f.origin)) for n, f in frames.items()}
    return dataclasses.replace(foreign, fine=side(moved))


UNFIT = {
    "cells of 0.1 m and 0.0333333 m differ by a factor of 3": lambda: shot(factor=3),
    "the fine cells do not divide the coarse ones: they are offset by (0.5, 0.5)": lambda: _moved(
        shot(), CELL / 4
    ),
    "their boxes differ: the coarse one is 1..1.6 x 2..2.8 m, the fine one 1.1..1.7 x 2.1..2.9 m": (
        lambda: _moved(shot(), CELL)
    ),
    "the low side: has no frame 2": lambda: changed(shot(), "low", 2),
    "the high side: has no frame 2": lambda: changed(shot(), "high", 2),
    "has no frame 3": lambda: shot(numbers=(1, 2, 4, 5)),
    "no frame is in both: they are numbered 1 to 3 and 7 to 9": lambda: dataclasses.replace(
        shot(), fine=shot(numbers=(7, 8, 9)).fine
    ),
    "the low side: frame 1: there is no velocity": lambda: changed(shot(), "low", 1, velocity=None),
    "the low side: frame 3: there is no velocity": lambda: changed(shot(), "low", 3, velocity=None),
    "the low side: frame 2: density is not finite": lambda: changed(
        shot(), "low", 2, density=np.full((6, 8), np.nan, np.float32)
    ),
    "the high side: frame 2: density has values that are not finite, or beyond 65504": lambda: changed(
        shot(), "high", 2, density=np.full((12, 16), 7e4, np.float32)
    ),
    "the high side: frame 2: it lasts 1 s": lambda: changed(shot(), "high", 2, dt=1.0),
    "frames last 1 s on the coarse side and 0.04 s": lambda: changed(shot(), "low", 1, dt=1.0),
    "the high side: frame 2: its box differs from that of the other frames": lambda: changed(
        shot(), "high", 2, origin=(1.3, 2.0)
    ),
    "factor: 8 was given": lambda: dataclasses.replace(shot(), factor=8),
    "one is 2-D and the other 3-D": lambda: dataclasses.replace(shot(), coarse=shot(shape=(6, 8, 4)).coarse),
    "its dim is 3": lambda: shot(seed=9, shape=(4, 4, 4)),
    "its factor is 4": lambda: shot(seed=9, factor=4),
}


@pytest.mark.parametrize("reason", UNFIT)
def test_what_does_not_fit_is_left_out_and_the_others_are_whole(tmp_path: Path, reason: str) -> None:
    unfit = dataclasses.replace(UNFIT[reason](), source={"high": ["unfit"]})
    report = import_simulations([shot(1), unfit, shot(2)], tmp_path / "s")
    assert report.written == ["sim_00000", "sim_00001"]
    (reported,) = report.failed.values()
    assert reason in reported
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == ["sim_00000", "sim_00001", "zarr.json"]
    for simulation, seed in zip(Store.open(tmp_path / "s").simulations(), (1, 2), strict=True):
        np.testing.assert_array_equal(simulation.fine(2).density, taken_from(shot(seed), "high", 3).density)


def test_a_velocity_that_is_not_there_may_be_zeros(tmp_path: Path) -> None:
    foreign = shot()
    low = {n: foreign.coarse.take(n).frame.replace(velocity=None) for n in (1, 2, 3)}
    import_simulations([dataclasses.replace(foreign, coarse=side(low), still=True)], tmp_path / "s")
    assert not Store.open(tmp_path / "s").simulations()[0].coarse(1).velocity.any()


def test_where_none_fits_it_is_an_error_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"shot: no simulation can be used; the two sides: .* factor of 3"):
        import_simulations([shot(factor=3)], tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_simulation_that_proves_unfit_late_decides_nothing(tmp_path: Path) -> None:
    unfit = changed(shot(factor=4), "low", 2, density=np.full((6, 8), np.nan, np.float32))
    with pytest.raises(InputError, match="density is not finite"):
        import_simulations([unfit], tmp_path / "s")
    assert not (tmp_path / "s").exists()
    report = import_simulations([unfit, shot(1), unfit], tmp_path / "s")
    assert (report.written, len(report.failed)) == (["sim_00000"], 2)
    assert Store.open(tmp_path / "s").factor == 2


def test_an_import_that_was_stopped_goes_on_and_a_data_set_grows(tmp_path: Path) -> None:
    wanted = [shot(seed) for seed in range(3)]
    import_simulations(wanted, tmp_path / "whole")

    def stop(message: str, frames: int) -> None:
        if message == "sim_00001 frame 2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_simulations(wanted, tmp_path / "s", on_progress=stop)
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == ["sim_00000", "zarr.json"]
    behind: list[int] = []
    report = import_simulations(
        wanted, tmp_path / "s", on_progress=lambda message, frames: behind.append(frames)
    )
    assert (report.kept, report.written) == (["sim_00000"], ["sim_00001", "sim_00002"])
    assert sum(behind) == 9
    assert tree(tmp_path / "s") == tree(tmp_path / "whole")
    before = tree(tmp_path / "s")
    # In any order, and with a split of its own.
    more = dataclasses.replace(shot(7), split="test", source={"high": ["shot7"], "split": "test"})
    report = import_simulations([more, wanted[2], wanted[0]], tmp_path / "s")
    assert (report.written, sorted(report.kept)) == (["sim_00003"], ["sim_00000", "sim_00002"])
    after = tree(tmp_path / "s")
    assert {k: v for k, v in after.items() if k in before and k != "zarr.json"} == {
        k: v for k, v in before.items() if k != "zarr.json"
    }
    store = Store.open(tmp_path / "s")
    assert [s.split for s in store.simulations()] == ["train", "validation", "test", "test"]
    assert store.describe()["missing"] == []


@pytest.mark.parametrize("harm", ["halved", "gone", "whole simulation"])
def test_a_damaged_simulation_is_imported_again_under_its_name(tmp_path: Path, harm: str) -> None:
    wanted = [shot(seed) for seed in range(3)]
    import_simulations(wanted, tmp_path / "s")
    whole = tree(tmp_path / "s")
    chunk = next(tmp_path.glob("s/sim_00001/high_density/c/1/**/0"))
    while chunk.is_dir():
        chunk = chunk / "0"
    if harm == "halved":
        chunk.write_bytes(chunk.read_bytes()[:20])
    elif harm == "gone":
        chunk.unlink()
    else:
        shutil.rmtree(tmp_path / "s" / "sim_00001")
    said: list[str] = []
    report = import_simulations(wanted, tmp_path / "s", on_note=said.append)
    assert (report.written, report.kept) == (["sim_00001"], ["sim_00000", "sim_00002"])
    if harm != "whole simulation":
        assert list(report.damaged) == ["sim_00001"]
        assert report.damaged["sim_00001"].startswith("high_density: frame 1 ")
        assert said[0].startswith("sim_00001 is damaged (") and said[0].endswith(" and is imported again")
    assert tree(tmp_path / "s") == whole
    assert not import_simulations(wanted, tmp_path / "s").written


def test_the_same_files_otherwise_understood_are_an_error(tmp_path: Path) -> None:
    import_simulations([shot()], tmp_path / "s")
    other = dataclasses.replace(shot(), source={"high": ["shot0"], "low": ["elsewhere"]})
    with pytest.raises(DatasetError, match=r"sim_00000 is from shot with low \['low'\], not \['elsewhere'\]"):
        import_simulations([other], tmp_path / "s")
    assert import_simulations([other], tmp_path / "s", overwrite=True).written == ["sim_00000"]
    with pytest.raises(DatasetError, match="its fine_fields is"):
        import_simulations([other], tmp_path / "s", fine_fields=("density",))


def test_a_generated_data_set_takes_no_foreign_simulations(store2d: Store) -> None:
    with pytest.raises(DatasetError, match="its pairs is filtered, not imported"):
        import_simulations([shot(factor=4)], store2d.path)


def test_survey_tells_without_writing() -> None:
    found = survey(changed(shot(), "low", 3))
    assert (found.numbers, found.left_out) == ((1, 2), (3,))
    assert found.grids.coarse.shape == (6, 8) and found.coarse_fields == ("density", "velocity")
