# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's fluid settings as a scene file of fluidsr (docs/blender.md has the rules). Without bpy.

Blender's quantities as Mantaflow uses them: buoyancy is divided by the longest edge of the domain, a second is 2.5
units of its time, and dissolving and vorticity act once a step, for which a frame is taken.
"""

import json
import math
import re
from dataclasses import dataclass, field

import numpy as np

from . import surfaces

GREY = [0.7, 0.7, 0.7]  # Blender's default color of smoke
TIME_UNITS = 2.5  # of Mantaflow in a second
SMOKE_OF_FUEL = 0.075  # Mantaflow: 0.1 * flame_smoke * (0.5 to 1, more as the fuel goes)
MOST_CONFINEMENT = 100.0  # that a scene may have


class Untranslatable(Exception):
    """There is no such scene; the text is for the user."""


@dataclass
class Body:
    """A flow or effector object: its settings, its surface at the first frame, and what it does at each frame."""

    name: str
    settings: object  # FluidFlowSettings or FluidEffectorSettings
    surface: surfaces.Surface
    offsets: np.ndarray  # [frames, 3] m, from where it is at the first frame
    active: list = field(default_factory=list)  # whether it emits or is solid; empty: always
    turns: bool = False  # it rotates
    deforms: bool = False  # its size or form changes


@dataclass
class Translated:
    """A scene: its `keys`, the meshes that it names by `mesh` numbers, its notes to the user, and the names of the
    objects behind `sources` and `obstacles`."""

    keys: dict
    meshes: list
    notes: list
    names: dict


@dataclass(frozen=True)
class Domain:
    """The box (m, in the world) and settings of the domain object, `gravity` (m/s²) and `fps` of Blender's scene.

    Raises Untranslatable where it has no frames.
    """

    name: str
    settings: object  # FluidDomainSettings
    low: tuple
    high: tuple
    gravity: tuple = (0.0, 0.0, -9.81)
    fps: float = 24.0

    def __post_init__(self):
        if self.frames < 1 or self.settings.cache_frame_start < 0:
            raise Untranslatable(
                "Cache > Frame Start and End: they are no range of frames from 0 on; give one"
            )
        if self.settings.time_scale <= 0:
            raise Untranslatable("Time Scale: it is 0, and nothing would move; give more")

    @property
    def length(self):
        """The longest edge (m)."""
        return max(np.subtract(self.high, self.low).tolist())

    @property
    def cell_size(self):
        """Edge of a cell (m): `resolution_max` of them along the longest edge."""
        return self.length / self.settings.resolution_max

    @property
    def cells(self):
        """Cells along x, y, z, as Blender counts them."""
        return [
            max(4, int(edge / self.cell_size + 0.5)) for edge in np.subtract(self.high, self.low).tolist()
        ]

    @property
    def frames(self):
        """Number of frames."""
        return self.settings.cache_frame_end - self.settings.cache_frame_start + 1

    @property
    def frame_seconds(self):
        """Seconds of the simulation from one frame to the next."""
        return self.settings.time_scale / self.fps


def translate(domain, flows, effectors, upscale):
    """The scene of a domain, its flow objects and effectors; `upscale` has the keys of the scene's; of the model `none`
    it has none. Raises Untranslatable.
    """
    settings, notes, meshes = domain.settings, [], []
    sources, source_names = [], []
    for flow in _within(domain, flows, notes):
        made = _sources(domain, flow, meshes, notes)
        sources += made
        source_names += [flow.name] * len(made)
    if not sources:
        raise Untranslatable(
            "no flow object emits in the domain; give an object Fluid > Flow (Inflow, Smoke or Fire)"
        )
    obstacles, obstacle_names = [], []
    for effector in _within(domain, effectors, notes):
        if effector.settings.effector_type == "COLLISION" and (any(effector.active) or not effector.active):
            if not all(effector.active):
                notes.append(f"{effector.name}: Use Effector is animated; it is there at all times")
            obstacles.append(_shape(domain, effector, meshes, notes))
            obstacle_names.append(effector.name)
        elif effector.settings.effector_type == "GUIDE":
            notes.append(f"{effector.name}: guides are not simulated; it was left out")
    burns = any("fuel" in source for source in sources)
    colored = any(source.get("color", GREY) != GREY for source in sources)
    if not colored:
        sources = [{key: value for key, value in each.items() if key != "color"} for each in sources]
    fields = ["density", "velocity"] + ["color"] * colored + ["flame"] * burns
    keys = {
        "name": file_name(domain.name),
        "domain": {
            "resolution": domain.cells,
            "cell_size": domain.cell_size,
            "up": "z",
            "boundary": _boundary(settings),
        },
        "time": {"frames": domain.frames, "fps": 1 / domain.frame_seconds},
        "physics": _physics(domain, burns, notes),
        "sources": sources,
        "obstacles": obstacles,
    }
    if upscale["model"] != "none":
        keys["upscale"] = upscale
    keys["output"] = {"formats": ["vdb"], "fields": fields, "naming": "blender"}
    return Translated(keys, meshes, notes, {"sources": source_names, "obstacles": obstacle_names})


def write(translated, folder):
    """Write the scene and its meshes into `folder`, and return the path of the YAML file. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [surfaces.write_stl(surface, folder, file_name(name)) for name, surface in translated.meshes]
    lines = ["# Written by Simulate Here of the Blender extension."]
    for key, value in translated.keys.items():
        if key not in translated.names:
            lines.append(f"{key}: {_flow_style(value)}")
        elif value:
            lines.append(f"{key}:")
            for name, body in zip(translated.names[key], value, strict=True):
                if "mesh" in body:
                    body = {
                        "shape": "mesh",
                        "path": files[body["mesh"]],
                        **{k: body[k] for k in body if k != "mesh"},
                    }
                lines += [f"  # {json.dumps(name)}", f"  - {_flow_style(body)}"]
    path = folder / f"{translated.keys['name']}.yaml"
    temporary = path.with_suffix(".part")
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


