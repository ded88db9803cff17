"""Rest coordinates: where the gas of each cell was some time ago, so that the noise of a shader moves with the smoke.

Two sets of coordinates are advected with the flow. In turns, each is reset to the positions of the cells while its
weight is zero (Neyret 2003, *Advected Textures*). A set loses its weight earlier where the flow has torn it.
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
_FADE = 4  # frames in which a torn set loses its weight, and in which it regains it
_GONE = 1e-3  # trust below this counts as none
_LEAST = 0.05  # a torn set keeps this share of its weight, as both sets may be torn
_HIDDEN = 0.1  # a set with a smaller share may change without being noticed


class RestCoordinates:
    """The rest coordinates of a sequence of frames. Call `advance` for each frame in order, starting after `first`.

    `rest` and `rest2` are reset to the positions of the cells in every `period`-th frame, half a period apart. In
    between the weight of each set rises and falls linearly from and to 0; the two weights add up to 1. Where the map
    from positions to coordinates stretches or squeezes by more than 2, a set loses its weight to the other one within 4
    frames, is reset once its weight is gone, and regains it. Where both are torn, the set with the larger weight stays
    until its turn. Between frames velocity is interpolated linearly, and coordinates are traced back by the midpoint
    rule. They are stored as displacements, so a uniform flow is followed exactly.

    Args:
        first: the first frame.
        period: frames after which each set is reset, at least 2.
        periodic: whether each axis of the domain is periodic; none by default.

    Raises InputError for an invalid period, and for a frame with smoke but no velocity.
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
        """Advect the coordinates to `frame`, the next one, which may have another box and cell size than the last.

        Raises InputError if it is not later than the last frame, or has smoke but no velocity.
        """
        seconds = frame.time - self._time
        if not seconds > 0:
            problem = f"is not later than the frame before it, at {self._time:g} s"
            raise InputError(
                f"frame at {frame.time:g} s", problem, "give frames in order, with their frame rate"
            )
        self._move_to(around([self._grid, FrameGrid.of(frame)]))
        velocity = _velocity_of(frame, self._grid)
        scale = seconds / self._grid.cell_size
        reach = math.ceil(scale * max(float(v.abs().max()) for v in (self._velocity, velocity))) + 2
        halos = [reach * is_periodic for is_periodic in self._periodic]
        flows = [wrap(flow * scale, halos) for flow in (self._velocity, velocity)]
        positions = centres(self._grid.shape, velocity)
        for axis, halo in enumerate(halos):
            positions[axis] += halo
        origins = trace(flows[0], flows[1], positions, 1.0, 0.0)
        self._count += 1
        for number, carried in enumerate(self._sets):
            new = sample(wrap(carried, halos), origins)
            new[:-1] += origins - positions
            if self._age(number) == 0:
                new[:-1], new[-1] = 0.0, 1.0
            self._sets[number] = new
        self._renew()
        self._velocity, self._time = velocity, frame.time
        self._move_to(FrameGrid.of(frame))

    def fields(self) -> dict[str, Tensor]:
        """The fields `rest` and `rest2`, `[3, *S]` (m; in 2-D the third coordinate is 0), and `rest_ratio [*S]`, the
        weight of `rest`. The weight of `rest2` is 1 - `rest_ratio`."""
        dim, size = len(self._grid.shape), self._grid.cell_size
        like = self._velocity
        corner = torch.tensor(self._grid.origin, dtype=torch.float64).view(-1, *(1,) * dim)
        positions = (corner.to(like.device) + (centres(self._grid.shape, like).double() + 0.5) * size).float()
        fields: dict[str, Tensor] = {}
        for name, carried in zip(REST_FIELDS, self._sets, strict=False):
            fields[name] = torch.zeros(3, *self._grid.shape, device=like.device)
            fields[name][:dim] = positions + carried[:-1] * size
        return fields | {"rest_ratio": self._share(0)}

    def state(self) -> dict[str, Tensor]:
        """The tensors that `restore` needs to continue bit-identically; copies, on the CPU."""
        named = {"rest": self._sets[0], "rest2": self._sets[1], "velocity": self._velocity}
        place = (self._grid.cell_size, *self._grid.origin, self._time, float(self._count))
        copies = {name: array.detach().to("cpu", copy=True) for name, array in named.items()}
        return copies | {"place": torch.tensor(place, dtype=torch.float64)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Return to a `state()`. Raises InputError if it does not fit the frames."""
        velocity, sets = state["velocity"], (state["rest"], state["rest2"])
        dim, shape = len(self._grid.shape), tuple(velocity.shape[1:])
        if len(shape) != dim or any(tensor.shape != (dim + 1, *shape) for tensor in sets):
            raise InputError("state", "it does not fit the frames", "start again from the first frame")
        size, *origin, self._time, count = state["place"].tolist()
        self._grid, self._count = FrameGrid(shape, size, tuple(origin)), int(count)
        device = self._velocity.device
        self._velocity, self._sets = velocity.to(device), [tensor.to(device) for tensor in sets]

    def _age(self, number: int) -> int:
        """The number of frames since set `number` was reset."""
        return (self._count + number * (self._period // 2)) % self._period

    def _share(self, number: int) -> Tensor:
        """The weight of set `number` in each cell, `[*S]`, which depends on its age and the trust in it."""
        first = 1 - abs(2 * self._age(0) / self._period - 1)
        shares = (first, 1 - first)
        weights = [w * (carried[-1] + _LEAST) for w, carried in zip(shares, self._sets, strict=True)]
        return weights[number] / (weights[0] + weights[1])

    def _renew(self) -> None:
        """Update the trust in each set, and reset it in torn cells where it has lost its weight."""
        torn_cells = [_torn(carried[:-1], self._periodic) for carried in self._sets]
        for carried, torn_here in zip(self._sets, torn_cells, strict=True):
            carried[-1] = (carried[-1] + torch.where(torn_here, -1.0, 1.0) / _FADE).clamp(0, 1)
        shares = [self._share(number) for number in range(2)]
        for carried, torn_here, share in zip(self._sets, torn_cells, shares, strict=True):
            # Together with their neighbors, as a single remaining cell between reset ones would not count as torn.
            ended = torn_here & (carried[-1] < _GONE) & (share < _HIDDEN)
            reset = _with_neighbors(ended) & (carried[-1] < 0.5) & (share < _HIDDEN)
            carried.masked_fill_(reset, 0.0)

    def _move_to(self, grid: FrameGrid) -> None:
        """Continue in another box, which overlaps the old one. Outside the old box its outermost values are used."""
        if grid == self._grid:
            return
        device = self._velocity.device
        carried_fields = {"velocity": self._velocity, "rest": self._sets[0][:-1], "rest2": self._sets[1][:-1]}
        carried_fields |= {"trust": self._sets[0][-1], "trust2": self._sets[1][-1]}
        frame = Frame(
            np.zeros(self._grid.shape, np.float32), cell_size=self._grid.cell_size, origin=self._grid.origin
        )
        frame = frame.with_fields({"density": frame.density, **carried_fields}).numpy()
        moved = extended(frame, grid, tuple(frame.fields()))
        finer = self._grid.cell_size / grid.cell_size  # displacements are in cells
        fields = {name: values.to(device) for name, values in moved.torch().fields().items()}
        self._velocity = fields["velocity"]
        for number, (name, trust) in enumerate((("rest", "trust"), ("rest2", "trust2"))):
            self._sets[number] = torch.cat([fields[name] * finer, fields[trust][None]])
        self._grid = grid


def _velocity_of(frame: Frame, grid: FrameGrid | None = None) -> Tensor:
    """The velocity (m/s) of a frame, on the device of the frame, in the box of `grid` (by default the frame's own).
    Zero if the frame has neither velocity nor smoke; raises InputError if it has smoke only."""
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
    """Whether the map `x + displacement [d, *S]` (cells) is deformed too much in each cell, `[*S]`, bool."""
    if len(displacement) == 3:
        return torn(displacement.movedim(0, -1), periodic)
    flat = torch.cat([displacement, torch.zeros_like(displacement[:1])])
    return torn(flat.movedim(0, -1)[:, :, None], (*periodic, False))[:, :, 0]


def _with_neighbors(mask: Tensor) -> Tensor:
    """The cells of `mask [*S]` and those that touch them."""
    pool = F.max_pool3d if mask.dim() == 3 else F.max_pool2d
    return pool(mask.float()[None], 3, 1, 1)[0] > 0
