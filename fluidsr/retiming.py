"""Retiming: frames at times between those that there are, carried there along the flow.

What a frame between two others shows is the earlier one carried forwards and the later one carried backwards along the
velocities of both, blended by the time (the transport that a retiming of smoke has to follow: its state changes by
advection). Whole frames stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from fluidsr.arguments import checked
from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.frame_grid import ZERO_OUTSIDE, FrameGrid, around, extended
from fluidsr.models.trace import centres, sample_cubic, steps_for, trace
from fluidsr.solid_motion import solid_between
from fluidsr.volumes.staggered import FACES

FLOW = ("velocity", FACES)
_STILL = ("solid",)  # what the flow does not carry
_SLAB = 1 << 22  # cells that are computed at once: beside the frames, memory is bounded by it
_REACH = 2  # cells around a cell that decide whether smoke moves
_LITTLE = 0.01  # of the largest density
_SHARP = 4.0  # measured: at 1 the rim of a source is off by twice as much, beyond 4 nothing is gained
_LATE = 0.1  # of a frame: frames farther apart than one and this do not follow one another


@checked
def retime(
    frames: Iterable[Frame],
    *,
    frame_rate: float | None = None,
    speed: float = 1.0,
    input_frame_rate: float | None = None,
) -> Iterator[Frame]:
    """Yield `frames` at another frame rate or speed, carried along their velocities; two of them are held at a time.

    `frame_rate` (1/s) is that of the result, `input_frame_rate` that of `frames`; unless given, the latter is what the
    first frame's `dt` says, and the former the same. At a `speed` of 0.5 the result shows everything half as fast. The
    first frame is kept, and so are all at whole times: their fields are those of the input, not copies. `time` is that
    of the simulation, `dt` the time of the simulation to the next frame, velocity stays in m/s: what moves is slower
    because there are more frames. Fields are carried with the smoke, except `solid`: its surface moves (solid_motion).

    Raises InputError for an invalid rate or speed, for frames whose times show that one is missing between them,
    and where smoke has no velocity.
    """
    before: Frame | None = None
    step, number = Fraction(1), 0  # frames of the input from one result to the next; results so far
    for place, after in enumerate(frames):
        if before is None:
            rate = rate_of(1 / after.dt if input_frame_rate is None else input_frame_rate, "input_frame_rate")
            step = step_of(rate, rate if frame_rate is None else rate_of(frame_rate, "frame_rate"), speed)
            dt = float(step / rate)
        else:
            check_neighbours(before, after, 1 / float(rate))
        while number * step <= place:
            at = number * step
            if at == place:
                yield after.replace(dt=dt)
            else:
                assert before is not None  # the first result is the first frame
                share = float(at - (place - 1))
                time = before.time + share * (after.time - before.time)
                made = between(before, after, share, seconds=1 / float(rate))
                yield made.replace(time=time, dt=dt)
            number += 1
        before = after


def rate_of(rate: float, name: str) -> Fraction:
    """A frame rate (1/s) as a fraction: 23.976 frames are 24000 / 1001. Raises InputError where it is none."""
    if not 1e-3 <= rate <= 1e6:
        raise InputError(name, f"{rate} is not a frame rate", "give frames per second, such as 24")
    return Fraction(rate).limit_denominator(1001)


def step_of(input_rate: Fraction, output_rate: Fraction, speed: float) -> Fraction:
    """Frames of the input from one frame of the result to the next. Raises InputError for a speed that is none."""
    if not 1e-3 <= speed <= 1e3:
        raise InputError("speed", f"{speed} is not a speed", "give 0.5 for half as fast")
    return Fraction(speed).limit_denominator(1000) * input_rate / output_rate


def between(
    before: Frame,
    after: Frame,
    share: float,
    *,
    seconds: float,
    whole: Collection[str] = (),
    outside: Mapping[str, Sequence[float]] = ZERO_OUTSIDE,
) -> Frame:
    """The frame at `share` (0 to 1) of the `seconds` from `before` to `after`, on the grid that holds both.

    Each place is followed back to `before` and on to `after`, along their velocities, interpolated in time (`trace`);
    the values there are blended by `share`, and where one way leaves the box the other counts alone. Where smoke stays
    while the flow passes, at a source, values are blended in their place; the surface of `solid` is put between its two
    places (`solid_motion`); fields in `whole` are those of the nearer frame. Beyond the box of a frame a field is zero,
    or has the values `outside` (one per component). A field that one frame lacks is zero
    there; a velocity that it lacks, without smoke, is the other's. `time` and `dt` are those of `before`;
    fields are torch tensors if those of `before` are, else NumPy arrays. Raises InputError where smoke has no velocity.
    """
    device = str(before.density.device) if hasattr(before.density, "detach") else None
    first, last = (
        frame.torch(device or "cpu") for frame in _on_one_grid(before.numpy(), after.numpy(), outside)
    )
    flows = _flow_in_cells(first, last, seconds)
    names = list(dict.fromkeys((*first.fields(), *last.fields())))
    sides = (
        {name: _field(name, first, last) for name in names},
        {name: _field(name, last, first) for name in names},
    )
    made = {name: torch.empty_like(sides[0][name]) for name in names}
    moving = []
    for name in names:
        if name in whole:
            made[name] = sides[share >= 0.5][name]
        elif name in _STILL:
            solids = [side[name].cpu().numpy() for side in sides]
            made[name] = torch.from_numpy(solid_between(solids[0], solids[1], share)).to(made[name])
        else:
            moving.append(name)
    rows = max(1, _SLAB // math.prod(first.shape[1:]))
    for start in range(0, first.shape[0], rows):
        end = min(start + rows, first.shape[0])
        _fill(made, moving, sides, flows, share, start, end)
    frame = before.with_fields(made, cell_size=first.cell_size, origin=first.origin)
    return frame if device else frame.numpy()


def _fill(
    made: dict[str, Tensor],
    names: Collection[str],
    sides: tuple[dict[str, Tensor], dict[str, Tensor]],
    flows: tuple[Tensor, Tensor],
    share: float,
    start: int,
    end: int,
) -> None:
    """Compute the cells of the fields `names` whose first index is `start` to below `end`."""
    shape = flows[0].shape[1:]
    low, high = max(0, start - _REACH), min(shape[0], end + _REACH)
    inner = slice(start - low, end - low)
    here = centres((high - low, *shape[1:]), flows[0])
    here[0] += low
    paths = _Paths(here, flows, share)
    still = _stillness(sides[0]["density"], sides[1]["density"], paths, slice(low, high))[inner]

    def blend(first: Tensor, last: Tensor, paths: _Paths, shift: Tensor | float = 0.0) -> Tensor:
        carried = torch.lerp(*paths.carried(first, last, shift), paths.weight)[:, inner]
        return torch.lerp(carried, torch.lerp(first[:, start:end], last[:, start:end], share), still)

    for name in names:
        first, last = (side[name].reshape(-1, *shape) for side in sides)
        if name != FACES:
            made[name].reshape(-1, *shape)[:, start:end] = blend(first, last, paths)
            continue
        for axis in range(len(shape)):  # each component is followed from its own face, before the centre
            shift = torch.zeros(len(shape), *(1,) * len(shape)).to(here)
            shift[axis] = 0.5
            faces = _Paths(here - shift, flows, share)
            made[name][axis, start:end] = blend(first[axis, None], last[axis, None], faces, shift)[0]


def _stillness(first: Tensor, last: Tensor, paths: _Paths, rows: slice) -> Tensor:
    """How far the smoke of the rows stays in its place, 0 to 1, as at a source: the two densities agree there, and what
    is carried from them does not. Both follow from the differences in the cells around."""
    carried, there = paths.carried(first[None], last[None])
    pool = F.avg_pool3d if first.dim() == 3 else F.avg_pool2d
    differ = torch.stack([(carried - there)[0].abs(), (first[rows] - last[rows]).abs()])
    counted = torch.cat([differ, torch.ones_like(differ[:1])])
    # Padded here, since the pool itself takes no volume that is thinner than its window.
    moved, stayed, share = pool(F.pad(counted, [_REACH] * 2 * first.dim()), 2 * _REACH + 1, 1)
    moved, stayed = moved / share, stayed / share
    little = _LITTLE * max(float(first.max()), float(last.max()), 1e-6)
    return (_SHARP * (moved - stayed) / (moved + stayed + little)).clamp(0, 1)


class _Paths:
    """Where what is at `places` (index coordinates) comes from and goes to; `weight` of the later end: `share`, but 0
    or 1 where the path to the other end leaves the box."""

    def __init__(self, places: Tensor, flows: tuple[Tensor, Tensor], share: float) -> None:
        self._origin = trace(*flows, places, share, 0.0, steps_for(*flows, share))
        self._target = trace(*flows, places, share, 1.0, steps_for(*flows, 1 - share))
        size = torch.tensor(flows[0].shape[1:]).view(-1, *(1,) * (places.dim() - 1)).to(places)
        inside = [((at >= -0.5) & (at <= size - 0.5)).all(0) for at in (self._origin, self._target)]
        self.weight = torch.full_like(places[0], share)
        self.weight[inside[0] & ~inside[1]] = 0.0
        self.weight[inside[1] & ~inside[0]] = 1.0

    def carried(self, first: Tensor, last: Tensor, shift: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
        """`first` and `last`, `[C, *S]`, at the two ends of the paths; `shift`: of their indices against the cells'."""
        return sample_cubic(first, self._origin + shift), sample_cubic(last, self._target + shift)


