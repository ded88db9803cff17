"""The learned corrector of a coarse run: after each frame it gives back what the coarse grid has lost."""

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
# Coarse cells per frame, root mean square over smoke: nine of ten frames that correctors learn from are faster.
SLOW = 0.5
LONGEST = 16  # frames that a slow frame counts as, at most


class Corrector:
    """A closure, ready for the runs of one scene; `strength` times its change is made (None: as its card says).

    Raises ModelError where it does not fit the scene.
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
        """What must be equal for a run to be resumed. `sha256` is of the weights, which are the same under
        another bound of what they change."""
        bounds = {"bound": self.network.options.bound, "exchange": self.network.options.exchange}
        return {"name": self.card.name, "sha256": self.card.sha256, "strength": self._strength, **bounds}

    def correct(self, solver: Solver, energy_lost: float | None) -> None:
        """Add what the solver's present state lacks; `energy_lost`: what advection took in the frame before it, as
        `Solver.advance(..., measure_energy=True)` reports it, or None: energy is not limited. On return velocity is
        divergence-free, each scalar's total is as before, and the flow has gained no more energy than advection had
        lost and buoyancy gives in a frame: without that bound a corrector drives flow of which it has learned nothing,
        faster or older than any it has seen, on without end.

        Raises SolverError where the projection fails.
        """
        import torch

        from fluidsr.models.exchange import exchange
        from fluidsr.scenes.build import frame_of

        seconds = self._scene.frame_seconds
        frame = frame_of(solver, self._scene, seconds)
        speed = speed_of(frame)
        stretch = stretch_of(speed)
        longer = dataclasses.replace(frame, dt=stretch * seconds)
        state = closure_state(longer, self._scene.up_axis, self._per_kelvin, self._per_density)
        with torch.inference_mode():
            change = self.network.around_smoke(state.to(solver.device), self._periodic)
            if change.exchange is not None:
                share, open_faces = self._strength / stretch * change.exchange, solver.open_faces()[None]
                solver.add_scalars(
                    {
                        name: exchange(values[None, None], share, open_faces, self._periodic)[0, 0]
                        for name, values in solver.scalars().items()
                    }
                )
        scale = self._strength / stretch * frame.cell_size / longer.dt
        most_energy = math.inf
        if energy_lost is not None:
            most_energy = max(energy_lost, 0.0) + max(self._buoyant_work(frame), 0.0)
        solver.add_velocity(change.velocity[0] * scale, seconds, most_energy)

    def _buoyant_work(self, frame: Frame) -> float:
        """What buoyancy adds to the kinetic energy in a frame, in the unit of `Solver.kinetic_energy`."""
        assert frame.velocity is not None
        lift = lift_of(frame, self._per_kelvin, self._per_density)
        power = float((lift * frame.velocity[self._scene.up_axis]).sum())
        return power * frame.cell_size**frame.dim * self._scene.frame_seconds


def speed_of(frame: Frame) -> float:
    """Root mean square of the velocity (torch) over smoke, cells per frame; 0 where there is none."""
    from fluidsr.models.closure import PRESENT

    smoky = frame.density > PRESENT
    square = frame.velocity_in_cells().square().sum(0)[smoky]
    return float(square.mean().sqrt()) if square.numel() else 0.0


def stretch_of(speed: float) -> float:
    """How many frames of a slow flow a corrector sees as one, of which it then makes its share; `speed` as of speed_of.

    What a coarse grid loses in a second hardly depends on the frame rate, and a corrector learned from frames in which
    smoke moves by about a cell.
    """
    return min(max(SLOW / max(speed, SLOW / LONGEST), 1.0), float(LONGEST))


def corrector_for(scene: Scene, device: str) -> Corrector | None:
    """The corrector that `scene` asks for; with `auto` the shipped one for its generator's factor, where there is one.

    None where nothing corrects the run. Raises ModelError for one that is missing, damaged or does not fit.
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
    model = models.load_closure(name, device)
    return Corrector(model, scene, device)


def closure_state(frame: Frame, axis: int, per_kelvin: float, per_density: float) -> torch.Tensor:
    """A coarse frame (torch) as a Closure takes it; buoyancy (m/s² of a kelvin, of a density of 1) is along `axis`."""
    import torch

    from fluidsr.models.closure import state_of

    density, velocity = frame.density, frame.velocity_in_cells()
    acceleration = torch.zeros_like(velocity)
    lift = lift_of(frame, per_kelvin, per_density)
    acceleration[axis] = lift * (frame.dt**2 / frame.cell_size)
    return state_of(density, frame.others.get("solid"), velocity, acceleration)


def lift_of(frame: Frame, per_kelvin: float, per_density: float) -> torch.Tensor:
    """The buoyant acceleration of a frame (torch), m/s² against gravity, `[*S]`."""
    lift = per_density * frame.density
    return lift if frame.temperature is None else lift + per_kelvin * frame.temperature
