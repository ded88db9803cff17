"""The names of grids in files of other programs, and the choice of the grid for each field of a Frame."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fluidsr.errors import InputError, MissingFieldError, VolumeError
from fluidsr.volumes.staggered import FACES

NAMINGS = {"houdini": "vel", "blender": "velocity"}  # how each calls the velocity grid of a VDB

_ALIASES = {
    "density": ("density", "dens", "smoke", "d", "density_noise", "rho"),  # density_noise: Blender's fine one
    "velocity": ("velocity", "vel", "v", "u"),
    "temperature": ("temperature", "temp", "heat"),
}
_FIELD = {alias: field for field, aliases in _ALIASES.items() for alias in aliases}
# What the name of a field may not have in a file of this suffix.
_UNSAFE = {
    ".npz": re.compile(r"[/\\\x00-\x1f\x7f-\x9f]+"),
    ".vtkhdf": re.compile(r"[/.\x00-\x1f\x7f-\x9f]"),
    ".vti": re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"),
}
_COMPONENT = re.compile(
    r"(?P<stem>.+?)[._:/ -]?\[?(?P<axis>[xyz0-3]|(?<=..)[uvw])\]?", re.IGNORECASE
)  # velX, vel_x, vel.0, velocity[0], vel1 (Athena), Velocity u (CFX); but not uu, uv, uw, which are stresses
_LEADING = re.compile(r"(?P<axis>[xyzuvw])[._ -](?P<stem>.+)", re.IGNORECASE)  # x-velocity (Fluent)
_AXES = ("xyz", "012", "123", "uvw")
_PLACE = re.compile(
    r".*[/:](?=..)"
)  # fields/vel, pyro:density: what stands before a name, of two letters at least
_UNIT = re.compile(r"\s*(\[[^\]]*[^\]\d][^\]]*\]|\([^)]*\))\s*$")  # velocity [m/s], Density (kg/m^3)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")  # of camelCase, too; digits are none
# What programs add to the name of a field without changing what it is.
_NEUTRAL = frozenset(
    [
        "voxel",
        "voxels",
        "fog",
        "gas",
        "fluid",
        "sim",
        "simulation",
        "grid",
        "grids",
        "field",
        "volume",
        "vol",
        "vdb",
        "low",
        "lowres",
        "lores",
        "high",
        "highres",
        "hires",
        "res",
        "fine",
        "coarse",
        "main",
        "primary",
        "noise",
        "out",
        "output",
        "vec",
        "vector",
        "vectors",
        "staggered",
        "centered",
        "centred",
        "cell",
        "cells",
        "upres",
        "resampled",
        "phx",  # Phoenix
    ]
)


def grid_name(field: str, naming: str = "houdini") -> str:
    """The VDB grid name of a Frame's `field`. Raises InputError for an unknown `naming`."""
    if naming not in NAMINGS:
        raise InputError("naming", f"{naming!r} is not known", f"give one of {', '.join(NAMINGS)}")
    return NAMINGS[naming] if field == "velocity" else field


def field_of(grid: str) -> str | None:
    """The Frame field that a grid of this name holds: density, velocity, temperature, or None if it is
    another.

    Names are compared without regard to case and to the space around them: `density`, `dens`, `smoke`, `d`;
    `velocity`, `vel`, `v`; `temperature`, `temp`, `heat`; and a few more of `_ALIASES`. Words that programs put
    around them do not count: `voxel_fog_density` (Bifrost), `smokeDensity`, `density_hires`, `vel_grid`; nor does
    `smoke` beside another (`smoke_vel`), a unit in brackets behind them, or, of density and velocity, what stands
    before a slash or a colon (`pyro:vel`).
    """
    grid = _UNIT.sub("", grid)
    name = grid.strip().lower()
    if name in _FIELD:
        return _FIELD[name]
    words = {word.lower() for word in _WORD.findall(grid)} - _NEUTRAL
    fields = {_FIELD.get(word) if len(word) > 1 else None for word in words}
    if len(fields) > 1 and "smoke" in words:
        fields = {_FIELD.get(word) if len(word) > 1 else None for word in words - {"smoke"}}
    if len(fields) == 1:
        return fields.pop()
    rest = _PLACE.sub("", grid)
    field = None if rest == grid else field_of(rest)
    return None if field == "temperature" else field  # of a fire, say, which is another than the smoke's


def rank(grid: str) -> int:
    """Order of preference where several grids name the same field; smaller is better."""
    name = grid.strip().lower()
    if name in _FIELD:
        return _ALIASES[_FIELD[name]].index(name)
    return len(_FIELD) + (field_of(grid) is None)


