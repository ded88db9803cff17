"""Frame: the data that passes between solver, models and files.

Axes, units and the meaning of `origin` are explained in docs/conventions.md.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from fluidsr.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# numpy.ndarray or torch.Tensor. A frame keeps the arrays that it is given, so that a frame on a GPU stays there.
Array = Any

# A field that a generator with a mask can add: the fraction of its correction that was added, 0 to 1.
CONFIDENCE = "confidence"

# Names of fields that are carried with the smoke: of burning, glow, heat and color.
_CARRIED = re.compile(
    r"(temperature|temp|heat|flames?|fire|fuel|react|reaction|burn|soot|smoke|density|dens|scatter|emission|cd"
    r"|colou?r|albedo|dye)([._]?([xyzrgb]|\d+|red|green|blue))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False, repr=False)
class Frame:
    """One instant of smoke: cell-centered float32 fields on a box of cubic cells.

    Attributes:
        density: `[x, y, z]`, in 2-D `[x, y]`.
        velocity: m/s, `[d, x, y, z]`, or None.
        temperature: K above ambient, `[x, y, z]`, or None.
        cell_size: edge of a cell, m.
        origin: position of the box's lower corner, m (the corner of cell 0, not its center); empty: zeros.
        time: s.
        dt: time to the next frame, s.
        others: further fields by name: scalars `[x, y, z]`, or vectors of `d` or three components, `[3, x, y, z]`.

    All fields have the same grid; they are all arrays of NumPy, or all of torch on one device. Raises InputError for
    shapes that do not fit, values that are not real numbers, and a cell size that is not positive.
    """

    density: Array
    velocity: Array | None = None
    temperature: Array | None = None
    cell_size: float = 1.0
    origin: tuple[float, ...] = ()
    time: float = 0.0
    dt: float = 1.0 / 24.0
    others: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, array in {**self.fields(), "density": self.density}.items():
            _check_array(name, array)
        shape = tuple(int(n) for n in self.density.shape)
        dim = len(shape)
        if dim not in (2, 3) or min(shape) < 1:
            raise InputError("density", f"shape {shape} is not a 2-D or 3-D grid", "give [x, y] or [x, y, z]")
        if not (self.cell_size > 0 and math.isfinite(self.cell_size)):
            raise InputError(
                "cell_size", f"{self.cell_size} m is not a size", "give a positive number of meters"
            )
        origin = tuple(float(x) for x in self.origin) or (0.0,) * dim
        if len(origin) != dim:
            raise InputError("origin", f"{origin} does not have {dim} numbers", "give one number per axis")
        object.__setattr__(self, "origin", origin)
        object.__setattr__(self, "others", MappingProxyType(dict(self.others)))
        for name, array in self.fields().items():
            expected = {(dim, *shape)} if name == "velocity" else {shape}
            if name in self.others:
                expected |= {(dim, *shape), (3, *shape)}
            if tuple(array.shape) not in expected:
                raise InputError(
                    name,
                    f"shape {tuple(array.shape)} does not fit density's {shape}",
                    f"give {' or '.join(map(str, sorted(expected)))}",
                )

    def __repr__(self) -> str:
        cells, fields = " x ".join(map(str, self.shape)), ", ".join(self.fields())
        return f"Frame({cells} cells of {self.cell_size:g} m, t = {self.time:g} s: {fields})"

    def __reduce__(self) -> tuple[Callable[..., Frame], tuple[dict[str, Any]]]:
        # The read-only view of `others` can neither be pickled nor copied deeply.
        values = {key.name: getattr(self, key.name) for key in dataclasses.fields(self)}
        return _frame_of, (values | {"others": dict(self.others)},)

    def _repr_png_(self) -> bytes:
        """The image of the frame in a notebook: the smoke seen along z."""
        from fluidsr import frame_plot

        return frame_plot.png(self.numpy().density)

    def plot(self, field: str = "density", *, axes: Axes | None = None) -> Axes:
        """Plot a field with matplotlib, axes in m: the magnitude of vectors; in 3-D the plane across z with the most
        smoke.

        Draws into `axes`, or into a new figure; returns the axes. Raises InputError if the frame has no such field.
        """
        from fluidsr import frame_plot

        fields = self.numpy().fields()
        if field not in fields:
            raise InputError("field", f"the frame has no '{field}'", f"use one of {', '.join(fields)}")
        return frame_plot.plot(field, fields[field], fields["density"], self.cell_size, self.origin, axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each axis."""
        return tuple(int(n) for n in self.density.shape)

    @property
    def dim(self) -> int:
        """2 or 3."""
        return len(self.shape)

    def fields(self) -> dict[str, Array]:
        """The fields that are present, by name, `density` first."""
        named = {"density": self.density, "velocity": self.velocity, "temperature": self.temperature}
        return {name: array for name, array in (named | dict(self.others)).items() if array is not None}

    @property
    def vectors(self) -> tuple[str, ...]:
        """The names of the fields whose first axis holds components."""
        return tuple(name for name, array in self.fields().items() if len(array.shape) > self.dim)

    def replace(self, **changes: Any) -> Frame:
        """A copy with some of its attributes changed. Raises InputError as the constructor does."""
        return dataclasses.replace(self, **changes)

    def with_fields(self, fields: Mapping[str, Array], **changes: Any) -> Frame:
        """A copy that holds exactly `fields` (`density` must be one of them); fields not named are dropped.

        `changes` are further attributes. Raises InputError as the constructor does.
        """
        rest = dict(fields)
        core = {name: rest.pop(name, None) for name in ("density", "velocity", "temperature")}
        return dataclasses.replace(self, **core, others=rest, **changes)

    def numpy(self) -> Frame:
        """The same frame with contiguous float32 NumPy fields on the host; fields that already are that are not
        copied.
        """
        return self.with_fields({name: _as_numpy(array) for name, array in self.fields().items()})

    def torch(self, device: str = "cpu") -> Frame:
        """The same frame with contiguous float32 torch fields on `device`; fields that already are that are not
        copied.
        """
        return self.with_fields({name: _as_torch(array, device) for name, array in self.fields().items()})

    def check_flow(self) -> None:
        """Raise InputError if the frame has smoke but no velocity, or a velocity that is not finite."""
        if self.velocity is None and bool((self.density != 0).any()):
            remedy = "give frames with velocity, or name its grid with `velocity_grid`"
            raise InputError("velocity", f"the frame at {self.time:g} s has smoke and no velocity", remedy)
        if self.velocity is not None and not bool((abs(self.velocity) < math.inf).all()):
            raise InputError("velocity", "it holds NaN or infinite values", "write finite values only")

    def velocity_in_cells(self) -> Array:
        """Velocity in *cells per frame*, `[d, *S]`, as networks read it. This is the only conversion from m/s.

        Raises InputError if the frame has no velocity.
        """
        if self.velocity is None:
            raise InputError("velocity", "the frame has none", "give a velocity field, or zeros of its shape")
        return self.velocity * np.float32(self.dt / self.cell_size).item()


