"""The methods that make the fine frames of a simulation from its coarse frames: a generator or wavelet turbulence."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from fluidsr.errors import InputError, ModelError
from fluidsr.frame import CONFIDENCE, Frame
from fluidsr.pipeline.inference_settings import DEFAULT, InferenceSettings
from fluidsr.pipeline.scene_keys import SHAPING, named_in
from fluidsr.pipeline.shaping import Shaping
from fluidsr.scenes import Scene
from fluidsr.scenes.build import solid_fraction_of
from fluidsr.scenes.upscale import CarryUpscale, ModelUpscale, WaveletUpscale

if TYPE_CHECKING:
    import torch

    from fluidsr.solver import SolidFraction, Solver
    from fluidsr.upscaling import FieldBlock, LastFrameStore, Upscaler
    from fluidsr.upscaling.wavelet.turbulence import WaveletTurbulence


class UpscaleMethod(Protocol):
    """The method by which a scene is upsampled."""

    @property
    def name(self) -> str:
        """The name of the method, as the user sees it."""

    @property
    def factor(self) -> int:
        """Fine cells along the edge of a coarse cell."""

    @property
    def reads_previous(self) -> bool:
        """Whether the method is a generator that reads its own last fine frame."""

    def identity(self) -> dict[str, Any]:
        """The values that must be equal for a run to be resumed."""

    def cost(self, scene: Scene) -> tuple[dict[str, int], dict[str, Any]]:
        """The memory that the parts of the method need, in bytes, and other figures for `--dry-run`."""

    def start(self, solver: Solver, scene: Scene, first: Frame) -> UpscaleRun:
        """Begin a run at the frame `first`, which is the current state of `solver`."""


class UpscaleRun(Protocol):
    """The upsampling of one run. It takes the coarse frames in order, without gaps."""

    def step(self, coarse: Frame) -> FineFrame:
        """Advance to the next coarse frame. The returned fine frame has not been computed yet."""

    def state(self) -> dict[str, torch.Tensor]:
        """The tensors that `restore` needs to continue bit-identically."""

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Return to a `state()`. Raises InputError if it does not fit the scene."""


class FineFrame(Protocol):
    """A fine frame, computed on demand. It must be computed before the next `step` of its run."""

    @property
    def notes(self) -> Sequence[str]:
        """Notes for the user about the frame; complete after it has been computed."""

    @property
    def history(self) -> Sequence[Frame]:
        """The earlier coarse frames that the fine frame depends on, in order."""

    def whole(self, fields: Sequence[str]) -> Frame:
        """Compute the fine frame with density and `fields`."""

    def pieces(self, fields: Sequence[str]) -> Iterator[FieldBlock]:
        """Compute the fine frame block by block, so that it is not whole in memory if the method allows."""


def method_for(scene: Scene, device: str, settings: InferenceSettings) -> UpscaleMethod | None:
    """The method of `scene`, checked against it; None if the coarse frames are the output.

    Raises InputError for `settings` other than the default without a generator, and for output fields that the
    generator does not compute; ModelError for a generator that does not fit the scene.
    """
    if isinstance(scene.upscale, ModelUpscale):
        method = GeneratorMethod.of_model(scene, scene.upscale, device, settings)
        if CONFIDENCE in scene.output.fields:
            method.upscaler.card.require_mask("output.fields")
        return method
    if isinstance(scene.upscale, CarryUpscale):
        return GeneratorMethod.of_carry(scene, scene.upscale, device, settings)
    if settings != DEFAULT:
        problem = "apply to generators only, and these frames are upsampled without one"
        raise InputError(
            "`tile`, `max_memory` and `precision`", problem, "leave them out, or choose a `model`"
        )
    return WaveletMethod(scene.upscale, device) if isinstance(scene.upscale, WaveletUpscale) else None


