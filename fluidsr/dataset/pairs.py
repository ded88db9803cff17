"""The two sides of a pair, frame by frame.

The fine side is a fine simulation, or fine smoke made from a coarse one. The coarse side is computed from it or
simulated beside it. Earlier frames are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch

from fluidsr.frame import Frame
from fluidsr.models.resample import downsample
from fluidsr.scenes.build import build, frame_of
from fluidsr.scenes.random_scenes.scene import RandomScene
from fluidsr.scenes.upscale import WaveletUpscale


class SimulatedPair(NamedTuple):
    """A frame of each side; for closure pairs also the state that the coarse frame should have reached.

    NumPy float32, velocity in m/s.
    """

    coarse: Frame
    fine: Frame
    reference: Frame | None = None


class _FineSimulation:
    """The fine side of a pair. Its first frames are a warm-up."""

    def __init__(self, drawn: RandomScene, factor: int, device: str) -> None:
        self._scene, self._factor, self._device = drawn.scene, factor, device
        self._fine = build(drawn.warm_up_scene, device)

    def warm_up(self) -> None:
        """Advance by one frame that is not recorded."""
        self._fine.advance(self._scene.frame_seconds)

    def end_warm_up(self) -> None:
        """Continue with the scene that is recorded."""
        self._fine = continued(self._fine, self._scene, self._device)


class FilteredPair(_FineSimulation):
    """Pairs whose coarse side is the fine side, filtered and sampled (tempoGAN, 3.4.1).

    `models.resample.downsample` is applied to density, temperature and velocity; velocity stays in m/s.
    """

    def advance(self) -> SimulatedPair:
        """Advance by one frame, and return it. Raises SolverError if a solve fails."""
        fine = next_frame(self._fine, self._scene)
        return SimulatedPair(filtered(fine, self._factor).numpy(), fine.numpy())

    def notes(self) -> dict[str, Any]:
        """Further attributes to record: none."""
        return {}


class CoupledPair(_FineSimulation):
    """Pairs whose coarse side is a coarse simulation of the same scene, as a model reads it in use.

    Left alone it would soon diverge from the fine one, so every `period` frames it is set to the fine state
    (`coarse_state`): density and temperature filtered as in FilteredPair, velocity by the fluxes through each coarse
    face. That velocity is divergence-free except beside solids, where the coarse solver projects it. The synchronized
    frame is then recorded, so the recorded coarse frames have run alone for 0 to `period` - 1 frames.
    """

    def __init__(self, drawn: RandomScene, factor: int, device: str, period: int) -> None:
        super().__init__(drawn, factor, device)
        self._coarse_scene = drawn.scene.coarsened(factor)
        self._coarse = build(drawn.warm_up_scene.coarsened(factor), device)
        self._period, self._count = period, 0

    def warm_up(self) -> None:
        """Advance by one frame that is not recorded."""
        self.advance()

    def end_warm_up(self) -> None:
        """Continue with the scene that is recorded."""
        super().end_warm_up()
        self._coarse = continued(self._coarse, self._coarse_scene, self._device)

    def advance(self) -> SimulatedPair:
        """Advance by one frame, and return it. Raises SolverError if a solve fails."""
        fine = next_frame(self._fine, self._scene)
        self._count += 1
        if self._count % self._period == 0:
            state = coarse_state(self._fine, self._factor)
            self._coarse.adopt(state, self._coarse_scene.frame_seconds)
            coarse = frame_of(self._coarse, self._coarse_scene, self._coarse_scene.frame_seconds)
        else:
            coarse = next_frame(self._coarse, self._coarse_scene)
        return SimulatedPair(coarse.numpy(), fine.numpy())

    def notes(self) -> dict[str, Any]:
        """The number of frames between synchronizations."""
        return {"synchronised_every": self._period}


class ClosurePair(_FineSimulation):
    """Pairs for training a corrector of coarse runs: the difference between a coarse simulation and the fine one.

    The coarse side runs alone for `period` frames from the fine state on coarse cells (`coarse_state`); then it is
    set to that state again. The reference is the fine state on coarse cells, which the coarse simulation should have
    reached. Only the fine side warms up.
    """

    def __init__(self, drawn: RandomScene, factor: int, device: str, period: int) -> None:
        super().__init__(drawn, factor, device)
        self._coarse_scene = drawn.scene.coarsened(factor)
        self._coarse = build(self._coarse_scene, device)
        self._reference = build(self._coarse_scene, device)
        self._period, self._count = period, 0

    def end_warm_up(self) -> None:
        """Continue with the scene that is recorded; the coarse side starts from the fine state."""
        super().end_warm_up()
        self._coarse.adopt(coarse_state(self._fine, self._factor), self._coarse_scene.frame_seconds)

    def advance(self) -> SimulatedPair:
        """Advance by one frame, after `end_warm_up`, and return it. Raises SolverError if a solve fails."""
        fine = next_frame(self._fine, self._scene)
        state, seconds = coarse_state(self._fine, self._factor), self._coarse_scene.frame_seconds
        self._reference.adopt(state, seconds)
        reference = frame_of(self._reference, self._coarse_scene, seconds)
        coarse = next_frame(self._coarse, self._coarse_scene)
        self._count += 1
        if self._count % self._period == 0:
            self._coarse.adopt(state, seconds)
        return SimulatedPair(coarse.numpy(), fine.numpy(), reference.numpy())

    def notes(self) -> dict[str, Any]:
        """The number of frames between synchronizations."""
        return {"synchronised_every": self._period}


class FineTurbulence(Protocol):
    """Fine smoke that moves with a coarse simulation (`upscaling.wavelet.turbulence.WaveletTurbulence`)."""

    def advance(self, coarse: Frame) -> None: ...
    def frame(self, coarse: Frame, fields: Sequence[str]) -> Frame: ...
    def state(self) -> dict[str, torch.Tensor]: ...
    def restore(self, state: Mapping[str, torch.Tensor]) -> None: ...


# Its arguments are a coarse solver, its scene and its first frame, and the settings. It must be a function of a module,
# so that it can be sent to workers.
TurbulenceOf = Callable[[Any, Any, Frame, WaveletUpscale], FineTurbulence]


class WaveletPair:
    """Pairs whose fine side is the smoke of a coarse simulation with wavelet turbulence (density and velocity).

    The coarse side is the fine one, filtered (tempoGAN's thesis, 3.5.3). There is no fine simulation: a network
    learns the detail of the turbulence from single frames.
    """

    def __init__(
        self,
        drawn: RandomScene,
        factor: int,
        device: str,
        turbulence_of: TurbulenceOf,
        settings: WaveletUpscale,
    ) -> None:
        self._turbulence_of, self._settings = turbulence_of, settings
        self._factor, self._device = factor, device
        self._scene = drawn.warm_up_scene.coarsened(factor)
        self._recorded_scene = drawn.scene.coarsened(factor)
        self._coarse = build(self._scene, device)
        self._frame = frame_of(self._coarse, self._scene, self._scene.frame_seconds)
        self._turbulence = turbulence_of(self._coarse, self._scene, self._frame, settings)

    def warm_up(self) -> None:
        """Advance by one frame that is not recorded."""
        self._frame = next_frame(self._coarse, self._scene)
        self._turbulence.advance(self._frame)

    def end_warm_up(self) -> None:
        """Continue with the scene that is recorded."""
        state, self._scene = self._turbulence.state(), self._recorded_scene
        self._coarse = continued(self._coarse, self._scene, self._device)
        self._turbulence = self._turbulence_of(self._coarse, self._scene, self._frame, self._settings)
        self._turbulence.restore(state)

    def advance(self) -> SimulatedPair:
        """Advance by one frame, and return it. Raises SolverError if a solve fails."""
        self.warm_up()
        fine = self._turbulence.frame(self._frame, ("velocity",))
        return SimulatedPair(filtered(fine, self._factor).numpy(), fine.numpy())

    def notes(self) -> dict[str, Any]:
        """The seed of the eddies."""
        return {"turbulence_seed": self._settings.seed}


def filtered(fine: Frame, factor: int) -> Frame:
    """All fields of the fine frame (torch) on cells `factor` times larger, velocity in m/s.

    `solid` is the solid fraction of the coarse cell; the other fields are weighted by a Gaussian.
    """
    fields = {}
    for name, values in fine.fields().items():
        channels = values if name == "velocity" else values[None]
        coarse = (block_means if name == "solid" else downsample)(channels[None], factor)[0]
        fields[name] = coarse if name == "velocity" else coarse[0]
    return fine.with_fields(fields, cell_size=fine.cell_size * factor)


def block_means(x: torch.Tensor, factor: int) -> torch.Tensor:
    """The mean of `x [B, C, *S]` over each block of `factor` cells along every axis: `[B, C, *(S / factor)]`."""
    for axis in range(2, x.dim()):
        x = x.unflatten(axis, (-1, factor)).mean(axis + 1)
    return x


def coarse_state(solver: Any, factor: int) -> dict[str, torch.Tensor]:
    """The state of a fine solver on cells `factor` times larger, as `Solver.adopt` takes it.

    Density and, if present, temperature are downsampled by `models.resample.downsample`. The velocity of a coarse
    face is the mean over the open parts of its `factor^(d-1)` fine faces. With the open fraction of the coarse face
    it thus carries the sum of their fluxes, and a coarse cell has the net flux of its fine cells. If all fine faces
    are closed, it is the mean of the solid's velocity. The projection then corrects only the differences between a
    solid on the two grids.
    """
    grid, state = solver.setup.grid, solver.state()
    coarse = {"time": state["time"]}
    for name in state.keys() & {"density", "temperature"}:
        field = state[name].view(1, 1, *grid.shape)
        coarse[name] = downsample(field, factor).reshape(-1)
    for axis in range(grid.dim):
        name, shape = f"velocity_{'xyz'[axis]}", grid.faces(axis)[: grid.dim]
        faces = state[name].view(shape)
        weights = torch.tensor(solver.geometry.weights[axis]).view(shape)
        flux, share = face_means(faces * weights, axis, factor), face_means(weights, axis, factor)
        speed = torch.where(share > 0, flux / share.clamp(min=1e-12), face_means(faces, axis, factor))
        coarse[name] = speed.reshape(-1)
    return coarse


def face_means(faces: torch.Tensor, axis: int, factor: int) -> torch.Tensor:
    """The mean of values on the fine faces normal to `axis` over each face of cells `factor` times larger."""
    for other in range(faces.dim()):
        if other == axis:
            faces = faces[(slice(None),) * other + (slice(None, None, factor),)]
        else:
            faces = faces.unflatten(other, (-1, factor)).mean(other + 1)
    return faces


def continued(solver: Any, scene: Any, device: str) -> Any:
    """A solver of `scene` that continues from the state of `solver`, which has the same grid."""
    continuing = build(scene, device)
    continuing.restore(solver.state())
    return continuing


def next_frame(solver: Any, scene: Any) -> Frame:
    """Advance by one frame of `scene`, and return it; torch, velocity in m/s. Raises SolverError if a solve fails."""
    solver.advance(scene.frame_seconds)
    return frame_of(solver, scene, scene.frame_seconds)
