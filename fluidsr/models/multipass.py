"""MultiPass: 3-D smoke by 2-D networks on its slices, across z, then across x (Werhahn et al. 2019). See
docs/models.md."""

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
DEVIATION = 0.01  # at the start, of the weights that make density of features; of all others, Kaiming's
# Fine voxels of the slices that a pass computes at once: it bounds the memory, and slices do not depend on each other.
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
    """`coarse [B, 4, *S]` to fine density `[B, 1, *(S * factor)]`, 3-D alone, by two 2-D networks one after the other.

    The first pass takes slices across z, `S` raised along z beforehand (linearly), and doubles their resolution stage
    by stage up to the fine one (`FirstPass`). The second takes slices of that across x, which puts right what differs
    from one slice of the first to the next (`SecondPass`). Each stage has an output of its own, so that a training can
    add one after another: `grow`. The output is never negative.

    Along x, y and z a voxel depends on 7, 11 and 5 coarse cells at a factor of 8: the network of the first pass reaches
    along x and y, that of the second along y and z, interpolation and the neighbouring slices one cell along z.

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
        kept = self.consistency_radius
        fine = self._first_pass(coarse, cropped)
        if self.second is not None:
            fine = self._second_pass(self.second, fine, coarse, cropped)
        if self.options.gated:
            cubic = self._raised(coarse[:, :1], cropped, kept)
            density = trim(coarse[:, :1], cropped, self.receptive_radius - kept - DETAIL_RADIUS)
            gate = trim(detail_mask(density, self.factor), cropped, DETAIL_RADIUS * self.factor)
            fine = torch.lerp(cubic, fine, gate)
        return self.finish(fine.relu(), coarse, detail, cropped)

    def _first_pass(self, coarse: Tensor, cropped: CroppedSides | None) -> Tensor:
        """The density of the first pass, `[B, 1, *(S * factor)]`, with the halo that is read of it."""
        factor, given, reach = self.factor, self.receptive_radius, self.first.radius
        across, along, deep = self._first_halo
        coarse = trim(coarse, cropped, (given - across - reach, given - along - reach, given - deep - 1))
        raised = upsample_along(coarse, 4, factor)
        density = raised[:, :1]
        along_z = [(True, True), (True, True), (False, False)]
        density = F.pad(density, (1, 1)) if cropped is None else repeat_ends(density, along_z, 1)
        before, after = density[..., :-2], density[..., 2:]
        slices = trim(torch.cat([raised, before, after], 1), cropped, (0, 0, factor))
        slices = slices.movedim(4, 1).flatten(0, 1)
        sides = None if cropped is None else cropped[:2]
        grown = self._grown if self.second is None else self.stages
        chunks = _chunks(len(slices), slices[0, 0].numel() * factor**2)
        fine = torch.cat([self.first(slices[part], sides, grown) for part in chunks])
        return fine.unflatten(0, (len(coarse), -1)).movedim(1, 4).relu()

    def _second_pass(
        self, second: SecondPass, first: Tensor, coarse: Tensor, cropped: CroppedSides | None
    ) -> Tensor:
        """The density of the second pass, given the `first` one's, with the halo that `finish` reads."""
        factor, given, kept = self.factor, self.receptive_radius, self.consistency_radius
        along = given - self._first_halo[1] - 1
        raised = upsample_along(trim(coarse, cropped, (given - kept - 1, along, along)), 2, factor)
        raised = trim(raised, cropped, (factor, 0, 0)).movedim(2, 1).flatten(0, 1)
        first = first.movedim(2, 1).flatten(0, 1)
        sides = None if cropped is None else cropped[1:]
        parts = []
        for part in _chunks(len(first), first[0, 0].numel()):
            fields = trim(upsample(raised[part], factor, "linear"), sides, factor)
            parts.append(second(torch.cat([first[part], fields], 1), sides, self._grown))
        fine = torch.cat(parts).unflatten(0, (len(coarse), -1)).movedim(1, 2)
        return trim(fine, cropped, (0, *(second.radius(factor) * factor - second.reach,) * 2))

    def _raised(self, density: Tensor, cropped: CroppedSides | None, halo: int) -> Tensor:
        """What the first pass adds to: linear along z, cubic in the slices; `halo` coarse cells at cropped sides."""
        given, factor = self.receptive_radius - halo, self.factor
        density = trim(density, cropped, (given - CUBIC_RADIUS, given - CUBIC_RADIUS, given - 1))
        for axis, order in ((4, "linear"), (3, "cubic"), (2, "cubic")):
            density = upsample_along(density, axis, factor, order)
        return trim(density, cropped, (CUBIC_RADIUS * factor, CUBIC_RADIUS * factor, factor))

    @property
    def _first_halo(self) -> tuple[int, int, int]:
        """Coarse cells along x, y and z, beyond those that are kept, of which the first pass's density is read."""
        kept = self.consistency_radius
        along = kept + (0 if self.second is None else self.second.radius(self.factor))
        return kept, along, along

    @property
    def _grown(self) -> float:
        """Stages of the last pass in use."""
        return self.stages if self.options.grown is None else self.options.grown

    @property
    def stages(self) -> int:
        """Stages that a training can add one after another, of the pass that it trains."""
        return self.factor.bit_length() - 1

    def grow(self, stages: float) -> None:
        """Use this many stages of the last pass from here on, the last one of them mixed in by the fraction.

        With 0 the first pass gives the coarse density, its voxels repeated in the slices, and the second what it is
        given. A stage begins as the stage before it, its voxels repeated.
        """
        grown = stages if stages < self.stages else None
        self.options = self.options.model_copy(update={"grown": grown})

    def grown_target(self, fine: Tensor) -> Tensor:
        """The reference `fine [..., *(S * factor)]` as the stages in use can make it: while the first pass grows, means
        over the voxels that it does not resolve yet."""
        if self.second is not None or self.options.grown is None:
            return fine
        used = math.ceil(self._grown)
        target = self._averaged(fine, used)
        if used == self._grown:
            return target
        return torch.lerp(self._averaged(fine, used - 1), target, self._grown - used + 1)

    def _averaged(self, fine: Tensor, stage: int) -> Tensor:
        """Each square of voxels in a slice across z that `stage` stages have one value for, as its mean."""
        edge = self.factor >> stage
        means = fine.unflatten(-3, (-1, edge)).unflatten(-2, (-1, edge)).mean((-4, -2), keepdim=True)
        return means.expand(*means.shape[:-4], edge, -1, edge, -1).flatten(-5, -4).flatten(-3, -2)

    def load_folded(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights of a generator of the same hyperparameters except `passes`: of the passes of both."""
        own = self.state_dict()
        super().load_folded({**own, **{name: tensor for name, tensor in weights.items() if name in own}})

    @property
    def receptive_radius(self) -> int:
        """Coarse cells: that along y, where both passes reach; along x and z it is less."""
        return self._first_halo[1] + self.first.radius

    @property
    def effective_halo(self) -> int:
        """Coarse cells: a halo this wide, computed by every layer, costs what `forward_cropped` spends on the halo.

        A third of the halo: the mean over axes and layers, weighted by their cost.
        """
        return self.receptive_radius // 3

    @property
    def support_radius(self) -> int | None:
        """None unless gated: biases give empty air an answer of its own."""
        return DETAIL_RADIUS if self.options.gated else None

    @property
    def macs_per_voxel(self) -> float:
        """Multiply-adds per fine voxel, of all stages but of the last one's output alone."""
        factor = self.factor
        cubic = 4 + 4 / factor
        total = self.first.macs_per_voxel + cubic + 2 * 4 / factor**2
        if self.second is not None:
            total += self.second.macs_per_voxel + 4 * (2 + 2 / factor + 2 / factor**2)
        if self.options.gated:
            total += detail_mask_macs(3, factor) + cubic + 2 / factor**2
        return total + self.consistency_macs


class FirstPass(nn.Module):
    """Slices `[N, 6, X, Y]` at coarse resolution to their fine density `[N, 1, X * 2**stages, Y * 2**stages]`.

    Each stage doubles the resolution by nearest upsampling and has 5, 3 and 2 residual blocks of `width` channels, half
    as many, and a quarter. Its density is what its features give plus the coarse density, upsampled cubically.
    """

    def __init__(self, stages: int, width: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        channels = FIRST_CHANNELS
        for stage, count in enumerate(FIRST_BLOCKS[:stages]):
            own = width >> stage
            blocks = [SliceBlock(channels, channels if stage else own, own, FIRST_KERNEL)]
            blocks += [SliceBlock(own, own, own, FIRST_KERNEL) for _ in range(count - 1)]
            self.stages.append(Stage(blocks))
            channels = own
        radius = 0
        for reach in reversed([_reach(stage) for stage in self.stages]):
            radius = -(-(radius + reach) // 2)
        self.radius = (
            radius  # coarse cells of a slice, in each direction, that a voxel depends on beside its own
        )

    def forward(self, slices: Tensor, cropped: CroppedSides | None, grown: float) -> Tensor:
        """By the first `grown` stages, the last of them mixed in by the fraction; its voxels repeated to the fine grid.

        At `cropped` sides the output ends `radius` coarse cells before the input.
        """
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
        left = 1 << (len(self.stages) - math.ceil(grown))
        return trim(upsample(fine, left, "nearest"), cropped, left * halo)

    def _cubic(self, coarse: Tensor, scale: int, cropped: CroppedSides | None, halo: int) -> Tensor:
        """The coarse density on the grid `scale` times finer, with `halo` of its cells at the cropped sides."""
        cells = -(-halo // scale) + CUBIC_RADIUS
        fine = upsample(trim(coarse, cropped, self.radius - cells), scale, "cubic")
        return trim(fine, cropped, cells * scale - halo)

    @property
    def macs_per_voxel(self) -> float:
        """Multiply-adds per fine voxel, of the last stage's density alone."""
        blocks = sum(_macs(stage) / 4**n for n, stage in enumerate(reversed(self.stages)))
        return blocks + _stage(self.stages, -1).density.weight.numel()


class SecondPass(nn.Module):
    """Slices `[N, 5, Y, Z]`, the first pass's density foremost, to their density `[N, 1, Y, Z]`, at fine resolution.

    Two residual blocks up to half of `width` channels; then stages of two, the first one of `width` and half as many
    channels, each further one of half of that. A stage's density is what its features give, with `residual` plus the
    density given.
    """

    def __init__(self, stages: int, width: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        eighth, channels = width // 8, width // 2
        entry = [(SECOND_CHANNELS, width // 3, eighth), (eighth, 2 * eighth, channels)]
        self.entry = nn.ModuleList(SliceBlock(*sizes, SECOND_KERNEL) for sizes in entry)
        self.stages = nn.ModuleList()
        for stage in range(stages):
            own = width >> stage
            sizes = [(channels, own, own), (own, own // 2, own // 2)]
            self.stages.append(Stage([SliceBlock(*each, SECOND_KERNEL) for each in sizes]))
            channels = own // 2
        # Voxels, in each direction of a slice, that a voxel depends on beside its own.
        self.reach = _reach(self)

    def forward(self, slices: Tensor, cropped: CroppedSides | None, grown: float) -> Tensor:
        """By the first `grown` stages, the last of them mixed in by the fraction; by none, the density given.

        At `cropped` sides the output ends `reach` voxels before the input.
        """
        given = slices[:, :1]
        if grown == 0:
            return trim(given, cropped, self.reach)
        x = slices.contiguous(memory_format=memory_format(2))
        for block in self.entry:
            x = block(x, cropped)
        left = _reach(self.stages)
        given = fine = trim(given, cropped, self.reach - left)
        for number in range(1, math.ceil(grown) + 1):
            stage = _stage(self.stages, number - 1)
            x, left = stage(x, cropped), left - _reach(stage)
            given, fine = trim(given, cropped, _reach(stage)), trim(fine, cropped, _reach(stage))
            if number >= math.floor(grown):
                density = stage.density(x).to(given.dtype)
                fine = _mixed(fine, density + given if self.residual else density, grown - number + 1)
        return trim(fine, cropped, left)

    def radius(self, factor: int) -> int:
        """`reach` in coarse cells."""
        return -(-self.reach // factor)

    @property
    def macs_per_voxel(self) -> float:
        """Multiply-adds per fine voxel, of the last stage's density alone."""
        return float(_macs(self) + _stage(self.stages, -1).density.weight.numel())


class Stage(nn.Module):
    """Residual blocks, and the 1-wide convolution `density` of their features."""

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
    """`PN(ReLU(CB(PN(ReLU(CA(x)))) + CS(x)))`: two convolutions `kernel` wide and a 1-wide shortcut, in 2-D.

    PN divides the features of a pixel by their root mean square (Karras et al. 2018): by nothing but its own.
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
    squares = x.square().mean(1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
    return x * torch.rsqrt(squares + EPSILON).to(x.dtype)


def _mixed(before: Tensor, stage: Tensor, share: float) -> Tensor:
    """A stage's density added to that of the stages before it; alone where its share is 1 or more."""
    return stage if share >= 1 else torch.lerp(before, stage, share)


def _stage(stages: nn.ModuleList, index: int) -> Stage:
    stage = stages[index]
    assert isinstance(stage, Stage)
    return stage


def _reach(module: nn.Module) -> int:
    """Cells that the blocks in a module, all on one grid, read around a cell's own."""
    return sum(each.reach for each in module.modules() if isinstance(each, SliceBlock))


def _macs(module: nn.Module) -> int:
    """Multiply-adds of its blocks per cell of their grid."""
    layers = (
        layer
        for each in module.modules()
        if isinstance(each, SliceBlock)
        for layer in (each.a, each.b, each.shortcut)
    )
    return sum(layer.weight.numel() for layer in layers)


def _chunks(slices: int, voxels: int) -> Iterator[slice]:
    """Numbers of slices of `voxels` fine voxels each, of about CHUNK voxels."""
    if torch.compiler.is_exporting():  # lengths are symbols then, and there is nothing to compute
        yield slice(None)
        return
    step = max(1, CHUNK // voxels)
    yield from (slice(start, start + step) for start in range(0, slices, step))