class GeneratorMethod:
    """Upsampling by a generator, which may read earlier frames, too.

    Args:
        upscaler: runs the generator.
        shaping: the artist's controls.
        settings: tiles, memory and precision, as the identity of a run records them.
        solids: the solid fraction of the fine cells; None without obstacles.
    """

    def __init__(
        self,
        upscaler: Upscaler,
        shaping: Shaping,
        settings: InferenceSettings,
        solids: SolidFraction | None = None,
    ) -> None:
        self.upscaler, self._shaping, self._settings, self._solids = upscaler, shaping, settings, solids

    @classmethod
    def of_model(
        cls, scene: Scene, config: ModelUpscale, device: str, settings: InferenceSettings
    ) -> GeneratorMethod:
        """The method with a trained generator. Raises ModelError if its dimension is not the scene's, InputError for
        controls that do not fit."""
        dim = scene.dim
        with named_in("upscale", file="upscale.model"):
            upscaler = settings.load(config.model, device, scene.domain.periodic)
        shaping = Shaping.given(
            detail=config.detail,
            detail_mask=config.detail_mask,
            detail_mask_grid=config.detail_mask_grid,
            velocity_scale=config.velocity_scale,
            mask=config.mask,
            mask_grid=config.mask_grid,
            regions=config.regions,
            periodic=scene.domain.periodic,
            style_seed=config.style_seed,
            style=config.style,
            styles=config.styles,
        )
        with named_in("upscale", SHAPING):
            shaping = shaping.for_models([config.model])
            shaping.check(dim)
        card = upscaler.card
        if card.dim != dim:
            problem = f"'{card.name}' is a {card.dim}-D generator and the scene is {dim}-D"
            raise ModelError("upscale.model", problem, f"use the model smoke{dim}d-x4")
        return cls(upscaler, shaping, settings, solid_fraction_of(scene, upscaler.factor))

    @classmethod
    def of_carry(
        cls, scene: Scene, config: CarryUpscale, device: str, settings: InferenceSettings
    ) -> GeneratorMethod:
        """The method with the generator without weights, which carries smoke. Raises InputError for a `precision`."""
        from fluidsr.models.carry import carry_model

        if settings.precision != "float32":
            raise InputError("precision", "carried smoke has no convolutions", "leave it out")
        model = carry_model(scene.dim, config.factor, config.frames)
        upscaler = settings.upscaler(model, device, scene.domain.periodic)
        shaping = Shaping.given(detail=config.detail)
        return cls(upscaler, shaping, settings, solid_fraction_of(scene, config.factor))

    @property
    def name(self) -> str:
        return self.upscaler.card.name

    @property
    def factor(self) -> int:
        return self.upscaler.factor

    @property
    def reads_previous(self) -> bool:
        return self.upscaler.reads_previous

    def identity(self) -> dict[str, Any]:
        card = self.upscaler.card
        model = {"name": card.name, "sha256": card.sha256}
        shaping = self._shaping
        return {**model, **asdict(self._settings), **shaping.mask_identity(), **shaping.style.identity()}

    def cost(self, scene: Scene) -> tuple[dict[str, int], dict[str, Any]]:
        largest = self.upscaler.cost(scene.domain.resolution)
        # Each file holds one block of the fine fields, and another waits for it; an .npz holds the whole frame.
        whole = largest.result * numbers_per_cell(scene) if "npz" in scene.output.formats else 0
        blocks = min(largest.result, 2 * largest.largest_result)
        memory = {"generator": largest.memory, "fine_fields": whole + blocks}
        if self.upscaler.reads_previous:  # the last fine frame, and the frame that is being made
            memory["last_frame"] = 2 * largest.result
        if self.upscaler.past:  # three copies: as kept, on a common grid, and as input of the network
            memory["history"] = (
                3 * self.upscaler.past * 4 * (1 + scene.dim + bool(scene.obstacles)) * scene.cells
            )
        return memory, {"multiply_adds_per_frame_at_most": int(largest.multiply_adds)}

    def start(self, solver: Solver, scene: Scene, first: Frame) -> UpscaleRun:
        return _GeneratorRun(self, first)

    def frame(
        self, coarse: Frame, number: int, history: Sequence[Frame], last: LastFrameStore | None = None
    ) -> _GeneratorFrame:
        """The fine frame of a coarse frame.

        Args:
            coarse: the coarse frame.
            number: of the frame in the run.
            history: the coarse frames before it, in order; density, velocity and solids suffice (see `moving`).
            last: holds the last fine frame, for a generator that reads it; None for others.
        """
        return _GeneratorFrame(
            self.upscaler, coarse, self._shaping, number, tuple(history), last, self._solids
        )


