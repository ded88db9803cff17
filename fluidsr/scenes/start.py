"""A frame from anywhere, brought onto the cells of a scene."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.scenes.schema import Scene


def place(frame: Frame, scene: Scene, where: str) -> tuple[Frame, list[str]]:
    """`frame` (NumPy) on the cells of `scene`, and sentences for the user about what was changed.

    Trilinear where cells differ in size or place, after averaging over whole cells where the scene's are at least
    twice as large; equal cells are taken as they are. Outside of the frame's box there is no smoke and no heat, and
    the air is as the scene has it. `where` names the frame in errors: InputError for another dimension, and for
    values that are not finite.
    """
    if frame.dim != scene.dim:
        what = f"is {frame.dim}-D and the scene is {scene.dim}-D"
        raise InputError(
            where, what, f"give a {scene.dim}-D volume, or {frame.dim} numbers in domain.resolution"
        )
    for name, array in frame.fields().items():
        if name in ("density", "velocity", "temperature") and not np.isfinite(array).all():
            raise InputError(where, f"its {name} holds a NaN or an infinity", "repair it, or start elsewhere")
    notes = []
    if (np.asarray(frame.density) < 0).any():
        notes.append("start: density is negative in places; it was taken as zero there")
        frame = frame.replace(density=np.maximum(frame.density, 0))
    lost = _share_outside(frame, scene)
    if lost > 0.0005:
        notes.append(f"start: {lost:.1%} of the smoke lies outside of the domain and was dropped")
    if frame.velocity is None:
        still = "at rest" if scene.physics.wind is None else "as the wind has it"
        notes.append(f"start: the file has no velocity; the air begins {still}")
    onto = _Onto(frame, scene)
    velocity = None
    if frame.velocity is not None:
        wind = scene.physics.wind or (0.0,) * scene.dim
        velocity = np.stack([onto(v, outside) for v, outside in zip(frame.velocity, wind, strict=True)])
    placed = Frame(
        density=onto(frame.density),
        velocity=velocity,
        temperature=None if frame.temperature is None else onto(frame.temperature),
        cell_size=scene.domain.cell_size,
        time=frame.time if scene.start is None or scene.start.time is None else scene.start.time,
        dt=scene.frame_seconds,
    )
    if not placed.density.any() and not scene.sources:
        raise InputError(where, "it has no smoke inside of the domain", "move the domain, or add sources")
    return placed, notes


def _share_outside(frame: Frame, scene: Scene) -> float:
    """How much of the frame's smoke has its cell centre outside of the domain, of 1."""
    total = float(np.sum(frame.density, dtype=np.float64))
    inside = np.asarray(frame.density)
    for axis, (n, origin, edge) in enumerate(zip(frame.shape, frame.origin, scene.extent, strict=True)):
        at = origin + (np.arange(n) + 0.5) * frame.cell_size
        inside = np.compress((at >= 0) & (at <= edge), inside, axis=axis)
    return 1 - float(np.sum(inside, dtype=np.float64)) / total if total > 0 else 0.0


class _Onto:
    """Takes scalar fields from the cells of a frame to those of a scene, axis by axis."""

    def __init__(self, frame: Frame, scene: Scene) -> None:
        h = scene.domain.cell_size
        self.block = max(1, int(h / frame.cell_size + 1e-6))
        step = self.block * frame.cell_size
        self.axes = []
        for n, origin, cells in zip(frame.shape, frame.origin, scene.domain.resolution, strict=True):
            count = -(-n // self.block)
            at = ((np.arange(cells) + 0.5) * h - origin) / step - 0.5
            nearest = np.round(at)  # equal cells are exactly equal, whatever rounding says
            at = np.where(np.abs(at - nearest) < 1e-4, nearest, at)
            held = (at > -0.5 - 1e-4) & (at < count - 0.5 + 1e-4)
            at = np.clip(at, 0, count - 1)
            low = np.minimum(np.floor(at).astype(int), count - 1)
            self.axes.append((low, np.minimum(low + 1, count - 1), (at - low).astype(np.float32), held))

    def __call__(self, field: Any, outside: float = 0.0) -> np.ndarray:
        values = self._averaged(np.asarray(field, np.float32), outside)
        for axis, (low, high, share, held) in enumerate(self.axes):
            along = tuple(-1 if a == axis else 1 for a in range(values.ndim))
            a, b = np.take(values, low, axis), np.take(values, high, axis)
            values = a + share.reshape(along) * (b - a)
            values = np.where(held.reshape(along), values, np.float32(outside))
        return np.ascontiguousarray(values, np.float32)

    def _averaged(self, field: np.ndarray, outside: float) -> np.ndarray:
        if self.block == 1:
            return field
        k = self.block
        padded = np.pad(field, [(0, -n % k) for n in field.shape], constant_values=outside)
        split = padded.reshape([size for n in padded.shape for size in (n // k, k)])
        return np.asarray(split.mean(axis=tuple(range(1, split.ndim, 2))), np.float32)
