"""How a result is written: with the names, precision and lattice of its source, where that is a VDB."""

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
    """How the volumes made of a frame are written; `style` is that of its source if this is a VDB."""

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
        """As the source of `taken` was, unless `precision` or `naming` say otherwise."""
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
        """The keywords of `volumes.write` and of `volumes.stream`."""
        return {"style": self.style, "precision": self.precision, "naming": self.naming, "up": self.up}

    def grids(self, fields: Sequence[str]) -> dict[str, str]:
        """The name of each field's grid."""
        return usd.grids_of(fields, self.style, self.naming)
