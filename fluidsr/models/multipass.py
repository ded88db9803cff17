"""MultiPass: upsamples 3-D smoke by 2-D networks, on slices across z, then on slices across x (Werhahn et al. 2019).
See docs/models.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fluidsr.models.blocks import CroppedSides, NormedConvolution, memory_format, repeat_ends, trim
from fluidsr.models.generator import (
    CUBIC_RADIUS,
    DETAIL_RADIUS,
    ArchitectureOptions,
    CroppingGenerator,
    Options,
    detail_mask,
    detail_mask_macs,
)
from fluidsr.models.resample import upsample, upsample_along

FIRST_BLOCKS = (5, 3, 2)  # residual blocks of the first pass, stage by stage
FIRST_CHANNELS = 6  # density, velocity, the density of the slices before and after
FIRST_KERNEL = 3
SECOND_CHANNELS = 5  # the first pass's density, the coarse density, velocity
SECOND_KERNEL = 5
EPSILON = 1e-8  # of the pixel norm, as published
DEVIATION = 0.01  # initial standard deviation of the density layers; the other layers use Kaiming's
# Fine voxels of the slices that a pass computes at once. Slices are independent, so this only bounds the memory.
CHUNK = 1 << 17


class MultiPassArchitecture(ArchitectureOptions):
    """Sizes of a MultiPass."""

    passes: Literal[1, 2] = Field(
        default=2,
        description="1: only the first pass, across z; 2: both. The second pass is trained on the output of the "
        "first, which is held fixed and comes from `init`",
    )
    width: int = Field(
        default=128,
        ge=8,
        le=512,
        multiple_of=8,
        description="Channels of the first stage of the first pass; each further stage has half as many",
    )
    second_width: int = Field(
        default=48,
        ge=16,
        le=512,
        multiple_of=16,
        description="Channels of the first stage of the second pass; each further stage has half as many",
    )
    residual: Literal["first", "both"] = Field(
        default="first",
        description="Passes whose stages add to their input density: the first, as published, or both",
    )
    gated: bool = Field(default=False, description="Whether the output is exactly 0 far from any smoke")


class MultiPassOptions(MultiPassArchitecture, Options):
    """All hyperparameters of a MultiPass."""

    dim: Literal[3]
    grown: float | None = Field(
        default=None,
        ge=0,
        le=len(FIRST_BLOCKS),
        description="Stages of the last pass in use, by a training that was stopped while it grew; null: all",
    )


class MultiPass(CroppingGenerator):
    """Two 2-D networks that upsample 3-D smoke one after the other.

    The first pass interpolates the coarse fields linearly along z, and doubles the resolution of slices across z stage
    by stage (`FirstPass`). The second pass works on slices across x of the result and removes differences between
    adjacent slices of the first (`SecondPass`). Each stage has an output of its own, so that a training can add the
    stages one after another (`grow`). The output is never negative.

    At a factor of 8 a voxel depends on 7, 11 and 5 coarse cells along x, y and z: the network of the first pass reads
    along x and y, that of the second along y and z, and interpolation and the neighboring slices one cell along z.

    Raises ValueError for options that `MultiPassOptions` does not allow.
    """

    architecture = "MultiPass"
    schema = MultiPassOptions
    scales_detail = True
    free_options = CroppingGenerator.free_options | {"passes"}
    options: MultiPassOptions

    def __init__(self, dim: int, factor: int = 8, **choices: Any) -> None:
        super().__init__(MultiPassOptions(dim=dim, factor=factor, **choices))  # type: ignore[arg-type]
        options, stages = self.options, factor.bit_length() - 1
        self.first = FirstPass(stages, options.width)
        self.second: SecondPass | None = None
        if options.passes == 2:
            self.first.requires_grad_(False)
            self.second = SecondPass(stages, options.second_width, residual=options.residual == "both")

    def _forward(self, coarse: Tensor, cropped: CroppedSides | None, detail: Tensor | float | None) -> Tensor:
        margin = self.consistency_radius
        fine = self._first_pass(coarse, cropped)
        if self.second is not None:
            fine = self._second_pass(self.second, fine, coarse, cropped)
        if self.options.gated:
            cubic = self._interpolated(coarse[:, :1], cropped, margin)
            density = trim(coarse[:, :1], cropped, self.receptive_radius - margin - DETAIL_RADIUS)
            gate = trim(detail_mask(density, self.factor), cropped, DETAIL_RADIUS * self.factor)
            fine = torch.lerp(cubic, fine, gate)
        return self.finish(fine.relu(), coarse, detail, cropped)

    def _first_pass(self, coarse: Tensor, cropped: CroppedSides | None) -> Tensor:
        """The density after the first pass, `[B, 1, *(S * factor)]`, with the halo that the next step reads."""
        factor, available, reach = self.factor, self.receptive_radius, self.first.radius
        across, along, deep = self._first_halo
        coarse = trim(
            coarse, cropped, (available - across - reach, available - along - reach, available - deep - 1)
        )
        upsampled = upsample_along(coarse, 4, factor)
        density = upsampled[:, :1]
        along_z = [(True, True), (True, True), (False, False)]
        density = F.pad(density, (1, 1)) if cropped is None else repeat_ends(density, along_z, 1)
        before, after = density[..., :-2], density[..., 2:]
        slices = trim(torch.cat([upsampled, before, after], 1), cropped, (0, 0, factor))
        slices = slices.movedim(4, 1).flatten(0, 1)
        sides = None if cropped is None else cropped[:2]
        grown = self._grown if self.second is None else self.stages
        chunks = _chunks(len(slices), slices[0, 0].numel() * factor**2)
        fine = torch.cat([self.first(slices[part], sides, grown) for part in chunks])
        return fine.unflatten(0, (len(coarse), -1)).movedim(1, 4).relu()

    def _second_pass(
        self, second: SecondPass, first: Tensor, coarse: Tensor, cropped: CroppedSides | None
    ) -> Tensor:
        """The density after the second pass, with the halo that `finish` reads. `first`: the density after the first
        pass, as `_first_pass` returns it."""
        factor, available, margin = self.factor, self.receptive_radius, self.consistency_radius
        along = available - self._first_halo[1] - 1
        upsampled = upsample_along(trim(coarse, cropped, (available - margin - 1, along, along)), 2, factor)
        upsampled = trim(upsampled, cropped, (factor, 0, 0)).movedim(2, 1).flatten(0, 1)
        first = first.movedim(2, 1).flatten(0, 1)
        sides = None if cropped is None else cropped[1:]
        parts = []
        for part in _chunks(len(first), first[0, 0].numel()):
            fields = trim(upsample(upsampled[part], factor, "linear"), sides, factor)
            parts.append(second(torch.cat([first[part], fields], 1), sides, self._grown))
        fine = torch.cat(parts).unflatten(0, (len(coarse), -1)).movedim(1, 2)
        return trim(fine, cropped, (0, *(second.radius(factor) * factor - second.reach,) * 2))

    def _interpolated(self, density: Tensor, cropped: CroppedSides | None, halo: int) -> Tensor:
        """The `density` interpolated as in the first pass, linearly along z and cubically in the slices, with a halo of
        `halo` coarse cells at the `cropped` sides."""
        available, factor = self.receptive_radius - halo, self.factor
        density = trim(density, cropped, (available - CUBIC_RADIUS, available - CUBIC_RADIUS, available - 1))
        for axis, order in ((4, "linear"), (3, "cubic"), (2, "cubic")):
            density = upsample_along(density, axis, factor, order)
        return trim(density, cropped, (CUBIC_RADIUS * factor, CUBIC_RADIUS * factor, factor))

    @property
    def _first_halo(self) -> tuple[int, int, int]:
        """The halo of the first pass's density that the next step reads, in coarse cells along x, y and z."""
        margin = self.consistency_radius
        along = margin + (0 if self.second is None else self.second.radius(self.factor))
        return margin, along, along

    @property
    def _grown(self) -> float:
        """The number of stages of the last pass in use."""
        return self.stages if self.options.grown is None else self.options.grown

    @property
    def stages(self) -> int:
        """The number of stages, of the pass being trained, that a training can add one after another."""
        return self.factor.bit_length() - 1

    def grow(self, stages: float) -> None:
        """Use the first `stages` stages of the last pass from now on. A fraction blends the last of them with the one
        before it.

        With 0 stages the first pass repeats the voxels of the coarse density, and the second pass returns its input. A
        new stage starts as the output of the stage before it, with repeated voxels.
        """
        grown = stages if stages < self.stages else None
        self.options = self.options.model_copy(update={"grown": grown})

    def grown_target(self, fine: Tensor) -> Tensor:
        """The reference `fine [..., *(S * factor)]` at the resolution of the stages in use: while the first pass grows,
        its mean over blocks of voxels that are not resolved yet."""
        if self.second is not None or self.options.grown is None:
            return fine
        used = math.ceil(self._grown)
        target = self._averaged(fine, used)
        if used == self._grown:
            return target
        return torch.lerp(self._averaged(fine, used - 1), target, self._grown - used + 1)

    def _averaged(self, fine: Tensor, stage: int) -> Tensor:
        """The mean of `fine` over the squares, in slices across z, that are a single voxel after `stage` stages."""
        edge = self.factor >> stage
        means = fine.unflatten(-3, (-1, edge)).unflatten(-2, (-1, edge)).mean((-4, -2), keepdim=True)
        return means.expand(*means.shape[:-4], edge, -1, edge, -1).flatten(-5, -4).flatten(-3, -2)

    def load_folded(self, weights: Mapping[str, Tensor]) -> None:
        """Load the weights of the passes in common from a generator with the same hyperparameters except `passes`."""
        state = self.state_dict()
        super().load_folded({**state, **{name: tensor for name, tensor in weights.items() if name in state}})

    @property
    def receptive_radius(self) -> int:
        """The distance along y, in coarse cells, from which a coarse cell may influence a fine voxel. Along x and z,
        where only one pass reads, it is less."""
        return self._first_halo[1] + self.first.radius

    @property
    def effective_halo(self) -> int:
        """See `Generator.effective_halo`: a third of the halo, the mean over axes and layers weighted by their cost."""
        return self.receptive_radius // 3

    @property
    def support_radius(self) -> int | None:
        """None unless gated, as biases give empty air a value of its own."""
        return DETAIL_RADIUS if self.options.gated else None

    @property
    def macs_per_voxel(self) -> float:
        """The multiply-adds per fine voxel of all stages, with the density layer of the last stage only."""
        factor = self.factor
        cubic = 4 + 4 / factor
        total = self.first.macs_per_voxel + cubic + 2 * 4 / factor**2
        if self.second is not None:
            total += self.second.macs_per_voxel + 4 * (2 + 2 / factor + 2 / factor**2)
        if self.options.gated:
            total += detail_mask_macs(3, factor) + cubic + 2 / factor**2
        return total + self.consistency_macs


