"""Rest coordinates: where the gas of each cell was some time ago, so that the noise of a shader moves with the smoke.

Two sets of coordinates are carried with the flow and set back to the cells' own positions in turns, each while it has
no weight (Neyret 2003, *Advected Textures*). Where the flow has torn a set, it loses its weight first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.frame_grid import FrameGrid, around, extended
from fluidsr.models.padding import wrap
from fluidsr.models.trace import centres, sample, trace
from fluidsr.upscaling.deformation import torn

REST_FIELDS = ("rest", "rest2", "rest_ratio")
PERIOD = 24  # frames
_FADE = 4  # frames in which a set that is torn loses its weight, and gets it back
_GONE = 1e-3  # trust that is as good as none
_LEAST = 0.05  # of its weight that a torn set keeps: both may be torn
_HIDDEN = 0.1  # share below which a set may change without being seen


class RestCoordinates:
    """The coordinates of a sequence of frames, to which `advance` is called in order, beginning after `first`.

    `rest` and `rest2` are set back to the cells' own positions in every `period`-th frame, half a period apart. The
    weight of each is a triangle in between, 0 where it is set back; together they are 1. In a cell where the map from
    positions to coordinates stretches or squeezes by more than 2, a set loses its weight to the other one within 4
    frames, is set back there when it counts no more, and gains its weight again. Where both are torn, the one that
    counts more stays as it is until its turn. Between frames velocity is interpolated linearly, and coordinates are
    traced back by the midpoint rule; they are kept as displacements, so that a uniform flow is followed exactly.
    `periodic` says for each axis whether the domain is.

    Raises InputError for a frame with smoke and without velocity.
    """

    def __init__(self, first: Frame, period: int = PERIOD, periodic: Sequence[bool] = ()) -> None:
        if period < 2:
            raise InputError("period", f"{period} is not a number of frames", "give 2 or more")
        self._period, self._periodic = period, tuple(periodic) or (False,) * first.dim
        self._grid, self._count, self._time = FrameGrid.of(first), 0, first.time
        self._velocity = _velocity_of(first)
        zero, one = torch.zeros_like(self._velocity), torch.ones_like(self._velocity[:1])
        self._sets = [torch.cat([zero, one]) for _ in range(2)]  # displacement in cells, trust in it

    def advance(self, frame: Frame) -> None:
        """Follow the flow to `frame`, the next one. Its box may be another one than before, with cells of any size.

        Raises InputError where it is not later than the one before.
        """
        seconds = frame.time - self._time
        if not seconds > 0:
            what = f"is not later than the frame before it, at {self._time:g} s"
            raise InputError(
                f"frame at {frame.time:g} s", what, "give frames in order, with their frame rate"
            )
        self._move_to(around([self._grid, FrameGrid.of(frame)]))
        now = _velocity_of(frame, self._grid)
        scale = seconds / self._grid.cell_size
        reach = math.ceil(scale * max(float(v.abs().max()) for v in (self._velocity, now))) + 2
        halos = [reach * wraps for wraps in self._periodic]
        flows = [wrap(velocity * scale, halos) for velocity in (self._velocity, now)]
        here = centres(self._grid.shape, now)
        for axis, halo in enumerate(halos):
            here[axis] += halo
        there = trace(flows[0], flows[1], here, 1.0, 0.0)
        self._count += 1
        for number, carried in enumerate(self._sets):
            new = sample(wrap(carried, halos), there)
            new[:-1] += there - here
            if self._age(number) == 0:
                new[:-1], new[-1] = 0.0, 1.0
            self._sets[number] = new
        self._renew()
        self._velocity, self._time = now, frame.time
        self._move_to(FrameGrid.of(frame))

    def fields(self) -> dict[str, Tensor]:
        """`rest` and `rest2 [3, *S]` (m), and `rest_ratio [*S]`, the weight of `rest`; that of `rest2` is what is
        missing to 1. In 2-D the third coordinate is 0."""
        dim, size = len(self._grid.shape), self._grid.cell_size
        like = self._velocity
        corner = torch.tensor(self._grid.origin, dtype=torch.float64).view(-1, *(1,) * dim)
        places = (corner.to(like.device) + (centres(self._grid.shape, like).double() + 0.5) * size).float()
        found: dict[str, Tensor] = {}
        for name, carried in zip(REST_FIELDS, self._sets, strict=False):
            found[name] = torch.zeros(3, *self._grid.shape, device=like.device)
            found[name][:dim] = places + carried[:-1] * size
        return found | {"rest_ratio": self._share(0)}

    def state(self) -> dict[str, Tensor]:
        """What `restore` needs to continue bit-identically; copies, on the CPU."""
        named = {"rest": self._sets[0], "rest2": self._sets[1], "velocity": self._velocity}
        place = (self._grid.cell_size, *self._grid.origin, self._time, float(self._count))
        copies = {name: array.detach().to("cpu", copy=True) for name, array in named.items()}
        return copies | {"place": torch.tensor(place, dtype=torch.float64)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Return to a `state()`. Raises InputError where it does not fit."""
        velocity, sets = state["velocity"], (state["rest"], state["rest2"])
        dim, shape = len(self._grid.shape), tuple(velocity.shape[1:])
        if len(shape) != dim or any(each.shape != (dim + 1, *shape) for each in sets):
            raise InputError("state", "it does not fit the frames", "start again from the first frame")
        size, *origin, self._time, count = state["place"].tolist()
        self._grid, self._count = FrameGrid(shape, size, tuple(origin)), int(count)
        device = self._velocity.device
        self._velocity, self._sets = velocity.to(device), [each.to(device) for each in sets]

    def _age(self, number: int) -> int:
        """Frames since the set was set back."""
        return (self._count + number * (self._period // 2)) % self._period

    def _share(self, number: int) -> Tensor:
        """How much a set counts in each cell, `[*S]`: by its age, and by the trust in it."""
        first = 1 - abs(2 * self._age(0) / self._period - 1)
        shares = (first, 1 - first)
        weights = [w * (carried[-1] + _LEAST) for w, carried in zip(shares, self._sets, strict=True)]
        return weights[number] / (weights[0] + weights[1])

    def _renew(self) -> None:
        """Let torn cells of each set lose weight, and set those back that count no more beside the other set."""
        torn_cells = [_torn(carried[:-1], self._periodic) for carried in self._sets]
        for carried, bad in zip(self._sets, torn_cells, strict=True):
            carried[-1] = (carried[-1] + torch.where(bad, -1.0, 1.0) / _FADE).clamp(0, 1)
        shares = [self._share(number) for number in range(2)]
        for carried, bad, share in zip(self._sets, torn_cells, shares, strict=True):
            # With their neighbors: a single cell left between others would not be seen as torn.
            gone = bad & (carried[-1] < _GONE) & (share < _HIDDEN)
            back = _with_neighbors(gone) & (carried[-1] < 0.5) & (share < _HIDDEN)
            carried.masked_fill_(back, 0.0)

    def _move_to(self, grid: FrameGrid) -> None:
        """Continue in another box, which overlaps the old one; outside of that values are those at its border."""
        if grid == self._grid:
            return
        device = self._velocity.device
        held = {"velocity": self._velocity, "rest": self._sets[0][:-1], "rest2": self._sets[1][:-1]}
        held |= {"trust": self._sets[0][-1], "trust2": self._sets[1][-1]}
        frame = Frame(
            np.zeros(self._grid.shape, np.float32), cell_size=self._grid.cell_size, origin=self._grid.origin
        )
        frame = frame.with_fields({"density": frame.density, **held}).numpy()
        moved = extended(frame, grid, tuple(frame.fields()))
        finer = self._grid.cell_size / grid.cell_size  # displacements are in cells
        fields = {name: values.to(device) for name, values in moved.torch().fields().items()}
        self._velocity = fields["velocity"]
        for number, (name, trust) in enumerate((("rest", "trust"), ("rest2", "trust2"))):
            self._sets[number] = torch.cat([fields[name] * finer, fields[trust][None]])
        self._grid = grid


def _velocity_of(frame: Frame, grid: FrameGrid | None = None) -> Tensor:
    """The velocity (m/s) of a frame in the box of `grid`, where its own is: on its own device."""
    frame.check_flow()
    if frame.velocity is None:
        frame = frame.replace(velocity=np.zeros((frame.dim, *frame.shape), np.float32))
    device = str(frame.density.device) if hasattr(frame.density, "detach") else "cpu"
    moving = frame.with_fields({"density": frame.density, "velocity": frame.velocity})
    if grid is not None and grid != FrameGrid.of(frame):
        moving = extended(moving.numpy(), grid, ("velocity",))
    velocity: Tensor = moving.torch(device).fields()["velocity"]
    return velocity


def _torn(displacement: Tensor, periodic: Sequence[bool]) -> Tensor:
    """Where the map `x + displacement [d, *S]` (cells) is deformed too far, `[*S]` bool."""
    if len(displacement) == 3:
        return torn(displacement.movedim(0, -1), periodic)
    flat = torch.cat([displacement, torch.zeros_like(displacement[:1])])
    return torn(flat.movedim(0, -1)[:, :, None], (*periodic, False))[:, :, 0]


def _with_neighbors(mask: Tensor) -> Tensor:
    """The cells of `mask [*S]` and those that touch them."""
    pool = F.max_pool3d if mask.dim() == 3 else F.max_pool2d
    return pool(mask.float()[None], 3, 1, 1)[0] > 0
