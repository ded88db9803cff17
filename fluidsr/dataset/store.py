"""Reading datasets: a Zarr v3 group with one subgroup per simulation (docs/dataset.md), or several such groups as
one.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fluidsr.dataset.addresses import Address, Remote, exists, locate, size
from fluidsr.dataset.layout import FIELDS, OPTIONAL, REQUIRED, axes_of, simulation_name
from fluidsr.dataset.source import DATA_SOURCES, DataSource, PairedSimulation
from fluidsr.dataset.zarr_groups import (
    REGENERATE,
    first_line,
    map_groups,
    raising_dataset_errors,
    read_root,
    simulation_names,
    whole_group,
)
from fluidsr.deprecation import RenamedAttribute
from fluidsr.errors import DatasetError, InputError
from fluidsr.frame import Frame

_MOST_CELLS = 2**31


class _Attributes(BaseModel):
    """The attributes that every simulation has; further ones are allowed and kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    seed: int | None = None  # imported simulations have none
    split: str = Field(pattern="^(train|validation|test)$")
    dt: float = Field(gt=0, allow_inf_nan=False)
    start_time: float = Field(allow_inf_nan=False)
    origin: list[float]
    low_cell_size: float = Field(gt=0, allow_inf_nan=False)
    high_cell_size: float = Field(gt=0, allow_inf_nan=False)
    factor: int = Field(ge=1, le=64)
    pairs: str
    frames: int = Field(ge=1)
    ranges: dict[str, tuple[float, float]]


class Simulation:
    """One recorded simulation: the same smoke on two grids, frame by frame.

    `.name .seed .split .frames .dt` (s) `.factor`; `.coarse_shape .fine_shape`: cells; `.attrs`: everything that was
    recorded. Raises DatasetError for attributes or arrays that do not fit together.
    """

    def __init__(self, path: Address, attrs: dict[str, Any], arrays: dict[str, Any]) -> None:
        self.path, self.name, self.attrs, self._arrays = path, path.name, attrs, arrays
        known = _parse(_Attributes, attrs, str(path))
        self.seed, self.split, self.frames, self.dt = known.seed, known.split, known.frames, known.dt
        self.factor, self._known = known.factor, known
        self.coarse_shape: tuple[int, ...] = tuple(arrays["low_density"].shape[1:])
        self.fine_shape: tuple[int, ...] = tuple(arrays["high_density"].shape[1:])
        self._check()
        self._arrays = _bounded(arrays, path)

    low, high = RenamedAttribute("coarse"), RenamedAttribute("fine")
    low_shape, high_shape = RenamedAttribute("coarse_shape"), RenamedAttribute("fine_shape")
    high_density = RenamedAttribute("fine_density")

    @property
    def dim(self) -> int:
        """2 or 3."""
        return len(self.coarse_shape)

    @property
    def has_temperature(self) -> bool:
        """Whether the coarse frames have a temperature."""
        return "low_temperature" in self._arrays

    def coarse(self, index: int) -> Frame:
        """The coarse frame, float32 NumPy: density, velocity (m/s), and, if the scene has any, temperature and `solid`,
        the fraction of each cell that obstacles fill.

        Raises DatasetError if it is damaged or missing.
        """
        return self._frame("low", index, FIELDS)

    @property
    def has_reference(self) -> bool:
        """Whether the pairs are closure pairs, which contain the fine state on coarse cells."""
        return "reference_density" in self._arrays

    def reference(self, index: int) -> Frame:
        """The fine state on coarse cells, with the fields of `coarse`; only for closure pairs.

        Raises DatasetError as `coarse` does, and for other pairs.
        """
        if not self.has_reference:
            remedy = "give a dataset made with `pairs` closure"
            raise DatasetError(str(self.path), "has no fine state on coarse cells", remedy)
        return self._frame("reference", index, FIELDS)

    def fine(self, index: int, *, fields: Sequence[str] = ("density",)) -> Frame:
        """The fine frame, float32 NumPy (stored as float16): density, and those of `fields` (velocity, temperature,
        solid) that were kept.

        Raises DatasetError as `coarse` does.
        """
        return self._frame("high", index, ("density", *fields))

    def fine_density(self, index: int) -> np.ndarray:
        """The fine density as stored, float16: half the memory for callers that keep many frames."""
        return self._read("high_density", index)

    def verify(self) -> None:
        """Read every frame of every array. Raises DatasetError for the first that is damaged or missing."""
        for name in self._arrays:
            for index in range(self.frames):
                self._read(name, index)

    def _frame(self, side: str, index: int, fields: Sequence[str]) -> Frame:
        arrays: dict[str, Any] = {
            name: self._read(f"{side}_{name}", index).astype(np.float32, copy=False)
            for name in FIELDS
            if name in fields and f"{side}_{name}" in self._arrays
        }
        arrays["others"] = {"solid": arrays.pop("solid")} if "solid" in arrays else {}
        size = self._known.high_cell_size if side == "high" else self._known.low_cell_size
        return Frame(**arrays, cell_size=size, **self._when(index))

    def _when(self, index: int) -> dict[str, Any]:
        time = self._known.start_time + index * self.dt
        return {"origin": tuple(self._known.origin), "time": time, "dt": self.dt}

    def _read(self, name: str, index: int) -> np.ndarray:
        if not 0 <= index < self.frames:
            raise DatasetError(f"{self.path}", f"there is no frame {index}", f"give 0 to {self.frames - 1}")
        location = f"{self.path / name}: frame {index}"
        try:
            values = np.asarray(self._arrays[name][index])
        except Exception as error:  # zarr and the codecs raise many types: checksums, sizes, missing files
            raise DatasetError(location, f"cannot be read ({first_line(error)})", REGENERATE) from error
        # A missing chunk reads as the fill value, NaN, and not as zeros.
        if np.isnan(values.flat[0]):
            raise DatasetError(location, "is missing", REGENERATE)
        return values

    def _check(self) -> None:
        """Refuse arrays that do not fit together or do not hold plain numbers, before anything is decoded."""
        dim = len(self.coarse_shape)
        if dim not in (2, 3) or tuple(n * self.factor for n in self.coarse_shape) != self.fine_shape:
            problem = f"grids {self.coarse_shape} and {self.fine_shape} are not {self.factor} apart"
            raise DatasetError(str(self.path), problem, REGENERATE)
        if len(self._known.origin) != dim:
            raise DatasetError(str(self.path), f"origin does not have {dim} numbers", REGENERATE)
        if np.prod(self.fine_shape, dtype=float) > _MOST_CELLS:
            raise DatasetError(
                str(self.path), f"grid {self.fine_shape} is too large", "check where it is from"
            )
        for name, array in self._arrays.items():
            location = str(self.path / name)
            grid = self.fine_shape if name.startswith("high") else self.coarse_shape
            components = (dim,) if len(axes_of(name, dim)) > dim else ()
            shape = (self.frames, *components, *grid)
            if tuple(array.shape) != shape:
                raise DatasetError(location, f"shape {tuple(array.shape)} is not {shape}", REGENERATE)
            if array.dtype not in (np.float16, np.float32):
                raise DatasetError(location, f"holds {array.dtype}, not float16 or float32", REGENERATE)
            if np.prod(array.chunks, dtype=float) > np.prod(array.shape[1:], dtype=float):
                raise DatasetError(location, "a chunk is larger than a frame", REGENERATE)


