"""The boundary band: the fluid cells near solids, on which conjugate gradients run.

Let B be the matrix of the empty box and A the matrix with solids. They differ only in the rows of cut cells, that is,
cells with a face that a solid covers wholly or in part. After a box solve the residual of A p = r is therefore zero
outside the cut cells, and it remains zero: the vectors of conjugate gradients need one number for each cell of a thin
layer instead of one for each cell of the box.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch

from fluidsr.solver import kernels_boundary_band as kernels
from fluidsr.solver.geometry import Geometry
from fluidsr.solver.grid import WRAPPED

# Layers of smoothed cells around the cut ones, and Gauss-Seidel sweeps before and after a box solve.
LAYERS = 1
SWEEPS = 2


class BoundaryBand:
    """The list of cells near solids, with their rows of the matrix A; about 80 bytes for each of these cells.

    The smoothed cells come first, colour by colour (cells of one colour are not neighbours), then the layer around
    them, which a residual can reach.

    Attributes:
        cells: flat indices in the box; `count` is their number.
        beside, weights: for each cell, the positions in the list of its six neighbours and the matrix entries.
        colours: (begin, end) in the list of the cells of each colour.
        window: first row and one past the last row, along x and along y, of the band and its neighbours.
        plain: for each row of cells along z, 1 if it is the same as in the empty box (see kernels_pressure.py).
        pockets: for each of the geometry's pockets, the positions in the list of its cells.
    """

    def __init__(
        self,
        geometry: Geometry,
        weights: tuple[torch.Tensor, ...],
        ends: int,
        place: torch.Tensor,
        device: str,
    ) -> None:
        """Args:
        geometry: fluid cells and pockets.
        weights: the geometry's face weights, flat, on `device`.
        ends: the boundary conditions, see `Grid.beyond`.
        place: int32 scratch, one number per cell of the box.
        device: torch device of the arrays.
        """
        nx, ny, nz = self.cells_of_box = geometry.fluid.shape
        self.ends = ends
        level = torch.empty(nx * ny * nz, dtype=torch.uint8, device=device)
        self.plain, layer = (torch.empty(nx * ny, dtype=torch.uint8, device=device) for _ in range(2))
        kernels.classify(*weights, level, layer, self.plain, nx, ny, nz, ends)
        for old in range(kernels.CUT, kernels.CUT + LAYERS + 1):
            kernels.dilate(level, layer, old, nx, ny, nz, ends)
        rows = torch.nonzero(layer).view(-1)
        levels = level.view(-1, nz)[rows]
        row, k = torch.nonzero((levels != kernels.FAR) & (levels != kernels.SOLID)).unbind(1)
        near = rows[row] * nz + k
        outer = level[near] == kernels.CUT + LAYERS + 1
        colour = self._colours(near)
        groups = [near[~outer & (colour == number)] for number in torch.unique(colour).tolist()]
        edges = np.cumsum([0, *(len(group) for group in groups)]).tolist()
        self.colours = list(itertools.pairwise(edges))
        self.cells = torch.cat([*groups, near[outer]]).to(torch.int32)
        self.count = len(self.cells)
        place.fill_(self.count)
        kernels.number_cells(self.cells, place, self.count)
        self.beside = torch.empty(6 * self.count, dtype=torch.int32, device=device)
        self.weights = torch.empty(6 * self.count, dtype=torch.float32, device=device)
        kernels.build_stencil(
            self.cells, place, *weights, self.beside, self.weights, self.count, nx, ny, nz, ends
        )
        self.window = (*self._span(near // (ny * nz), 0), *self._span(near // nz % ny, 1))
        fluid_cells = int(np.count_nonzero(geometry.fluid))
        self.pockets = [self._places(pocket, place, fluid_cells) for pocket in geometry.pockets]

    def _span(self, index: torch.Tensor, axis: int) -> tuple[int, int]:
        """First index along `axis`, and one past the last, of band cells with this `index` and their neighbours."""
        if len(index) == 0:
            return 0, 0
        n = self.cells_of_box[axis]
        first, last = int(index.min()) - 1, int(index.max()) + 2
        wraps = self.ends >> (4 * axis) & 3 == WRAPPED
        if wraps and (first < 0 or last > n):
            return 0, n
        return max(first, 0), min(last, n)

    def _colours(self, cells: torch.Tensor) -> torch.Tensor:
        """The colour of each cell: the two of a checkerboard, and two more on the last plane of a periodic axis with an
        odd number of cells, where the checkerboard does not match across the ends."""
        _, ny, nz = self.cells_of_box
        index = (cells // (ny * nz), cells // nz % ny, cells % nz)
        colour = (index[0] + index[1] + index[2]) % 2
        for axis, n in enumerate(self.cells_of_box):
            if n % 2 == 1 and self.ends >> (4 * axis) & 3 == WRAPPED:
                colour = colour + (2 << axis) * (index[axis] == n - 1)
        return colour

    def _places(self, pocket: np.ndarray, place: torch.Tensor, fluid_cells: int) -> torch.Tensor | slice:
        """The positions in the list of the cells of a `pocket` (flat indices in the box)."""
        if len(pocket) == fluid_cells:  # all of the fluid, as in a closed box
            return slice(self.count)
        places = place[torch.from_numpy(pocket).to(place.device)]
        return places[places < self.count].to(torch.int64)

    def smooth(self, z: torch.Tensor, r: torch.Tensor, forward: bool) -> None:
        """z = S r: SWEEPS Gauss-Seidel sweeps for A z = r over the smoothed cells, starting from zero. Not `forward`:
        z = S^T r, with the colours in reverse order."""
        z.zero_()
        for _ in range(SWEEPS):
            for begin, end in self.colours if forward else reversed(self.colours):
                kernels.gauss_seidel_sweep(z, r, self.beside, self.weights, begin, end)

    def level(self, r: torch.Tensor) -> None:
        """Subtract the mean of `r` in each pocket, whose pressure equation is singular."""
        for places in self.pockets:
            r[places] -= r[places].to(torch.float64).mean().to(r.dtype)
