"""Checks of a scene and its bodies beyond the types of single values: whether things fit the domain and each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fluidsr.errors import InputError
from fluidsr.frame import CONFIDENCE
from fluidsr.scenes import mesh
from fluidsr.scenes.bodies import Body
from fluidsr.scenes.error_messages import Problem
from fluidsr.scenes.geometry import bounds, inside, swept
from fluidsr.scenes.sections import Sections
from fluidsr.scenes.upscale import ModelUpscale, WaveletUpscale

MAX_CELLS = 2**31 - 1  # cell indices are 32-bit integers
_MOST_PER_AXIS = 48


def problems_of(scene: Sections) -> list[Problem]:
    """All problems of a scene whose single values are valid; empty if the scene is valid."""
    problems = _domain(scene) or _wind(scene)
    if problems:
        return problems
    vectors = [p for path, body in _bodies(scene) for p in problems_of_body(scene.dim, path, body)]
    if vectors:
        return vectors
    solid = _obstacles(scene)
    if solid:
        return solid
    for i in range(len(scene.sources)):
        problems += _source(scene, i)
    problems += _noise_forces(scene) + _combustion(scene)
    return problems + _start(scene) + _upscale(scene) + _output(scene)


def _bodies(scene: Sections) -> list[tuple[tuple[Any, ...], Any]]:
    sources: list[tuple[tuple[Any, ...], Any]] = [
        (("sources", i), body) for i, body in enumerate(scene.sources)
    ]
    obstacles = [(("obstacles", i), body) for i, body in enumerate(scene.obstacles)]
    return sources + obstacles + [(("upscale", "regions", i), body) for i, body in enumerate(_regions(scene))]


def _regions(scene: Sections) -> tuple[Any, ...]:
    return scene.upscale.regions if isinstance(scene.upscale, ModelUpscale) else ()


def _domain(scene: Sections) -> list[Problem]:
    problems = []
    if scene.cells > MAX_CELLS:
        problem = f"{list(scene.domain.resolution)} makes {scene.cells / 1e9:.3g} billion cells"
        problems.append(Problem(("domain", "resolution"), problem, "give at most 2.1 billion"))
    if scene.dim == 2 and scene.domain.up == "z":
        problems.append(Problem(("domain", "up"), "a 2-D scene has no z axis", "give x or y"))
    if scene.dim == 2 and scene.domain.boundary.z is not None:
        problems.append(Problem(("domain", "boundary", "z"), "a 2-D scene has no z axis", "remove z"))
    for axis, (low, high) in zip("xyz", scene.domain.sides, strict=False):
        if (low == "periodic") != (high == "periodic"):
            problem = "is periodic at one end only, and there is nothing to join it to"
            problems.append(Problem(("domain", "boundary", axis), problem, f"write {axis}: periodic"))
    return problems


def _wind(scene: Sections) -> list[Problem]:
    wind = scene.physics.wind
    if wind is None:
        return []
    path = ("physics", "wind")
    if len(wind) != scene.dim:
        problem = f"has {len(wind)} numbers in a {scene.dim}-D scene"
        return [Problem(path, problem, f"give {scene.dim}")]
    problems = []
    for i, (axis, speed, sides) in enumerate(zip("xyz", wind, scene.domain.sides, strict=False)):
        if speed != 0 and "closed" in sides:
            problem = f"is {speed:g} m/s, and {axis} is closed at one end"
            remedy = f"give 0, or make domain.boundary.{axis} open or periodic"
            problems.append(Problem((*path, i), problem, remedy))
    return problems


def _noise_forces(scene: Sections) -> list[Problem]:
    problems = []
    for name in ("disturbance", "turbulence"):
        force = getattr(scene.physics, name)
        if force is not None and force.control == "temperature" and not scene.has_temperature:
            path = ("physics", name, "control")
            problems.append(Problem(path, "no source has a temperature", "give density or shear"))
    return problems


def _combustion(scene: Sections) -> list[Problem]:
    path = ("physics", "combustion")
    if not scene.burns:
        if scene.physics.combustion != type(scene.physics.combustion)():
            return [Problem(path, "no source gives fuel", "give a source fuel, or remove it")]
        return []
    if scene.physics.combustion.expansion and not any("open" in sides for sides in scene.domain.sides):
        problem = "no side of the domain is open, and the gas that burning creates could not leave"
        return [Problem((*path, "expansion"), problem, "open a side (domain.boundary), or give 0")]
    ignition = scene.physics.combustion.ignition
    if ignition and scene.start is None and _hottest(scene) < ignition:
        problem = f"is {ignition:g} K, and no source is as hot, so nothing lights the fuel"
        return [Problem((*path, "ignition"), problem, "give a source that temperature, or remove it")]
    if isinstance(scene.upscale, WaveletUpscale):
        problem = "the wavelet method supports smoke from sources only, not from a fire"
        return [Problem(("upscale", "method"), problem, "use a model")]
    return []


def _hottest(scene: Sections) -> float:
    """The highest temperature (K above ambient) that a source can emit; 0 if none emits any."""
    given = [
        (source.temperature or 0.0) * (1 + (abs(source.noise.strength) if source.noise else 0.0))
        for source in scene.sources
    ]
    return max(given, default=0.0)


def _start(scene: Sections) -> list[Problem]:
    if scene.start is None:
        if scene.sources:
            return []
        problem = "is empty" if "sources" in scene.model_fields_set else "is missing"
        return [Problem(("sources",), problem, "add a source: a shape that emits smoke, heat or motion")]
    path = Path(scene.start.path)
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        return [
            Problem(("start", "path"), f"{path} {problem}", "give a volume file, relative to the scene's")
        ]
    if scene.start.fuel_grid is not None and not scene.burns:
        return [Problem(("start", "fuel_grid"), "no source gives fuel", "remove it, or give a source fuel")]
    return []


def _upscale(scene: Sections) -> list[Problem]:
    if isinstance(scene.upscale, ModelUpscale) and scene.upscale.model == "none":
        problem = "a scene without a generator has no upscale"
        return [
            Problem(("upscale", "model"), problem, "leave out upscale, and the coarse frames are written")
        ]
    if not isinstance(scene.upscale, WaveletUpscale):
        return [
            _outside_problem(scene, ("upscale", "regions", i), "region")
            for i, region in enumerate(_regions(scene))
            if _outside(scene, region, region.soft)
        ]
    problems = []
    fine = scene.cells * scene.upscale.factor**scene.dim
    if fine > MAX_CELLS:
        problem = f"{scene.upscale.factor} makes {fine / 1e9:.3g} billion fine cells"
        problems.append(
            Problem(("upscale", "factor"), problem, "give a smaller one: 2.1 billion is the most")
        )
    for axis, sides, n in zip("xyz", scene.domain.sides, scene.domain.resolution, strict=False):
        if sides[0] == "periodic" and n % 2:
            problem = (
                f"eddies of the wavelet method cannot be joined over {n} cells along {axis}, an odd number"
            )
            problems.append(Problem(("domain", "resolution", "xyz".index(axis)), problem, f"give {n + 1}"))
    return problems


def _obstacles(scene: Sections) -> list[Problem]:
    problems = []
    for i, body in enumerate(scene.obstacles):
        if _outside(scene, body):
            problems.append(_outside_problem(scene, ("obstacles", i), "obstacle", body.motion is not None))
    if scene.obstacles and not problems:
        points = _cell_centers(scene, (0.0,) * scene.dim, scene.extent)
        if _covered(scene, points).all():
            problems.append(Problem(("obstacles",), "they fill the whole domain", "leave room for air"))
    return problems


def _source(scene: Sections, index: int) -> list[Problem]:
    body, path = scene.sources[index], ("sources", index)
    problems = []
    # Density and fuel are raised to a value, so 0 adds nothing; heat and velocity of 0 act on cold or slow gas.
    emits = (
        body.density
        or body.fuel
        or (body.temperature, body.velocity) != (None, None)
        or body.inherit
        or body.expansion
    )
    if not emits:
        problems.append(
            Problem(path, "emits nothing", "give density, temperature, fuel, velocity or expansion")
        )
    if body.inflow and (body.velocity is None or not any(body.velocity)):
        problem = "needs a velocity"
        problems.append(Problem((*path, "inflow"), problem, "give velocity, or leave inflow out"))
    if body.color is not None and body.density is None:
        problem = "the source emits no smoke that could have one"
        problems.append(Problem((*path, "color"), problem, "give density, or leave color out"))
    if body.inherit and body.motion is None:
        problem = "the source does not move, so there is nothing to inherit"
        problems.append(Problem((*path, "inherit"), problem, "give motion, or leave inherit out"))
    if (body.inflow or body.expansion) and not any("open" in sides for sides in scene.domain.sides):
        problem = "no side of the domain is open, and the air that comes in could not leave"
        key = "inflow" if body.inflow else "expansion"
        problems.append(Problem((*path, key), problem, "open a side (domain.boundary), or leave it out"))
    if body.seconds is not None and not body.seconds[0] < body.seconds[1]:
        problem = f"[{body.seconds[0]:g}, {body.seconds[1]:g}] s ends before it starts"
        problems.append(Problem((*path, "seconds"), problem, "give [start, end]"))
    if _outside(scene, body):
        return [*problems, _outside_problem(scene, path, "source", body.motion is not None)]
    too_wide = _too_wide(scene, path, body)
    if too_wide is not None:
        return [*problems, too_wide]
    if body.motion is not None:  # it may begin outside or in a solid, but must leave it
        if scene.obstacles and _never_in_the_open(scene, body):
            problem = "the source stays inside an obstacle, or outside the domain, for all of its motion"
            problems.append(Problem((*path, "motion"), problem, "move one of them"))
        return problems
    if scene.obstacles:
        points = np.vstack([_cell_centers(scene, *bounds(body)), [body.center]])
        held = points[inside(body, points)]
        held = held[((held >= 0) & (held <= scene.extent)).all(axis=1)]
        if len(held) and _covered(scene, held).all():
            problems.append(
                Problem((*path, "center"), "the source is inside an obstacle", "move one of them")
            )
    return problems


def _never_in_the_open(scene: Sections, body: Any) -> bool:
    """Whether a moving source is inside obstacles at rest, or outside the domain, for all of its motion.

    It is checked at 32 positions between two keyframes, at fewer if there are many keyframes.
    """
    offsets = np.array([key.offset for key in body.motion])
    between = max(1, min(32, 1024 // len(offsets)))
    shares = np.linspace(0, 1, between + 1)[1:, None]
    ways = (a + shares * (b - a) for a, b in pairwise(offsets))
    for offset in np.concatenate([offsets[:1], *ways]):
        there = body.model_copy(update={"center": tuple(np.add(body.center, offset).tolist())})
        points = _cell_centers(scene, *bounds(there))
        points = np.vstack([points, [there.center]]) if _holds(scene, there.center) else points
        held = points[inside(there, points)]
        if len(held) and not _covered(scene, held).all():
            return False
    return True


def _holds(scene: Sections, point: Sequence[float]) -> bool:
    return all(0 <= x <= edge for x, edge in zip(point, scene.extent, strict=True))


def _outside(scene: Sections, body: Body, around: float = 0.0) -> bool:
    low, high = swept(body)
    edges = zip(low, high, scene.extent, strict=True)
    return any(b + around <= 0 or a - around >= edge for a, b, edge in edges)


def _outside_problem(scene: Sections, path: tuple[Any, ...], kind: str, moves: bool = False) -> Problem:
    edges = ", ".join(f"{axis} 0 to {edge:g}" for axis, edge in zip("xyz", scene.extent, strict=False))
    always = ", for all of its motion" if moves else ""
    message = f"the {kind} lies outside the domain{always}"
    hint = f"move it, or enlarge domain.cell_size: the domain is {edges} m"
    return Problem((*path, "center"), message, hint)


def _too_wide(scene: Sections, path: tuple[Any, ...], body: Any) -> Problem | None:
    low, high = bounds(body)
    slack = 1 + 1e-6
    for axis, (a, b, edge) in enumerate(zip(low, high, scene.extent, strict=True)):
        if b - a <= edge * slack:
            continue
        if body.shape == "box":
            return _wide((*path, "size", axis), b - a, b - a, edge, edge)
        if body.shape == "mesh":
            return _wide((*path, "scale"), b - a, b - a, edge, body.scale * edge / (b - a))
        if body.shape != "sphere" and 2 * body.radius > edge * slack:
            return _wide((*path, "radius"), body.radius, 2 * body.radius, edge, edge / 2)
        along = body.shape in ("cylinder", "capsule") and "xyz"[axis] == body.axis
        key, value, largest = ("height", body.height, edge) if along else ("radius", body.radius, edge / 2)
        if along and body.shape == "capsule":
            largest = max(edge - 2 * body.radius, 0.0)
        return _wide((*path, key), value, b - a, edge, largest)
    return None


def _wide(path: tuple[Any, ...], value: float, width: float, edge: float, largest: float) -> Problem:
    """The problem that `value` at the key `path` makes a body `width` wide in a domain `edge` wide (all in m)."""
    problem = f"{value:g} m is wider than the domain ({edge:g} m)"
    if value <= edge:
        problem = f"{value:g} m makes it {width:g} m across, and the domain is {edge:g} m"
    return Problem(path, problem, f"give at most {largest:g}")


def _cell_centers(scene: Sections, low: Sequence[float], high: Sequence[float]) -> np.ndarray:
    """Cell centers `[n, d]` (m) of the domain between two corners; an even selection if there are many."""
    h = scene.domain.cell_size
    axes = []
    for a, b, n in zip(low, high, scene.domain.resolution, strict=True):
        first = max(0, int(np.ceil(a / h - 0.5 - 1e-9)))
        last = min(n - 1, int(np.floor(b / h - 0.5 + 1e-9)))
        step = max(1, -(-(last - first + 1) // _MOST_PER_AXIS))
        axes.append((np.arange(first, last + 1, step) + 0.5) * h)
    grids = np.meshgrid(*axes, indexing="ij")
    return np.stack([g.ravel() for g in grids], axis=1)


def _covered(scene: Sections, points: np.ndarray) -> np.ndarray:
    covered = np.zeros(len(points), bool)
    for body in scene.obstacles:
        if body.motion is None:
            covered |= inside(body, points)
    return covered


def _output(scene: Sections) -> list[Problem]:
    problems = []
    for key in ("formats", "fields"):
        words = getattr(scene.output, key)
        repeated = [i for i, word in enumerate(words) if word in words[:i]]
        if repeated:
            path = ("output", key, repeated[0])
            problems.append(Problem(path, f"'{words[repeated[0]]}' is given twice", "remove one of the two"))
    if "solid" in scene.output.fields and not scene.obstacles:
        path = ("output", "fields", scene.output.fields.index("solid"))
        problems.append(Problem(path, "there are no obstacles", "remove it, or add one"))
    for name in ("flame", "fuel"):
        if name in scene.output.fields and not scene.burns:
            path = ("output", "fields", scene.output.fields.index(name))
            problems.append(Problem(path, "no source gives fuel", "remove it, or give a source fuel"))
    if "color" in scene.output.fields and not scene.colored:
        path = ("output", "fields", scene.output.fields.index("color"))
        problems.append(Problem(path, "no source gives a color", "remove it, or give a source a color"))
    if CONFIDENCE in scene.output.fields and not isinstance(scene.upscale, ModelUpscale):
        path = ("output", "fields", scene.output.fields.index(CONFIDENCE))
        problems.append(Problem(path, "no model upsamples the frames", "remove it, or give upscale.model"))
    if "temperature" in scene.output.fields and not scene.has_temperature:
        path = ("output", "fields", scene.output.fields.index("temperature"))
        problems.append(Problem(path, "no source has a temperature", "remove it, or heat a source"))
    return problems


def problems_of_body(dim: int, path: tuple[Any, ...], body: Any) -> list[Problem]:
    """The problems of a body at the key `path` in a scene of `dim` dimensions; empty if there are none."""
    problems = []
    for key in ("center", "size", "velocity"):
        value = getattr(body, key, None)
        if value is not None and len(value) != dim:
            problem = f"has {len(value)} numbers in a {dim}-D scene"
            problems.append(Problem((*path, key), problem, f"give {dim}"))
    problems += _motion(dim, path, body)
    if body.shape == "mesh":
        problems += _mesh(dim, path, body)
    if dim == 2 and getattr(body, "axis", None) == "z":
        problems.append(Problem((*path, "axis"), "a 2-D scene has no z axis", "give x or y"))
    return problems


def _motion(dim: int, path: tuple[Any, ...], body: Any) -> list[Problem]:
    problems, keys = [], body.motion or ()
    for i, key in enumerate(keys):
        if len(key.offset) != dim:
            problem = f"has {len(key.offset)} numbers in a {dim}-D scene"
            problems.append(Problem((*path, "motion", i, "offset"), problem, f"give {dim}"))
        if i and key.time <= keys[i - 1].time:
            problem = f"{key.time:g} s is not after the {keys[i - 1].time:g} s before it"
            problems.append(
                Problem((*path, "motion", i, "time"), problem, "put keyframes in the order of time")
            )
    return problems


def _mesh(dim: int, path: tuple[Any, ...], body: Any) -> list[Problem]:
    if dim == 2:
        problem = "a mesh is 3-D, and the scene is 2-D"
        return [Problem((*path, "shape"), problem, "use sphere, box, cylinder or capsule")]
    try:
        mesh.read(body.path)
    except InputError as error:
        return [Problem((*path, "path"), f"{error.where} {error.what}", error.remedy)]
    return []
