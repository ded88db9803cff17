"""How a run's coarse frames become fine ones: by a trained generator, or by wavelet turbulence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from fluidsr.errors import InputError, ModelError
from fluidsr.frame import Frame
from fluidsr.pipeline.inference_settings import PLAIN, Tiling
from fluidsr.pipeline.velocity_scale import Shaping
from fluidsr.scenes import Scene
from fluidsr.scenes.upscale import ModelUpscale, WaveletUpscale

if TYPE_CHECKING:
    import torch

    from fluidsr.solver import Solver
    from fluidsr.upscaling import Piece, Upscaler, VelocityScale
    from fluidsr.upscaling.wavelet.turbulence import WaveletTurbulence


class Raising(Protocol):
    """One way of raising, chosen by a scene; `name` stands in `run.yaml`, `factor` in the preview."""

    @property
    def name(self) -> str: ...

    @property
    def factor(self) -> int: ...

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to be gone on with."""

    def cost(self, scene: Scene) -> tuple[dict[str, int], dict[str, Any]]:
        """Bytes of memory by what holds them, and other figures."""

    def follow(self, solver: Solver, scene: Scene, start: Frame) -> Course:
        """Begin at the frame `start`, which is the solver's present state."""


class Course(Protocol):
    """A run on its way: it is shown every frame, in order, and asked for those that are wanted."""

    def see(self, coarse: Frame) -> None:
        """Go on to the next frame."""

    def fine(self, coarse: Frame, fields: Sequence[str]) -> Frame:
        """The fine frame of the coarse one that was seen last."""

    def pieces(self, coarse: Frame, fields: Sequence[str]) -> Iterator[Piece]:
        """The same frame box by box, density among its fields; of some ways never whole in memory."""

    def notes(self) -> Sequence[str]:
        """Sentences for the user about that frame."""

    def state(self) -> dict[str, torch.Tensor]:
        """What `restore` needs to go on bit-identically."""

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go back to a `state()`. Raises InputError where it does not fit."""


def choose(scene: Scene, device: str, tiling: Tiling) -> Raising | None:
    """What the scene says, checked against it; None where the coarse frames are the output.

    Raises InputError for a `tiling` where no generator runs.
    """
    if isinstance(scene.upscale, ModelUpscale):
        return ByModel(scene.upscale, scene.dim, device, tiling)
    if tiling != PLAIN:
        what = "are a generator's, and none raises these frames"
        raise InputError(
            "--tile, --max-memory and --precision", what, "leave them away, or name one with --model"
        )
    return ByWavelets(scene.upscale, device) if isinstance(scene.upscale, WaveletUpscale) else None


class ByModel:
    """Each frame by itself through a trained generator."""

    def __init__(self, words: ModelUpscale, dim: int, device: str, tiling: Tiling) -> None:
        self._shaping = Shaping(words.velocity_scale, words.regions, words.mask, words.mask_grid)
        self._shaping.check(dim)
        self._tiling = tiling
        self.upscaler = tiling.load(words.model, device)
        card = self.upscaler.card
        if card.dim != dim:
            what = f"'{card.name}' is a {card.dim}-D generator and the scene is {dim}-D"
            raise ModelError("upscale.model", what, f"use --model smoke{dim}d-x4")

    @property
    def name(self) -> str:
        return str(self.upscaler.card.name)

    @property
    def factor(self) -> int:
        return self.upscaler.factor

    def identity(self) -> dict[str, Any]:
        card = self.upscaler.card
        model = {"name": card.name, "sha256": card.sha256}
        return {**model, **asdict(self._tiling), "mask": self._shaping.mask_identity()}

    def cost(self, scene: Scene) -> tuple[dict[str, int], dict[str, Any]]:
        most = self.upscaler.cost(scene.domain.resolution)
        # Fine fields are written in boxes, of which each file has one and waits for one, unless it is an .npz.
        whole = most.result * _numbers(scene) if "npz" in scene.output.formats else 0
        boxes = min(most.result, 2 * most.largest_result)
        memory = {"generator": most.memory, "fine_fields": whole + boxes}
        return memory, {"multiply_adds_per_frame_at_most": int(most.multiply_adds)}

    def follow(self, solver: Solver, scene: Scene, start: Frame) -> Course:
        return _ModelCourse(self.upscaler, self._shaping, start.time)


class _ModelCourse:
    """Frames do not depend on one another; `begin` (s) is when the first, which is never raised, was."""

    def __init__(self, upscaler: Upscaler, shaping: Shaping, begin: float) -> None:
        self._upscaler, self._shaping, self._begin = upscaler, shaping, begin

    def see(self, coarse: Frame) -> None:
        """Nothing."""

    def fine(self, coarse: Frame, fields: Sequence[str]) -> Frame:
        return self._upscaler.upsample(coarse, velocity_scale=self._scale(coarse), fields=fields)

    def pieces(self, coarse: Frame, fields: Sequence[str]) -> Iterator[Piece]:
        return self._upscaler.pieces(coarse, velocity_scale=self._scale(coarse), fields=fields)

    def _scale(self, coarse: Frame) -> VelocityScale:
        return self._shaping.of(coarse, round((coarse.time - self._begin) / coarse.dt))

    def notes(self) -> Sequence[str]:
        return self._upscaler.statistics.notes

    def state(self) -> dict[str, torch.Tensor]:
        return {}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """There is nothing to go back to."""


class ByWavelets:
    """Smoke carried on a fine grid through all frames, by the coarse flow and added eddies."""

    name = "wavelet turbulence"

    def __init__(self, words: WaveletUpscale, device: str) -> None:
        self._words, self._device = words, device

    @property
    def factor(self) -> int:
        return self._words.factor

    def identity(self) -> dict[str, Any]:
        return {"name": self.name}

    def cost(self, scene: Scene) -> tuple[dict[str, int], dict[str, Any]]:
        from fluidsr.upscaling.wavelet.turbulence import BYTES_PER_FINE_CELL

        fine = scene.cells * self.factor**scene.dim
        return {"turbulence": fine * BYTES_PER_FINE_CELL, "fine_fields": 4 * fine * _numbers(scene)}, {}

    def follow(self, solver: Solver, scene: Scene, start: Frame) -> Course:
        import torch

        from fluidsr.scenes.build import scenery_of
        from fluidsr.upscaling.wavelet.turbulence import Settings, WaveletTurbulence

        words = self._words
        settings = Settings(
            factor=words.factor,
            strength=words.strength,
            octaves=words.octaves,
            seed=words.seed,
            maccormack=scene.numerics.advection != "semi-lagrangian",
            dissipation=scene.physics.dissipation.density,
        )

        def room() -> torch.Tensor | None:
            return torch.from_numpy(solver.geometry.fluid) if scene.obstacles else None

        scenery = scenery_of(scene, words.factor, solver.device)
        return _WaveletCourse(
            WaveletTurbulence(solver.setup.grid, start, settings, solver.device, scenery.apply, room)
        )


class _WaveletCourse:
    def __init__(self, turbulence: WaveletTurbulence) -> None:
        self._turbulence = turbulence
        self.see, self.fine = turbulence.advance, turbulence.frame
        self.state, self.restore = turbulence.state, turbulence.restore

    def pieces(self, coarse: Frame, fields: Sequence[str]) -> Iterator[Piece]:
        return whole_pieces(self._turbulence.frame(coarse, fields), fields)

    def notes(self) -> Sequence[str]:
        return ()


def whole_pieces(frame: Frame, fields: Sequence[str]) -> Iterator[Piece]:
    """A frame that is whole already, as pieces: one for density and each of `fields`."""
    from fluidsr.upscaling import Box, Piece

    here = frame.torch(str(frame.density.device) if hasattr(frame.density, "detach") else "cpu").fields()
    for name in dict.fromkeys(("density", *fields)):
        yield Piece(name, Box((0,) * frame.dim, frame.shape), here[name])


def _numbers(scene: Scene) -> int:
    return sum(scene.dim if name == "velocity" else 1 for name in scene.output.fields)
