"""The names that other programs give to grids, and the choice of the grid for each field of a Frame."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fluidsr.errors import InputError, MissingFieldError, VolumeError
from fluidsr.volumes.staggered import FACES

NAMINGS = {"houdini": "vel", "blender": "velocity"}  # the name of a VDB's velocity grid in each program

_ALIASES = {
    # density_noise: Blender's fine density
    "density": ("density", "dens", "smoke", "d", "density_noise", "rho"),
    "velocity": ("velocity", "vel", "v", "u"),
    "temperature": ("temperature", "temp", "heat"),
}
_FIELD = {alias: field for field, aliases in _ALIASES.items() for alias in aliases}
# Characters that the name of a field must not have in a file of this suffix.
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
# fields/vel, pyro:density: the part before a name of at least two letters
_PLACE = re.compile(r".*[/:](?=..)")
_UNIT = re.compile(r"\s*(\[[^\]]*[^\]\d][^\]]*\]|\([^)]*\))\s*$")  # velocity [m/s], Density (kg/m^3)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")  # also the words of camelCase; digits are not words
# Words that programs add to the name of a field without changing its meaning.
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
    """The name of the VDB grid that holds the Frame's `field`. Raises InputError for an unknown `naming`."""
    if naming not in NAMINGS:
        raise InputError("naming", f"{naming!r} is not known", f"give one of {', '.join(NAMINGS)}")
    return NAMINGS[naming] if field == "velocity" else field


def field_of(grid: str) -> str | None:
    """The Frame field that a grid of this name holds: density, velocity, temperature, or None for any other name.

    Names are compared without regard to case and surrounding space: `density`, `dens`, `smoke`, `d`; `velocity`,
    `vel`, `v`; `temperature`, `temp`, `heat`; and a few more (`_ALIASES`). Ignored are: words that programs add
    (`voxel_fog_density` of Bifrost, `smokeDensity`, `density_hires`, `vel_grid`); `smoke` beside another name
    (`smoke_vel`); a unit in brackets at the end; and, for density and velocity, everything before a slash or a colon
    (`pyro:vel`).
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
    # `fire/temperature`, for example, may differ from the temperature of the smoke.
    return None if field == "temperature" else field


def rank(grid: str) -> int:
    """Order of preference among grids whose names mean the same field; smaller is better."""
    name = grid.strip().lower()
    if name in _FIELD:
        return _ALIASES[_FIELD[name]].index(name)
    return len(_FIELD) + (field_of(grid) is None)


def components(available: Iterable[str], base: str | None = None, count: int = 3) -> list[str] | None:
    """The `count` scalar grids that together form a velocity (`vel.x`, `vel.y`, `vel.z`; `u`, `v`, `w`), or None.

    `base` (`vel`) restricts the search to one name. The axis may follow a separator (dot, colon, slash, underscore,
    hyphen, space) or nothing, stand in brackets or before the name (`x-velocity`), be counted from 0 or 1, or be
    called u, v, w.
    """
    present = {_UNIT.sub("", name).strip(): name for name in available}
    # Grouped by the text around the axis: the names of one velocity differ in the axis only.
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
        for (around_stem, _), parts in kinds.items():
            for axes in _AXES:
                if around_stem == stem and set(axes[:count]) <= set(parts):
                    return [parts[axis] for axis in axes[:count]]
    present = {name.lower(): around_stem for name, around_stem in present.items()}
    if base is None and all(name in present for name in "uvw"[:count]):
        return [present[name] for name in "uvw"[:count]]
    return None


def of_component(name: str) -> str:
    """The name of the velocity that the grid `name` is a component of: `vel` for `vel.x`; `velocity` if the name is
    only an axis.
    """
    stems = _stems(name)
    known = [stem for stem in stems if field_of(stem) == "velocity"]  # the y of x-velocity is not an axis
    return (known or stems or ["velocity"])[0]


def is_component(name: str) -> bool:
    """Whether the name is that of a component of a velocity, such as `vel.x`."""
    return any(field_of(stem) == "velocity" for stem in _stems(name))


def _stems(name: str) -> list[str]:
    """What the name is without the axis before or after it; empty if it has none."""
    word = _UNIT.sub("", name).strip()
    return [match["stem"] for pattern in (_LEADING, _COMPONENT) if (match := pattern.fullmatch(word))]


def stored_names(fields: Iterable[str], suffix: str, taken: Sequence[str] = ()) -> dict[str, str]:
    """A name for each of `fields` in a file of this suffix, which may not allow all names; none of them is in `taken`.

    Control characters, and characters with a special meaning in the format (a slash in an archive), become
    underscores. Names in .uni files keep letters only. On return no two names are equal: `fire/heat` and `fire_heat`
    become `fire_heat` and `fire_heat_2`.
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
    """`word`, with a number or letters appended if it is one of `others`."""
    new, number = word, 1
    while new in others:
        number += 1
        new = word + ("x" * (number - 1) if letters_alone else f"_{number}")
    return new


