"""Reading the volume file that a scene starts from."""

from __future__ import annotations

from pathlib import Path

from fluidsr import volumes
from fluidsr.errors import VolumeError
from fluidsr.frame import Frame
from fluidsr.scenes import Scene
from fluidsr.scenes.initial_state import place


def read_start(scene: Scene) -> tuple[Frame | None, list[str]]:
    """The initial state of `scene` on the scene's cells, and notes for the user; None if it starts with empty air.

    Velocity is in m/s. Raises VolumeError for a file that cannot be read or lacks a named grid, and InputError for a
    file that does not fit the scene.
    """
    if scene.start is None:
        return None, []
    start = scene.start
    path = Path(start.path)
    frame = volumes.read(
        path,
        density_grid=start.density_grid,
        velocity_grid=start.velocity_grid,
        velocity_unit=start.velocity_unit,
        frame_rate=start.frame_rate,
    ).numpy()
    fields = frame.fields()
    for field, grid in (("temperature", start.temperature_grid), ("fuel", start.fuel_grid)):
        if grid is not None:
            if grid not in fields:
                raise VolumeError(str(path), f"has no grid '{grid}'", f"its fields are {', '.join(fields)}")
            frame = frame.with_fields({**frame.fields(), field: fields[grid]})
    return place(frame, scene, str(path))