def components(available: Iterable[str], base: str | None = None, count: int = 3) -> list[str] | None:
    """The `count` scalar grids that together are a velocity (`vel.x`, `vel.y`, `vel.z`; `u`, `v`, `w`), or None.

    `base` (`vel`) restricts the search to that name; the axis may follow a separator (a dot, a colon, a slash, an
    underscore, a hyphen, a space), nothing, or stand in brackets or before the name (`x-velocity`), be counted from 0
    or 1, or be called u, v, w.
    """
    present = {_UNIT.sub("", name).strip(): name for name in available}
    # By what surrounds the axis: the names of one velocity are alike but for that.
    kinds: dict[tuple[str, str], dict[str, str]] = {}
    stems: dict[str, str] = {}
    for word, name in present.items():
        for pattern in (_COMPONENT, _LEADING):
            if match := pattern.fullmatch(word):
                around = f"{word[: match.start('axis')]}*{word[match.end('axis') :]}".lower()
                kinds.setdefault((match["stem"].lower(), around), {})[match["axis"].lower()] = name
                stems.setdefault(match["stem"].lower(), match["stem"])
    if base is None:
        stems_of_velocity = list(_ALIASES["velocity"])
        stems_of_velocity += sorted(
            word
            for word, stem in stems.items()
            if field_of(stem) == "velocity" and word not in stems_of_velocity
        )
    else:
        stems_of_velocity = [base.strip().lower().rstrip("._:/ -")]
    for stem in stems_of_velocity:
        for (of, _), parts in kinds.items():
            for axes in _AXES:
                if of == stem and set(axes[:count]) <= set(parts):
                    return [parts[axis] for axis in axes[:count]]
    present = {name.lower(): of for name, of in present.items()}
    if base is None and all(name in present for name in "uvw"[:count]):
        return [present[name] for name in "uvw"[:count]]
    return None


def of_component(name: str) -> str:
    """The name of the velocity of which the grid `name` is one component: `vel` of `vel.x`; `velocity` where the name
    is the axis alone."""
    word = _UNIT.sub("", name).strip()
    stems = [match["stem"] for pattern in (_LEADING, _COMPONENT) if (match := pattern.fullmatch(word))]
    known = [stem for stem in stems if field_of(stem) == "velocity"]  # the y of x-velocity is no axis
    return (known or stems or ["velocity"])[0]


def stored_names(fields: Iterable[str], suffix: str, taken: Sequence[str] = ()) -> dict[str, str]:
    """The name of each of `fields` in a file of this suffix, which may not allow all names; none of `taken`.

    Control characters, and what has a meaning of its own there (a slash in an archive), become underscores; a .uni
    file's name keeps the letters alone. No two have the same name: `fire/heat` and `fire_heat` become `fire_heat` and
    `fire_heat_2`.
    """
    names: dict[str, str] = {}
    for name in fields:
        word = name
        if suffix == ".uni":
            word = "".join(letter for letter in name if letter.isascii() and letter.isalpha())
        elif suffix in _UNSAFE:
            word = _UNSAFE[suffix].sub("_", name.strip())
        word = word or "field"
        names[name] = _unlike(f"field_{word}" if word in taken else word, names.values(), suffix == ".uni")
    return names


def _unlike(word: str, others: Collection[str], letters_alone: bool) -> str:
    """`word`, with a number behind it, or letters, where it is one of `others`."""
    new, number = word, 1
    while new in others:
        number += 1
        new = word + ("x" * (number - 1) if letters_alone else f"_{number}")
    return new


@dataclass(frozen=True)
class Roles:
    """Names of grids: the density's, the velocity's (none, one of vectors, or three of scalars), those of the further
    scalar fields, and of the further vector fields.
    """

    density: str
    velocity: tuple[str, ...]
    others: dict[str, str]
    vectors: dict[str, str] = field(default_factory=dict)

    @property
    def fields(self) -> list[str]:
        """Names of the fields that these grids make up."""
        return ["density", *(["velocity"] if self.velocity else []), *self.others, *self.vectors]

    def only(self, where: str, fields: Sequence[str]) -> Roles:
        """Density and those of `fields`. Raises MissingFieldError where one is missing."""
        for name in fields:
            if name not in self.fields:
                raise MissingFieldError(
                    where, f"there is no {name}", f"ask for some of {', '.join(self.fields)}"
                )
        others = {name: grid for name, grid in self.others.items() if name in fields}
        vectors = {name: grid for name, grid in self.vectors.items() if name in fields}
        velocity = self.velocity if "velocity" in fields else ()
        return replace(self, velocity=velocity, others=others, vectors=vectors)


