"""Moving fields with the flow: semi-Lagrangian steps, and the correction of their error.

A step there and back measures what a step loses (Dupont and Liu 2003; Kim, Liu, Llamas and Rossignac 2005).
MacCormack's form of the correction (Selle, Fedkiw, Kim, Liu and Rossignac 2008) adds the error where it was measured,
at the place that the flow has left: where the flow crosses several cells in a step the two do not belong together,
nothing damps waves of two cells, and stripes one cell wide cover the smoke. Here the error is carried along with the
field, as in the papers of 2003 and 2005, within the limits of Selle et al. The error is smoothed first, weighted 1 2 1
along each axis: the shortest waves have lost their phase, so they are not restored and fade as in a semi-Lagrangian
step. The order of accuracy stays two. docs/results/solver.md has the comparison.

Without limits this nearly keeps the total of a field; limits do not, as they mostly raise values, at the foot of smoke.
`amount` makes up for that, beside the places where it happened, within the limits (mass fixers of weather models:
Priestley 1993; Bermejo and Conde 2002; Zerroukat 2010).

Tracing costs more than interpolating, so each substep traces
once from every cell centre, by the midpoint rule (RK2), and all fields use that: cells as it is, faces as the mean of
the two cells beside them, which is as accurate (second order) as the interpolation itself.
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

NOTHING = 1e-6  # smaller densities and temperatures are set to zero: they cost like smoke and show like air
NO_FACE = (0, 0, 0)
STAGE = "advection"
EDGELESS = 1e30  # index coordinate of an end of an axis that nothing enters or leaves through


class Advection:
    """Advects the fields of one grid. `wind`: velocity (m/s, one number per axis) of the air that open faces bring
    in; at rest where left out. Borrows ten numbers a cell."""

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
        most = max(math.prod(layout.faces(axis)) for axis in range(3))
        self.back, self.forth = (workspace.take(STAGE, 3 * nx * ny * (nz + 2)) for _ in range(2))
        # Once the trace is done the centred velocity is not needed any more, and the fields' scratch takes its place.
        scratch = workspace.take(STAGE, 4 * most)
        self.centred = scratch[: 3 * nx * ny * nz]
        self.hat, self.low, self.high, self.error = (scratch[n * most : (n + 1) * most] for n in range(4))
        self.amounts, self.rooms = Sums(nx * ny, device, 2), Sums(nx * ny, device, 6)
        self.extents = workspace.take(STAGE, 2 * nx * ny, torch.int32)

    def trace(self, velocity: Sequence[torch.Tensor], seconds: float) -> None:
        """Trace all particles through `velocity` for `seconds`; `amount` and `velocity` then move fields along."""
        layout = self.layout
        u, v, w = (velocity[axis] for axis in layout.order)
        step = seconds / self.grid.cell_size
        kernels.centre_velocity(u, v, w, self.centred, layout.cells, layout.tile)
        region, _ = self.region(NO_FACE, (NO_FACE, layout.cells))
        kernels.trace(
            self.centred, self.back, self.forth, region, step, layout.tile, layout.periodic, self.maccormack
        )

    def came_from(self, cells: torch.Tensor) -> torch.Tensor:
        """How far (in cells, [3, n], the grid's axes) what is now at the centres of `cells` (flat indices) has come,
        after `trace`."""
        row_length = self.layout.cells[2]
        rows = torch.div(cells, row_length, rounding_mode="floor")
        at = rows * (row_length + 2) + cells - rows * row_length + 1
        components = self.back.view(3, -1)
        return torch.stack([components[self.layout.order.index(axis)][at] for axis in range(3)])

    def amount(
        self, phi: torch.Tensor, reach: float, decay: float = 1.0, exact: bool = True,
        given: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> None:  # fmt: skip
        """Move the cell-centred `phi`, an amount in each cell, in place along the last trace; multiply it by `decay`.

        `reach` bounds how many cells the flow crosses. Open faces bring in zeros. Costs in proportion to the box that
        is not empty.

        On return the total has changed by what has left through open faces and by `decay` alone, to rounding, where
        `exact`, which asks for a flow without divergence; otherwise by nothing that the limits did. `given`: cells
        (flat indices) and their values after the step, which is not to change them (before the decay).

        No value leaves the range of the samples that it is made of, and none appears where there is nothing. A
        semi-Lagrangian step without corrections has no limits, and keeps no total.
        """
        box = self._begin(phi, reach)
        if box is None:
            return
        if self.maccormack:
            self._advect_keeping(phi, box, reach, decay, exact, given)
            return
        self._advect(phi, NO_FACE, box, 0.0, decay, NOTHING)
        if given is not None:
            phi[given[0]] = given[1] * decay

    def _begin(self, phi: torch.Tensor, reach: float) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """The box to work on, with what is around it prepared; None where there is nothing to move."""
        box = self._occupied(phi, math.ceil(reach) + 1)
        if box is not None and self.maccormack:
            # The second pass looks beyond the box, where hat is zero: as far as `forth`, at most 3 * reach.
            around = math.ceil(3 * reach) + 2
            spans = (
                slice(max(a - around, 0) if period == 0 else 0, b + around if period == 0 else None)
                for a, b, period in zip(*box, self.layout.periods, strict=True)
            )
            self.hat[: phi.numel()].view(self.layout.cells)[tuple(spans)].zero_()
        return box

    def _advect_keeping(
        self,
        phi: torch.Tensor,
        box: tuple[tuple[int, ...], tuple[int, ...]],
        reach: float,
        decay: float,
        exact: bool,
        given: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> None:
        region, limits = self.region(NO_FACE, box)
        expected = 0.0
        if exact:
            farthest = math.ceil(3 * reach) + 1
            conservation.amount_and_outflow(phi, self.forth, region, limits, farthest, self.amounts.buffer)
            before, left = self.amounts.totals()
            expected = before - left
        self._advect(phi, NO_FACE, box, 0.0, 1.0, 0.0, keeps=True)
        cut, smoothed = self.error[: phi.numel()], self.hat[: phi.numel()]
        if given is not None:
            cells, values = given
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
        """Move the three face arrays in place along the last trace. Open faces bring in the wind.

        Were it to come in as fast as the air beside the face, inflow would feed on itself, and the air in an open box
        would run away without any smoke in it.
        """
        for axis, source in enumerate(self.layout.order):
            if source < self.grid.dim:  # the third component of a 2-D grid stays zero
                normal = (int(axis == 0), int(axis == 1), int(axis == 2))
                whole = (NO_FACE, self.layout.faces(axis))
                self._advect(velocity[source], normal, whole, self.wind[source], 1.0, 0.0)

    def _advect(
        self,
        phi: torch.Tensor,
        normal: tuple[int, int, int],
        box: tuple[tuple[int, ...], tuple[int, ...]],
        inflow: float,
        decay: float,
        nothing: float,
        keeps: bool = False,
    ) -> None:
        """With `keeps`, `error` is what the limits took away."""
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
            self.maccormack, keeps,
        )  # fmt: skip
        self._join(phi, normal)

    def _join(self, faces: torch.Tensor, normal: tuple[int, int, int]) -> None:
        if any(normal):
            self.layout.join(faces, self.layout.order[normal.index(1)])

    def region(
        self, normal: tuple[int, int, int], box: tuple[tuple[int, ...], tuple[int, ...]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """For kernels: where samples with this normal lie (`kernels.unpacked`) and what part of them, `box`, is worked
        on; and index coordinates of the last samples at open ends, lower and upper."""
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
        """The box that `phi` can reach within `margin` cells, as its first cell and the one after its last; None
        where it is empty."""
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
            # Over the seam: all of the axis, to be on the safe side.
            around = period > 0 and (low < margin or high + margin > n)
            first.append(0 if around else max(int(low) - margin, 0))
            last.append(n if around else min(int(high) + margin, n))
        return tuple(first), tuple(last)


def _shares(excess: float, near: float, whole: float) -> tuple[float, float]:
    """The shares of the `near` room, and of the rest of the `whole`, that take an `excess` away; negative where it is
    negative."""
    amount, sign = abs(excess), math.copysign(1.0, excess)
    if amount <= near:
        return sign * amount / near if near > 0 else 0.0, 0.0
    rest = whole - near
    return sign, sign * min((amount - near) / rest, 1.0) if rest > 0 else 0.0
