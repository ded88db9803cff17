"""What a body (source, obstacle, region) must satisfy beyond the kinds of its values, wherever it lies."""

from __future__ import annotations

from typing import Any

from fluidsr.errors import InputError
from fluidsr.scenes import mesh
from fluidsr.scenes.error_messages import Problem


def problems_of_body(dim: int, where: tuple[Any, ...], body: Any) -> list[Problem]:
    """What is wrong with a body at the key `where` in a scene of `dim` dimensions; empty where nothing is."""
    problems = []
    for key in ("center", "size", "velocity"):
        value = getattr(body, key, None)
        if value is not None and len(value) != dim:
            what = f"has {len(value)} numbers in a {dim}-D scene"
            problems.append(Problem((*where, key), what, f"give {dim}"))
    problems += _motion(dim, where, body)
    if body.shape == "mesh":
        problems += _mesh(dim, where, body)
    if dim == 2 and getattr(body, "axis", None) == "z":
        problems.append(Problem((*where, "axis"), "a 2-D scene has no z axis", "give x or y"))
    return problems


def _motion(dim: int, where: tuple[Any, ...], body: Any) -> list[Problem]:
    problems, keys = [], body.motion or ()
    for i, key in enumerate(keys):
        if len(key.offset) != dim:
            what = f"has {len(key.offset)} numbers in a {dim}-D scene"
            problems.append(Problem((*where, "motion", i, "offset"), what, f"give {dim}"))
        if i and key.time <= keys[i - 1].time:
            what = f"{key.time:g} s is not after the {keys[i - 1].time:g} s before it"
            problems.append(
                Problem((*where, "motion", i, "time"), what, "put keyframes in the order of time")
            )
    return problems


def _mesh(dim: int, where: tuple[Any, ...], body: Any) -> list[Problem]:
    if dim == 2:
        what = "a mesh is a body in space, and the scene is 2-D"
        return [Problem((*where, "shape"), what, "use sphere, box, cylinder or capsule")]
    try:
        mesh.read(body.path)
    except InputError as error:
        return [Problem((*where, "path"), f"{error.where} {error.what}", error.remedy)]
    return []
