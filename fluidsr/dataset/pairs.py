"""The two sides of a pair, one frame after another: a fine simulation, and what its coarse side is made of.

Both kinds keep one fine solver; nothing is kept of frames that have passed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fluidsr.frame import Frame
from fluidsr.models.resample import downsample
from fluidsr.scenes.build import build, frame_of

Pair = tuple[Frame, np.ndarray]  # the coarse frame, and the fine density; NumPy float32


class FilteredPair:
    """The coarse side is the fine one, filtered and sampled (tempoGAN, 3.4.1): `models.resample.downsample`
    of density, temperature and velocity, the velocity still in m/s."""

    def __init__(self, scene: Any, factor: int, device: str) -> None:
        self._scene, self._factor = scene, factor
        self._fine = build(scene, device)

    def advance(self) -> Pair:
        """Go on by one frame."""
        fine = _advance(self._fine, self._scene)
        return filtered(fine, self._factor).numpy(), fine.numpy().density

    def notes(self) -> dict[str, Any]:
        """What is worth recording: nothing more."""
        return {}


class CoupledPair:
    """The coarse side is a coarse simulation of the same scene: what a model meets when it is used.

    Left alone it would soon show other smoke, so every `N` frames, N drawn from 1 to 16, it is set to the
    fine state: density and temperature filtered as above, velocity averaged over the fine faces that make
    up each coarse face, which keeps fluxes, and with them the absence of divergence, exactly. The
    synchronised frame is recorded after that, so the recorded coarse frames have run alone for 0 to N - 1
    frames.
    """

    def __init__(self, scene: Any, factor: int, device: str, rng: np.random.Generator) -> None:
        self._scene, self._factor = scene, factor
        self._fine = build(scene, device)
        self._coarse_scene = scene.coarsened(factor)
        self._coarse = build(self._coarse_scene, device)
        self._period, self._count = int(rng.integers(1, 17)), 0

    def advance(self) -> Pair:
        """Go on by one frame."""
        fine = _advance(self._fine, self._scene)
        self._count += 1
        if self._count % self._period == 0:
            self._coarse.restore(coarse_state(self._fine, self._factor))
            coarse = frame_of(self._coarse, self._coarse_scene, self._coarse_scene.frame_seconds)
        else:
            coarse = _advance(self._coarse, self._coarse_scene)
        return coarse.numpy(), fine.numpy().density

    def notes(self) -> dict[str, Any]:
        """The period of the synchronisation, in frames."""
        return {"synchronised_every": self._period}


def filtered(fine: Frame, factor: int) -> Frame:
    """The fine frame (torch) on cells `factor` times larger; all of its fields, velocity in m/s."""
    fields = {}
    for name, values in fine.fields().items():
        channels = values if name == "velocity" else values[None]
        low = downsample(channels[None], factor)[0]
        fields[name] = low if name == "velocity" else low[0]
    return fine.with_fields(fields, cell_size=fine.cell_size * factor)


def coarse_state(solver: Any, factor: int) -> dict[str, torch.Tensor]:
    """The state of a fine solver for one with cells `factor` times larger, as `Solver.restore` takes it.

    Density and, where there is any, temperature by `models.resample.downsample`; velocity as the mean over the
    `factor^(d-1)` fine faces that make up each coarse face, so a coarse cell's net flux is the sum of its fine
    cells' net fluxes.
    """
    grid, state = solver.setup.grid, solver.state()
    coarse = {"time": state["time"]}
    for name in state.keys() & {"density", "temperature"}:
        field = state[name].view(1, 1, *grid.shape)
        coarse[name] = downsample(field, factor).reshape(-1)
    for axis in range(grid.dim):
        name = f"velocity_{'xyz'[axis]}"
        faces = state[name].view(grid.faces(axis)[: grid.dim])
        for other in range(grid.dim):
            if other == axis:
                faces = faces[tuple(slice(None, None, factor if a == axis else 1) for a in range(grid.dim))]
            else:
                faces = faces.unflatten(other, (-1, factor)).mean(other + 1)
        coarse[name] = faces.reshape(-1)
    return coarse


def _advance(solver: Any, scene: Any) -> Frame:
    solver.advance(scene.frame_seconds)
    return frame_of(solver, scene, scene.frame_seconds)
