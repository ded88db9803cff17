"""The manifest of `import-dataset`: simulations with their two sides, from YAML or from options."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, model_validator

from fluidsr.choices import CellsAt, Factor, Split, VelocityUnit
from fluidsr.errors import InputError
from fluidsr.scenes import load_yaml_model
from fluidsr.scenes.error_messages import Problem, Problems
from fluidsr.scenes.fields import Flag, GridName, Positive, Strict


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _beside(value: Any, info: ValidationInfo) -> Any:
    """File names and patterns are relative to the YAML file; absolute from here on."""
    folder = (info.context or {}).get("folder") or Path()
    return str((Path(folder) / value).absolute()) if isinstance(value, str) else value


_Pattern = Annotated[str, Field(min_length=1, max_length=4000), BeforeValidator(_beside)]
_Files = Annotated[tuple[_Pattern, ...], Field(min_length=1), BeforeValidator(_listed)]


class ReadSection(Strict):
    """How volumes are understood; what is absent is asked of the level above."""

    density_grid: GridName | None = Field(default=None, description="Name of the grid; absent: detected")
    velocity_grid: GridName | None = Field(default=None, description="Name of the grid; absent: detected")
    velocity_unit: VelocityUnit | None = Field(
        default=None, description="Unit of the files' velocity; absent: auto"
    )
    frame_rate: Positive | None = Field(default=None, description="Frames per second of the files")
    cells_at: CellsAt | None = Field(
        default=None,
        description="What the files' positions are of each cell; absent: its center, as VDB and VTK mean",
    )


class SideOfPair(ReadSection):
    """One side of a simulation."""

    files: _Files = Field(description="A folder, a file, a pattern such as smoke_####.vdb, or a list of them")


def _as_text(value: Any) -> Any:
    return str(value) if type(value) is int else value


_Frames = Annotated[str, Field(min_length=1, max_length=20), BeforeValidator(_as_text)]


def _as_side(value: Any) -> Any:
    return {"files": value} if isinstance(value, (str, list, tuple)) else value


_Side = Annotated[SideOfPair, BeforeValidator(_as_side)]


class SimulationSpec(ReadSection):
    """One simulation."""

    high: _Side = Field(description="The fine side")
    low: _Side | None = Field(default=None, description="The coarse side; absent: filtered from the fine one")
    factor: Factor | None = Field(
        default=None, description="Needed if there is no coarse side; with one it must be that of the files"
    )
    split: Split | None = Field(default=None, description="Absent: chosen")
    frames: _Frames | None = Field(default=None, description="A count, or a range A-B")
    zero_velocity: Flag | None = Field(default=None, description="Accept a coarse side without velocity")


class PairsFile(ReadSection):
    """All simulations; what is said beside the list holds for those that say nothing else."""

    factor: Factor | None = Field(default=None, description="Where there is no coarse side")
    frames: _Frames | None = Field(default=None, description="A count, or a range A-B")
    zero_velocity: Flag = Field(default=False, description="Accept coarse sides without velocity")
    simulations: Annotated[tuple[SimulationSpec, ...], Field(min_length=1, max_length=100_000)] = Field(
        description="Each with high, and low or factor"
    )

    @model_validator(mode="after")
    def _each_has_a_factor(self) -> PairsFile:
        for index, spec in enumerate(self.simulations):
            if spec.low is None and (spec.factor or self.factor) is None:
                problem = Problem(
                    ("simulations", index),
                    "has no coarse side",
                    "add low, or a factor by which to filter the fine side",
                )
                raise Problems([problem])
        return self


def load(path: Path, options: Mapping[str, Any]) -> PairsFile:
    """Read the manifest at `path`; `options` override its keys for all simulations.

    Raises InputError if there is no such file, SceneError (`file:line: key: what; remedy`) if it is not valid.
    """
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "there is no such file"
        raise InputError(
            str(path), problem, "give a YAML file of pairs, or `low` and `high`, or a `layout` for a folder"
        )
    overrides = [f"{key}={json.dumps(value)}" for key, value in options.items()]
    return load_yaml_model(path, PairsFile, overrides, kind="list of pairs")


def of_options(low: Sequence[str], high: Sequence[str], **more: Any) -> PairsFile:
    """The manifest of the options `low` and `high`, paired in order. Raises InputError if their numbers differ."""
    if not high:
        raise InputError(
            "high", "no fine side is given", "give a YAML file of pairs, or `high` with `low` or `factor`"
        )
    if low and len(low) != len(high):
        problem = f"their numbers differ ({len(low)} and {len(high)})"
        raise InputError("`low` and `high`", problem, "give one `low` for each `high`, or none")
    if not low and more.get("factor") is None:
        raise InputError(
            "factor", "is unknown without a coarse side", "give `low`, or a `factor` of 2, 4 or 8"
        )
    factor = more.pop("factor", None)
    pairs = [
        {"high": fine, "low": coarse, "factor": factor}
        for fine, coarse in zip(high, low or (None,) * len(high), strict=True)
    ]
    try:
        return PairsFile.model_validate({**more, "simulations": pairs}, context={"folder": Path.cwd()})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise InputError(str(first["loc"][-1]), first["msg"], "give another value") from None
