"""WrittenStyle: how a result is written. A result of a VDB has its names, precision and lattice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fluidsr import volumes
from fluidsr.pipeline import usd
from fluidsr.pipeline.read_options import ReadOptions
from fluidsr.volumes.grid_names import grid_name


@dataclass(frozen=True)
class WrittenStyle:
    """How the results of a frame are written.

    Attributes:
        style: of the source file if it is a VDB, otherwise None.
        precision: of the values, `half` or `float`.
        naming: convention for the name of the velocity grid.
        up: the axis that points up.
    """

    style: volumes.Style | None
    precision: str
    naming: str
    up: str

    @classmethod
    def of(
        cls,
        taken: volumes.Taken,
        read_options: ReadOptions,
        precision: str | None = None,
        naming: str | None = None,
    ) -> WrittenStyle:
        """The style of the source of `taken`, changed by `precision` and `naming` (None: unchanged) and by the rotation
        in `read_options`."""
        style, of_source, up = taken.style, "half", read_options.up(taken)
        if style is not None:
            grids = dict(style.grids)
            if "density" in grids:
                of_source = "half" if grids["density"].half else "float"
            if precision is not None:
                smooth = {name: grid for name, grid in grids.items() if not grid.whole}
                grids |= {name: replace(grid, half=precision == "half") for name, grid in smooth.items()}
            if naming is not None and "velocity" in grids:
                grids["velocity"] = replace(grids["velocity"], name=grid_name("velocity", naming))
            style = replace(style, grids=grids)
            if up != taken.up:
                style = replace(style, lattice=None, turned_up=up)
        return cls(style, precision or of_source, naming or "houdini", up)

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of `volumes.write` and `volumes.stream`."""
        return {"style": self.style, "precision": self.precision, "naming": self.naming, "up": self.up}

    def grids(self, fields: Sequence[str]) -> dict[str, str]:
        """The name of the grid of each field."""
        return usd.grids_of(fields, self.style, self.naming)
