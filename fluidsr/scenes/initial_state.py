"""The initial state of a scene: a frame resampled to the cells of the scene."""

from __future__ import annotations

import numpy as np

from fluidsr.errors import InputError
from fluidsr.frame import Array, Frame
from fluidsr.frame_grid import FrameGrid, FrameResampler
from fluidsr.scenes.schema import Scene


def place(frame: Frame, scene: Scene, label: str) -> tuple[Frame, list[str]]:
    """`frame` (NumPy) on the cells of `scene`, and notes for the user about changes.

    Interpolation is trilinear. If the scene's cells are at least twice as large, the frame is first averaged over
    whole cells; cells that coincide are copied. Outside the frame's box there is no smoke, heat or fuel, and the air
    moves as the scene says. Fuel is present if the scene burns and the frame has any. `label` names the frame in
    messages. Raises InputError for a frame of another dimension, for values that are not finite, and for a frame
    without smoke in a scene without sources.
    """
    if frame.dim != scene.dim:
        problem = f"is {frame.dim}-D and the scene is {scene.dim}-D"
        raise InputError(
            label, problem, f"give a {scene.dim}-D volume, or {frame.dim} numbers in domain.resolution"
        )
    fields = {"density": frame.density, "velocity": frame.velocity, "temperature": frame.temperature}
    fuel, notes = _fuel_of(frame, scene)
    fields = {name: array for name, array in (fields | {"fuel": fuel}).items() if array is not None}
    for name, array in fields.items():
        if not np.isfinite(array).all():
            raise InputError(label, f"its {name} holds a NaN or an infinity", "repair it, or start elsewhere")
        if name in ("density", "fuel") and (np.asarray(array) < 0).any():
            notes.append(f"start: {name} is negative in places; it was set to zero there")
            fields[name] = np.maximum(array, 0)
    frame = frame.with_fields(fields)
    lost = _share_outside(frame, scene)
    if lost > 0.0005:
        notes.append(f"start: {lost:.1%} of the smoke lies outside of the domain and was dropped")
    if frame.velocity is None:
        still = "at rest" if scene.physics.wind is None else "as the wind has it"
        notes.append(f"start: the file has no velocity; the air begins {still}")
    domain = FrameGrid(scene.domain.resolution, scene.domain.cell_size, (0.0,) * scene.dim)
    resample = FrameResampler(frame, domain)
    velocity = None
    if frame.velocity is not None:
        wind = scene.physics.wind or (0.0,) * scene.dim
        velocity = np.stack([resample(v, outside) for v, outside in zip(frame.velocity, wind, strict=True)])
    placed = Frame(
        density=resample(frame.density),
        velocity=velocity,
        temperature=None if frame.temperature is None else resample(frame.temperature),
        cell_size=scene.domain.cell_size,
        others={name: resample(array) for name, array in frame.others.items()},
        time=frame.time if scene.start is None or scene.start.time is None else scene.start.time,
        dt=scene.frame_seconds,
    )
    if not placed.density.any() and not scene.sources:
        raise InputError(label, "it has no smoke inside of the domain", "move the domain, or add sources")
    return placed, notes


def _fuel_of(frame: Frame, scene: Scene) -> tuple[Array | None, list[str]]:
    """The frame's fuel, and notes for the user; None if it has none or the scene does not burn.

    Without a field `fuel`, the square of the flame is used, since its brightness is the root of the fuel.
    """
    named = {name.lower(): array for name, array in frame.others.items() if np.ndim(array) == frame.dim}
    fuel = named.get("fuel")
    flame = next((named[name] for name in ("flame", "flames") if name in named), None)
    if not scene.burns:
        there = fuel is not None or flame is not None
        return None, ["start: its fire was left out, since no source gives fuel"] if there else []
    if fuel is not None:
        return fuel, []
    if flame is None:
        return None, [
            "start: the file has neither fuel nor flame; the fire begins with what its sources give"
        ]
    return flame**2, ["start: the file has no fuel; the square of its flame was taken for it"]


def _share_outside(frame: Frame, scene: Scene) -> float:
    """The fraction of the frame's smoke whose cell centers lie outside the domain."""
    total = float(np.sum(frame.density, dtype=np.float64))
    inside = np.asarray(frame.density)
    for axis, (n, origin, edge) in enumerate(zip(frame.shape, frame.origin, scene.extent, strict=True)):
        centers = origin + (np.arange(n) + 0.5) * frame.cell_size
        inside = np.compress((centers >= 0) & (centers <= edge), inside, axis=axis)
    return 1 - float(np.sum(inside, dtype=np.float64)) / total if total > 0 else 0.0
