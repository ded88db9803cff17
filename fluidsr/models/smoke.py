"""SmokeGenerator, this project's own architecture. docs/adr/0005-generator.md explains its design."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from fluidsr.models.blocks import (
    BalancedSubpixelUpsample,
    Convolution,
    CroppedSides,
    ResidualBlock,
    ResizeConvUpsample,
    UnbiasedConvolution,
    activate,
    memory_format,
    trim,
)
from fluidsr.models.fields import INPUTS_DESCRIPTION, REACH, Inputs, ages_of, vorticity
from fluidsr.models.generator import (
    DETAIL_RADIUS,
    ArchitectureOptions,
    Generator,
    Options,
    detail_mask,
    detail_mask_macs,
)
from fluidsr.models.modulation import (
    CONTINUED_SPREAD,
    INITIAL_SPREAD,
    Factors,
    ModulatedConvolution,
    ModulatedResidualBlock,
    ModulatedUpsample,
    Spade,
)
from fluidsr.models.recurrence import space_to_depth
from fluidsr.models.resample import upsample
from fluidsr.models.spectral import fold_spectral_norm, load_folded, normalize_spectrally
from fluidsr.models.style import LatentCode, LatentOptions, LatentStyle

Doubling = Literal["balanced", "resized"]


class SmokeArchitecture(ArchitectureOptions):
    """Sizes and inputs of a SmokeGenerator."""

    inputs: Inputs = Field(default="density velocity", description=INPUTS_DESCRIPTION)
    width: int = Field(
        default=48, ge=1, le=1024, description="Channels of the trunk, which works at coarse resolution"
    )
    blocks: int = Field(default=3, ge=0, le=128, description="Residual blocks of the trunk")
    rise_width: int = Field(
        default=16, ge=1, le=1024, description="Channels between two doublings of the resolution"
    )
    velocity_unit: float = Field(
        default=4.0, gt=0, description="Velocity, in coarse cells per frame, by which the input is divided"
    )
    rises: Doubling = Field(
        default="balanced",
        description="The doublings of the resolution before the last: `balanced`, by sub-pixel convolutions; "
        "`resized`, by interpolation and two convolutions on the finer grid, which favors no phase of the grid",
    )
    last: Doubling = Field(
        default="balanced",
        description="The last doubling of the resolution, as for `rises`; `balanced` is cheaper",
    )
    history: str = Field(
        default="",
        pattern=r"^([1-9][0-9]?( [1-9][0-9]?)*)?$",
        description="Ages, in frames, of the earlier smoke that the network also reads, carried to the present along "
        "the flow, e.g. `2 6`; needs `last: resized`",
    )
    mask: bool = Field(
        default=False,
        description="Whether the last stage also gives a mask: the fraction of the correction that is added, 0 to 1. "
        "It can be written as the field `confidence`; see `losses.mask`",
    )
    previous: bool = Field(
        default=False,
        description="Whether the network also reads its own previous fine frame, carried along the flow (recurrence). "
        "Detail persists, and frames can only be made in order; see `losses.ping_pong`",
    )
    modulation: Literal["none", "spade"] = Field(
        default="none",
        description="`spade`: between the doublings, the features are normalized and rescaled by the coarse fields "
        "(Park et al. 2019)",
    )
    latent: LatentOptions | None = Field(
        default=None,
        description="A latent code, with which the same smoke can be upsampled in several ways (docs/style.md). "
        "Needs `losses.energy_score` or `losses.diversity`, without which the code is ignored. null: none",
    )
    norm: Literal["none", "spectral"] = Field(
        default="none",
        description="`spectral`: each kernel but that of the last layer, reshaped to a matrix, is divided by its "
        "largest singular value (Miyato et al. 2018)",
    )

    @property
    def ages(self) -> tuple[int, ...]:
        """The ages, in frames, of the earlier smoke that the network reads as its history."""
        return ages_of(self.history)

    @model_validator(mode="after")
    def _history_enters_at_the_finest_grid(self) -> SmokeArchitecture:
        if self.history and self.last != "resized":
            raise ValueError(f"history '{self.history}' needs `last: resized`")
        return self

    @model_validator(mode="after")
    def _previous_is_carried_along_velocity(self) -> SmokeArchitecture:
        if self.previous and self.inputs == "density":
            raise ValueError("previous is carried along the velocity, and `inputs` has none")
        return self

    @model_validator(mode="after")
    def _latent_fits(self) -> SmokeArchitecture:
        if self.latent and self.latent.noise and self.last != "resized":
            raise ValueError("latent.noise needs `last: resized`; set that, or noise: false")
        if self.latent and self.norm == "spectral":
            raise ValueError("norm is spectral, and latent rescales the same kernels; choose one of them")
        if self.latent and self.previous:
            raise ValueError(
                "previous repeats the last frame's detail, and latent varies it; choose one of them"
            )
        return self


class SmokeOptions(SmokeArchitecture, Options):
    """All hyperparameters of a SmokeGenerator. The network reads the vorticity of the velocity divided by
    `velocity_unit`."""


class SmokeGenerator(Generator):
    """A residual network on the coarse grid, followed by doublings of the resolution, in 2-D or 3-D.

    The trunk works at coarse resolution: one convolution to `width` channels and `blocks` residual blocks. The
    resolution then doubles `log2(factor)` times, by balanced sub-pixel convolutions or interpolation with convolutions,
    with one residual convolution of `rise_width` channels at each resolution in between. The result corrects cubic
    upsampling:

        fine = max(0, cubic(density) + gate * (residual + sum_a weight_a * history_a))
        gate = linear(min(1, maxpool3(density) / 0.02))

    The options add further inputs and outputs (see `Generator` for the arguments):

    - `history` is also read at every resolution above the coarse one. The network returns the residual and one weight
      per voxel and age.
    - `previous` is read at coarse resolution, as `factor**dim` channels, by a convolution without bias whose result is
      added to that of the first convolution.
    - `mask` multiplies the gate by a mask, the sigmoid of one more channel of the last stage (Vondrick et al. 2016,
      equation 2, with cubic upsampling as the background).
    - `latent` makes the layers depend on a style (see `style.style_of`).

    Invariants: the output is never negative. It is exactly zero farther than `support_radius` coarse cells from any
    density, whatever the velocity. A voxel depends only on coarse cells within `receptive_radius`. For a constant input
    all phases of the fine grid are equal, away from the border.

    Raises ValueError for options that `SmokeOptions` does not allow.
    """

    architecture = "SmokeGenerator"
    schema = SmokeOptions
    scales_detail = True
    added_options = frozenset({"latent"})
    options: SmokeOptions

    def __init__(self, dim: int, factor: int = 4, **sizes: Any) -> None:
        super().__init__(SmokeOptions(dim=dim, factor=factor, **sizes))  # type: ignore[arg-type]
        options = self.options
        width, rise_width = options.width, options.rise_width
        fields, code = _channels(dim, options.inputs), options.latent.size if options.latent else None
        self.head = Convolution(dim, fields, width)
        self.trunk = nn.ModuleList(
            ResidualBlock(dim, width) if code is None else ModulatedResidualBlock(dim, width, code)
            for _ in range(options.blocks)
        )
        stages = factor.bit_length() - 1
        inputs = [width] + [rise_width] * (stages - 1)
        past, masks = len(self.ages), int(options.mask)
        beside = past + int(self.has_noise)
        self.rises = nn.ModuleList(
            BalancedSubpixelUpsample(dim, n, rise_width)
            if options.rises == "balanced"
            else ResizeConvUpsample(dim, n, rise_width, hidden=rise_width)
            for n in inputs[:-1]
        )
        # The last doubling starts near zero, so training begins at cubic upsampling.
        self.rises.append(
            BalancedSubpixelUpsample(dim, inputs[-1], 1 + masks, gain=0.01)
            if options.last == "balanced"
            else ResizeConvUpsample(
                dim, inputs[-1], 1 + past + masks, hidden=max(inputs[-1] // 2, 1), gain=0.01, beside=beside
            )
        )
        self.refinements = nn.ModuleList(
            Convolution(dim, rise_width + beside, rise_width, gain=0.3)
            if code is None
            else ModulatedConvolution(dim, rise_width + beside, rise_width, code, gain=0.3)
            for _ in range(stages - 1)
        )
        self.code: LatentCode | None = None
        if options.latent:
            self.code = LatentCode(options.latent)
            self.rises = nn.ModuleList(
                ModulatedUpsample(rise, n, options.latent.size)  # type: ignore[arg-type]
                for rise, n in zip(self.rises, inputs, strict=True)
            )
        spades = stages - 1 if options.modulation == "spade" else 0
        self.spades = nn.ModuleList(Spade(dim, fields, rise_width) for _ in range(spades))
        # Created last, so that the other layers draw the same random weights as in a network without it.
        self.previous_head = UnbiasedConvolution(dim, factor**dim, width) if options.previous else None
        if options.norm == "spectral":
            heads = [self.head] if self.previous_head is None else [self.head, self.previous_head]
            normalize_spectrally(*heads, *self.trunk, *self.rises[:-1], *self.refinements, *self.spades)

    def forward(
        self,
        coarse: Tensor,
        history: Tensor | None = None,
        detail: Tensor | float | None = None,
        with_mask: bool = False,
        previous: Tensor | None = None,
        style: LatentStyle | None = None,
    ) -> Tensor:
        return self._forward(coarse, None, history, detail, with_mask, previous, style)

    def forward_cropped(
        self,
        coarse: Tensor,
        cropped: CroppedSides,
        history: Tensor | None = None,
        detail: Tensor | float | None = None,
        with_mask: bool = False,
        previous: Tensor | None = None,
        style: LatentStyle | None = None,
    ) -> Tensor:
        """The output for a tile without its halo of `receptive_radius` coarse cells at the `cropped` sides. At the
        other sides every layer repeats the outermost cells. See `Generator` for the arguments."""
        return self._forward(coarse, cropped, history, detail, with_mask, previous, style)

    def _forward(
        self,
        coarse: Tensor,
        cropped: CroppedSides | None,
        history: Tensor | None,
        detail: Tensor | float | None,
        with_mask: bool,
        previous: Tensor | None,
        style: LatentStyle | None,
    ) -> Tensor:
        # At the cropped sides every layer drops the cells that it cannot compute; finally only those that `finish`
        # reads remain.
        unread = self.receptive_radius - self.consistency_radius
        density = trim(coarse[:, :1], cropped, unread - DETAIL_RADIUS)
        border = DETAIL_RADIUS * self.factor
        gate = trim(detail_mask(density, self.factor), cropped, border)
        residual, mask = self._correction(coarse, cropped, history, previous, style)
        change = gate * residual if mask is None else gate * (mask * residual)
        fine = torch.relu(trim(upsample(density, self.factor, "cubic"), cropped, border) + change)
        fine = self.finish(fine, coarse, detail, cropped)
        if not with_mask:
            return fine
        assert mask is not None, "a generator without a mask"
        shown = torch.where(gate > 0, mask, 0.0)
        return torch.cat([fine, trim(shown, cropped, self.consistency_radius * self.factor)], 1)

    def _correction(
        self,
        coarse: Tensor,
        cropped: CroppedSides | None,
        history: Tensor | None,
        previous: Tensor | None,
        style: LatentStyle | None,
    ) -> tuple[Tensor, Tensor | None]:
        """The network's correction of cubic upsampling, and its mask, if it has one: `[B, 1, *(S * factor)]` each, with
        a halo of `consistency_radius` coarse cells at the `cropped` sides."""
        if self.ages and history is None:
            read = trim(coarse, cropped, self.receptive_radius - self.history_radius)
            fine = (self.factor * n for n in read.shape[2:])
            history = coarse.new_zeros(coarse.shape[0], len(self.ages), *fine)
        coded: dict[str, Tensor] = {}  # an additional argument of modulated layers
        if self.code is not None:
            style = style or self.code.neutral(coarse)
            coded["code"] = self.code(style)
        reach = REACH[self.options.inputs]
        fields = trim(self.read(coarse), cropped, reach)
        x = fields.contiguous(memory_format=memory_format(self.dim))
        x = self.head(x, cropped)
        if previous is not None:
            assert self.previous_head is not None, "a generator that does not read its last frame"
            cells = trim(space_to_depth(previous, self.factor), cropped, reach)
            x = x + self.previous_head(cells.contiguous(memory_format=memory_format(self.dim)), cropped)
        halo = self.receptive_radius - reach - 1  # the remaining halo, in cells of the current grid
        for block in self.trunk:
            x = block(x, cropped, **coded)
            halo -= 2
        for stage, (rise, refine) in enumerate(zip(self.rises, self.refinements, strict=False), start=1):
            x = rise(activate(x, inplace=True), cropped, **coded)
            halo = 2 * (halo - 1) - _reach(rise)
            read_features = x
            if self.spades:
                spade_fields = self._fields_at(2**stage, fields, cropped, halo)
                read_features = self.spades[stage - 1](x, spade_fields, cropped)
            read_features = activate(read_features)
            beside = self._beside(2**stage, history, style, cropped, halo)
            if beside is not None:
                read_features = torch.cat(
                    [read_features, beside.to(x.dtype).expand(x.shape[0], *beside.shape[1:])], 1
                )
            x = trim(x, cropped, 1) + refine(read_features, cropped, **coded)
            halo -= 1
        last, kept_voxels = self.rises[-1], self.consistency_radius * self.factor
        x, halo = activate(x, inplace=True), 2 * (halo - 1)
        beside = self._beside(self.factor, history, style, cropped, halo + 1)
        x = last(x, cropped, **coded) if beside is None else last(x, cropped, beside, **coded)
        x = trim(x, cropped, halo - _reach(last) - kept_voxels)
        mask = x[:, -1:].to(coarse.dtype).sigmoid() if self.options.mask else None
        if history is None:
            return x[:, :1], mask
        weighted = x[:, 1 : 1 + len(self.ages)] * self._history_at(self.factor, history, cropped, kept_voxels)
        return x[:, :1] + weighted.sum(1, keepdim=True), mask

    def _beside(
        self,
        scale: int,
        history: Tensor | None,
        style: LatentStyle | None,
        cropped: CroppedSides | None,
        halo: int,
    ) -> Tensor | None:
        """The channels that layers on the grid `scale` times finer read besides the features, with a halo of `halo`
        cells of that grid: the history and the noise. None if the network has neither."""
        parts = [] if history is None else [self._history_at(scale, history, cropped, halo)]
        if self.has_noise:
            assert style is not None
            noise = style.noise(scale, cropped, self.receptive_radius * scale - halo).to(self.head.bias.dtype)
            parts.append(noise if history is None else noise.expand(len(history), *noise.shape[1:]))
        if len(parts) < 2:
            return parts[0] if parts else None
        return torch.cat(parts, 1)

    def _fields_at(self, scale: int, fields: Tensor, cropped: CroppedSides | None, halo: int) -> Tensor:
        """The input `fields` on the grid `scale` times finer, with a halo of `halo` cells plus those that a Spade
        reads."""
        halo += Spade.reach
        cells = -(-halo // scale) + 1  # the halo in coarse cells, plus one for the interpolation
        available = self.receptive_radius - REACH[self.options.inputs]
        fine = upsample(trim(fields, cropped, available - cells), scale, "linear")
        return trim(fine, cropped, cells * scale - halo)

    def _history_at(self, scale: int, history: Tensor, cropped: CroppedSides | None, halo: int) -> Tensor:
        """The `history` on the grid `scale` times finer than the coarse one, with a halo of `halo` of its cells."""
        ratio = self.factor // scale
        if ratio > 1:
            pool = F.avg_pool2d if self.dim == 2 else F.avg_pool3d
            history = pool(history, ratio)
        return trim(history, cropped, self.history_radius * scale - halo)

    def read(self, coarse: Tensor) -> Tensor:
        """The input of the network, `[B, channels, *S]`: density, and the velocity divided by `velocity_unit` and its
        vorticity if `inputs` contains them."""
        inputs, density = self.options.inputs, coarse[:, :1]
        if inputs == "density":
            return density
        fields = [density, coarse[:, 1:] / self.options.velocity_unit]
        if inputs == "density velocity vorticity":
            fields.append(vorticity(fields[1])[:, -_vorticity_components(self.dim) :])
        return torch.cat(fields, dim=1)

    def fold(self) -> SmokeGenerator:
        """Prepare for inference: eval mode, and weights that are balanced or spectrally normalized are replaced by
        their final values. The generator has `norm: none` afterwards. Returns itself."""
        self.eval()
        if self.options.norm == "spectral":
            fold_spectral_norm(self)
            self.options = self.options.model_copy(update={"norm": "none"})
        for module in (*self.rises, *self.spades):
            if not isinstance(module, ResizeConvUpsample):
                module.fold()
        return self

    def load_folded(self, weights: Mapping[str, Tensor]) -> None:
        """Load the weights of a folded generator with the same hyperparameters except `norm`, and perhaps without a
        latent code. In the latter case the output for a code of zeros becomes the other generator's."""
        if self.options.norm == "spectral":
            load_folded(self, weights)
        elif self.options.latent and not any(".factors." in name for name in weights):
            self._load_without_code(weights)
        else:
            super().load_folded(weights)

    @torch.no_grad()
    def _load_without_code(self, weights: Mapping[str, Tensor]) -> None:
        """Load `weights` of a generator without a latent code. Kernels ignore the noise at first, and the code has a
        smaller effect than it has on random weights."""
        state = self.state_dict()
        for name, tensor in weights.items():
            name = re.sub(r"^(rises\.\d+)\.", r"\1.inner.", name)
            if state[name].dim() > 1:
                state[name].zero_().narrow(1, 0, tensor.shape[1]).copy_(tensor)
            else:
                state[name].copy_(tensor)
        for module in self.modules():
            if isinstance(module, ModulatedConvolution):
                module.continue_plain()
            elif isinstance(module, Factors):
                module.weight.mul_(CONTINUED_SPREAD / INITIAL_SPREAD)

    @property
    def inputs(self) -> Inputs:
        """The fields that it reads."""
        return self.options.inputs

    @property
    def has_mask(self) -> bool:
        """Whether it can return a mask: for each voxel the share of its correction that it adds."""
        return self.options.mask

    @property
    def reads_previous(self) -> bool:
        """Whether it reads its own last fine frame."""
        return self.options.previous

    @property
    def latent(self) -> LatentOptions | None:
        """The options of its latent code; None if each input has only one output."""
        return self.options.latent

    @property
    def has_noise(self) -> bool:
        """Whether it reads a channel of noise on each grid finer than the coarse one."""
        return self.options.latent is not None and self.options.latent.noise

    @property
    def history_radius(self) -> int:
        """The width, in coarse cells, of the halo of `history` at the cropped sides. The history is first read after
        the first doubling of resolution, which shrinks the halo by one coarse cell, or half a cell if it is the only
        doubling."""
        behind_trunk = self.receptive_radius - REACH[self.options.inputs] - 2 * self.options.blocks - 1
        return behind_trunk - 1 if self.factor > 2 else behind_trunk

    @property
    def receptive_radius(self) -> int:
        """The distance, in coarse cells, from which a coarse cell may influence a fine voxel."""
        radius = 0
        for stage in reversed(range(len(self.rises))):
            # A cell of the finer grid depends on `reach` cells to either side there. These are ceil(reach / 2) cells of
            # the next coarser grid, plus one for the kernel of the upsampling and one for the refinement on that grid.
            reach = radius + _reach(self.rises[stage])
            radius = (reach + 1) // 2 + 1 + (1 if stage > 0 else 0)
        radius += 2 * self.options.blocks + 1 + REACH[self.options.inputs]
        return max(radius, self.support_radius) + self.consistency_radius

    @property
    def effective_halo(self) -> int:
        """See `Generator.effective_halo`: a third of the halo, which is the mean over the layers weighted by their
        cost. Most layers, and the most expensive ones, compute only a small part of the halo."""
        return self.receptive_radius // 3

    @property
    def support_radius(self) -> int:
        """The distance, in coarse cells, from any density beyond which the output is exactly zero: that of
        `detail_mask`, which is also that of cubic upsampling."""
        return DETAIL_RADIUS

    @property
    def macs_per_voxel(self) -> float:
        """The exact number of multiply-adds per fine voxel, a fraction, as most layers work on coarser grids."""
        options, dim = self.options, self.dim
        kernel, fine = 3**dim, self.factor**dim
        total = (
            kernel * _channels(dim, options.inputs) * options.width
            + 2 * options.blocks * kernel * options.width**2
        )
        total += kernel * fine * options.width if options.previous else 0
        for stage, rise in enumerate(self.rises):
            assert isinstance(rise, (BalancedSubpixelUpsample, ResizeConvUpsample, ModulatedUpsample))
            macs = rise.macs_per_cell
            if stage > 0:
                beside = len(self.ages) + int(self.has_noise)
                macs += kernel * options.rise_width * (options.rise_width + beside)
            if stage > 0 and self.spades:
                spade = self.spades[stage - 1]
                assert isinstance(spade, Spade)
                macs += spade.macs_per_cell
            total += macs * 2 ** (stage * dim)
        cubic = sum(4 / self.factor**axis for axis in range(dim))
        return total / fine + cubic + detail_mask_macs(dim, self.factor) + self.consistency_macs


def _reach(rise: nn.Module) -> int:
    """The number of cells of the finer grid that a doubling of resolution reads around a cell, in addition to those of
    its kernel on the coarser grid."""
    return rise.reach if isinstance(rise, (ResizeConvUpsample, ModulatedUpsample)) else 0


def _vorticity_components(dim: int) -> int:
    """The number of vorticity components: one in 2-D (the last of `fields.vorticity`), three in 3-D."""
    return dim * (dim - 1) // 2


def _channels(dim: int, inputs: Inputs) -> int:
    """The number of channels of the network's input."""
    return {
        "density": 1,
        "density velocity": 1 + dim,
        "density velocity vorticity": 1 + dim + _vorticity_components(dim),
    }[inputs]
