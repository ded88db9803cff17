"""`fluidsr train`: a recipe on a dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluidsr import device as devices
from fluidsr.errors import InputError
from fluidsr.pipeline import provenance, validation
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.provenance import to_yaml

if TYPE_CHECKING:
    from fluidsr.dataset import ConcatStore, Store
    from fluidsr.dataset.addresses import Address
    from fluidsr.training import Recipe, Sources, TrainingProgress

# What the progress line tells, where there is such a figure.
_LOSSES = ("total", "accuracy_spatial", "accuracy_temporal")
_FIGURES = ("psnr", "spectrum", "temporal")


@dataclass(frozen=True)
class TrainJob:
    """A recipe, the datasets it is trained on, and the machine."""

    data: tuple[Address, ...]
    recipe: Recipe
    device: str
    seed: int

    @classmethod
    def of(
        cls,
        data: Sequence[str | Path],
        recipe: str,
        *,
        init: str | None = None,
        steps: int | None = None,
        device: str = "auto",
        seed: int = 0,
        overrides: Sequence[str] = (),
    ) -> TrainJob:
        """Resolve what the user typed. Raises InputError where data and recipe do not fit each other."""
        from fluidsr import training

        store = open_stores(data)
        options = [f"steps={steps}"] if steps else []
        options += [f"init={json.dumps(init)}"] if init else []  # quoted: a file may be called 1e5
        resolved = training.load_recipe(recipe, [*overrides, *options])
        for key in ("dim", "factor"):
            if getattr(resolved, key) != getattr(store, key):
                raise InputError(
                    f"recipe {recipe}",
                    f"its {key} is {getattr(resolved, key)} and that of {store} is {getattr(store, key)}",
                    "choose a recipe and a dataset that fit",
                )
        return cls(tuple(each.path for each in store.stores), resolved, devices.resolve(device), seed)


def describe(job: TrainJob) -> str:
    """The resolved recipe, and what a step costs, as YAML."""
    import torch

    from fluidsr.training.checkpoint import TrainingState

    recipe, patches = job.recipe, job.recipe.patches
    with torch.device("meta"):
        state = TrainingState(recipe, job.seed, "meta")
    generator = state.ema
    frames = patches.batch * patches.frames + 3 * patches.triplets
    voxels = patches.accumulate * frames * (patches.tile * recipe.factor) ** recipe.dim
    cost = {
        "weights": generator.num_parameters,
        **{
            f"weights_{name}": discriminator.network.num_parameters
            for name, discriminator in state.discriminators.items()
        },
        "fine_voxels_per_update": voxels,
        # Forward, and twice as much again for the gradients of activations and weights.
        "generator_multiply_adds_per_update": int(3 * voxels * generator.macs_per_voxel),
    }
    document = {"data": [str(path) for path in job.data], "device": job.device, "seed": job.seed}
    return to_yaml({**document, "recipe": recipe.model_dump(mode="json"), "cost": cost})


def train(
    job: TrainJob, output: Path, *, minutes: float | None = None, overwrite: bool = False, quiet: bool = False
) -> Path:
    """Train `job` into `output`; a training that was stopped goes on to the bit. Returns the model's file.

    Raises InputError where `output` holds another training (unless `overwrite`), RunError where another process trains
    there, DatasetError for damaged data, TrainingError where the loss is not finite.
    """
    from fluidsr import training
    from fluidsr.training import folder

    store = open_stores(job.data)
    validator = validation.Validator.from_store(store, job.device)
    with ExitStack() as stack:
        ownership = folder.own(output, job.recipe.name, overwrite=overwrite)
        progress = Progress(job.recipe.steps, "steps", quiet=quiet)
        if ownership is not None:
            stack.enter_context(ownership)
            for line in ownership.notes:
                progress.note(line)
        stack.enter_context(progress)
        batches = sources(store, "train", job, stack, progress.note)
        held_out = None
        if job.recipe.discriminators is not None and validator is not None:
            try:
                held_out = sources(store, "validation", job, stack, progress.note)
            except InputError as error:
                progress.note(
                    f"{error.where}: {error.what}; the discriminators are not examined on held-out smoke"
                )

        def show(now: TrainingProgress) -> None:
            if progress.done == 0 and now.step > job.recipe.log_every:
                progress.start_at(now.step)  # the first report of a training that goes on
                return
            reported = [(name, now.losses[name]) for name in _LOSSES if name in now.losses]
            reported += [(name, now.validation[name]) for name in _FIGURES if name in now.validation]
            line = "  ".join(f"{name} {value:.4g}" for name, value in reported)
            progress.advance(line, now.step - progress.done)

        report = training.train(
            job.recipe,
            batches,
            output,
            held_out=held_out,
            **validation.as_arguments(validator),
            minutes=minutes,
            device=job.device,
            seed=job.seed,
            data={"sets": [summary(each) for each in store.stores]},
            commit=provenance.commit(),
            on_progress=show,
            on_note=progress.note,
        )
    return report.model


def sources(
    store: ConcatStore, split: str, job: TrainJob, stack: ExitStack, note: Callable[[str], None]
) -> Sources:
    """Samplers of one split, as the recipe wants them; `stack` closes them."""
    from fluidsr import dataset
    from fluidsr.training import Sources

    patches = job.recipe.patches

    def sampler(batch: int, frames: int, seed: int) -> dataset.PatchSampler:
        patch_sampler = dataset.PatchSampler(
            store,
            split,
            tile=patches.tile,
            batch=batch,
            frames=frames,
            augment=patches.augment,
            seed=seed,
            minimum_density=patches.minimum_density,
            history=job.recipe.generator.ages,
        )
        for name in patch_sampler.skipped:
            note(f"{name} is smaller than a patch of {patches.tile} cells and is left out")
        return stack.enter_context(patch_sampler)

    # Another seed, or the triplets would be around the very frames that the batch has.
    triplets = sampler(patches.triplets, 3, job.seed + 1) if patches.triplets else None
    return Sources(sampler(patches.batch, patches.frames, job.seed), triplets)


def summary(store: Store) -> dict[str, Any]:
    """What a card says about a dataset."""
    counts = {split: len(store.simulations(split)) for split in ("train", "validation", "test")}
    keys = ("dim", "factor", "resolution", "frames", "pairs", "seed")
    return {
        "name": store.path.name,
        **{k: store.attrs[k] for k in keys if k in store.attrs},
        "simulations": counts,
    }


def open_stores(data: Sequence[str | Path | Address]) -> ConcatStore:
    """The datasets at `data`, one behind the other."""
    from fluidsr import dataset

    return dataset.ConcatStore([dataset.Store.open(path) for path in data])
