"""The last fine frame of a recurrent generator: stored between frames, and prepared as input for the next one."""

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
    """Prepare the fine frame `previous` as input for upsampling `frame`.

    Args:
        frame: the coarse frame.
        previous: the fine frame before it.
        factor: fine cells along a coarse one.
        layout: of `frame`.
        device: torch device of the result.
        unit: the density of `previous` is divided by it.

    Raises InputError if the voxels of `previous` are not on the lattice of the fine frame of `frame`, if it does not
    cover all of a periodic domain, and for a NaN or an infinity.
    """
    corner = corner_of(previous, frame.replace(cell_size=frame.cell_size / factor))
    if corner is None:
        problem = f"its voxels of {previous.cell_size:g} m are not those that {frame} becomes"
        raise InputError("previous", problem, "give the fine frame that was made before it")
    offset = tuple(-n for n in corner)
    fine = previous.with_fields({"density": previous.density}).torch(str(device))
    check_finite(fine)
    density = fine.density / unit
    # The actual flow, without the velocity scale that the generator's input may have.
    velocity = layout.opened(prepare_input(frame, 1.0, device).coarse[1:])
    same_box = fine.shape == tuple(n * factor for n in frame.shape) and not any(corner)
    if not any(layout.periodic):
        return LastFrame(density, velocity, offset, "border" if same_box else "zeros")
    if not same_box:
        problem = f"a frame of {fine.shape} voxels does not fit a domain whose ends are joined"
        raise InputError("previous", problem, "give a frame of the whole domain")
    return LastFrame(layout.refined(factor).opened(density), velocity, offset)


class LastFrameStore:
    """Stores the last fine density, in full precision, for the frame that follows it."""

    def __init__(self) -> None:
        self._last: Frame | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no frame has been stored."""
        return self._last is None

    def before(self, frame: Frame, factor: int) -> Frame | None:
        """The last fine frame, if `frame` is the next one on the same lattice; otherwise None."""
        last = self._last
        if last is None or not follows(frame, last):
            return None
        return last if corner_of(last, frame.replace(cell_size=frame.cell_size / factor)) else None

    def put(self, frame: Frame, fine: Frame) -> None:
        """Store the density of `fine`, the result for the coarse `frame`."""
        self._last = fine.with_fields({"density": fine.density}).replace(time=frame.time, dt=frame.dt)

    def keeping(
        self, frame: Frame, factor: int, pieces: Callable[..., Iterator[FieldBlock]], **options: Any
    ) -> Iterator[FieldBlock]:
        """Iterate over the blocks `pieces(**options)` of the fine frame of `frame`, which is stored after the last one.
        Errors in the frame are raised by this call, before the first block."""
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
        position = [last.cell_size, last.time, last.dt, *last.origin]
        return {
            "density": torch.from_numpy(last.density),
            "place": torch.tensor(position, dtype=torch.float64),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Return to a `state()`. Raises KeyError if a tensor is missing."""
        self._last = None
        if state:
            cell_size, time, dt, *origin = state["place"].tolist()
            fine = _fine(state["density"].cpu().numpy(), cell_size, origin)
            self._last = fine.replace(time=time, dt=dt)


def _fine(density: np.ndarray, cell_size: float, origin: Sequence[float]) -> Frame:
    return Frame(density, cell_size=cell_size, origin=tuple(origin))