def in_names_of_objects(message, names):
    """An error of the library with the names of objects for `sources[0]` and the like."""

    def name(match):
        found, number = names[match[1]], int(match[2])
        return found[number] if number < len(found) else match[0]

    return re.sub(r"\b(sources|obstacles)\[(\d+)\]", name, message)


def file_name(name):
    """A name that a scene and files may have."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-")[:48] or "smoke"


def _within(domain, bodies, notes):
    for body in bodies:
        low, high = body.surface.bounds
        low, high = low + body.offsets.min(axis=0), high + body.offsets.max(axis=0)
        if (high < domain.low).any() or (low > domain.high).any():
            notes.append(f"{body.name}: lies outside of the domain; it was left out")
        else:
            yield body


def _boundary(settings):
    sides = {"x": ("left", "right"), "y": ("front", "back"), "z": ("bottom", "top")}
    return {
        axis: ["closed" if getattr(settings, f"use_collision_border_{side}") else "open" for side in both]
        for axis, both in sides.items()
    }


def _physics(domain, burns, notes):
    settings, fps = domain.settings, 1 / domain.frame_seconds
    across, pull = math.hypot(*domain.gravity[:2]), -domain.gravity[2]
    if across > 1e-6 * abs(pull) or pull < 0:
        notes.append("gravity: only its downward part is simulated")
    physics = {
        "gravity": max(pull, 0.0),
        "buoyancy": {
            "density": -settings.alpha / domain.length,
            "temperature": settings.beta / domain.length,
        },
        "vorticity_confinement": min(settings.vorticity * fps, MOST_CONFINEMENT),
    }
    if settings.use_dissolve_smoke:
        lifetime = max(settings.dissolve_speed, 1.01)  # of 1, a hundredth is left after a frame
        per_frame = -math.log(1 - 1 / lifetime) if settings.use_dissolve_smoke_log else 1 / lifetime
        physics["dissipation"] = {"density": per_frame * fps, "temperature": per_frame * fps}
    if burns:
        physics["combustion"] = {
            "burn_rate": max(settings.burning_rate, 0.01) * TIME_UNITS,
            "heat": 0.0,  # as hot as Mantaflow makes a flame, gas already is where it is emitted
            "smoke": settings.flame_smoke * SMOKE_OF_FUEL,
            "vorticity": min(settings.flame_vorticity * fps, MOST_CONFINEMENT),
        }
    return physics


def _sources(domain, flow, meshes, notes):
    """One source for each time that the flow object is on."""
    settings = flow.settings
    if settings.flow_behavior == "OUTFLOW":
        notes.append(f"{flow.name}: outflow objects are not simulated; it was left out")
        return []
    if settings.flow_source == "PARTICLES":
        notes.append(f"{flow.name}: particles do not emit here; it was left out")
        return []
    times = _times(domain, flow)
    if not times:
        return []
    emission = {}
    if settings.flow_type in ("SMOKE", "BOTH"):
        emission["density"] = settings.density
        emission["temperature"] = settings.temperature
        emission["color"] = [round(value, 6) for value in settings.smoke_color]
    if settings.flow_type in ("FIRE", "BOTH"):
        emission["fuel"] = settings.fuel_amount
        emission["temperature"] = domain.settings.flame_max_temp
    shape = _shape(domain, flow, meshes, notes)
    if settings.use_initial_velocity:
        if any(settings.velocity_coord):
            emission["velocity"] = list(settings.velocity_coord)
        if "motion" in shape and settings.velocity_factor:
            emission["inherit"] = min(max(settings.velocity_factor, 0.0), 1.0)
        if settings.velocity_normal or settings.velocity_random:
            notes.append(
                f"{flow.name}: only Initial X, Y, Z and Source of its initial velocity are simulated"
            )
    if settings.use_texture or settings.density_vertex_group:
        notes.append(f"{flow.name}: its texture or vertex group is not simulated; it emits evenly")
    seconds = [{} if time is None else {"seconds": time} for time in times]
    return [{**shape, **emission, **time} for time in seconds]


def _times(domain, flow):
    """`[start, end]` (s) of each time that a flow object is on; `[None]`: always."""
    step = domain.frame_seconds
    if flow.settings.flow_behavior == "GEOMETRY":
        return [[0.0, step]]
    if all(flow.active):
        return [None]
    edges = np.flatnonzero(np.diff([0, *map(int, flow.active), 0]))
    return [[float(start * step), float(end * step)] for start, end in edges.reshape(-1, 2)]


def _shape(domain, body, meshes, notes):
    """The keys of where a body is: its shape in the domain, and its motion. Raises Untranslatable."""
    try:
        shape = surfaces.shape_of(body.surface, domain.cell_size)
    except surfaces.Unusable as error:
        raise Untranslatable(f"{body.name}: {error}") from None
    moves = bool(np.abs(body.offsets).max() > 1e-4 * domain.cell_size)
    if body.deforms or (body.turns and shape["shape"] != "sphere"):
        what = "size and form" if body.deforms else "rotation"
        notes.append(
            f"{body.name}: its changes of {what} are not simulated; it keeps those of the first frame"
        )
    if shape["shape"] == "box" and not moves:
        low = np.subtract(shape["center"], np.divide(shape["size"], 2))
        low, high = np.maximum(low, domain.low), np.minimum(low + shape["size"], domain.high)
        if (high > low).all():  # a floor may be wider than the domain
            shape |= {"center": ((low + high) / 2).tolist(), "size": (high - low).tolist()}
    shape["center"] = np.subtract(shape["center"], domain.low).tolist()
    if shape["shape"] == "mesh":
        shape["mesh"] = len(meshes)
        meshes.append((body.name, body.surface))
    if moves:
        times = (
            np.arange(len(body.offsets)) + 1
        ) * domain.frame_seconds  # frame 1 is a step after the beginning
        kept = _needed(body.offsets, 1e-4 * domain.cell_size)
        shape["motion"] = [{"time": float(times[i]), "offset": body.offsets[i].tolist()} for i in kept]
    return shape


def _needed(places, tolerance):
    """Which of the `places [n, 3]` straight lines have to join for all others to lie within `tolerance`."""
    kept, last = [0], len(places) - 1
    while kept[-1] < last:
        start = end = kept[-1]
        while end < last:
            share = np.linspace(0, 1, end + 2 - start)[:, None]
            line = places[start] + share * (places[end + 1] - places[start])
            if np.abs(line - places[start : end + 2]).max() > tolerance:
                break
            end += 1
        kept.append(end)
    return kept


def _flow_style(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow_style(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow_style(each) for each in value) + "]"
    if isinstance(value, float):
        return format(value, ".7g")
    return json.dumps(value)
