"""A YAML file of regions, for caches that were not made from a scene."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from fluidsr.scenes.error_messages import Problems
from fluidsr.scenes.fields import Strict
from fluidsr.scenes.regions import Regions
from fluidsr.scenes.validation import problems_of_body
from fluidsr.scenes.yaml_loader import load_yaml_model


class RegionFile(Strict):
    """The regions of a file, as `upscale.regions` of a scene."""

    regions: Annotated[Regions, Field(min_length=1)] = Field(
        description="Shapes with factors on the detail, and on the velocity that the generator is shown"
    )

    @model_validator(mode="after")
    def _check(self) -> RegionFile:
        problems = [
            problem
            for i, region in enumerate(self.regions)
            for problem in problems_of_body(self.dim, ("regions", i), region)
        ]
        if problems:
            raise Problems(problems)
        return self

    @property
    def dim(self) -> int:
        """2 or 3: the number of coordinates of the first center."""
        return len(self.regions[0].center)


def load_regions(path: Path) -> tuple[Any, ...]:
    """The regions in a file, all of the same dimension.

    Raises SceneError (`file:line: key: what; remedy`) for an invalid file and one that cannot be read.
    """
    return load_yaml_model(path, RegionFile, kind="file of regions").regions
