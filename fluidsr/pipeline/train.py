"""`fluidsr train`: a recipe on a data set."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fluidsr import device as devices
from fluidsr import metrics
from fluidsr.errors import InputError
from fluidsr.pipeline import provenance
from fluidsr.pipeline.document import to_yaml
from fluidsr.pipeline.progress import Progress

if TYPE_CHECKING:
    from fluidsr.dataset import Store
    from fluidsr.models import SmokeGenerator
    from fluidsr.training import Recipe
    from fluidsr.training.loop import Progress as Standing

# Frames of the validation split that are judged each time: enough to rank, few enough not to hold training up.
_JUDGED_FRAMES = 6


@dataclass(frozen=True)
class Job:
    """A recipe, the data it is trained on, and the machine."""

    data: Path
    recipe: Recipe
    device: str
    seed: int

    @classmethod
    def of(
        cls,
        data: Path,
        recipe: str,
        *,
        steps: int | None = None,
        device: str = "auto",
        seed: int = 0,
        overrides: Sequence[str] = (),
    ) -> Job:
        """Resolve what the user typed. Raises InputError where data and recipe do not fit each other."""
        from fluidsr import training

        store = _open(data)
        resolved = training.load_recipe(recipe, [*overrides, *([f"steps={steps}"] if steps else [])])
        for key in ("dim", "factor"):
            if getattr(resolved, key) != getattr(store, key):
                raise InputError(
                    f"--recipe {recipe}",
                    f"its {key} is {getattr(resolved, key)} and that of {data} is {getattr(store, key)}",
                    "choose a recipe and a data set that fit",
                )
        return cls(data, resolved, devices.resolve(device), seed)


def describe(job: Job) -> str:
    """The resolved recipe, and what a step costs, as YAML."""
    import torch

    from fluidsr.models import SmokeGenerator

    recipe, patches = job.recipe, job.recipe.patches
    with torch.device("meta"):
        generator = SmokeGenerator(recipe.dim, recipe.factor, **recipe.generator.model_dump())
    voxels = patches.batch * patches.frames * (patches.tile * recipe.factor) ** recipe.dim
    cost = {
        "weights": sum(p.numel() for p in generator.parameters()),
        "fine_voxels_per_step": voxels,
        # Forward, and twice as much again for the gradients of activations and weights.
        "multiply_adds_per_step": int(3 * voxels * generator.multiply_adds),
    }
    document = {"data": str(job.data), "device": job.device, "seed": job.seed}
    return to_yaml({**document, "recipe": recipe.model_dump(mode="json"), "cost": cost})


def train(
    job: Job, output: Path, *, minutes: float | None = None, overwrite: bool = False, quiet: bool = False
) -> Path:
    """Train `job` into `output`; a training that was stopped goes on to the bit. Returns the model's file.

    Raises InputError where `output` holds another training (unless `overwrite`), DatasetError for damaged
    data, TrainingError where the loss is not finite.
    """
    from fluidsr import dataset, training

    if output.exists() and not output.is_dir():
        raise InputError(str(output), "is a file", "give -o a folder")
    if overwrite and (output / training.CHECKPOINT).exists():
        shutil.rmtree(output)
    store, patches = _open(job.data), job.recipe.patches
    with (
        dataset.PatchSampler(
            store,
            "train",
            tile=patches.tile,
            batch=patches.batch,
            frames=patches.frames,
            augment=patches.augment,
            seed=job.seed,
            minimum_density=patches.minimum_density,
        ) as sampler,
        Progress(job.recipe.steps, "steps", quiet=quiet) as progress,
    ):
        for name in sampler.skipped:
            progress.note(
                f"{job.data}: {name} is smaller than a patch of {patches.tile} cells and is left out"
            )

        def show(now: Standing) -> None:
            if progress.done == 0 and now.step > job.recipe.log_every:
                progress.start_at(now.step)  # the first report of a training that goes on
                return
            figures = {**now.losses, **now.validation}
            line = "  ".join(
                f"{name} {figures[name]:.4g}" for name in ("total", "psnr", "spectrum") if name in figures
            )
            progress.advance(line, now.step - progress.done)

        report = training.train(
            job.recipe,
            sampler,
            validation(store, job.device),
            output,
            minutes=minutes,
            device=job.device,
            seed=job.seed,
            data=_summary(store, job.data),
            commit=provenance.commit(),
            on_progress=show,
        )
    return report.model


def validation(store: Store, device: str) -> Callable[[SmokeGenerator], Mapping[str, float]] | None:
    """PSNR and spectral error on a few whole frames of the validation split; None where there is none."""
    from fluidsr.dataset import Simulation
    from fluidsr.models import Card, Model
    from fluidsr.upscaling import Upscaler

    simulations = [s for s in store.simulations("validation") if s.frames]
    if not simulations:
        return None

    def places() -> list[tuple[Simulation, int]]:
        # Late frames: smoke has developed there.
        share = np.linspace(0.4, 1.0, max(1, _JUDGED_FRAMES // len(simulations)))
        return [(s, round(x * (s.frames - 1))) for s in simulations for x in share][:_JUDGED_FRAMES]

    pairs = [(simulation.low(index), simulation.high(index)) for simulation, index in places()]

    def judge(generator: SmokeGenerator) -> dict[str, float]:
        was_training = generator.training
        card: Any = Card.model_construct(
            name="in-training", density_range=(0, np.inf), velocity_range=(-np.inf, np.inf)
        )
        upscaler = Upscaler(Model(generator.eval(), card), device=device)
        scores = []
        for low, high in pairs:
            fine = upscaler.upsample(low).density
            scores.append((metrics.psnr(fine, high.density), metrics.log_spectrum_error(fine, high.density)))
        generator.train(was_training)
        psnr, spectrum = np.mean(scores, axis=0)
        return {"psnr": float(psnr), "spectrum": float(spectrum)}

    return judge


def _summary(store: Store, path: Path) -> dict[str, Any]:
    counts = {split: len(store.simulations(split)) for split in ("train", "validation", "test")}
    kept = ("dim", "factor", "resolution", "frames", "pairs", "seed")
    return {"name": path.name, **{k: store.attrs[k] for k in kept if k in store.attrs}, "simulations": counts}


def _open(data: Path) -> Store:
    from fluidsr import dataset

    return dataset.Store.open(data)
