"""The `upscale` section of a scene: a trained generator, carried smoke, or wavelet turbulence."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from fluidsr.choices import Factor
from fluidsr.scenes.fields import FileName, GridName, Integer, Number, Strict
from fluidsr.scenes.regions import DetailFactor, Regions

DEFAULT_METHOD = "model"
_DETAIL = (
    "Factor on what is added to cubic interpolation: 0 nothing, 1 {all}, 2 twice as much (docs/control.md)"
)


class ModelUpscale(Strict):
    """A trained generator upsamples each frame."""

    method: Literal["model"] = Field(default="model", description="Method of upsampling")
    model: Annotated[str, Field(min_length=1, max_length=1000)] = Field(
        description="Name of a shipped generator, or path of a model file"
    )
    detail: DetailFactor = Field(default=1.0, description=_DETAIL.format(all="the generator's own detail"))
    velocity_scale: Annotated[Number, Field(ge=0, le=100)] = Field(
        default=1.0,
        description="Factor on the velocity that the generator sees; the effect depends on the model"
        " (docs/control.md)",
    )
    regions: Regions = Field(
        default=(),
        description="Shapes, as for sources, in which the detail and that velocity have additional factors "
        "(docs/control.md)",
    )
    detail_mask: FileName | None = Field(
        default=None,
        description="Volume file whose values are factors on the detail, or a sequence (mask_####.vdb) with one file "
        "per frame; relative to the scene's file",
    )
    detail_mask_grid: GridName | None = Field(
        default=None,
        description="Name of its grid; absent: the one called mask, else density, else the only one",
    )
    mask: FileName | None = Field(
        default=None,
        description="Volume file of factors on the velocity that the generator sees, like `detail_mask`",
    )
    mask_grid: GridName | None = Field(
        default=None,
        description="Name of its grid; absent: the one called mask, else density, else the only one",
    )
    style_seed: Annotated[Integer, Field(ge=0, lt=2**31)] | None = Field(
        default=None,
        description="Seed of the style of a generator with a latent code; absent: 0 (docs/style.md)",
    )
    style: dict[str, Number] = Field(
        default={}, description="Amounts along directions found by `fluidsr styles`, e.g. `{enstrophy: 1.5}`"
    )
    styles: FileName | None = Field(
        default=None, description="File of directions for `style`; absent: the one beside the model"
    )


class CarryUpscale(Strict):
    """Cubic interpolation plus detail from smoke of an earlier frame, carried along the coarse flow; no network."""

    method: Literal["carry"] = Field(description="Method of upsampling")
    factor: Factor = Field(default=4, description="Fine cells per coarse cell, along each axis")
    frames: Annotated[Integer, Field(ge=1, le=32)] = Field(
        default=4,
        description="Age of the carried smoke, in frames. A larger age gives finer detail, less accurately placed",
    )
    detail: DetailFactor = Field(default=1.0, description=_DETAIL.format(all="the carried detail"))


class WaveletUpscale(Strict):
    """Wavelet turbulence (Kim et al. 2008): smoke is advected on a fine grid, by the coarse flow and added eddies.

    Each frame depends on the one before, so a range of frames is computed from the first frame on.
    """

    method: Literal["wavelet"] = Field(description="Method of upsampling")
    factor: Annotated[Integer, Field(ge=2, le=16)] = Field(
        default=4, description="Fine cells per coarse cell, along each axis"
    )
    strength: Annotated[Number, Field(ge=0, le=100)] = Field(
        default=1.0,
        description="Factor on the speed of the added eddies: 0 adds none, 1 is Kolmogorov's cascade",
    )
    octaves: Annotated[Integer, Field(ge=1, le=6)] | None = Field(
        default=None,
        description="Number of sizes of eddies, from a coarse cell down, each half as large; absent: as many as the "
        "fine grid holds",
    )
    seed: Annotated[Integer, Field(ge=0, lt=2**31)] = Field(default=0, description="Seed of the eddies")


def _named(value: Any) -> Any:
    return {"method": DEFAULT_METHOD, **value} if isinstance(value, dict) else value


Upscale: TypeAlias = Annotated[
    ModelUpscale | CarryUpscale | WaveletUpscale, Field(discriminator="method"), BeforeValidator(_named)
]
