"""A simulation of another program: its two sides, frame by frame, on cells that fit each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fluidsr.dataset.layout import FIELDS
from fluidsr.dataset.pair_checks import FACTORS, Extent, Grids, of_both, of_fine, unplaced_factor
from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.frame_grid import FrameGrid, around, on_grid
from fluidsr.volumes.units import Taken

_ALIKE = 1e-3  # relative difference up to which times and cell sizes are equal


@dataclass(frozen=True)
class Side:
    """One side of a simulation.

    Attributes:
        label: what the user calls it.
        numbers: the numbers of its frames, ascending.
        take: reads the frame with a number: the fields of interest in the file, always including density.
        unit: unit of the velocity, as of `volumes.read`.
        frame_rate: as of `volumes.read`.
        cell_size: replaces the cell size of the files, m; None: as in the files.
        at_corner: the files store positions of lower cell corners, although their format means centers.
        box: gives the tight box of a frame without reading the frame; None for a frame without smoke.
        stride: duration of a numbered frame, as a fraction of that of the files' frames, if they state none: below 1
            for subframes.
    """

    label: str
    numbers: tuple[int, ...]
    take: Callable[[int], Taken]
    unit: str = "auto"
    frame_rate: float | None = None
    cell_size: float | None = None
    at_corner: bool = False
    box: Callable[[int], FrameGrid | None] | None = None
    stride: float = 1.0

    def frame(self, number: int) -> tuple[Frame, bool]:
        """The frame with velocity in m/s and its time, and whether its box is only the box of its smoke."""
        taken = self.take(number)
        if self.cell_size is not None:
            taken = replace(taken, frame=taken.frame.replace(cell_size=self.cell_size))
        frame = taken.in_metres_per_second(self.unit, self.frame_rate)
        if self.at_corner:
            frame = frame.replace(origin=tuple(x + 0.5 * frame.cell_size for x in frame.origin))
        if not taken.has_rate:
            frame = frame.replace(dt=frame.dt * self.stride)
        if frame.time == 0.0:
            frame = frame.replace(time=number * frame.dt)
        return frame, taken.tight

    def tight_box(self, number: int) -> FrameGrid | None:
        """The box of a frame whose box is only the box of its smoke; None if the frame has no smoke."""
        if self.box is None:
            frame, _ = self.frame(number)
            return None if _is_empty(frame) else FrameGrid.of(frame)
        box = self.box(number)
        if box is None or not self.at_corner:
            return box
        return replace(box, origin=tuple(x + 0.5 * box.cell_size for x in box.origin))


@dataclass(frozen=True)
class ExternalPair:
    """A simulation to import: a fine side, and a coarse side or the `factor` to compute it with.

    `split`: train, validation or test; None: chosen by name. `still`: a coarse side without velocity gets zeros.
    `source`: the origin in plain values; it is stored, and identifies simulations that a dataset already contains.
    """

    fine: Side
    coarse: Side | None = None
    factor: int | None = None
    split: str | None = None
    still: bool = False
    source: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Survey:
    """The properties of a simulation whose sides fit: frames, grids, time step and start time (s), fields.

    `left_out` are the numbers of frames at either end that only one side has.
    """

    coarse: Side | None
    fine: Side
    numbers: tuple[int, ...]
    left_out: tuple[int, ...]
    grids: Grids
    dt: float
    start_time: float
    coarse_fields: tuple[str, ...]
    fine_fields: tuple[str, ...]

    @property
    def step(self) -> int:
        """The difference between the numbers of consecutive frames."""
        return self.numbers[1] - self.numbers[0] if len(self.numbers) > 1 else 1


def survey(external: ExternalPair) -> Survey:
    """Check whether the two sides fit each other. Raises InputError with the reason if they do not."""
    coarse_side, fine_side = external.coarse, external.fine
    numbers, left_out = _common(coarse_side, fine_side)
    fine = _summarize(fine_side, numbers)
    if coarse_side is None:
        if external.factor not in FACTORS:
            raise InputError("factor", "it is not known without a coarse side", "give a factor of 2, 4 or 8")
        coarse, grids = fine, of_fine(fine.extent, external.factor)
    else:
        coarse = _summarize(coarse_side, numbers)
        if factor := unplaced_factor(coarse.extent, fine.extent):
            size = coarse.extent.place.cell_size / factor
            fine_side = replace(fine_side, cell_size=size)
            fine = replace(fine, extent=Extent(replace(fine.extent.place, cell_size=size)))
        grids = of_both(coarse.extent, fine.extent)
        if external.factor not in (None, grids.factor):
            problem = f"{external.factor} was given, and the cells of the two sides are {grids.factor} apart"
            raise InputError("factor", problem, "leave it out: it follows from the files")
        if abs(coarse.dt / fine.dt - 1) > _ALIKE:
            problem = f"frames last {coarse.dt:.6g} s on the coarse side and {fine.dt:.6g} s on the fine one"
            raise InputError("the two sides", problem, "give `frame_rate`")
    if "velocity" not in coarse.fields and not external.still:
        raise InputError(
            _location(coarse_side or fine_side, coarse.number),
            "there is no velocity, and most generators read it",
            "name its grid with `velocity_grid`, take a range of frames that have one, or accept zeros with "
            "`zero_velocity`, for generators that read only density",
        )
    result = Survey(
        coarse_side, fine_side, numbers, left_out, grids, coarse.dt, coarse.time, coarse.fields, fine.fields
    )
    return replace(result, dt=result.dt * result.step)


def times_apart(surveyed: Survey) -> tuple[float, float] | None:
    """The times (s) of the last frame on the coarse and on the fine side, if the files state both and they differ by
    half a frame or more; None otherwise."""
    if surveyed.coarse is None:
        return None
    coarse, fine = (side.take(surveyed.numbers[-1]).frame.time for side in (surveyed.coarse, surveyed.fine))
    stated = coarse != 0.0 and fine != 0.0
    return (coarse, fine) if stated and abs(coarse - fine) >= surveyed.dt / 2 else None


def pair(surveyed: Survey, number: int) -> tuple[Frame, dict[str, np.ndarray]]:
    """The coarse frame (float32), and the fine fields as float16, both on `surveyed.grids`.

    Raises InputError if a frame lacks a field that others have, has another position or duration, or holds a value
    that is not finite or does not fit a half.
    """
    placed = _placed(surveyed, surveyed.fine, number, surveyed.grids.fine, surveyed.fine_fields)
    if surveyed.coarse is None:
        from fluidsr.dataset.pairs import filtered

        coarse = filtered(placed.torch(), surveyed.grids.factor).numpy()
    else:
        coarse = _placed(surveyed, surveyed.coarse, number, surveyed.grids.coarse, surveyed.coarse_fields)
    for name, values in coarse.fields().items():
        if not np.isfinite(values).all():
            raise InputError(
                _location(surveyed.coarse or surveyed.fine, number), f"{name} is not finite", "repair it"
            )
    if coarse.velocity is None:
        coarse = coarse.replace(velocity=np.zeros((coarse.dim, *coarse.shape), np.float32))
    fine = {name: _half(surveyed.fine, number, name, values) for name, values in placed.fields().items()}
    return coarse.replace(dt=surveyed.dt), fine


@dataclass(frozen=True)
class _SideSummary:
    """The common properties of the frames of a side; `time` is the time of the first frame (s), `number` the first
    with smoke."""

    number: int
    extent: Extent
    fields: tuple[str, ...]
    dt: float
    time: float


def _summarize(side: Side, numbers: Sequence[int]) -> _SideSummary:
    """The common properties of frames `numbers` of a side.

    A tight box may change from frame to frame, so all frames are checked; otherwise only the first and the last.
    """
    first, tight = side.frame(numbers[0])
    boxes: dict[int, FrameGrid | None] = {numbers[0]: FrameGrid.of(first)}
    if tight:
        boxes = {number: side.tight_box(number) for number in numbers}
    elif len(numbers) > 1:
        boxes[numbers[-1]] = FrameGrid.of(side.frame(numbers[-1])[0])
    filled = [number for number, box in boxes.items() if box is not None]
    if not filled:
        raise InputError(side.label, "all of its frames are empty", "check the name of the density grid")
    filled_frame = first if filled[0] == numbers[0] else side.frame(filled[0])[0]
    places = [box for box in boxes.values() if box is not None]
    sizes = [place.cell_size for place in places]
    if max(sizes) > min(sizes) * (1 + _ALIKE):
        problem = f"its cells change from {min(sizes):g} m to {max(sizes):g} m"
        raise InputError(side.label, problem, "give frames of one cell size")
    fields = tuple(name for name in FIELDS if name in filled_frame.fields())
    return _SideSummary(filled[0], Extent(around(places), tight), fields, filled_frame.dt, first.time)


def _common(coarse: Side | None, fine: Side) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The evenly spaced numbers of the frames that both sides have, and the numbers at the ends that only one
    side has.
    """
    numbers, alone = fine.numbers, set()
    if coarse is not None:
        numbers, alone = (
            tuple(sorted({*coarse.numbers} & {*fine.numbers})),
            {*coarse.numbers} ^ {*fine.numbers},
        )
        if not numbers:
            problem = (
                f"no frame is in both: they are numbered {_span(coarse.numbers)} and {_span(fine.numbers)}"
            )
            raise InputError("the two sides", problem, "rename one, so that equal numbers form pairs")
        for number in sorted(alone):
            if numbers[0] < number < numbers[-1]:
                lacking = fine if number in coarse.numbers else coarse
                raise InputError(lacking.label, f"has no frame {number}", "add it, or take a range of frames")
    steps = np.diff(numbers)
    for number, step in zip(numbers, steps.tolist(), strict=False):
        if step != steps.min():
            problem = f"has no frame {number + int(steps.min())}"
            raise InputError((coarse or fine).label, problem, "add it, or take a range of frames")
    return numbers, tuple(sorted(alone))


