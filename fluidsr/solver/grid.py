"""The grid of a simulation: a box of cubic cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from fluidsr.choices import Boundary
from fluidsr.errors import InputError

FACES = get_args(Boundary)
# How a field continues beyond an end of an axis: as its mirror image (zero gradient at the end), as the negative of it
# (zero value at the end), or from the other end of the axis.
EVEN, ODD, WRAPPED = 0, 1, 2


@dataclass(frozen=True)
class Grid:
    """A box of cubic cells with its lower corner at the origin. A 2-D grid is a 3-D grid that is one cell thick and
    closed in front and behind. Raises InputError for invalid values.

    Attributes:
        shape: number of cells along x, y (and z).
        cell_size: edge length of a cell, m.
        boundary: for each axis the kinds (low, high) of its two ends: "closed" (a wall with free slip), "open" (p = 0
            on the face) or "periodic" (flow that leaves at one end enters at the other; both ends or neither).
        up: the axis against gravity.
    """

    shape: tuple[int, ...]
    cell_size: float
    boundary: tuple[tuple[str, str], ...]
    up: int = 1

    def __post_init__(self) -> None:
        if len(self.shape) not in (2, 3) or min(self.shape) < 1:
            raise InputError(
                "grid", f"{self.shape} is not a 2-D or 3-D grid", "give two or three positive sizes"
            )
        # Kernels index with 32 bits, and the widest array holds three numbers a cell.
        if math.prod(n + 1 for n in self.shape) * 3 >= 2**31:
            raise InputError(
                "grid", f"{self.shape} cells are more than the solver can index", "use fewer cells"
            )
        if not (self.cell_size > 0 and math.isfinite(self.cell_size)):
            raise InputError(
                "grid", f"{self.cell_size} m is not a cell size", "give a positive number of meters"
            )
        if len(self.boundary) != self.dim or any(
            face not in FACES for pair in self.boundary for face in pair
        ):
            raise InputError(
                "grid",
                f"boundary {self.boundary} is not understood",
                f"give (low, high) per axis, each of {', '.join(FACES)}",
            )
        for axis, (low, high) in enumerate(self.boundary):
            if (low == "periodic") != (high == "periodic"):
                raise InputError(
                    "grid",
                    f"axis {'xyz'[axis]} is periodic at one end only",
                    "make both of its ends periodic, or neither",
                )
        if self.up not in range(self.dim):
            raise InputError("grid", f"there is no axis {self.up} to point up", f"give 0 to {self.dim - 1}")

    @property
    def dim(self) -> int:
        """The number of dimensions, 2 or 3."""
        return len(self.shape)

    @property
    def cells(self) -> tuple[int, int, int]:
        """Number of cells along x, y, z; 1 along z in 2-D."""
        nx, ny, nz = (*self.shape, 1)[:3]
        return nx, ny, nz

    @property
    def opened(self) -> tuple[tuple[bool, bool], ...]:
        """For x, y, z: whether the (low, high) face is open."""
        kinds = (*self.boundary, ("closed", "closed"))[:3]
        return tuple((low == "open", high == "open") for low, high in kinds)

    @property
    def periodic(self) -> tuple[bool, bool, bool]:
        """For x, y, z: whether the axis is periodic. Its faces 0 and n are then one face, stored twice with
        the same bits."""
        x, y, z = (low == "periodic" for low, _ in (*self.boundary, ("closed", "closed"))[:3])
        return x, y, z

    @property
    def periods(self) -> tuple[float, ...]:
        """The period of the domain along each axis, m; 0 along axes that are not periodic."""
        lengths = (n * self.cell_size for n in self.shape)
        return tuple(length * wraps for length, wraps in zip(lengths, self.periodic, strict=False))

    def beyond(self, odd: Sequence[Sequence[bool]]) -> int:
        """The boundary conditions of a field at the six ends of the box, packed for kernels: EVEN, ODD or WRAPPED in
        two bits each, low and high of x, y, z. `odd`: for x, y, z and both ends, whether an axis that is not periodic
        is ODD there."""
        code = 0
        for axis, (wraps, pair) in enumerate(zip(self.periodic, odd, strict=True)):
            for side, mirrored in enumerate(pair):
                kind = WRAPPED if wraps else ODD if mirrored else EVEN
                code |= kind << (4 * axis + 2 * side)
        return code

    @property
    def longest_edge(self) -> float:
        """The length of the longest edge of the box, m."""
        return max(self.shape) * self.cell_size

    def faces(self, axis: int) -> tuple[int, int, int]:
        """The shape of the array of faces normal to `axis`."""
        nx, ny, nz = (n + (a == axis) for a, n in enumerate(self.cells))
        return nx, ny, nz
