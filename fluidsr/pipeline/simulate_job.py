"""What a run of `fluidsr simulate` is asked for, and one of its frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluidsr import device as devices
from fluidsr import scenes
from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.pipeline import frame_numbers
from fluidsr.pipeline.inference_settings import DEFAULT, InferenceSettings
from fluidsr.pipeline.provenance import digest
from fluidsr.pipeline.upscale_methods import FineFrame, UpscaleMethod
from fluidsr.scenes import Scene
from fluidsr.scenes.corrector import Corrector
from fluidsr.scenes.upscale import ModelUpscale

if TYPE_CHECKING:
    from fluidsr.solver import AdvanceReport


@dataclass(frozen=True)
class SimulateJob:
    """Everything that determines the result of a run; the same job gives the same bytes."""

    scene: Scene
    frames: Sequence[int]
    device: str
    seed: int
    inference: InferenceSettings = DEFAULT
    start_frame: int = 1
    axes: str | None = None

    @classmethod
    def of(
        cls,
        scene: str | Path | Scene,
        *,
        frames_wanted: str | int | None = None,
        model: str | None = None,
        detail: float | None = None,
        style_seed: int | None = None,
        style: Mapping[str, float] | None = None,
        styles: str | None = None,
        device: str = "auto",
        seed: int = 0,
        overrides: Sequence[str] = (),
        formats: Sequence[str] = (),
        inference: InferenceSettings = DEFAULT,
        resolution_scale: float = 1.0,
        name: str | None = None,
        start_frame: int = 1,
        axes: str | None = None,
    ) -> SimulateJob:
        """Resolve the user's options; `model`, `detail`, those of the style, `formats` and `name` take precedence over
        the scene's own. `resolution_scale` multiplies the scene's cells along each axis, in the same domain. The
        job's frames count from 1; in the names of files, and in `frames_wanted`, from `start_frame`."""
        if not isinstance(scene, Scene):
            path = Path(scene)
            if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe would be waited for
                raise InputError(
                    str(scene), "is not a regular file", "give a scene in YAML, or a scene's name"
                )
            scene = scenes.load(str(scene), overrides)
        elif overrides:
            raise InputError("overrides", "a Scene object takes none", "load the scene with its overrides")
        scene = scene.rescaled(resolution_scale)
        if model == "none":
            scene = scene.with_changes(upscale=None)
        elif model is not None:
            scene = scene.with_model(model)
        if detail is not None:
            scene = scene.with_detail(detail)
        chosen = {"style_seed": style_seed, "style": dict(style) if style else None, "styles": styles}
        scene = scene.with_style({key: value for key, value in chosen.items() if value is not None})
        if formats:
            scene = scene.with_formats(formats)
        if name is not None:
            scene = scene.with_changes(name=name)
        numbers = frame_numbers.parse(frames_wanted, scene.time.frames, start_frame)
        frames = [number - start_frame + 1 for number in numbers]
        device = devices.resolve(device)
        settings = inference.on(device if isinstance(scene.upscale, ModelUpscale) else None)
        return cls(scene.with_seed(seed), frames, device, seed, settings, start_frame, axes)

    def configuration(self, method: UpscaleMethod | None, corrector: Corrector | None) -> dict[str, Any]:
        """What must be equal for a run to be resumed; the number of frames is not part of it."""
        named: dict[str, Any] = {} if self.start_frame == 1 else {"start_frame": self.start_frame}
        named |= {} if self.axes is None else {"axes": self.axes}
        scene = self.scene.model_dump(mode="json")
        scene["time"].pop("frames")
        if self.scene.start is not None:  # what is in the file counts, not where it lies
            path = Path(self.scene.start.path)
            scene["start"] |= {"path": path.name, "sha256": digest([path])}
        if scene["upscale"] is not None:
            # Their contents are in `method.identity()`.
            for key in ("mask", "detail_mask", "style_seed", "style", "styles"):
                scene["upscale"].pop(key, None)
        return {
            "scene": scene,
            "model": method.identity() if method else None,
            "closure": corrector.identity() if corrector else None,
            "seed": self.seed,
            "device": self.device,
            **named,
        }


@dataclass(frozen=True)
class SimulatedFrame:
    """One frame of a run: the coarse frame, its fine frame (None: the coarse one is the output), and the report."""

    number: int
    coarse: Frame
    fine: FineFrame | None
    report: AdvanceReport
    seconds: dict[str, float]