class FirstPass(nn.Module):
    """Maps coarse slices `[N, 6, X, Y]` to their fine density `[N, 1, X * 2**stages, Y * 2**stages]`.

    Each stage doubles the resolution by nearest upsampling. The stages have 5, 3 and 2 residual blocks of `width`
    channels, half and a quarter of `width`. The density of a stage is a linear function of its features plus the
    coarse density, upsampled cubically.
    """

    def __init__(self, stages: int, width: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        channels = FIRST_CHANNELS
        for stage, count in enumerate(FIRST_BLOCKS[:stages]):
            channels_out = width >> stage
            blocks = [SliceBlock(channels, channels if stage else channels_out, channels_out, FIRST_KERNEL)]
            blocks += [
                SliceBlock(channels_out, channels_out, channels_out, FIRST_KERNEL) for _ in range(count - 1)
            ]
            self.stages.append(Stage(blocks))
            channels = channels_out
        radius = 0
        for reach in reversed([_reach(stage) for stage in self.stages]):
            radius = -(-(radius + reach) // 2)
        # The distance, in coarse cells of a slice, from which a coarse cell may influence a voxel.
        self.radius = radius

    def forward(self, slices: Tensor, cropped: CroppedSides | None, grown: float) -> Tensor:
        """The density after the first `grown` stages, with voxels repeated up to the fine grid. A fraction blends the
        last stage with the one before it. At `cropped` sides the output lacks the outer `radius` coarse cells."""
        coarse, halo = slices[:, :1], self.radius
        x, fine = slices, coarse
        for number in range(1, math.ceil(grown) + 1):
            stage = _stage(self.stages, number - 1)
            x, fine, halo = upsample(x, 2, "nearest"), upsample(fine, 2, "nearest"), 2 * halo - _reach(stage)
            x = stage(x.contiguous(memory_format=memory_format(2)), cropped)
            fine = trim(fine, cropped, _reach(stage))
            if number >= math.floor(grown):
                density = stage.density(x).to(coarse.dtype) + self._cubic(coarse, 1 << number, cropped, halo)
                fine = _mixed(fine, density, grown - number + 1)
        remaining = 1 << (len(self.stages) - math.ceil(grown))
        return trim(upsample(fine, remaining, "nearest"), cropped, remaining * halo)

    def _cubic(self, coarse: Tensor, scale: int, cropped: CroppedSides | None, halo: int) -> Tensor:
        """The `coarse` density on the grid `scale` times finer, with a halo of `halo` of its cells at the `cropped`
        sides."""
        cells = -(-halo // scale) + CUBIC_RADIUS
        fine = upsample(trim(coarse, cropped, self.radius - cells), scale, "cubic")
        return trim(fine, cropped, cells * scale - halo)

    @property
    def macs_per_voxel(self) -> float:
        """The multiply-adds per fine voxel, with the density layer of the last stage only."""
        blocks = sum(_macs(stage) / 4**n for n, stage in enumerate(reversed(self.stages)))
        return blocks + _stage(self.stages, -1).density.weight.numel()


class SecondPass(nn.Module):
    """Maps fine slices `[N, 5, Y, Z]`, whose first channel is the first pass's density, to a density `[N, 1, Y, Z]`.

    Two residual blocks with up to half of `width` channels are followed by stages of two blocks: the first stage has
    `width` channels and half as many, each further stage half of that. The density of a stage is a linear function of
    its features; with `residual`, the input density is added to it.
    """

    def __init__(self, stages: int, width: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        eighth, channels = width // 8, width // 2
        entry = [(SECOND_CHANNELS, width // 3, eighth), (eighth, 2 * eighth, channels)]
        self.entry = nn.ModuleList(SliceBlock(*sizes, SECOND_KERNEL) for sizes in entry)
        self.stages = nn.ModuleList()
        for stage in range(stages):
            channels_out = width >> stage
            sizes = [
                (channels, channels_out, channels_out),
                (channels_out, channels_out // 2, channels_out // 2),
            ]
            self.stages.append(Stage([SliceBlock(*block, SECOND_KERNEL) for block in sizes]))
            channels = channels_out // 2
        # The distance, in voxels of a slice, from which a voxel may influence the output.
        self.reach = _reach(self)

    def forward(self, slices: Tensor, cropped: CroppedSides | None, grown: float) -> Tensor:
        """The density after the first `grown` stages; with 0 stages that of the input. A fraction blends the last
        stage with the one before it. At `cropped` sides the output lacks the outer `reach` voxels."""
        density_in = slices[:, :1]
        if grown == 0:
            return trim(density_in, cropped, self.reach)
        x = slices.contiguous(memory_format=memory_format(2))
        for block in self.entry:
            x = block(x, cropped)
        remaining = _reach(self.stages)
        density_in = fine = trim(density_in, cropped, self.reach - remaining)
        for number in range(1, math.ceil(grown) + 1):
            stage = _stage(self.stages, number - 1)
            x, remaining = stage(x, cropped), remaining - _reach(stage)
            density_in, fine = trim(density_in, cropped, _reach(stage)), trim(fine, cropped, _reach(stage))
            if number >= math.floor(grown):
                density = stage.density(x).to(density_in.dtype)
                fine = _mixed(fine, density + density_in if self.residual else density, grown - number + 1)
        return trim(fine, cropped, remaining)

    def radius(self, factor: int) -> int:
        """The `reach` in coarse cells, rounded up."""
        return -(-self.reach // factor)

    @property
    def macs_per_voxel(self) -> float:
        """The multiply-adds per fine voxel, with the density layer of the last stage only."""
        return float(_macs(self) + _stage(self.stages, -1).density.weight.numel())


class Stage(nn.Module):
    """Residual blocks, and the layer `density`, a 1-wide convolution of their features that the passes apply."""

    def __init__(self, blocks: list[SliceBlock]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.density = NormedConvolution(2, blocks[-1].outputs, 1, 1, normed=False)
        nn.init.normal_(self.density.weight, std=DEVIATION)
        nn.init.zeros_(self.density.bias)

    def forward(self, x: Tensor, cropped: CroppedSides | None = None) -> Tensor:
        for block in self.blocks:
            x = block(x, cropped)
        return x


class SliceBlock(nn.Module):
    """`PN(ReLU(CB(PN(ReLU(CA(x)))) + CS(x)))`: two 2-D convolutions `kernel` wide and a 1-wide shortcut.

    PN divides the features of a pixel by their root mean square (Karras et al. 2018), so pixels stay independent.
    """

    def __init__(self, inputs: int, inner: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.outputs, self.reach = outputs, 2 * (kernel // 2)
        self.a = NormedConvolution(2, inputs, inner, kernel, normed=False)
        self.b = NormedConvolution(2, inner, outputs, kernel, normed=False)
        self.shortcut = NormedConvolution(2, inputs, outputs, 1, normed=False)
        for layer in (self.a, self.b, self.shortcut):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, cropped: CroppedSides | None = None) -> Tensor:
        y = self.b(_pixel_norm(F.relu(self.a(x, cropped))), cropped)
        return _pixel_norm(F.relu(y + self.shortcut(trim(x, cropped, self.reach))))


def _pixel_norm(x: Tensor) -> Tensor:
    """Divide the features of each pixel of `x [N, C, X, Y]` by their root mean square."""
    squares = x.square().mean(1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
    return x * torch.rsqrt(squares + EPSILON).to(x.dtype)


def _mixed(before: Tensor, stage: Tensor, share: float) -> Tensor:
    """The density of a stage, blended with that of the stages before it if its share is below 1."""
    return stage if share >= 1 else torch.lerp(before, stage, share)


def _stage(stages: nn.ModuleList, index: int) -> Stage:
    stage = stages[index]
    assert isinstance(stage, Stage)
    return stage


def _reach(module: nn.Module) -> int:
    """The number of cells that the blocks in a module, all on the same grid, read around a cell."""
    return sum(block.reach for block in module.modules() if isinstance(block, SliceBlock))


def _macs(module: nn.Module) -> int:
    """The multiply-adds of the blocks in a module per cell of their grid."""
    layers = (
        layer
        for block in module.modules()
        if isinstance(block, SliceBlock)
        for layer in (block.a, block.b, block.shortcut)
    )
    return sum(layer.weight.numel() for layer in layers)


def _chunks(slices: int, voxels: int) -> Iterator[slice]:
    """Split a number of slices, of `voxels` fine voxels each, into ranges of about CHUNK voxels."""
    if torch.compiler.is_exporting():  # the lengths are symbolic
        yield slice(None)
        return
    step = max(1, CHUNK // voxels)
    yield from (slice(start, start + step) for start in range(0, slices, step))
