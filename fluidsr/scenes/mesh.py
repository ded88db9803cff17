"""Triangle meshes (STL, OBJ, PLY) as signed distances, with VTK, which is imported when the first mesh is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fluidsr.errors import InputError

SUFFIXES = (".stl", ".obj", ".ply")
MOST_BYTES = 1 << 29  # of a mesh's file
MOST_TRIANGLES = 5_000_000
MOST_SAMPLES = 4_000_000  # of the lattice of a sampled distance
MOST_PARTS = 1000  # separate surfaces; with more, overlaps are not distinguished from holes
BORDER = 3  # samples around the mesh
EXACT = 4.5  # spacings from the surface within which distances to the triangles are exact


@dataclass(frozen=True, eq=False)
class Surface:
    """A closed triangle mesh, in units of the file.

    `points [n, 3]`: vertices, with the center of their bounding box at the origin. `triangles [m, 3]`: indices of
    vertices. `half_extent`: half the edges of the bounding box.
    """

    points: np.ndarray
    triangles: np.ndarray
    half_extent: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Sampled:
    """A signed distance (m, negative inside) on a lattice.

    `values [a, b, c]` float32. `origin`: position (m) of the first sample relative to the center of the mesh's
    bounding box. `spacing` (m) of the samples. `half_extent`: half the edges of the bounding box (m).
    """

    values: np.ndarray
    origin: tuple[float, ...]
    spacing: float
    half_extent: tuple[float, ...]


def read(path: str | Path) -> Surface:
    """The mesh in a file.

    Raises InputError if it cannot be read, is too large, has no triangles, a coordinate that is not finite, no
    volume, or open edges: the inside of a surface with holes is not defined.
    """
    path = Path(path)
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})", "check the path") from error
    return _read(path, stat.st_mtime_ns, stat.st_size)


def sample(path: str | Path, scale: float, spacing: float) -> Sampled:
    """The signed distance to the mesh in a file, with `scale` meters per unit of the file.

    The lattice has about the given `spacing` (m), or a larger one if that needs too many samples. Inside is where the
    winding number is positive (Jacobson, Kavan and Sorkine-Hornung 2013): overlapping parts are one solid, and an
    inner surface that faces the other way makes a hollow. Distances are exact (to rounding) near the surface, and to
    about a spacing further away. Raises InputError as `read` does.
    """
    path = Path(path)
    stat = path.stat() if path.exists() else None
    read(path)
    assert stat is not None
    return _sample(path, stat.st_mtime_ns, stat.st_size, scale, spacing)


def distance(path: str | Path, scale: float, places: np.ndarray) -> np.ndarray:
    """The signed distance (m) at `places [n, 3]`, relative to the center of the mesh's bounding box, `[n]`.

    Outside the lattice of `sample` it is the exact distance to the triangles. Raises InputError as `read` does.
    """
    from scipy import ndimage  # imported here and below, since loading it takes as long as checking a scene

    surface = read(path)
    field = sample(path, scale, max(surface.half_extent) * scale / 32)
    at = ((places - field.origin) / field.spacing).T
    distances = ndimage.map_coordinates(field.values, at, np.float64, order=1, mode="constant", cval=np.inf)
    beyond = np.isinf(distances)
    if beyond.any():
        distances[beyond] = _distances(surface.points * scale, surface.triangles, places[beyond])
    return np.asarray(distances)


@lru_cache(maxsize=8)
def _read(path: Path, changed: int, size: int) -> Surface:
    label = str(path)
    if not path.is_file():
        raise InputError(
            label, f"is {'a folder' if path.is_dir() else 'not a regular file'}", "give a mesh file"
        )
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            label, f"'{path.suffix}' is not a mesh format", f"give a file in {', '.join(SUFFIXES)}"
        )
    if size > MOST_BYTES:
        raise InputError(label, f"is {size / 1e9:.2g} GB", f"give a mesh of at most {MOST_BYTES >> 20} MiB")
    _check_counts(path, size)
    points, triangles = _triangles(path)
    if len(triangles) == 0:
        raise InputError(label, "has no faces", "give a mesh of triangles or polygons")
    if len(triangles) > MOST_TRIANGLES:
        problem = f"has {len(triangles)} triangles"
        raise InputError(label, problem, f"decimate it to at most {MOST_TRIANGLES}")
    if not np.isfinite(points).all():
        raise InputError(label, "has a vertex that is not finite", "repair the mesh")
    low, high = points.min(axis=0), points.max(axis=0)
    points = points - (low + high) / 2
    edges, counts = np.unique(
        np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0, return_counts=True
    )
    odd = int((counts % 2).sum())
    if odd:
        problem = f"is not closed: {odd} of its {len(edges)} edges are open"
        raise InputError(label, problem, "fill its holes (Blender: Mesh > Clean Up > Fill Holes)")
    extent = float((high - low).max())
    if not abs(_volume(points, triangles)) > 1e-9 * extent**3:
        raise InputError(label, "encloses no volume", "give a closed surface whose faces point outwards")
    return Surface(points, triangles, tuple(float(edge) for edge in (high - low) / 2))


def _check_counts(path: Path, size: int) -> None:
    """Raise InputError if the header announces more than the file can hold, before a reader allocates it."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    counts = [int(n) for n in re.findall(rb"element\s+\w+\s+(\d+)", head)] if head.startswith(b"ply") else []
    if path.suffix.lower() == ".stl" and not head.lstrip().startswith(b"solid") and len(head) >= 84:
        counts = [int.from_bytes(head[80:84], "little") * 50]
    if any(count > size for count in counts):
        raise InputError(str(path), "is cut off: its header announces more than it holds", "export it again")


