"""Writing a dataset. A simulation is either complete or does not exist.

In a folder, a simulation is written under a hidden name and renamed when it is complete. An address has no atomic
rename: there the attributes, a single object, are written last, and a simulation without them does not count.
"""

from __future__ import annotations

import contextlib
import errno
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from fluidsr.dataset.addresses import Address, Remote, address_errors, is_zarr, node, remove
from fluidsr.dataset.layout import FORMAT, UNFINISHED_ROOT, UNITS, VERSION, axes_of
from fluidsr.errors import RunError
from fluidsr.frame import Frame
from fluidsr.ownership import Ownership


def create_root(path: Address, attrs: dict[str, Any]) -> None:
    """Create the dataset's root group at `path`, or replace the attributes of an existing one.

    Raises InputError if the folder cannot be created or written, RunError if the disk is full.
    """
    import zarr

    with address_errors(path):
        if isinstance(path, Path):
            path.mkdir(parents=True, exist_ok=True)
        whole = {"format": FORMAT, "version": VERSION, **attrs}
        # Both write one file atomically: an interruption does not leave a group without attributes.
        if is_zarr(path):
            zarr.open_group(node(path), mode="a", zarr_format=3).attrs.put(whole)
        else:
            zarr.create_group(node(path), attributes=whole, zarr_format=3)


class SimulationWriter:
    """Writes one simulation; used as a context manager. The simulation does not exist for readers before `finish`.

    Leaving the block without `finish` removes its partial files. Raises InputError if the folder cannot be written,
    RunError if the disk is full.
    """

    def __init__(self, root: Address, name: str, frames: int, dim: int) -> None:
        self._root, self._final, self._frames, self._dim = root, root / name, frames, dim
        self._place: Address | None = self._final
        if isinstance(root, Path):
            self._place = root / f".{name}.{uuid.uuid4().hex[:8]}.partial"
        self._arrays: dict[str, Any] = {}
        self._ranges: dict[str, list[float]] = {}
        self._written = 0

    def __enter__(self) -> SimulationWriter:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._place is not None:
            remove(self._place)

    def add(self, coarse: Frame, fine: Mapping[str, np.ndarray], reference: Frame | None = None) -> None:
        """Write the next frame: the coarse frame, the fine fields, and the fine state on coarse cells; NumPy arrays.

        Every frame must have the fields of the first one.
        """
        fields = {f"high_{name}": field for name, field in fine.items()}
        fields |= {f"low_{name}": field for name, field in coarse.fields().items()}
        if reference is not None:
            fields |= {f"reference_{name}": field for name, field in reference.fields().items()}
        with address_errors(self._root):
            for name, values in fields.items():
                if self._written == 0:
                    self._arrays[name] = self._create(name, values)
                    self._ranges[name] = [float("inf"), float("-inf")]
                self._arrays[name][self._written] = values
                low_end, high_end = self._ranges[name]
                self._ranges[name] = [min(low_end, float(values.min())), max(high_end, float(values.max()))]
        self._written += 1

    def finish(self, attrs: dict[str, Any]) -> None:
        """Give the complete simulation its attributes and its final name. Raises RunError if frames are missing."""
        if self._written != self._frames:
            raise RunError(self._final.name, f"has {self._written} of {self._frames} frames", "run it again")
        with address_errors(self._root):
            self._write_coordinates(attrs)
        self._publish({**attrs, "frames": self._frames, "ranges": self._ranges})

    def fail(self, attrs: dict[str, Any], reason: str) -> None:
        """Discard the frames; leave an empty group under the final name that records the `reason`."""
        self._begin()
        self._arrays = {}
        self._publish({**attrs, "failed": reason})

    def _begin(self) -> None:
        """Create an empty group, replacing remains of an earlier run."""
        import zarr

        assert self._place is not None
        with address_errors(self._root):
            remove(self._place)
            self._group = zarr.create_group(node(self._place), zarr_format=3)

    def _publish(self, attrs: dict[str, Any]) -> None:
        place = self._place
        assert place is not None
        with address_errors(self._root):
            if isinstance(place, Remote):
                self._check_objects(place)
            self._group.attrs.put(attrs)
            if isinstance(place, Path):
                try:
                    place.rename(str(self._final))
                except OSError as error:
                    # Another worker has completed the same simulation first; its result is the same.
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
                    return
        self._place = None

    def _check_objects(self, place: Remote) -> None:
        """Raise RunError if objects have disappeared: without locks, another command may have removed some of them."""
        written = place.files()
        for name in self._arrays:
            if sum(file.startswith(f"{name}/c/") for file in written) != self._frames:
                problem = f"frames of {name} vanished while it was written: is another command running?"
                raise RunError(str(place), problem, "run one command at a time, and rerun this one")

    def _create(self, name: str, values: np.ndarray) -> Any:
        from zarr.codecs import BloscCodec, Crc32cCodec

        side, _, field = name.partition("_")
        return self._group.create_array(
            name,
            shape=(self._frames, *values.shape),
            chunks=(1, *values.shape),
            dtype="float16" if side == "high" or field == "solid" else "float32",
            # The checksum detects damage; the fill value NaN detects missing chunks.
            compressors=[BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"), Crc32cCodec()],
            fill_value=float("nan"),
            dimension_names=("time", *axes_of(name, self._dim)),
            attributes={"units": UNITS[field]},
        )

    def _write_coordinates(self, attrs: dict[str, Any]) -> None:
        """Write the coordinates that xarray uses for the axes: positions of cell centers in m, and times in s."""
        times = attrs["start_time"] + attrs["dt"] * np.arange(self._frames)
        self._coordinate("time", times, "s")
        for side in ("low", "high"):
            size = attrs[f"{side}_cell_size"]
            names = axes_of(f"{side}_density", self._dim)
            for name, start, count in zip(
                names, attrs["origin"], self._arrays[f"{side}_density"].shape[1:], strict=True
            ):
                self._coordinate(name, start + size * (np.arange(count) + 0.5), "m")

    def _coordinate(self, name: str, values: np.ndarray, units: str) -> None:
        array = self._group.create_array(
            name, shape=values.shape, chunks=values.shape, dtype="float64",
            dimension_names=(name,), attributes={"units": units},
        )  # fmt: skip
        array[:] = values


@contextlib.contextmanager
def exclusive_lock(path: Address) -> Iterator[tuple[str, ...]]:
    """Create the folder `path` and lock it, so that no other command removes the files of this one.

    Gives sentences for the user about an earlier writer that was killed. Raises RunError if another process has the
    lock. Addresses have no locks.
    """
    if isinstance(path, Remote):
        yield ()
        return
    with address_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    with Ownership.take(path, "this data set") as ownership:
        yield ownership.notes


def remove_partial(path: Address) -> None:
    """Remove the unfinished files of an interrupted run in the folder `path`.

    At an address, the next writer of the same simulation removes them.
    """
    if isinstance(path, Path):
        for pattern in (".sim_*.partial", UNFINISHED_ROOT):
            for unfinished in path.glob(pattern):
                remove(unfinished)
