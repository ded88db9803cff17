"""The batches of a training: BatchStream numbers them, and TrainingBatch computes what several losses need once.

As a batch is a function of its number, a resumed training draws the same ones as an uninterrupted one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fluidsr.models import losses
from fluidsr.models.batch import PatchBatch
from fluidsr.models.resample import upsample
from fluidsr.models.style import LatentOptions, LatentStyle, drawn_content, drawn_style, with_content
from fluidsr.models.warp import Alignment, advect, fine_velocity
from fluidsr.training.distributed import ProcessGroup


class Sampler(Protocol):
    """A source of batches. A batch must be a function of its number only."""

    def batch(self, step: int) -> PatchBatch: ...


@dataclass
class BatchStream:
    """The batches of one sampler, on a device. A step has `draws` draws of `accumulate` micro-batches each.

    The number of a batch is `((step * draws + draw) * accumulate + part) * processes + rank`, so no batch is skipped or
    used twice.
    """

    sampler: Sampler
    draws: int
    accumulate: int
    processes: ProcessGroup
    device: str
    wait_seconds: float = field(default=0.0)  # seconds spent on waiting for batches

    def micro_batches(self, step: int, draw: int = 0) -> Iterator[PatchBatch]:
        """The micro-batches of the draw number `draw` in a step."""
        first = self.first_index(step) + draw * self.accumulate * self.processes.size
        for part in range(self.accumulate):
            yield self.batch_at(first + part * self.processes.size)

    def first_index(self, step: int) -> int:
        """The number of this process's first batch in a step."""
        return step * self.draws * self.accumulate * self.processes.size + self.processes.rank

    def batch_at(self, index: int) -> PatchBatch:
        """The batch with the number `index`."""
        started = time.perf_counter()
        batch = self.sampler.batch(index)
        self.wait_seconds += time.perf_counter() - started
        return replace(batch.to(self.device), number=index)


FRAME_STEP = 1.0  # from one frame of a sample to the next; velocities are per frame, too