def _placed(surveyed: Survey, side: Side, number: int, place: FrameGrid, names: Sequence[str]) -> Frame:
    """The frame on the cells of `place`, with the fields `names`."""
    frame, tight = side.frame(number)
    location = _location(side, number)
    if tight and _is_empty(frame):
        zeros = {name: np.zeros((*_lead(name, place), *place.shape), np.float32) for name in names}
        return frame.with_fields(zeros, cell_size=place.cell_size, origin=place.origin)
    present = frame.fields()
    if lacking := [name for name in names if name not in present]:
        raise InputError(
            location, f"there is no {lacking[0]}, which other frames have", "take a range of frames"
        )
    if abs(frame.dt * surveyed.step / surveyed.dt - 1) > _ALIKE:
        problem = f"it lasts {frame.dt:.6g} s, and others {surveyed.dt / surveyed.step:.6g} s"
        raise InputError(location, problem, "give `frame_rate`")
    frame = frame.with_fields({name: present[name] for name in names})
    try:
        return on_grid(_cut(frame, place, 1 if side is surveyed.coarse else surveyed.grids.factor - 1), place)
    except InputError as error:
        problem = "its box differs from that of the other frames"
        raise InputError(location, problem, "take a range of frames with one box") from error


def _cut(frame: Frame, place: FrameGrid, tolerance: int) -> Frame:
    """`frame` without its cells beyond `place`, if there are at most `tolerance` of them at each end.

    Those cells do not fill a whole coarse cell.
    """
    extent = FrameGrid.of(frame)
    before = [round((b - a) / frame.cell_size) for a, b in zip(extent.origin, place.origin, strict=True)]
    after = [round((a - b) / frame.cell_size) for a, b in zip(extent.end, place.end, strict=True)]
    if max(*before, *after) > tolerance:
        return frame  # another box, which the caller reports
    inside = [slice(max(0, a), n - max(0, b)) for a, n, b in zip(before, frame.shape, after, strict=True)]
    whole: tuple[Any, ...] = (Ellipsis, *inside)
    origin = tuple(o + max(0, a) * frame.cell_size for o, a in zip(extent.origin, before, strict=True))
    return frame.with_fields({name: values[whole] for name, values in frame.fields().items()}, origin=origin)


def _is_empty(frame: Frame) -> bool:
    """Whether the frame stands for a file without active voxels."""
    return set(frame.shape) == {1} and not frame.density.any()


def _half(side: Side, number: int, name: str, values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # overflow gives infinity, which is refused below
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        problem = f"{name} has values that are not finite, or beyond 65504, the most a half holds"
        raise InputError(_location(side, number), problem, "repair or scale it")
    return half


def _lead(name: str, place: FrameGrid) -> tuple[int, ...]:
    return (len(place.shape),) if name == "velocity" else ()


def _location(side: Side, number: int) -> str:
    return f"{side.label}: frame {number}"


def _span(numbers: Sequence[int]) -> str:
    return f"{numbers[0]} to {numbers[-1]}"
