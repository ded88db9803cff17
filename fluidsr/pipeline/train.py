"""`fluidsr train`: a recipe on a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from fluidsr.choices import Split
from fluidsr.errors import InputError
from fluidsr.pipeline import provenance, validation
from fluidsr.pipeline.progress import Progress

if TYPE_CHECKING:
    from fluidsr.dataset import ConcatStore, DataSource, PairChoice, ReachedRun, Store
    from fluidsr.dataset.addresses import Address
    from fluidsr.training import Recipe, Sources, TrainingProgress
    from fluidsr.training.closure import ClosureRecipe

# The figures of the progress line, if there are any.
_LOSSES = ("total", "accuracy_spatial", "accuracy_temporal")
_FIGURES = ("psnr", "spectrum", "temporal")


@dataclass(frozen=True)
class TrainJob:
    """A recipe, the datasets it is trained on, and the machine."""

    data: tuple[Address, ...]
    recipe: Recipe
    device: str
    seed: int
    notes: tuple[str, ...] = ()  # shown when the training begins

    def describe(self) -> dict[str, Any]:
        """The resolved recipe, and the cost of a step. Trains nothing."""
        import torch

        from fluidsr.training.checkpoint import TrainingState

        recipe, patches = self.recipe, self.recipe.patches
        with torch.device("meta"):
            state = TrainingState(recipe, self.seed, "meta")
        generator = state.ema
        frames = patches.batch * patches.frames + 3 * patches.triplets
        if recipe.losses.ping_pong > 0:  # the way back
            frames += patches.batch * (patches.frames - 1) + 2 * patches.triplets
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
        choice = chosen_pairs(open_stores(self.data), recipe)
        if choice is not None:
            cost["updates_per_pair"] = round(recipe.steps * patches.batch / choice.count, 1)
        document: dict[str, Any] = {
            "data": [str(path) for path in self.data],
            "device": self.device,
            "seed": self.seed,
        }
        if choice is not None:
            document["pairs"] = choice.about()
        return {**document, "recipe": recipe.model_dump(mode="json"), "cost": cost}

    def train(
        self, output: Path, *, minutes: float | None = None, overwrite: bool = False, quiet: bool = False
    ) -> Path:
        """Train, or resume a stopped training bit for bit. Returns the model's file.

        Args:
            output: the folder of the training.
            minutes: stop after this time; None: no limit.
            overwrite: replace another training in the folder.
            quiet: show no progress.

        Raises InputError if `output` holds another training (unless `overwrite`), RunError if another process trains
        there, DatasetError for damaged data, TrainingError if the loss is not finite.
        """
        from fluidsr import training

        store = open_stores(self.data)
        choice = chosen_pairs(store, self.recipe)
        if choice is None:
            validator = validation.Validator.from_store(store, self.device)
        else:
            spans = [(s, choice.held_out[s.path]) for s in store.simulations() if s.path in choice.held_out]
            spans = [(simulation, span) for simulation, span in spans if len(span) > 1]
            validator = validation.Validator.of_spans(spans, self.device) if spans else None
        with ExitStack() as stack:
            folder = training_folder(output, self.recipe, overwrite=overwrite, quiet=quiet)
            progress = stack.enter_context(folder)
            for line in (*([choice.sentence()] if choice else []), *self.notes):
                progress.note(line)
            batches = sources(store, "train", self, stack, progress.note, choice.training if choice else None)
            held_out = None
            if self.recipe.discriminators is not None and validator is not None:
                try:
                    middles = choice.held_out_middles if choice else None
                    held_out = sources(store, "validation", self, stack, progress.note, middles)
                except InputError as error:
                    progress.note(
                        f"{error.where}: {error.what}; the discriminators are not evaluated on held-out smoke"
                    )

            def show(now: TrainingProgress) -> None:
                if progress.done == 0 and now.step > self.recipe.log_every:
                    progress.start_at(now.step)  # the first report of a resumed training
                    return
                reported = [(name, now.losses[name]) for name in _LOSSES if name in now.losses]
                reported += [(name, now.validation[name]) for name in _FIGURES if name in now.validation]
                line = "  ".join(f"{name} {value:.4g}" for name, value in reported)
                progress.advance(line, now.step - progress.done)

            report = training.train(
                self.recipe,
                batches,
                output,
                held_out=held_out,
                **validation.as_arguments(validator),
                minutes=minutes,
                device=self.device,
                seed=self.seed,
                data={
                    "sets": [summary(part) for part in store.stores],
                    **({"chosen": choice.about()} if choice else {}),
                },
                commit=provenance.commit(),
                on_progress=show,
                on_note=progress.note,
            )
        return report.model


def sources(
    store: ConcatStore,
    split: str,
    job: TrainJob,
    stack: ExitStack,
    note: Callable[[str], None],
    middles: Mapping[Address, Sequence[int]] | None = None,
) -> Sources:
    """The samplers of a split, with the patches of the job's recipe.

    Args:
        store: the datasets.
        split: `train` or `validation`.
        job: the training.
        stack: closes the samplers.
        note: receives a sentence about each simulation that is left out.
        middles: the middle frames to sample from, by simulation; None: all frames of the split.
    """
    from fluidsr import dataset
    from fluidsr.training import Sources

    patches = job.recipe.patches
    reached = reached_frames(store, split, job) if patches.reached else []

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
            filtered=patches.filtered,
            reached=reached,
            reached_share=patches.reached.share if patches.reached else 0.0,
            density_scale=patches.density_scale,
            history=job.recipe.generator.ages,
            middles=middles,
        )
        for name in patch_sampler.skipped:
            note(f"{name} is smaller than a patch of {patches.tile} cells and is left out")
        return stack.enter_context(patch_sampler)

    # Another seed, or the triplets would be around the very frames that the batch has.
    triplets = sampler(patches.triplets, 3, job.seed + 1) if patches.triplets else None
    return Sources(sampler(patches.batch, patches.frames, job.seed), triplets)


def reached_frames(store: ConcatStore, split: str, job: TrainJob) -> list[ReachedRun]:
    """Simulate the coarse runs of a split for `patches.reached`. Takes about a minute for every few hundred frames.

    Raises DatasetError if the pairs are not closure pairs, ModelError for a closure that does not exist or does not
    fit.
    """
    from fluidsr import dataset, models

    options, recipe = job.recipe.patches.reached, job.recipe
    assert options is not None
    name = f"closure{recipe.dim}d-x{recipe.factor}" if options.closure == "auto" else options.closure
    closure = None if name == "none" else models.load_closure(name)
    return dataset.reached_runs(store.simulations(split), closure, options.longest)


def chosen_pairs(store: ConcatStore, recipe: Recipe) -> PairChoice | None:
    """The frames that a few-shot recipe trains on and holds out; None for other recipes. Raises InputError if there are
    too few."""
    from fluidsr import dataset

    patches = recipe.patches
    if patches.pairs is None:
        return None
    return dataset.choose_pairs(store, patches.pairs, neighbours=draws_neighbours(recipe))


def draws_neighbours(recipe: Recipe) -> bool:
    """Whether samples include the frames before and after their middle frame."""
    return recipe.patches.frames > 1 or recipe.patches.triplets > 0


def summary(store: Store | DataSource) -> dict[str, Any]:
    """The entry of a dataset in a model card."""
    counts = {split: len(store.simulations(split)) for split in get_args(Split)}
    keys = ("dim", "factor", "resolution", "frames", "pairs", "seed")
    return {
        "name": store.path.name,
        **{k: store.attrs[k] for k in keys if k in store.attrs},
        "simulations": counts,
    }


def open_stores(data: Sequence[str | Path | Address]) -> ConcatStore:
    """The datasets at `data`, concatenated."""
    from fluidsr import dataset

    return dataset.ConcatStore([dataset.open_source(path) for path in data])


@contextmanager
def training_folder(
    output: Path, recipe: Recipe | ClosureRecipe, *, overwrite: bool, quiet: bool
) -> Iterator[Progress]:
    """Own the folder of a training, and show progress in steps. Raises as `training.folder.own` does."""
    from fluidsr.training import folder

    ownership = folder.own(output, recipe.name, overwrite=overwrite)
    progress = Progress(recipe.steps, "steps", stage="train", quiet=quiet)
    with ownership or nullcontext():
        for line in ownership.notes if ownership else ():
            progress.note(line)
        with progress:
            yield progress
