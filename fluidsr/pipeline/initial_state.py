"""The volume file that a scene begins from."""

from __future__ import annotations

from pathlib import Path

from fluidsr import volumes
from fluidsr.errors import VolumeError
from fluidsr.frame import Frame
from fluidsr.scenes import Scene
from fluidsr.scenes.initial_state import place


def read_start(scene: Scene) -> tuple[Frame | None, list[str]]:
    """The scene's start on its own cells, and what is to be said about it; None where it begins with empty air.

    Raises VolumeError for a file that cannot be read and InputError for one that does not fit the scene.
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
