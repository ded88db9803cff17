"""The fine frame that a recurrent generator made last: kept from frame to frame, checked, and put beside the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.models.recurrence import LastFrame
from fluidsr.upscaling.earlier_frames import corner_of, follows
from fluidsr.upscaling.frame_layout import FrameLayout
from fluidsr.upscaling.network_input import check_finite, prepare_input
from fluidsr.upscaling.tiles import FieldBlock


def last_frame_of(
    frame: Frame, previous: Frame, factor: int, layout: FrameLayout, device: torch.device, unit: float = 1.0
) -> LastFrame:
    """The fine frame `previous`, its density over `unit`, beside the coarse `frame`, which `layout` lays out.

    Raises InputError where it has other cells than the fine frame of `frame` will have, or, of a domain whose ends are
    joined, not all of it; and for a NaN or an infinity.
    """
    corner = corner_of(previous, frame.replace(cell_size=frame.cell_size / factor))
    if corner is None:
        problem = f"its voxels of {previous.cell_size:g} m are not those that {frame} becomes"
        raise InputError("previous", problem, "give the fine frame that was made before it")
    offset = tuple(-n for n in corner)
    fine = previous.with_fields({"density": previous.density}).torch(str(device))
    check_finite(fine)
    density = fine.density / unit
    # The flow itself, whatever flow the generator is shown.
    velocity = layout.opened(prepare_input(frame, 1.0, device).coarse[1:])
    same = fine.shape == tuple(n * factor for n in frame.shape) and not any(corner)
    if not any(layout.periodic):
        return LastFrame(density, velocity, offset, "border" if same else "zeros")
    if not same:
        problem = f"a frame of {fine.shape} voxels does not fit a domain whose ends are joined"
        raise InputError("previous", problem, "give a frame of the whole domain")
    return LastFrame(layout.refined(factor).opened(density), velocity, offset)


class LastFrameStore:
    """Keeps the fine density that was made last, at full accuracy, for the frame that follows it."""

    def __init__(self) -> None:
        self._last: Frame | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no frame has been made."""
        return self._last is None

    def before(self, frame: Frame, factor: int) -> Frame | None:
        """The last fine frame, where `frame` comes a frame's time after it on the same cells; else None."""
        last = self._last
        if last is None or not follows(frame, last):
            return None
        return last if corner_of(last, frame.replace(cell_size=frame.cell_size / factor)) else None

    def put(self, frame: Frame, fine: Frame) -> None:
        """Keep `fine`, which was made of the coarse `frame`."""
        self._last = fine.with_fields({"density": fine.density}).replace(time=frame.time, dt=frame.dt)

    def keeping(
        self, frame: Frame, factor: int, pieces: Callable[..., Iterator[FieldBlock]], **options: Any
    ) -> Iterator[FieldBlock]:
        """The blocks `pieces(**options)` of the fine frame of `frame`; it is kept once they have all come. What is
        wrong with the frame is raised here, before the first block."""
        return self._keeping(frame, factor, pieces(**options))

    def _keeping(self, frame: Frame, factor: int, blocks: Iterator[FieldBlock]) -> Iterator[FieldBlock]:
        density = np.zeros(tuple(n * factor for n in frame.shape), np.float32)
        for block in blocks:
            if block.name == "density":
                block.box.of(density)[...] = block.values.detach().cpu().numpy()
            yield block
        self.put(frame, _fine(density, frame.cell_size / factor, frame.origin))

    def state(self) -> dict[str, Tensor]:
        """The tensors that `restore` needs."""
        if self._last is None:
            return {}
        last = self._last.numpy()
        place = [last.cell_size, last.time, last.dt, *last.origin]
        return {"density": torch.from_numpy(last.density), "place": torch.tensor(place, dtype=torch.float64)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Return to a `state()`. Raises KeyError where it is none."""
        self._last = None
        if state:
            cell_size, time, dt, *origin = state["place"].tolist()
            fine = _fine(state["density"].cpu().numpy(), cell_size, origin)
            self._last = fine.replace(time=time, dt=dt)


def _fine(density: np.ndarray, cell_size: float, origin: Sequence[float]) -> Frame:
    return Frame(density, cell_size=cell_size, origin=tuple(origin))