class TrainingBatch:
    """A batch and the generator's output for it, which is computed once for several losses.

    `coarse [B, T, 1 + d, *S]`, `fine [B, T, 1, *(S * factor)]` and `history [B, T, A, *(S * factor)]` (or None) are
    those of the PatchBatch. A generator that reads its own last frame is unrolled over the `T` frames, without a last
    frame for the first one.

    Args:
        batch: the samples.
        factor: fine cells along a coarse one.
        latent: the options of the generator's latent code; None if it has none.
        random: draws a style for each sample; required if there is a latent code.
    """

    def __init__(
        self,
        batch: PatchBatch,
        factor: int,
        latent: LatentOptions | None = None,
        random: torch.Generator | None = None,
    ) -> None:
        self.coarse, self.fine, self.history, self.factor = batch.coarse, batch.fine, batch.history, factor
        self.number = batch.number
        self.style: LatentStyle | None = None
        if latent is not None:
            assert random is not None, "styles are drawn, and by nothing"
            samples, frames, _, *shape = self.coarse.shape
            self.style = drawn_style(latent, samples, frames, shape, random)
            self._other = drawn_content(latent, samples, frames, random)
        self._output: Tensor | None = None
        self._other_output: Tensor | None = None
        self._mask: Tensor | None = None

    @property
    def middle(self) -> int:
        """The index of the frame that the spatial discriminator sees."""
        return self.coarse.shape[1] // 2

    @property
    def triplet(self) -> tuple[slice, slice]:
        """The index of the three middle frames in tensors `[B, T, ...]`."""
        return slice(None), slice(self.middle - 1, self.middle + 2)

    @property
    def density(self) -> Tensor:
        """The coarse density, `[B, T, 1, *S]`."""
        return self.coarse[:, :, :1]

    @cached_property
    def velocity(self) -> Tensor:
        """The velocity on the fine grid, in fine cells per frame, `[B, T, d, *(S * factor)]`."""
        fine = fine_velocity(self.coarse.flatten(0, 1)[:, 1:], self.factor)
        return fine.unflatten(0, self.coarse.shape[:2])

    @cached_property
    def alignment(self) -> Alignment:
        """Advects the frames before and after the middle one to it."""
        return Alignment(self.coarse[self.triplet][:, :, 1:], self.factor, dt=FRAME_STEP)

    def output(self, generator: nn.Module, *, cache: bool = False) -> Tensor:
        """The output of the generator, `[B T, 1, *(S * factor)]`, float32; with `cache` it is kept for the next
        call."""
        return self._run(generator, cache=cache)[0]

    def mask(self, generator: nn.Module) -> Tensor:
        """The mask of a generator that has one, `[B T, 1, *(S * factor)]`, float32. It is kept for the next call, as is
        the output."""
        mask = self._run(generator, cache=True)[1]
        assert mask is not None, "a loss on masks, and a generator without one"
        return mask

    def other_output(self, generator: nn.Module) -> Tensor:
        """The generator's output for other random content, with the same motion and noise. It is kept for the next
        call."""
        assert self.style is not None, "a loss on styles, and a generator without any"
        if self._other_output is None:
            self._other_output = generator(
                *self._inputs(), style=with_content(self.style, self._other)
            ).float()
        return self._other_output

    def diversity(self, generator: nn.Module) -> Tensor:
        """`losses.diversity` between `output` and `other_output`."""
        assert self.style is not None, "a loss on styles, and a generator without any"
        # Two random contents are 2 apart in the mean square of each number.
        distance = (self._other - self.style.content).square().mean(1).div(2).sqrt()
        detail = self.fine.flatten(0, 1) - upsample(self.density.flatten(0, 1), self.factor, "cubic")
        return losses.diversity(
            self.output(generator, cache=True), self.other_output(generator), distance, detail
        )

    def path_lengths(self, generator: nn.Module, random: torch.Generator) -> Tensor:
        """`losses.path_lengths` of the generator's frames, `[B T]`, with `random` for its noise."""
        assert self.style is not None, "a penalty on a latent code, and a generator without any"
        content = self.style.content.detach().requires_grad_(True)
        with torch.autocast(content.device.type, enabled=False):
            output = generator(*self._inputs(), style=with_content(self.style, content)).float()
            return losses.path_lengths(output, content, random)

    def _inputs(self) -> list[Tensor]:
        """The input of a generator that reads single frames: coarse fields, and the history if there is one."""
        return [x.flatten(0, 1) for x in (self.coarse, self.history) if x is not None]

    def _run(self, generator: nn.Module, *, cache: bool) -> tuple[Tensor, Tensor | None]:
        if self._output is not None:
            return self._output, self._mask
        inputs = [x for x in (self.coarse, self.history) if x is not None]
        if getattr(generator, "reads_previous", False):
            outputs: list[Tensor] = []
            for frame in range(self.coarse.shape[1]):
                previous = self._carried(outputs[-1], frame) if outputs else None
                outputs.append(_call_generator(generator, [x[:, frame] for x in inputs], previous))
            output = torch.stack(outputs, 1).flatten(0, 1)
        else:
            output = _call_generator(generator, self._inputs(), style=self.style)
        frames, mask = output.split(1, 1) if output.shape[1] == 2 else (output, None)
        if cache:
            self._output, self._mask = frames, mask
        return frames, mask

    def backward_pass(self, generator: nn.Module) -> Tensor:
        """The output of a generator that reads its own last frame, unrolled backwards from the last frame:
        `[B, T - 1, 1, *(S * factor)]`, all frames but the last. Only the advection runs backwards; the coarse frames
        and their velocity are the same."""
        inputs = [x for x in (self.coarse, self.history) if x is not None]
        outputs = [self.unflatten(self.output(generator, cache=True))[:, -1]]
        for frame in reversed(range(self.coarse.shape[1] - 1)):
            previous = self._carried(outputs[-1], frame, -FRAME_STEP)
            outputs.append(_call_generator(generator, [x[:, frame] for x in inputs], previous)[:, :1])
        return torch.stack(outputs[:0:-1], 1)

    def _carried(self, output: Tensor, frame: int, dt: float = FRAME_STEP) -> Tensor:
        """The density of `output [B, 1 (+ mask), *(S * factor)]`, advected by `dt` to the frame with the index `frame`
        of the sample."""
        return advect(output[:, :1], self.velocity[:, frame], dt)

    def unflatten(self, output: Tensor) -> Tensor:
        """Reshape `output` to `[B, T, 1, *(S * factor)]`."""
        return output.unflatten(0, self.coarse.shape[:2])

    @torch.no_grad()
    def fake(self, generator: nn.Module) -> Tensor:
        """The generator's output, detached, `[B, T, 1, *(S * factor)]`."""
        return self.unflatten(self.output(generator)).detach()


def _call_generator(
    generator: nn.Module,
    inputs: list[Tensor],
    previous: Tensor | None = None,
    style: LatentStyle | None = None,
) -> Tensor:
    """Call the generator. Returns its output, float32, with its mask as a second channel if it has one."""
    options: dict[str, Any] = {"with_mask": True} if getattr(generator, "has_mask", False) else {}
    if previous is not None:
        options["previous"] = previous
    if style is not None:
        options["style"] = style
    output: Tensor = generator(*inputs, **options)
    return output.float()