def choose(
    where: str,
    scalars: Sequence[str],
    vectors: Sequence[str],
    *,
    density: str | None = None,
    velocity: str | None = None,
    fields: Sequence[str] | None = None,
    unfit: Mapping[str, str] | None = None,
    dim: int = 3,
) -> Roles:
    """Give each grid its role, by the names that programs use; `density` and `velocity` name others.

    Without a usual name, the only scalar grid is the density. Of two grids with names for one field the better known
    counts; the other keeps its own name. `fields` leaves out what is not among them. `unfit` are further grids that
    cannot be a density, each with the reason, for the error where no grid can. Of a frame with `dim` 2, two scalar
    grids are a velocity, too. Raises VolumeError where there is no density or not the grid that was named,
    MissingFieldError where one of `fields` is missing.
    """
    of_density = _density(where, scalars, vectors, density, unfit or {})
    of_velocity = _velocity(where, [name for name in scalars if name != of_density], vectors, velocity, dim)
    others: dict[str, str] = {}
    taken = {"density", "velocity", FACES, ""}
    for name in sorted(scalars, key=rank):
        if name == of_density or name in of_velocity:
            continue
        known = field_of(name)
        word = known if known and known not in taken else name.strip()
        if word in taken:
            word = f"{word}_field" if word else "unnamed"
        if word not in taken:
            taken.add(word)
            others[word] = name
    further: dict[str, str] = {}
    for name in vectors:
        word = name.strip() or "vector"
        if name not in of_velocity:
            further[word if word not in taken else f"{word}_vector"] = name
    roles = Roles(of_density, of_velocity, others, further)
    return roles if fields is None else roles.only(where, fields)


def _density(
    where: str,
    scalars: Sequence[str],
    vectors: Sequence[str],
    requested: str | None,
    unfit: Mapping[str, str],
) -> str:
    if requested is not None:
        if requested in scalars:
            return requested
        stripped = [name for name in scalars if name.strip() == requested.strip()]
        if stripped:
            return stripped[0]
        problem = "is not there"
        if requested in vectors:
            problem = "is not a scalar"
        elif requested in unfit:
            problem = f"is {unfit[requested]}"
        raise VolumeError(where, f"grid {requested!r} {problem}", _name_one(scalars))
    named = [name for name in scalars if field_of(name) == "density"]
    if named:
        return min(named, key=rank)
    if len(scalars) == 1 and field_of(scalars[0]) is None:
        return scalars[0]
    if not scalars and not vectors and not unfit:
        raise VolumeError(where, "it holds no grids", "give a file that has one")
    if not scalars and not unfit:
        raise VolumeError(
            where, f"it holds only vectors ({_quoted(vectors)})", "give a file that has a density"
        )
    for name, reason in unfit.items():
        if field_of(name) == "density" or (not scalars and len(unfit) == 1):
            shown = name.strip() or "''"
            remedy = f"use it anyway with `density_grid` {shown}" if "level set" in reason else ""
            remedy = remedy or (
                _name_one(scalars) if scalars else "convert it to a float grid of cubic voxels"
            )
            raise VolumeError(where, f"grid {name!r} is {reason}", remedy)
    reasons = [f"{name!r} is {reason}" for name, reason in unfit.items()]
    problem = "no grid has a name that stands for density" + "".join(f"; {reason}" for reason in reasons)
    raise VolumeError(where, problem, _name_one(scalars))


def _velocity(
    where: str, scalars: Sequence[str], vectors: Sequence[str], requested: str | None, dim: int
) -> tuple[str, ...]:
    if requested is not None:
        same = [name for name in vectors if name == requested] or [
            name for name in vectors if name.strip() == requested.strip()
        ]
        if same:
            return (same[0],)
    else:
        named = [name for name in vectors if field_of(name) == "velocity"]
        if named:
            return (min(named, key=rank),)
    parts = components(scalars, requested) or (components(scalars, requested, 2) if dim == 2 else None)
    if requested is not None and not parts:
        raise VolumeError(
            where, f"there is no vector grid {requested!r}, nor three of its components", _name_one(vectors)
        )
    return tuple(parts or ())


def _name_one(candidates: Sequence[str]) -> str:
    shown = _quoted(candidates)
    return f"name one of {shown}" if shown else "give a file that has one"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")
