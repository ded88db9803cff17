"""Which of a file's grids is which field of a Frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fluidsr.errors import MissingFieldError, VolumeError
from fluidsr.volumes import names


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
    """Give each grid its role, by the names that programs use (`names.py`); `density` and `velocity` name
    others.

    Without a usual name, the only scalar grid is the density. `fields` leaves out what is not among them.
    Raises VolumeError where there is no density or not the grid that was named, MissingFieldError where one of
    `fields` is not there.
    """
    of_density = _density(where, scalars, vectors, density)
    of_velocity = _velocity(where, [name for name in scalars if name != of_density], vectors, velocity)
    others: dict[str, str] = {}
    for name in sorted(scalars, key=names.rank):
        field = names.field_of(name) or name
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
    named = [name for name in scalars if names.field_of(name) == "density"]
    if named:
        return min(named, key=names.rank)
    if len(scalars) == 1 and names.field_of(scalars[0]) is None:
        return scalars[0]
    raise VolumeError(where, "no grid has a name that means density", _name_one(scalars))


def _velocity(
    where: str, scalars: Sequence[str], vectors: Sequence[str], asked: str | None
) -> tuple[str, ...]:
    if asked is not None and asked in vectors:
        return (asked,)
    if asked is None:
        named = [name for name in vectors if names.field_of(name) == "velocity"]
        if named:
            return (min(named, key=names.rank),)
    three = names.components(scalars, asked)
    if asked is not None and not three:
        raise VolumeError(
            where, f"there is no vector grid {asked!r}, nor three of its components", _name_one(vectors)
        )
    return tuple(three or ())


def _name_one(candidates: Sequence[str]) -> str:
    shown = ", ".join(map(repr, candidates[:20]))
    return f"name one of {shown}" if shown else "give a file that has one"