def moves_with_smoke(field: str) -> bool:
    """Whether a field of this name is carried by the flow like the density: heat, flame, fuel, color and the like.

    A vector field with such a name is a color, not a direction.
    """
    return _CARRIED.fullmatch(field) is not None


def _frame_of(values: dict[str, Any]) -> Frame:
    return Frame(**values)


def _check_array(name: str, array: Any) -> None:
    """Raise InputError unless `array` is an array of real numbers."""
    if not hasattr(array, "shape"):
        raise InputError(name, f"is of type {type(array).__name__}", "give an array of NumPy or torch")
    dtype = getattr(array, "dtype", None)
    # torch's types have no kind.
    if getattr(dtype, "kind", "f") not in "biuf" or getattr(dtype, "is_complex", False):
        raise InputError(name, f"holds values of type {dtype}", "give real numbers")


def _as_numpy(array: Array) -> np.ndarray:
    if hasattr(array, "detach"):
        array = array.detach().cpu().numpy()
    return np.ascontiguousarray(array, dtype=np.float32)


def _as_torch(array: Array, device: str) -> Array:
    import torch

    if not isinstance(array, torch.Tensor):
        array = torch.from_numpy(np.require(array, np.float32, ["C", "W"]))
    return array.to(device=device, dtype=torch.float32).contiguous()
