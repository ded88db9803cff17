"""`fluidsr train` with a recipe of a corrector of coarse runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluidsr.pipeline import provenance
from fluidsr.pipeline.train import open_stores, summary, training_folder

if TYPE_CHECKING:
    from fluidsr.dataset.addresses import Address
    from fluidsr.dataset.closure_samples import ClosureSamples
    from fluidsr.dataset.store import ConcatStore
    from fluidsr.training.closure import ClosureProgress, ClosureRecipe


@dataclass(frozen=True)
class ClosureJob:
    """A corrector's recipe, the datasets it is trained on, and the machine."""

    data: tuple[Address, ...]
    recipe: ClosureRecipe
    device: str
    seed: int

    def describe(self) -> dict[str, Any]:
        """The resolved recipe, and the size of the network. Trains nothing."""
        from fluidsr.models import Closure

        network = Closure(self.recipe.dim, self.recipe.factor, **self.recipe.network.sizes)
        cost = {"weights": network.num_parameters, "multiply_adds_per_coarse_cell": network.macs_per_voxel}
        document = {"data": [str(path) for path in self.data], "device": self.device, "seed": self.seed}
        return {**document, "recipe": self.recipe.model_dump(mode="json"), "cost": cost}

    def train(
        self,
        output: Path,
        *,
        minutes: float | None = None,
        overwrite: bool = False,
        quiet: bool = False,
    ) -> Path:
        """Train, or resume a stopped training bit for bit. Returns the model's file.

        Args:
            output: the folder of the training.
            minutes: stop after this time; None: no limit.
            overwrite: replace another training in the folder.
            quiet: show no progress.

        Raises InputError if `output` holds another training (unless `overwrite`) or the data have no closure pairs,
        TrainingError if the loss is not finite.
        """
        from fluidsr import models
        from fluidsr.dataset.closure_samples import ClosureSamples
        from fluidsr.training.closure import ClosureTraining

        recipe = self.recipe
        store = open_stores(self.data)
        samples = _samples(store, recipe, self.seed)
        held_out = ClosureSamples(store, "validation") if store.simulations("validation") else None
        with training_folder(output, recipe, overwrite=overwrite, quiet=quiet) as progress:
            training = ClosureTraining(recipe, output, device=self.device, seed=self.seed, note=progress.note)
            progress.start_at(training.step)

            def show(now: ClosureProgress) -> None:
                held = "" if now.validation is None else f"  held out {now.validation:.3f}"
                progress.advance(f"unexplained {now.loss:.3f}{held}", now.step - progress.done)

            network = training.run(samples, held_out, minutes=minutes, on_progress=show)
            left = {f"unexplained {name}": share for name, share in (training.validation or {}).items()}
            card = models.Card(
                name=recipe.name,
                summary=recipe.summary,
                **models.properties_of(network),
                units={
                    "velocity": "coarse cells per frame",
                    "output": "change of velocity, coarse cells per frame"
                    + (", and share of smoke exchanged between cells" if recipe.network.exchange else ""),
                },
                density_range=samples.density_range,
                velocity_range=samples.velocity_range,
                data={"sets": [summary(part) for part in store.stores]},
                recipe=recipe.model_dump(mode="json", exclude={"name", "summary", "limits", "strength"}),
                steps=training.step,
                strength=recipe.strength,
                commit=provenance.commit(),
                metrics={"held-out frames": left} if left else {},
                limits=recipe.limits,
            )
            path = output / f"{recipe.name}.safetensors"
            models.save(path, network, card)
        return path


def _samples(store: ConcatStore, recipe: ClosureRecipe, seed: int) -> ClosureSamples:
    """The samples for `recipe`. With `reached`, the coarse runs of the training split are simulated first."""
    from fluidsr import models
    from fluidsr.dataset.closure_runs import CorrectedRuns
    from fluidsr.dataset.closure_samples import ClosureSamples, closure_simulations

    options = recipe.reached
    if options is None:
        return ClosureSamples(store, "train", seed=seed)
    runs = CorrectedRuns(models.load_closure(options.closure), options.shortest, options.longest)
    simulations = closure_simulations(store, "train")
    reached = [sample for simulation in simulations for sample in runs.samples(simulation, seed)]
    return ClosureSamples(store, "train", seed=seed, reached=reached, reached_share=options.share)
