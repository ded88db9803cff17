"""What grids are called in the files of other programs, and which of a file's grids is which field of a Frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fluidsr.errors import InputError, MissingFieldError, VolumeError

NAMINGS = {"houdini": "vel", "blender": "velocity"}  # how each calls the velocity grid of a VDB

_ALIASES = {
    "density": ("density", "dens", "smoke", "d", "density_noise", "rho"),  # density_noise: Blender's fine one
    "velocity": ("velocity", "vel", "v", "u"),
    "temperature": ("temperature", "temp", "heat"),
}
_FIELD = {alias: field for field, aliases in _ALIASES.items() for alias in aliases}
_SEPARATORS = (".", "_", "")


def grid_name(field: str, naming: str = "houdini") -> str:
    """The VDB grid name of a Frame's `field`. Raises InputError for an unknown `naming`."""
    if naming not in NAMINGS:
        raise InputError("naming", f"{naming!r} is not known", f"give one of {', '.join(NAMINGS)}")
    return NAMINGS[naming] if field == "velocity" else field


def field_of(grid: str) -> str | None:
    """The Frame field that a grid of this name holds: density, velocity, temperature, or None if it is
    another.

    Names are compared without regard to case: `density`, `dens`, `smoke`, `d`; `velocity`, `vel`, `v`;
    `temperature`, `temp`, `heat`; and a few more of `_ALIASES`.
    """
    return _FIELD.get(grid.lower())


def rank(grid: str) -> int:
    """Order of preference where several grids name the same field; smaller is better."""
    field = field_of(grid)
    return _ALIASES[field].index(grid.lower()) if field else len(_FIELD)


def components(available: Iterable[str], base: str | None = None) -> list[str] | None:
    """The three scalar grids that together are a velocity (`vel.x`, `vel.y`, `vel.z`; `u`, `v`, `w`), or None.

    `base` (`vel`) restricts the search to that name; the axis may follow a dot, an underscore or nothing.
    """
    present = {name.lower(): name for name in available}
    for stem in (base.lower(),) if base else _ALIASES["velocity"]:
        for separator in _SEPARATORS:
            found = [present.get(f"{stem}{separator}{axis}") for axis in "xyz"]
            if None not in found:
                return [name for name in found if name is not None]
    if base is None and all(name in present for name in "uvw"):
        return [present[name] for name in "uvw"]
    return None


@dataclass(frozen=True)
class Roles:
    """Names of grids: the density's, the velocity's (none, one of vectors, or three of scalars), and the
    further scalar fields'.
    """

    density: str
    velocity: tuple[str, ...]
    others: dict[str, str]

    @property
    def fields(self) -> list[str]:
        """Names of the fields that these grids make up."""
        return ["density", *(["velocity"] if self.velocity else []), *self.others]


def choose(
    where: str,
    scalars: Sequence[str],
    vectors: Sequence[str],
    *,
    density: str | None = None,
    velocity: str | None = None,
    fields: Sequence[str] | None = None,
) -> Roles:
    """Give each grid its role, by the names that programs use (`py`); `density` and `velocity` name
    others.

    Without a usual name, the only scalar grid is the density. `fields` leaves out what is not among them.
    Raises VolumeError where there is no density or not the grid that was named, MissingFieldError where one of
    `fields` is not there.
    """
    of_density = _density(where, scalars, vectors, density)
    of_velocity = _velocity(where, [name for name in scalars if name != of_density], vectors, velocity)
    others: dict[str, str] = {}
    for name in sorted(scalars, key=rank):
        field = field_of(name) or name
        if name != of_density and name not in of_velocity and field not in ("density", "velocity", ""):
            others.setdefault(field, name)
    roles = Roles(of_density, of_velocity, others)
    if fields is None:
        return roles
    for field in fields:
        if field not in roles.fields:
            raise MissingFieldError(
                where, f"there is no {field}", f"ask for some of {', '.join(roles.fields)}"
            )
    wanted = {field: name for field, name in others.items() if field in fields}
    return Roles(of_density, of_velocity if "velocity" in fields else (), wanted)


def _density(where: str, scalars: Sequence[str], vectors: Sequence[str], asked: str | None) -> str:
    if asked is not None:
        if asked in scalars:
            return asked
        what = "is not a scalar" if asked in vectors else "is not there"
        raise VolumeError(where, f"grid {asked!r} {what}", _name_one(scalars))
    named = [name for name in scalars if field_of(name) == "density"]
    if named:
        return min(named, key=rank)
    if len(scalars) == 1 and field_of(scalars[0]) is None:
        return scalars[0]
    raise VolumeError(where, "no grid has a name that means density", _name_one(scalars))


def _velocity(
    where: str, scalars: Sequence[str], vectors: Sequence[str], asked: str | None
) -> tuple[str, ...]:
    if asked is not None and asked in vectors:
        return (asked,)
    if asked is None:
        named = [name for name in vectors if field_of(name) == "velocity"]
        if named:
            return (min(named, key=rank),)
    three = components(scalars, asked)
    if asked is not None and not three:
        raise VolumeError(
            where, f"there is no vector grid {asked!r}, nor three of its components", _name_one(vectors)
        )
    return tuple(three or ())


def _name_one(candidates: Sequence[str]) -> str:
    shown = ", ".join(map(repr, candidates[:20]))
    return f"name one of {shown}" if shown else "give a file that has one"
