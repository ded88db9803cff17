"""Scene: the parts of a simulation; parsed once, frozen, and always valid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from pydantic import ValidationError, model_validator

from fluidsr.errors import InputError, SceneError
from fluidsr.scenes.error_messages import Problems, explain
from fluidsr.scenes.sections import Sections
from fluidsr.scenes.upscale import ModelUpscale, WaveletUpscale
from fluidsr.scenes.validation import problems_of
from fluidsr.scenes.yaml_loader import Dumper, dotted


class Scene(Sections):
    """One simulation. SI units; x first everywhere; two numbers per vector in 2-D."""

    @model_validator(mode="after")
    def _check(self) -> Scene:
        problems = problems_of(self)
        if problems:
            raise Problems(problems)
        return self

    def with_changes(self, **changes: Any) -> Scene:
        """A validated copy with some top-level keys replaced; a dict changes only the keys that it names.

        Raises SceneError if the result is not a valid scene.
        """
        data = self.model_dump(exclude_none=True)
        for key, value in changes.items():
            data[key] = {**(data.get(key) or {}), **value} if isinstance(value, dict) else value
        return scene_from(data, self.name)

    def with_model(self, model: str) -> Scene:
        """The same scene upsampled by another generator: a shipped name or a path. Raises SceneError as `with_changes`
        does.
        """
        same = self if isinstance(self.upscale, ModelUpscale) else self.with_changes(upscale=None)
        return same.with_changes(upscale={"model": model})

    def with_detail(self, detail: float) -> Scene:
        """The same scene with another amount of detail. Raises InputError if no generator upsamples it."""
        if isinstance(self.upscale, WaveletUpscale):
            raise InputError(
                "detail", "applies to generators only", "set upscale.strength for wavelet turbulence"
            )
        if self.upscale is None:
            raise InputError("detail", "the coarse frames are the output", "leave it out, or give a `model`")
        return self.with_changes(upscale={"detail": detail})

    def with_style(self, style: Mapping[str, Any]) -> Scene:
        """The same scene with the given keys of its upscaling's style, if any.

        Raises InputError if no trained generator upsamples it.
        """
        if style and not isinstance(self.upscale, ModelUpscale):
            raise InputError(next(iter(style)), "is of trained generators", "leave it out, or give a `model`")
        return self.with_changes(upscale=dict(style)) if style else self

    def with_formats(self, formats: Sequence[str]) -> Scene:
        """The same scene written in other file formats."""
        return self.with_changes(output={"formats": tuple(dict.fromkeys(formats))})

    def with_seed(self, seed: int) -> Scene:
        """The same scene with other noise: `seed` is added to the seeds of all sources' noise, all noise forces and the
        corrector."""
        sources = [source.model_dump(exclude_none=True) for source in self.sources]
        physics = self.physics.model_dump(exclude_none=True)
        noises = [source["noise"] for source in sources if "noise" in source]
        for noise in noises + [physics[key] for key in ("disturbance", "turbulence") if key in physics]:
            noise["seed"] = (noise["seed"] + seed) % 2**31
        numerics = {"closure_seed": (self.numerics.closure_seed + seed) % 2**31}
        return self.with_changes(sources=sources, physics=physics, numerics=numerics)

    def refined(self, factor: int) -> Scene:
        """The same scene in meters and seconds, on cells `factor` times smaller."""
        resolution = tuple(n * factor for n in self.domain.resolution)
        cell_size = self.domain.cell_size / factor
        return self.with_changes(domain={"resolution": resolution, "cell_size": cell_size})

    def rescaled(self, scale: float) -> Scene:
        """The same scene in meters and seconds, with `scale` times as many cells along each axis.

        Raises SceneError if that gives no whole number of cells.
        """
        resolution = tuple(round(n * scale) for n in self.domain.resolution)
        if any(
            abs(m - n * scale) > 1e-6 * n for m, n in zip(resolution, self.domain.resolution, strict=True)
        ):
            raise SceneError(
                f"{self.name}: domain.resolution",
                f"{list(self.domain.resolution)} times {scale:g} makes no whole numbers of cells",
                "give a scale that does, a whole number for example",
            )
        changes = {"resolution": resolution, "cell_size": self.domain.cell_size / scale}
        return self if scale == 1 else self.with_changes(domain=changes)

    def coarsened(self, factor: int) -> Scene:
        """The same scene in meters and seconds, on cells `factor` times larger.

        Raises SceneError if `factor` does not divide the resolution exactly.
        """
        if any(n % factor for n in self.domain.resolution):
            raise SceneError(
                f"{self.name}: domain.resolution",
                f"{list(self.domain.resolution)} is not divisible by {factor}",
                f"give multiples of {factor}",
            )
        resolution = tuple(n // factor for n in self.domain.resolution)
        cell_size = self.domain.cell_size * factor
        return self.with_changes(domain={"resolution": resolution, "cell_size": cell_size})

    def to_yaml(self) -> str:
        """All keys with their values, including defaults, one per line. `load` reads the same scene from it."""
        data = self.model_dump(mode="json", exclude_none=True)
        # Flow style for the innermost collections only: a vector takes one line, other keys one line each.
        return yaml.dump(
            data, Dumper=Dumper, default_flow_style=None, sort_keys=False, width=120, allow_unicode=True
        )


def scene_from(data: Mapping[str, Any], location: str) -> Scene:
    """A Scene from plain data. Raises SceneError, `where: key: what; remedy`."""
    try:
        return Scene.model_validate(data)
    except ValidationError as error:
        problem = explain(error.errors(include_url=False), Scene.model_json_schema(), data)[0]
        raise SceneError(f"{location}: {dotted(problem.path)}", problem.what, problem.remedy) from None


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a scene, for editors."""
    schema = Scene.model_json_schema()
    # A scene file may leave the name out; the scene then has the file's name.
    schema["required"] = [key for key in schema["required"] if key != "name"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "fluidsr scene"}