class _GeneratorRun:
    """Keeps the earlier frames that the generator reads. `first` is not among them, because it has no fine frame.

    For a generator that reads its own last fine frame, every fine frame is computed, even if it is not written. The
    state holds the fine frame before the current one, because the current one may not have been computed yet.
    """

    def __init__(self, method: GeneratorMethod, first: Frame) -> None:
        from fluidsr.upscaling import LastFrameStore

        upscaler = method.upscaler
        self._method, self._first = method, first
        self._last = LastFrameStore() if upscaler.reads_previous else None
        self._past: deque[Frame] = deque(maxlen=max(upscaler.past, int(upscaler.reads_previous)))
        self._pending: _GeneratorFrame | None = None

    def step(self, coarse: Frame) -> FineFrame:
        if self._last is not None and self._pending is not None and not self._pending.made:
            self._pending.whole(())
        self._pending = self._frame(coarse)
        self._past.append(moving(coarse))
        return self._pending

    def _frame(self, coarse: Frame) -> _GeneratorFrame:
        number = round((coarse.time - self._first.time) / coarse.dt)
        return self._method.frame(coarse, number, self._past, self._last)

    def state(self) -> dict[str, torch.Tensor]:
        import torch

        state = {"past": torch.tensor(len(self._past))}
        if self._last is not None:
            made = self._pending is None or self._pending.made
            state |= {f"last_{name}": tensor for name, tensor in self._last.state().items()}
            state["made"] = torch.tensor(made)
        for place, frame in enumerate(self._past):
            fields = frame.fields().values()
            state[f"past_{place}"] = torch.cat([field.reshape(-1, *frame.shape) for field in fields])
            state[f"time_{place}"] = torch.tensor(frame.time, dtype=torch.float64)
        return state

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        first = self._first
        self._past.clear()
        self._pending = None
        for place in range(int(state["past"])):
            fields, time = state[f"past_{place}"].to(first.density.device), float(state[f"time_{place}"])
            kept = moving(first).fields()
            numbers = [field.numel() // first.density.numel() for field in kept.values()]
            if fields.shape != (sum(numbers), *first.shape):
                raise InputError(f"past_{place}", "does not fit the scene", "start a new run")
            parts = zip(kept, fields.split(numbers), strict=True)
            earlier = first.with_fields({n: part.reshape(kept[n].shape) for n, part in parts}, time=time)
            self._pending = self._frame(earlier)
            self._past.append(earlier)
        if self._last is not None:
            prefix = "last_"
            last = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
            self._last.restore(last)
            if self._pending is not None:
                self._pending.made = bool(state["made"])


def moving(frame: Frame) -> Frame:
    """`frame` with only the fields that later frames read: density, velocity and solids."""
    kept = {"density": frame.density, "velocity": frame.velocity}
    if "solid" in frame.others:
        kept["solid"] = frame.others["solid"]
    return frame.with_fields(kept)


class _GeneratorFrame:
    """A fine frame by a generator; `made` says whether it has been computed."""

    def __init__(
        self,
        upscaler: Upscaler,
        coarse: Frame,
        shaping: Shaping,
        number: int,
        history: Sequence[Frame],
        last: LastFrameStore | None,
        solids: SolidFraction | None,
    ) -> None:
        self._solids = solids
        self._upscaler, self._coarse, self._shaping, self._number = upscaler, coarse, shaping, number
        self.history, self._last, self.made = history, last, False
        self.notes: Sequence[str] = ()

    def whole(self, fields: Sequence[str]) -> Frame:
        fine = self._upscaler.upsample(self._coarse, **self._options(), fields=fields)
        self.notes = self._upscaler.statistics.notes
        if self._last is not None:
            self._last.put(self._coarse, fine)
        self.made = True
        return fine

    def pieces(self, fields: Sequence[str]) -> Iterator[FieldBlock]:
        # Not a generator function, so that errors in the frame are raised here, before files are opened.
        coarse, upscaler = self._coarse, self._upscaler
        pieces = partial(upscaler.pieces, coarse, **self._options(), fields=fields)
        if self._last is not None:
            pieces = partial(self._last.keeping, coarse, upscaler.factor, pieces)
        return self._noting(pieces())

    def _noting(self, pieces: Iterator[FieldBlock]) -> Iterator[FieldBlock]:
        yield from pieces
        self.notes = self._upscaler.statistics.notes
        self.made = True

    def _options(self) -> dict[str, Any]:
        with named_in("upscale", SHAPING):
            shaping = self._shaping.of(self._coarse, self._number, self._upscaler.card)
        options = {**shaping, "history": self.history}
        if self._solids is not None:
            options["fine_solid"] = self._solids.at(self._coarse.time)
        if self._last is not None:
            options["previous"] = self._last.before(self._coarse, self._upscaler.factor)
        return options


class WaveletMethod:
    """Wavelet turbulence: fine smoke that the coarse flow and added eddies advect through all frames."""

    name = "wavelet turbulence"
    reads_previous = False

    def __init__(self, config: WaveletUpscale, device: str) -> None:
        self._config, self._device = config, device

    @property
    def factor(self) -> int:
        return self._config.factor

    def identity(self) -> dict[str, Any]:
        return {"name": self.name}

    def cost(self, scene: Scene) -> tuple[dict[str, int], dict[str, Any]]:
        from fluidsr.upscaling.wavelet.turbulence import BYTES_PER_FINE_CELL

        fine = scene.cells * self.factor**scene.dim
        return {
            "turbulence": fine * BYTES_PER_FINE_CELL,
            "fine_fields": 4 * fine * numbers_per_cell(scene),
        }, {}

    def start(self, solver: Solver, scene: Scene, first: Frame) -> UpscaleRun:
        return _WaveletRun(turbulence_of(solver, scene, first, self._config))


def turbulence_of(solver: Solver, scene: Scene, first: Frame, config: WaveletUpscale) -> WaveletTurbulence:
    """The wavelet turbulence of a coarse run that begins at the frame `first`, the current state of `solver`."""
    import torch

    from fluidsr.scenes.build import scenery_of
    from fluidsr.upscaling.wavelet.turbulence import TurbulenceSettings, WaveletTurbulence

    settings = TurbulenceSettings(
        factor=config.factor,
        strength=config.strength,
        octaves=config.octaves,
        seed=config.seed,
        maccormack=scene.numerics.advection != "semi-lagrangian",
        dissipation=scene.physics.dissipation.density,
    )

    def fluid_mask() -> torch.Tensor | None:
        return torch.from_numpy(solver.geometry.fluid) if scene.obstacles else None

    scenery = scenery_of(scene, config.factor, solver.device)
    return WaveletTurbulence(solver.setup.grid, first, settings, solver.device, scenery.apply, fluid_mask)


class _WaveletRun:
    """The run of a WaveletMethod."""

    def __init__(self, turbulence: WaveletTurbulence) -> None:
        self._turbulence = turbulence
        self.state, self.restore = turbulence.state, turbulence.restore

    def step(self, coarse: Frame) -> FineFrame:
        self._turbulence.advance(coarse)
        return _WaveletFrame(self._turbulence, coarse)


class _WaveletFrame:
    """The fine frame of wavelet turbulence at its current state."""

    notes: Sequence[str] = ()
    history: Sequence[Frame] = ()

    def __init__(self, turbulence: WaveletTurbulence, coarse: Frame) -> None:
        self._turbulence, self._coarse = turbulence, coarse

    def whole(self, fields: Sequence[str]) -> Frame:
        return self._turbulence.frame(self._coarse, fields)

    def pieces(self, fields: Sequence[str]) -> Iterator[FieldBlock]:
        return blocks_of(self.whole(fields), fields)


def blocks_of(frame: Frame, fields: Sequence[str]) -> Iterator[FieldBlock]:
    """The blocks of a frame that is whole in memory: one for density and one for each of `fields`."""
    from fluidsr.upscaling import Box, FieldBlock

    device = str(frame.density.device) if hasattr(frame.density, "detach") else "cpu"
    tensors = frame.torch(device).fields()
    for name in dict.fromkeys(("density", *fields)):
        yield FieldBlock(name, Box((0,) * frame.dim, frame.shape), tensors[name])


def numbers_per_cell(scene: Scene) -> int:
    """The numbers per cell of the output fields of `scene`; a vector counts its components."""
    components = {"velocity": scene.dim, "color": 3, "rest": 3, "rest2": 3}
    return sum(components.get(name, 1) for name in scene.output.fields)
