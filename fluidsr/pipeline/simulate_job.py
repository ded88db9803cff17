"""The job of `fluidsr simulate`, and a simulated frame."""

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
from fluidsr.pipeline.style_choice import StyleChoice
from fluidsr.pipeline.upscale_methods import FineFrame, UpscaleMethod
from fluidsr.scenes import Scene
from fluidsr.scenes.corrector import Corrector
from fluidsr.scenes.upscale import ModelUpscale

if TYPE_CHECKING:
    from fluidsr.solver import AdvanceReport


@dataclass(frozen=True)
class SimulateJob:
    """Everything that determines the result of a run; the same job gives the same bytes.

    Attributes:
        scene: the scene, with the user's options applied.
        frames: the frames to write, ascending, counted from 1.
        device: device to compute on, resolved.
        seed: of all random numbers.
        inference: tiles, memory and precision of the generator.
        start_frame: number of the first frame in file names.
        axes: `y-up` or `z-up`: rotation of the written files; None: not rotated.
    """

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
        """The job for the user's options.

        Args:
            scene: a built-in name, a YAML file, or a Scene.
            frames_wanted: a count, or numbers from `start_frame` on as text (see `frame_numbers`); None: as many as the
                scene has.
            model: a name or path in place of the scene's model; `none`: the coarse frames are the output.
            detail: factor on the detail, in place of the scene's.
            style_seed: seed of the style, in place of the scene's.
            style: amounts along directions, in place of the scene's.
            styles: file of the directions, in place of the scene's.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            seed: of all random numbers.
            overrides: `KEY=VALUE` texts with dotted keys of the scene; not for a Scene object.
            formats: formats of the files, in place of the scene's; empty: the scene's.
            inference: tiles, memory and precision of the generator.
            resolution_scale: factor on the number of cells along each axis, in the same domain.
            name: name of the files, in place of the scene's.
            start_frame: number of the first frame in file names and in `frames_wanted`.
            axes: `y-up` or `z-up`: rotate the written files so that this axis points up.

        Raises InputError, or SceneError for an invalid scene.
        """
        if not isinstance(scene, Scene):
            path = Path(scene)
            if path.exists() and not (path.is_file() or path.is_dir()):  # reading a pipe may block forever
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
            from fluidsr import models

            models.locate(model, models.shipped())
            scene = scene.with_model(model)
        if detail is not None:
            scene = scene.with_detail(detail)
        chosen = {"style_seed": style_seed, "style": dict(style) if style else None, "styles": styles}
        chosen = {key: value for key, value in chosen.items() if value is not None}
        scene = scene.with_style(chosen)
        if chosen and isinstance(scene.upscale, ModelUpscale):  # errors here name the caller's parameters
            config = scene.upscale
            StyleChoice(config.style_seed, config.style, config.styles).resolved([config.model])
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
        """The values that must be equal for a run to be resumed. The selection of frames is not among them."""
        named: dict[str, Any] = {} if self.start_frame == 1 else {"start_frame": self.start_frame}
        named |= {} if self.axes is None else {"axes": self.axes}
        scene = self.scene.model_dump(mode="json")
        scene["time"].pop("frames")
        if self.scene.start is not None:  # the contents of the file count, not its folder
            path = Path(self.scene.start.path)
            scene["start"] |= {"path": path.name, "sha256": digest([path])}
        if scene["upscale"] is not None:
            # `method.identity()` has the contents of these files and the resolved style.
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
    """One frame of a run.

    Attributes:
        number: of the frame, from 1.
        coarse: the coarse frame.
        fine: the fine frame, computed on demand; None: the coarse frame is the output.
        report: of the solver, about the step to this frame.
        seconds: durations of the stages, s.
    """

    number: int
    coarse: Frame
    fine: FineFrame | None
    report: AdvanceReport
    seconds: dict[str, float]