class Store:
    """A dataset, opened for reading.

    `.path`: a Path or an address. `.attrs`: its configuration and provenance. `.failed`: simulations that diverged,
    by name, with their attributes.
    """

    def __init__(
        self, path: Address, attrs: dict[str, Any], simulations: list[Simulation], failed: dict[str, Any]
    ):
        self.path, self.attrs, self._simulations, self.failed = path, attrs, simulations, failed

    def __str__(self) -> str:
        return str(self.path)

    @classmethod
    def open(cls, path: str | PathLike[str] | Remote) -> Store:
        """Open the dataset in the folder, or at the address of fsspec, `path`. No field is decoded yet.

        Raises DatasetError if it is missing, has another format, or is damaged; InputError for an invalid address.
        """
        path = locate(path)
        attrs = read_root(path)
        simulations: list[Simulation] = []
        failed: dict[str, Any] = {}
        for name, simulation in map_groups(
            _open_simulation, path, simulation_names(path, int(attrs["simulations"]))
        ):
            if isinstance(simulation, Simulation):
                simulations.append(simulation)
            elif simulation is not None:
                failed[name] = simulation
        return cls(path, attrs, simulations, failed)

    @property
    def dim(self) -> int:
        """2 or 3."""
        return int(self.attrs["dim"])

    @property
    def factor(self) -> int:
        """Fine cells per coarse cell, along each axis."""
        return int(self.attrs["factor"])

    def simulations(self, split: str | None = None) -> list[Simulation]:
        """The complete simulations, sorted by name; if `split` is given, only those of the split.

        May be empty. Raises DatasetError for an unknown split.
        """
        if split not in (None, "train", "validation", "test"):
            raise DatasetError(f"{self.path}", f"'{split}' is not a split", "use train, validation or test")
        return [s for s in self._simulations if split in (None, s.split)]

    def describe(self) -> dict[str, Any]:
        """The contents of the dataset as plain numbers and words, for `fluidsr info`."""
        splits: dict[str, int] = {}
        for simulation in self._simulations:
            splits[simulation.split] = splits.get(simulation.split, 0) + 1
        numbers = range(int(self.attrs["simulations"]))
        present = {s.name for s in self._simulations} | set(self.failed)
        return {
            "path": str(self.path),
            **{key: value for key, value in self.attrs.items() if key not in ("format", "version")},
            "complete": len(self._simulations),
            "missing": [name for name in map(simulation_name, numbers) if name not in present],
            "failed": {
                name: {k: v[k] for k in ("seed", "failed") if k in v} for name, v in self.failed.items()
            },
            "splits": splits,
            "units": {
                "density": "1",
                "velocity": "m/s",
                "temperature": "K above ambient",
                "dt": "s",
                "cell": "m",
            },
            "bytes": size(self.path),
            "simulations_found": [_describe(s) for s in self._simulations],
        }


