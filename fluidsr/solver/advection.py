"""Semi-Lagrangian advection with error correction (MacCormack and BFECC).

Advecting a field forwards and back again shows how much a single step loses (Dupont and Liu 2003; Kim, Liu, Llamas and
Rossignac 2005). The MacCormack form of the correction (Selle, Fedkiw, Kim, Liu and Rossignac 2008) adds this error at
the position where it was measured, upstream. If the flow crosses several cells in a step, that is the wrong position:
nothing then damps waves two cells long, and stripes one cell wide cover the smoke. Here the error is advected together
with the field, as in the papers of 2003 and 2005, and the result is clamped as in Selle et al. Before that the error is
smoothed with weights 1 2 1 along each axis, because the shortest waves have lost their phase: they are not restored and
fade as in an uncorrected step. The scheme remains second order accurate. docs/results/solver.md compares them.

Without clamping, the scheme nearly conserves the total of a field. Clamping does not: it mostly raises values, at the
thin edges of the smoke. `Advection.amount` compensates for that near the cells that were clamped, within the same
limits, as the mass fixers of weather models do (Priestley 1993; Bermejo and Conde 2002; Zerroukat 2010).

Tracing costs more than interpolating, so each substep traces once from every cell centre, by the midpoint rule (RK2).
Cells use these displacements directly; faces use the mean of the two adjacent cells, which is second order accurate
like the interpolation itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from fluidsr.solver import kernels_advection as kernels
from fluidsr.solver import kernels_conservation as conservation
from fluidsr.solver.grid import Grid
from fluidsr.solver.layout import Layout
from fluidsr.solver.sums import Sums
from fluidsr.solver.workspace import Workspace

NOTHING = 1e-6  # smaller densities and temperatures become zero: invisible, but as costly to advect as smoke
NO_FACE = (0, 0, 0)
STAGE = "advection"
EDGELESS = 1e30  # stands for the index coordinate of an end of an axis that is not open


class Advection:
    """Advects the fields of one grid.

    Args:
        grid: the grid of all fields.
        device: torch device of the fields.
        maccormack: whether to correct the error of each semi-Lagrangian step.
        workspace: lends scratch memory, ten float32 numbers per cell.
        wind: velocity (m/s, one number per axis) of the air that enters through open faces; zero by default.
    """

    def __init__(
        self,
        grid: Grid,
        device: str,
        maccormack: bool,
        workspace: Workspace,
        wind: Sequence[float] | None = None,
    ) -> None:
        self.grid, self.device, self.maccormack = grid, device, maccormack
        self.layout = layout = Layout.of(grid, device)
        self.wind = tuple(wind) if wind is not None else (0.0,) * grid.dim
        nx, ny, nz = layout.cells
        largest = max(math.prod(layout.faces(axis)) for axis in range(3))
        self.back, self.forth = (workspace.take(STAGE, 3 * nx * ny * (nz + 2)) for _ in range(2))
        # The centred velocity is needed by `trace` only; the scratch fields of the later steps share its memory.
        scratch = workspace.take(STAGE, 4 * largest)
        self.centred = scratch[: 3 * nx * ny * nz]
        self.hat, self.low, self.high, self.error = (
            scratch[n * largest : (n + 1) * largest] for n in range(4)
        )
        self.amounts, self.rooms = Sums(nx * ny, device, 2), Sums(nx * ny, device, 6)
        self.extents = workspace.take(STAGE, 2 * nx * ny, torch.int32)

    def trace(self, velocity: Sequence[torch.Tensor], seconds: float) -> None:
        """Trace a particle from every cell centre through `velocity` (MAC faces, m/s) for `seconds`, back in time and,
        for the correction, forwards. `amount` and `velocity` then advect fields along these paths."""
        layout = self.layout
        u, v, w = (velocity[axis] for axis in layout.order)
        step = seconds / self.grid.cell_size
        kernels.centre_velocity(u, v, w, self.centred, layout.cells, layout.tile)
        region, _ = self.region(NO_FACE, (NO_FACE, layout.cells))
        kernels.trace(
            self.centred, self.back, self.forth, region, step, layout.tile, layout.periodic, self.maccormack
        )

    def came_from(self, cells: torch.Tensor) -> torch.Tensor:
        """Displacements `[3, n]`, in cells along the grid's axes, from the centres of `cells` (flat indices) to where
        their gas was at the start of the last `trace`."""
        row_length = self.layout.cells[2]
        rows = torch.div(cells, row_length, rounding_mode="floor")
        at = rows * (row_length + 2) + cells - rows * row_length + 1
        components = self.back.view(3, -1)
        return torch.stack([components[self.layout.order.index(axis)][at] for axis in range(3)])

    def amount(
        self, phi: torch.Tensor, reach: float, decay: float = 1.0, exact: bool = True,
        fixed: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> None:  # fmt: skip
        """Advect the cell-centred field `phi` in place along the last trace and multiply it by `decay`.

        Zeros enter through open faces. The cost is proportional to the bounding box of the values that are not zero.

        Args:
            phi: flat, one number per cell; its sum over the cells is conserved as described below.
            reach: upper bound of the number of cells that the flow crosses.
            decay: factor on the result.
            exact: whether the flow is divergence-free. The total of `phi` then changes only by what leaves through open
                faces and by `decay`, up to rounding. Otherwise the total is only corrected for the clamping.
            fixed: cells (flat indices) and the values, before `decay`, that they have after the step.

        No value leaves the range of the samples that it is interpolated from, and zero regions stay zero. Without
        `maccormack`, values are neither clamped nor is the total corrected.
        """
        box = self._begin(phi, reach)
        if box is None:
            return
        if self.maccormack:
            self._advect_conserving(phi, box, reach, decay, exact, fixed)
            return
        self._advect(phi, NO_FACE, box, 0.0, decay, NOTHING)
        if fixed is not None:
            phi[fixed[0]] = fixed[1] * decay

    def _begin(self, phi: torch.Tensor, reach: float) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """The box to work on, (first cell, one past the last); None if `phi` is zero everywhere. Clears the scratch
        around it that the correction reads."""
        box = self._occupied(phi, math.ceil(reach) + 1)
        if box is not None and self.maccormack:
            # The second pass reads `hat` outside the box, as far as `forth` leads: at most 3 * reach.
            around = math.ceil(3 * reach) + 2
            spans = (
                slice(max(a - around, 0) if period == 0 else 0, b + around if period == 0 else None)
                for a, b, period in zip(*box, self.layout.periods, strict=True)
            )
            self.hat[: phi.numel()].view(self.layout.cells)[tuple(spans)].zero_()
        return box

    def _advect_conserving(
        self,
        phi: torch.Tensor,
        box: tuple[tuple[int, ...], tuple[int, ...]],
        reach: float,
        decay: float,
        exact: bool,
        fixed: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> None:
        """Advect `phi`, then spread the difference from the expected total over the cells that have room for it."""
        region, limits = self.region(NO_FACE, box)
        expected = 0.0
        if exact:
            farthest = math.ceil(3 * reach) + 1
            conservation.amount_and_outflow(phi, self.forth, region, limits, farthest, self.amounts.buffer)
            before, outflow = self.amounts.totals()
            expected = before - outflow
        self._advect(phi, NO_FACE, box, 0.0, 1.0, 0.0, record_cut=True)
        cut, smoothed = self.error[: phi.numel()], self.hat[: phi.numel()]
        if fixed is not None:
            cells, values = fixed
            phi[cells] = values
            self.low[cells], self.high[cells] = values, values
            cut[cells] = 0.0
        kernels.add_smoothed(phi, cut, smoothed, region, self.layout.tile)
        fields = (phi, self.low, self.high, smoothed, region)
        conservation.rooms(*fields, self.rooms.buffer)
        total, cuts, down, up, near_down, near_up = self.rooms.totals()
        excess = total - expected if exact else -cuts
        shares = _shares(excess, near_down, down) if excess > 0 else _shares(excess, near_up, up)
        conservation.use_room(*fields, *shares, decay, NOTHING, self.layout.tile)

    def velocity(self, velocity: Sequence[torch.Tensor]) -> None:
        """Advect the three face arrays in place along the last trace.

        Air enters through open faces with the wind's velocity. If it entered with the velocity just inside, inflow
        would amplify itself and even the air of an empty open box would accelerate without limit.
        """
        for axis, source in enumerate(self.layout.order):
            if source < self.grid.dim:  # the third component of a 2-D grid stays zero
                normal = (int(axis == 0), int(axis == 1), int(axis == 2))
                box = (NO_FACE, self.layout.faces(axis))
                self._advect(velocity[source], normal, box, self.wind[source], 1.0, 0.0)

    def _advect(
        self,
        phi: torch.Tensor,
        normal: tuple[int, int, int],
        box: tuple[tuple[int, ...], tuple[int, ...]],
        inflow: float,
        decay: float,
        nothing: float,
        record_cut: bool = False,
    ) -> None:
        """One advection step of the samples with this `normal` (zero: cells) in `box`. With `record_cut`,
        `self.error` holds on return what clamping took away from each sample."""
        hat, error = self.hat[: phi.numel()], self.error[: phi.numel()]
        region, limits = self.region(normal, box)
        kind = (self.layout.tile, self.layout.periodic)
        if self.maccormack:
            kernels.advect_back(phi, self.back, hat, self.low, self.high, region, limits, inflow, *kind)
            self._join(hat, normal)
            kernels.advection_error(phi, self.forth, hat, error, region, limits, *kind)
            self._join(error, normal)
            kernels.add_smoothed(phi, error, hat, region, self.layout.tile)
            self._join(hat, normal)
            corrected = hat
        else:
            corrected = error
            corrected.copy_(phi)
        kernels.advect_limited(
            phi, corrected, self.back, self.low, self.high, region, limits, inflow, decay, nothing, error, *kind,
            self.maccormack, record_cut,
        )  # fmt: skip
        self._join(phi, normal)

    def _join(self, faces: torch.Tensor, normal: tuple[int, int, int]) -> None:
        if any(normal):
            self.layout.join(faces, self.layout.order[normal.index(1)])

    def region(
        self, normal: tuple[int, int, int], box: tuple[tuple[int, ...], tuple[int, ...]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Arguments of the advection kernels: `region` (see `kernels_advection.unpacked`) for the samples with this
        `normal` in `box`; `limits`, the index coordinates of the outermost samples at the lower and the upper open
        ends."""
        layout = self.layout
        size = tuple(n + e for n, e in zip(layout.cells, normal, strict=True))
        region = (*layout.cells, *normal, *box[0], *box[1], *layout.strides(size), *layout.periods)
        lower = (0.0 if low else -EDGELESS for low, _ in layout.opened)
        upper = (n - 1.0 if high else EDGELESS for n, (_, high) in zip(size, layout.opened, strict=True))
        return (
            torch.tensor(region, dtype=torch.int32, device=self.device),
            torch.tensor((*lower, *upper), dtype=torch.float32, device=self.device),
        )

    def _occupied(self, phi: torch.Tensor, margin: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """The bounding box of the values that are not zero, grown by `margin` cells, as its first cell and one past its
        last; None if all are zero."""
        nx, ny, nz = self.layout.cells
        kernels.row_extents(phi, self.extents, nx * ny, nz)
        extents = self.extents.cpu().numpy().reshape(nx, ny, 2)
        filled = extents[..., 1] > 0
        if not filled.any():
            return None
        xs, ys = np.nonzero(filled.any(axis=1))[0], np.nonzero(filled.any(axis=0))[0]
        spans = [(xs[0], xs[-1] + 1), (ys[0], ys[-1] + 1), (extents[..., 0].min(), extents[..., 1].max())]
        first, last = [], []
        for (low, high), n, period in zip(spans, self.layout.cells, self.layout.periods, strict=True):
            # A box that crosses the periodic end would be two boxes: take the whole axis.
            around = period > 0 and (low < margin or high + margin > n)
            first.append(0 if around else max(int(low) - margin, 0))
            last.append(n if around else min(int(high) + margin, n))
        return tuple(first), tuple(last)


def _shares(excess: float, near: float, total: float) -> tuple[float, float]:
    """The shares of the room that remove an `excess`: of the room `near` clamped cells, which is used first, and of the
    remaining room, `total` less `near`. Negative for a negative excess, which is added instead."""
    amount, sign = abs(excess), math.copysign(1.0, excess)
    if amount <= near:
        return sign * amount / near if near > 0 else 0.0, 0.0
    rest = total - near
    return sign, sign * min((amount - near) / rest, 1.0) if rest > 0 else 0.0