def _triangles(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points `[n, 3]` without duplicates, and triangles `[m, 3]` without those that have no area."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkCommand
    from vtkmodules.vtkFiltersCore import vtkCleanPolyData, vtkTriangleFilter
    from vtkmodules.vtkIOGeometry import vtkOBJReader, vtkSTLReader
    from vtkmodules.vtkIOPLY import vtkPLYReader

    reader = {".stl": vtkSTLReader, ".obj": vtkOBJReader, ".ply": vtkPLYReader}[path.suffix.lower()]()
    complaints: list[str] = []
    for event in (vtkCommand.ErrorEvent, vtkCommand.WarningEvent):
        reader.AddObserver(event, lambda *_: complaints.append(""))  # else VTK prints them
    reader.GetExecutive().AddObserver(vtkCommand.ErrorEvent, lambda *_: complaints.append(""))
    reader.SetFileName(str(path))
    whole, triangulated = vtkCleanPolyData(), vtkTriangleFilter()
    whole.SetInputConnection(reader.GetOutputPort())
    whole.SetTolerance(1e-7)
    triangulated.SetInputConnection(whole.GetOutputPort())
    triangulated.PassVertsOff()
    triangulated.PassLinesOff()
    reader.Update()
    given = reader.GetOutput()
    faces = vtk_to_numpy(given.GetPolys().GetConnectivityArray())
    if complaints or (len(faces) and not 0 <= faces.min() <= faces.max() < given.GetNumberOfPoints()):
        raise InputError(str(path), "cannot be read as a mesh", "export it again")
    triangulated.Update()
    mesh = triangulated.GetOutput()
    if mesh.GetNumberOfPolys() == 0:
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    points = vtk_to_numpy(mesh.GetPoints().GetData()).astype(np.float64)
    triangles = vtk_to_numpy(mesh.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)
    a, b, c = triangles.T
    return points, triangles[(a != b) & (b != c) & (c != a)]


def _volume(points: np.ndarray, triangles: np.ndarray) -> float:
    """The signed volume: positive if the faces point outwards."""
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


@lru_cache(maxsize=4)
def _sample(path: Path, changed: int, size: int, scale: float, spacing: float) -> Sampled:
    from scipy import ndimage

    surface = _read(path, changed, size)
    points, half = surface.points * scale, np.array(surface.half_extent) * scale
    step = max(spacing, float(np.prod(2 * half + 2 * BORDER * spacing) / MOST_SAMPLES) ** (1 / 3))
    counts = [int(n) for n in np.ceil(half / step)]
    first = np.array([-(n + BORDER) * step for n in counts])
    shape = tuple(2 * (n + BORDER) + 1 for n in counts)
    inside = _inside(points, surface.triangles, first, step, shape)
    near = _near(points, surface.triangles, first, step, shape)
    away = ndimage.distance_transform_edt(~near) if not near.all() else np.zeros(shape)
    values = (away + EXACT) * step
    values[near] = _distances(points, surface.triangles, first + step * np.argwhere(near))
    values = np.where(inside, -values, values).astype(np.float32)
    values.setflags(write=False)
    return Sampled(values, tuple(map(float, first)), step, tuple(map(float, half)))


def _polydata(points: np.ndarray, triangles: np.ndarray) -> Any:
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    mesh, places, faces = vtkPolyData(), vtkPoints(), vtkCellArray()
    places.SetData(numpy_to_vtk(np.ascontiguousarray(points), deep=1))
    offsets = np.arange(0, 3 * len(triangles) + 1, 3)
    faces.SetData(
        numpy_to_vtkIdTypeArray(offsets, deep=1),
        numpy_to_vtkIdTypeArray(np.ascontiguousarray(triangles.reshape(-1)), deep=1),
    )
    mesh.SetPoints(places)
    mesh.SetPolys(faces)
    return mesh


def _inside(
    points: np.ndarray, triangles: np.ndarray, first: np.ndarray, step: float, shape: tuple[int, ...]
) -> np.ndarray:
    """Which samples have a positive winding number.

    Each closed part of the surface adds one inside if it faces outwards, and subtracts one if it faces inwards.
    """
    from scipy import sparse

    ends = (triangles[:, [0, 1]].ravel(), triangles[:, [1, 2]].ravel())
    graph = sparse.coo_matrix((np.ones(len(ends[0]), np.int8), ends), shape=(len(points),) * 2)
    _, part_of_point = sparse.csgraph.connected_components(graph, directed=False)
    part = part_of_point[triangles[:, 0]]
    parts = np.unique(part)
    chosen = [triangles] if len(parts) > MOST_PARTS else [triangles[part == p] for p in parts]
    outwards = 1 if _volume(points, triangles) > 0 else -1
    winding = np.zeros(shape, np.int16)
    for triangles_of_part in chosen:
        used = points[triangles_of_part.reshape(-1)]
        box = [
            (max(int(np.floor((a - f) / step)), 0), min(int(np.ceil((b - f) / step)) + 1, n))
            for a, b, f, n in zip(used.min(axis=0), used.max(axis=0), first, shape, strict=True)
        ]
        window = tuple(slice(a, b) for a, b in box)
        sign = outwards * (1 if _volume(points, triangles_of_part) >= 0 else -1)
        winding[window] += sign * _filled(points, triangles_of_part, first, step, box).astype(np.int16)
    return winding > 0


def _filled(
    points: np.ndarray, triangles: np.ndarray, first: np.ndarray, step: float, box: list[tuple[int, int]]
) -> np.ndarray:
    """Which samples of a box lie within a closed surface, by the parity of the crossings."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkImagingStencil import vtkImageStencilToImage, vtkPolyDataToImageStencil

    stencil, image = vtkPolyDataToImageStencil(), vtkImageStencilToImage()
    stencil.SetInputData(_polydata(points, triangles))
    stencil.SetTolerance(0.0)
    stencil.SetOutputOrigin(*first)
    stencil.SetOutputSpacing(step, step, step)
    stencil.SetOutputWholeExtent(*(edge for a, b in box for edge in (a, b - 1)))
    image.SetInputConnection(stencil.GetOutputPort())
    image.SetInsideValue(1)
    image.SetOutsideValue(0)
    image.SetOutputScalarTypeToUnsignedChar()
    image.Update()
    values = vtk_to_numpy(image.GetOutput().GetPointData().GetScalars())
    return values.reshape([b - a for a, b in reversed(box)]).transpose(2, 1, 0) > 0


def _near(
    points: np.ndarray, triangles: np.ndarray, first: np.ndarray, step: float, shape: tuple[int, ...]
) -> np.ndarray:
    """The samples within EXACT spacings of the surface, and a few others."""
    from scipy import ndimage

    marked = np.zeros(shape, bool)
    corners = points[triangles]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    pieces = np.exp2(np.ceil(np.log2(np.maximum(longest / step, 1)))).astype(int)  # along each edge
    for n in np.unique(pieces):
        i, j = (w.ravel() for w in np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij"))
        weights = np.stack([i, j, n - i - j], axis=1)[i + j <= n] / n
        chosen = corners[pieces == n]
        for block in np.array_split(chosen, -(-len(chosen) * len(weights) // MOST_SAMPLES)):
            at = np.rint((np.tensordot(weights, block, axes=(1, 1)) - first) / step).astype(int)
            marked[tuple(at.reshape(-1, 3).T)] = True
    return ndimage.distance_transform_edt(~marked) <= EXACT


def _distances(points: np.ndarray, triangles: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The distance from each of `places` to the nearest triangle."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkDoubleArray
    from vtkmodules.vtkFiltersCore import vtkImplicitPolyDataDistance

    distance, distances = vtkImplicitPolyDataDistance(), vtkDoubleArray()
    distance.SetInput(_polydata(points, triangles))
    distance.FunctionValue(numpy_to_vtk(np.ascontiguousarray(places), deep=1), distances)
    return np.abs(vtk_to_numpy(distances))