def damage(path: Address) -> str:
    """The problem of the simulation at `path`; empty if it is complete or recorded as failed. Reads all of it."""
    try:
        opened = _open_simulation(path)
        if isinstance(opened, Simulation):
            opened.verify()
    except DatasetError as error:
        return f"{error.where.removeprefix(str(path)).strip('/: ')} {error.what}".strip()
    return "" if opened is not None else "has no attributes"


def _open_simulation(path: Address) -> Simulation | dict[str, Any] | None:
    """The simulation, or the attributes of one that failed, or None for an incomplete one."""
    group = whole_group(path)
    if group is None:
        return None
    values = dict(group.attrs)
    return values if "failed" in values else Simulation(path, values, _open_arrays(path, group))


def _open_arrays(path: Address, group: Any) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for name in (*REQUIRED, *(name for name in OPTIONAL if exists(path / name))):
        array = raising_dataset_errors(functools.partial(group.__getitem__, name), path / name)
        if not hasattr(array, "chunks"):
            raise DatasetError(str(path / name), "is not an array", REGENERATE)
        arrays[name] = array
    return arrays


def _bounded(arrays: Mapping[str, Any], path: Address) -> dict[str, Any]:
    """The Zarr arrays with bounded codecs: no chunk decodes to more bytes than its shape needs."""
    from fluidsr.dataset import chunk_codecs

    bounded = {}
    for name, array in arrays.items():
        try:
            bounded[name] = chunk_codecs.bounded(array)
        except ValueError as error:
            remedy = f"use one of {', '.join(chunk_codecs.CODECS)}"
            raise DatasetError(str(path / name), first_line(error), remedy) from error
    return bounded


def _parse(model: type[_Attributes], attrs: dict[str, Any], location: str) -> _Attributes:
    try:
        return model.model_validate(attrs)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DatasetError(f"{location}: {key}", first["msg"], REGENERATE) from error


def _describe(simulation: Simulation) -> dict[str, Any]:
    return {
        "name": simulation.name,
        "seed": simulation.seed,
        "split": simulation.split,
        "frames": simulation.frames,
        "dt": simulation.dt,
        "low_shape": list(simulation.coarse_shape),
        "high_shape": list(simulation.fine_shape),
        "ranges": simulation.attrs["ranges"],
        "bytes": size(simulation.path),
    }


class ConcatStore:
    """Several datasets of the same dimension and factor as one; for example filtered and coupled pairs, or generated
    and imported ones.

    Each keeps its splits. Raises InputError if they do not fit together, or one is given twice.
    """

    def __init__(self, stores: Sequence[Store | DataSource]) -> None:
        first = stores[0]
        for n, store in enumerate(stores):
            for key in ("dim", "factor"):
                if getattr(store, key) != getattr(first, key):
                    raise InputError(
                        str(store),
                        f"its {key} is {getattr(store, key)} and that of {first} is {getattr(first, key)}",
                        "train on datasets of one dimension and factor",
                    )
            if any(store.path == other.path for other in stores[:n]):
                raise InputError(str(store), "is given twice", "give each dataset once")
        self.stores = tuple(stores)

    def __str__(self) -> str:
        return ", ".join(map(str, self.stores))

    @property
    def dim(self) -> int:
        """2 or 3."""
        return self.stores[0].dim

    @property
    def factor(self) -> int:
        """Fine cells per coarse cell, along each axis."""
        return self.stores[0].factor

    def simulations(self, split: str | None = None) -> list[PairedSimulation]:
        """The simulations of all datasets in order; see `Store.simulations`."""
        return [simulation for store in self.stores for simulation in store.simulations(split)]


def open_source(location: str | PathLike[str] | Remote) -> Store | DataSource:
    """The dataset at `location`, or the data source whose name is the scheme of the address.

    Raises DatasetError if there is none or it is damaged, InputError for an invalid address.
    """
    address = locate(location)
    if isinstance(address, Remote):
        kind = DATA_SOURCES.find(address.url.partition("://")[0])
        if kind is not None:
            return kind(address)
    return Store.open(address)
