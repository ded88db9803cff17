"""The `upscale` section of a scene: a trained generator, carried smoke, or wavelet turbulence."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from fluidsr.scenes.fields import FileName, GridName, Integer, Number, Strict
from fluidsr.scenes.regions import DetailFactor, Regions

DEFAULT_METHOD = "model"
_DETAIL = "How much is added to cubic interpolation: 0 none, 1 {all}, 2 twice as much (docs/control.md)"


class ModelUpscale(Strict):
    """A trained generator upsamples each frame."""

    method: Literal["model"] = Field(default="model", description="How frames are upsampled")
    model: Annotated[str, Field(min_length=1, max_length=1000)] = Field(
        description="A shipped generator, or the path of a model file"
    )
    detail: DetailFactor = Field(default=1.0, description=_DETAIL.format(all="what the generator makes"))
    velocity_scale: Annotated[Number, Field(ge=0, le=100)] = Field(
        default=1.0,
        description="Factor on the velocity that the generator sees; the effect depends on the model"
        " (docs/control.md)",
    )
    regions: Regions = Field(
        default=(),
        description="Shapes in which the detail, and that velocity, have additional factors; as for sources",
    )
    detail_mask: FileName | None = Field(
        default=None,
        description="A volume file whose values are a factor on the detail, or a sequence (mask_####.vdb) with one for"
        " each frame; relative to the scene's file",
    )
    detail_mask_grid: GridName | None = Field(
        default=None, description="Its grid; absent: the one called mask, density, or the only one"
    )
    mask: FileName | None = Field(default=None, description="The same for the velocity")
    mask_grid: GridName | None = Field(
        default=None, description="Its grid; absent: the one called mask, density, or the only one"
    )
    style_seed: Annotated[Integer, Field(ge=0, lt=2**31)] | None = Field(
        default=None,
        description="Seed of the style of a generator with a latent code; absent: 0 (docs/style.md)",
    )
    style: dict[str, Number] = Field(
        default={}, description="Amounts along directions found by `fluidsr styles`: `{enstrophy: 1.5}`"
    )
    styles: FileName | None = Field(
        default=None, description="File of directions for `style`; absent: the one beside the model"
    )


class CarryUpscale(Strict):
    """Cubic interpolation, with the detail that the coarse flow has made of smoke of some frames ago; no network."""

    method: Literal["carry"] = Field(description="How frames are upsampled")
    factor: Literal[2, 4, 8] = Field(default=4, description="Fine cells along the edge of a coarse one")
    frames: Annotated[Integer, Field(ge=1, le=32)] = Field(
        default=4,
        description="Age of the carried smoke in frames; more: finer detail, less accurately placed",
    )
    detail: DetailFactor = Field(default=1.0, description=_DETAIL.format(all="what was carried"))


class WaveletUpscale(Strict):
    """Wavelet turbulence (Kim et al. 2008): smoke advected on a fine grid, by the coarse flow and added eddies.

    Frames build on one another: a range of frames is computed from the first.
    """

    method: Literal["wavelet"] = Field(description="How frames are upsampled")
    factor: Annotated[Integer, Field(ge=2, le=16)] = Field(
        default=4, description="Fine cells along the edge of a coarse one"
    )
    strength: Annotated[Number, Field(ge=0, le=100)] = Field(
        default=1.0,
        description="Factor on the speed of the added eddies; 0 adds none, 1 is Kolmogorov's cascade",
    )
    octaves: Annotated[Integer, Field(ge=1, le=6)] | None = Field(
        default=None,
        description="Sizes of eddies, from a coarse cell down by halves; absent: as many as the fine grid holds",
    )
    seed: Annotated[Integer, Field(ge=0, lt=2**31)] = Field(default=0, description="Seed of the eddies")


def _named(value: Any) -> Any:
    return {"method": DEFAULT_METHOD, **value} if isinstance(value, dict) else value


Upscale: TypeAlias = Annotated[
    ModelUpscale | CarryUpscale | WaveletUpscale, Field(discriminator="method"), BeforeValidator(_named)
]