@dataclass(frozen=True)
class Roles:
    """The names of the grids in each role.

    `velocity`: none, one vector grid, or three scalar grids. `others` and `vectors`: further scalar and vector
    fields, by the name of the field. `notes`: sentences for the user about the choice.
    """

    density: str
    velocity: tuple[str, ...]
    others: dict[str, str]
    vectors: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def fields(self) -> list[str]:
        """The names of the fields that these grids form."""
        return ["density", *(["velocity"] if self.velocity else []), *self.others, *self.vectors]

    def only(self, location: str, fields: Sequence[str]) -> Roles:
        """The density and the roles in `fields`. Raises MissingFieldError if one is missing."""
        for name in fields:
            if name not in self.fields:
                raise MissingFieldError(
                    location, f"there is no {name}", f"ask for some of {', '.join(self.fields)}"
                )
        others = {name: grid for name, grid in self.others.items() if name in fields}
        vectors = {name: grid for name, grid in self.vectors.items() if name in fields}
        velocity = self.velocity if "velocity" in fields else ()
        return replace(self, velocity=velocity, others=others, vectors=vectors)


def choose(
    location: str,
    scalars: Sequence[str],
    vectors: Sequence[str],
    *,
    density: str | None = None,
    velocity: str | None = None,
    fields: Sequence[str] | None = None,
    unfit: Mapping[str, str] | None = None,
    dim: int = 3,
) -> Roles:
    """Give each grid a role, according to the names that programs use.

    Args:
        location: the file, for messages.
        scalars: names of the scalar grids.
        vectors: names of the vector grids.
        density: name of the density grid; None: by its usual names, or the only scalar grid.
        velocity: name of the velocity grid, or of its three components without the axis; None: by its usual names.
        fields: the fields to keep; None: all.
        unfit: names of grids that cannot be a density, each with the reason, for error messages.
        dim: dimensions of the frame; with 2, two scalar grids also form a velocity.

    If two grids have names for the same field, the more common name is used; the other grid keeps its own name.
    Raises VolumeError if there is no density or a requested grid does not exist, MissingFieldError if one of `fields`
    is missing.
    """
    of_density = _density(location, scalars, vectors, density, unfit or {})
    of_velocity = _velocity(
        location, [name for name in scalars if name != of_density], vectors, velocity, dim
    )
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
    if fields is None:
        notes = (
            *_on_choice("density", of_density if density is None else None, others.values()),
            *_on_choice("velocity", of_velocity[0] if of_velocity and velocity is None else None, vectors),
        )
        roles = replace(roles, notes=notes)
    return roles if fields is None else roles.only(location, fields)


def _on_choice(role: str, chosen: str | None, grids: Iterable[str]) -> Iterator[str]:
    """Yield a sentence if further `grids` have names that stand for the field `role`; `chosen`: the grid of that field,
    None if there was no choice.
    """
    more = [name for name in grids if field_of(name) == role and name != chosen]
    if chosen is not None and more:
        yield f"the {role} is {chosen!r}; --{role}-grid selects another ({_quoted(more)})"


def _density(
    location: str,
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
        raise VolumeError(location, f"grid {requested!r} {problem}", _name_one(scalars))
    named = [name for name in scalars if field_of(name) == "density"]
    if named:
        return min(named, key=rank)
    if len(scalars) == 1 and field_of(scalars[0]) is None:
        return scalars[0]
    if not scalars and not vectors and not unfit:
        raise VolumeError(location, "it holds no grids", "give a file that has one")
    if not scalars and not unfit:
        raise VolumeError(
            location, f"it holds only vectors ({_quoted(vectors)})", "give a file that has a density"
        )
    for name, reason in unfit.items():
        if field_of(name) == "density" or (not scalars and len(unfit) == 1):
            shown = name.strip() or "''"
            remedy = f"use it anyway with `density_grid` {shown}" if "level set" in reason else ""
            remedy = remedy or (
                _name_one(scalars) if scalars else "convert it to a float grid of cubic voxels"
            )
            raise VolumeError(location, f"grid {name!r} is {reason}", remedy)
    reasons = [f"{name!r} is {reason}" for name, reason in unfit.items()]
    problem = "no grid has a name that stands for density" + "".join(f"; {reason}" for reason in reasons)
    raise VolumeError(location, problem, _name_one(scalars))


def _velocity(
    location: str, scalars: Sequence[str], vectors: Sequence[str], requested: str | None, dim: int
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
            location,
            f"there is no vector grid {requested!r}, nor three of its components",
            _name_one(vectors),
        )
    return tuple(parts or ())


def _name_one(candidates: Sequence[str]) -> str:
    shown = _quoted(candidates)
    return f"name one of {shown}" if shown else "give a file that has one"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")
