"""`fluidsr train` with a recipe of a corrector of coarse runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fluidsr import device as devices
from fluidsr.errors import InputError
from fluidsr.pipeline import provenance
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.provenance import to_yaml
from fluidsr.pipeline.train import open_stores, summary

if TYPE_CHECKING:
    from fluidsr.dataset.addresses import Address
    from fluidsr.training.closure import ClosureProgress, ClosureRecipe


@dataclass(frozen=True)
class ClosureJob:
    """A corrector's recipe, the datasets it is trained on, and the machine."""

    data: tuple[Address, ...]
    recipe: ClosureRecipe
    device: str
    seed: int

    @classmethod
    def of(
        cls,
        data: Sequence[str | Path],
        recipe: str,
        *,
        steps: int | None = None,
        device: str = "auto",
        seed: int = 0,
        overrides: Sequence[str] = (),
    ) -> ClosureJob:
        """Resolve what the user typed. Raises InputError where data and recipe do not fit each other."""
        from fluidsr.training.closure import load_closure_recipe

        store = open_stores(data)
        resolved = load_closure_recipe(recipe, [*overrides, *([f"steps={steps}"] if steps else [])])
        for key in ("dim", "factor"):
            if getattr(resolved, key) != getattr(store, key):
                raise InputError(
                    f"recipe {recipe}",
                    f"its {key} is {getattr(resolved, key)} and that of {store} is {getattr(store, key)}",
                    "choose a recipe and a dataset that fit",
                )
        return cls(tuple(each.path for each in store.stores), resolved, devices.resolve(device), seed)


def describe(job: ClosureJob) -> str:
    """The resolved recipe, and the network's size, as YAML."""
    from fluidsr.models import Closure

    network = Closure(job.recipe.dim, job.recipe.factor, **job.recipe.network.model_dump())
    cost = {"weights": network.num_parameters, "multiply_adds_per_coarse_cell": network.macs_per_voxel}
    document = {"data": [str(path) for path in job.data], "device": job.device, "seed": job.seed}
    return to_yaml({**document, "recipe": job.recipe.model_dump(mode="json"), "cost": cost})


def train(
    job: ClosureJob,
    output: Path,
    *,
    minutes: float | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Path:
    """Train `job` into `output`; a training that was stopped goes on to the bit. Returns the model's file.

    Raises InputError where `output` holds another training (unless `overwrite`) or the data hold no closure pairs,
    TrainingError where the loss is not finite.
    """
    from fluidsr import models
    from fluidsr.dataset.closure_samples import ClosureSamples
    from fluidsr.training import folder
    from fluidsr.training.closure import ClosureTraining

    recipe = job.recipe
    store = open_stores(job.data)
    samples = ClosureSamples(store, "train", seed=job.seed)
    held_out = ClosureSamples(store, "validation") if store.simulations("validation") else None
    with ExitStack() as stack:
        ownership = folder.own(output, recipe.name, overwrite=overwrite)
        progress = Progress(recipe.steps, "steps", quiet=quiet)
        if ownership is not None:
            stack.enter_context(ownership)
            for line in ownership.notes:
                progress.note(line)
        stack.enter_context(progress)
        training = ClosureTraining(recipe, output, device=job.device, seed=job.seed, note=progress.note)
        progress.start_at(training.step)

        def show(now: ClosureProgress) -> None:
            held = "" if now.validation is None else f"  held out {now.validation:.3f}"
            progress.advance(f"unexplained {now.loss:.3f}{held}", now.step - progress.done)

        network = training.run(samples, held_out, minutes=minutes, on_progress=show)
        metrics = (
            {} if training.validation is None else {"held-out frames": {"unexplained": training.validation}}
        )
        card = models.Card(
            name=recipe.name,
            summary=recipe.summary,
            **models.properties_of(network),
            units={
                "velocity": "coarse cells per frame",
                "output": "change of velocity, coarse cells per frame",
            },
            density_range=samples.density_range,
            velocity_range=samples.velocity_range,
            data={"sets": [summary(each) for each in store.stores]},
            recipe=recipe.model_dump(mode="json", exclude={"name", "summary", "limits"}),
            steps=training.step,
            commit=provenance.commit(),
            metrics=metrics,
            limits=recipe.limits,
        )
        path = output / f"{recipe.name}.safetensors"
        models.save(path, network, card)
    return path
