"""The learned corrector of a coarse run: after each frame it restores what the coarse grid has lost."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from fluidsr.errors import ModelError
from fluidsr.frame import Frame
from fluidsr.scenes.schema import Scene
from fluidsr.scenes.upscale import ModelUpscale

if TYPE_CHECKING:
    import torch

    from fluidsr.models import ClosureModel
    from fluidsr.solver import Solver

AUTOMATIC, NONE = "auto", "none"
# Coarse cells per frame, root mean square over smoke. Nine of ten frames in the training data are faster.
SLOW = 0.5
LONGEST = 16  # the most frames that a corrector sees as one


class Corrector:
    """A closure model prepared for runs of one scene.

    `strength` is the factor on its change (None: as its card says). The noise of a model that reads some depends on
    `numerics.closure_seed` and the number of the frame. Raises ModelError if the model does not fit the scene.
    """

    def __init__(self, model: ClosureModel, scene: Scene, device: str, strength: float | None = None) -> None:
        network, card = model.closure, model.card
        if network.dim != scene.dim:
            problem = f"'{card.name}' corrects {network.dim}-D runs and the scene is {scene.dim}-D"
            raise ModelError(
                "numerics.closure", problem, f"use closure{scene.dim}d-x{network.factor}, or none"
            )
        self.network, self.card, self._scene = network.to(device), card, scene
        self._strength = card.strength if strength is None else strength
        self._periodic = scene.domain.periodic
        physics = scene.physics
        self._per_kelvin = physics.gravity * physics.buoyancy.temperature
        self._per_density = -physics.gravity * physics.buoyancy.density

    def identity(self) -> dict[str, Any]:
        """The values that must be equal for a run to be resumed.

        `sha256` identifies the weights only, so the bounds of the change are listed separately.
        """
        options = self.network.options
        bounds = {"bound": options.bound, "exchange": options.exchange, "overshoot": options.overshoot}
        return {"name": self.card.name, "sha256": self.card.sha256, "strength": self._strength, **bounds}

    def correct(self, solver: Solver, energy_lost: float | None) -> None:
        """Add the predicted change to the solver's current state.

        `energy_lost` is the kinetic energy that advection lost in the preceding frame, as
        `Solver.advance(..., measure_energy=True)` reports it; None: energy is not limited.

        On return velocity is divergence-free, the total of each scalar is unchanged, and the flow has gained no more
        energy than advection had lost plus what buoyancy gives in a frame. Without that bound a corrector accelerates
        flow that is faster or older than its training data without limit.

        Raises SolverError if the projection fails.
        """
        import torch

        from fluidsr.models.exchange import exchange
        from fluidsr.scenes.build import frame_of

        seconds = self._scene.frame_seconds
        frame = frame_of(solver, self._scene, seconds)
        speed = speed_of(frame)
        stretch = stretch_of(speed)
        longer = dataclasses.replace(frame, dt=stretch * seconds)
        noise = self._noise(frame, stretch)
        state = closure_state(longer, self._scene.up_axis, self._per_kelvin, self._per_density)
        with torch.inference_mode():
            change = self.network.around_smoke(state.to(solver.device), self._periodic, noise)
            if change.exchange is not None:
                share, open_faces = self._strength / stretch * change.exchange, solver.open_faces()[None]
                overshoot = self.network.options.overshoot / stretch
                solver.add_scalars(
                    {
                        name: exchange(values[None, None], share, open_faces, self._periodic, overshoot)[0, 0]
                        for name, values in solver.scalars().items()
                    }
                )
        scale = self._strength / stretch * frame.cell_size / longer.dt
        most_energy = math.inf
        if energy_lost is not None:
            most_energy = max(energy_lost, 0.0) + max(self._buoyant_work(frame), 0.0)
        solver.add_velocity(change.velocity[0] * scale, seconds, most_energy)

    def _noise(self, frame: Frame, stretch: float) -> torch.Tensor | None:
        """The network's noise in a frame; None if it reads none. It stays for frames that the network sees as one."""
        from fluidsr.models.closure import noise_of

        channels = self.network.options.noise
        if channels == 0:
            return None
        number = round(frame.time / self._scene.frame_seconds) // round(stretch)
        noise = noise_of(self._scene.numerics.closure_seed, number, frame.shape, channels)
        return noise.to(frame.density.device)

    def _buoyant_work(self, frame: Frame) -> float:
        """The kinetic energy that buoyancy adds in a frame, in the unit of `Solver.kinetic_energy`."""
        assert frame.velocity is not None
        lift = lift_of(frame, self._per_kelvin, self._per_density)
        power = float((lift * frame.velocity[self._scene.up_axis]).sum())
        return power * frame.cell_size**frame.dim * self._scene.frame_seconds


def speed_of(frame: Frame) -> float:
    """Root mean square of the velocity (torch) over smoke, in cells per frame; 0 if there is no smoke."""
    from fluidsr.models.closure import PRESENT

    smoky = frame.density > PRESENT
    square = frame.velocity_in_cells().square().sum(0)[smoky]
    return float(square.mean().sqrt()) if square.numel() else 0.0


def stretch_of(speed: float) -> float:
    """How many frames of a slow flow a corrector sees as one; its change is divided by that number. `speed` as from
    `speed_of`.

    The loss of a coarse grid per second hardly depends on the frame rate, and correctors are trained on frames in
    which smoke moves by about a cell.
    """
    return min(max(SLOW / max(speed, SLOW / LONGEST), 1.0), float(LONGEST))


def corrector_for(scene: Scene, device: str) -> Corrector | None:
    """The corrector that `scene` requests; with `auto` the shipped one for the factor of its generator, if there is
    one.

    None if nothing corrects the run. Raises ModelError for a model that is missing, damaged or does not fit.
    """
    from fluidsr import models

    name = scene.numerics.closure
    if name == NONE or (name == AUTOMATIC and not isinstance(scene.upscale, ModelUpscale)):
        return None
    if name == AUTOMATIC:
        assert isinstance(scene.upscale, ModelUpscale)
        name = f"closure{scene.dim}d-x{models.read_card(scene.upscale.model).factor}"
        if name not in models.shipped_closures():
            return None
    try:
        model = models.load_closure(name, device)
    except ModelError as error:
        raise ModelError(f"numerics.closure: {error.where}", error.what, error.remedy) from error
    return Corrector(model, scene, device)


def closure_state(frame: Frame, axis: int, per_kelvin: float, per_density: float) -> torch.Tensor:
    """A coarse frame (torch) as the input of a Closure.

    Args:
        frame: the frame.
        axis: the axis that points up.
        per_kelvin: buoyant acceleration per kelvin, m/s².
        per_density: buoyant acceleration per unit of density, m/s².
    """
    import torch

    from fluidsr.models.closure import state_of

    density, velocity = frame.density, frame.velocity_in_cells()
    acceleration = torch.zeros_like(velocity)
    lift = lift_of(frame, per_kelvin, per_density)
    acceleration[axis] = lift * (frame.dt**2 / frame.cell_size)
    return state_of(density, frame.others.get("solid"), velocity, acceleration)


def lift_of(frame: Frame, per_kelvin: float, per_density: float) -> torch.Tensor:
    """The buoyant acceleration of a frame (torch) against gravity, m/s², `[*S]`."""
    lift = per_density * frame.density
    return lift if frame.temperature is None else lift + per_kelvin * frame.temperature