def _flow_in_cells(first: Frame, last: Frame, seconds: float) -> tuple[Tensor, Tensor]:
    """The velocities of two torch frames in cells per interval."""
    flows = []
    for here, there in ((first, last), (last, first)):
        here.check_flow()
        flow = there.velocity if here.velocity is None else here.velocity
        flow = torch.zeros(here.dim, *here.shape).to(here.density) if flow is None else flow
        flows.append(flow * (seconds / here.cell_size))
    return flows[0], flows[1]


def _field(name: str, frame: Frame, other: Frame) -> Tensor:
    """A field that at least one of two torch frames has."""
    values = frame.fields().get(name)
    if values is not None:
        return values
    there = other.fields()[name]
    return there if name in FLOW else torch.zeros_like(there)


def _on_one_grid(first: Frame, last: Frame, outside: Mapping[str, Sequence[float]]) -> tuple[Frame, Frame]:
    """Two NumPy frames on the smallest grid that holds both: velocity beyond a frame's own box is that of its border,
    everything else is zero there or as `outside` says."""
    grid = around([FrameGrid.of(first), FrameGrid.of(last)])
    return extended(first, grid, FLOW, outside), extended(last, grid, FLOW, outside)


def check_neighbours(before: Frame, after: Frame, dt: float) -> None:
    """Raise InputError where the times of two frames are not `dt` apart; frames without times have equal ones."""
    elapsed = after.time - before.time
    if elapsed != 0 and not abs(elapsed - dt) <= _LATE * dt:
        problem = f"is {elapsed:g} s after the one before it, not {dt:g} s"
        remedy = "give all frames in order, or the right `input_frame_rate`"
        raise InputError(f"frame at {after.time:g} s", problem, remedy)
