"""What grids are called in the files of other programs, and what each is to a Frame."""

from __future__ import annotations

from collections.abc import Iterable

from fluidsr.errors import InputError

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
