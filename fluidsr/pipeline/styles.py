"""`fluidsr styles`: directions in a model's latent code along which a score of its smoke grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fluidsr import device as devices
from fluidsr.choices import StyleScore
from fluidsr.errors import InputError, ModelError
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.style_choice import SUFFIX, FoundDirection, FoundDirections, write_directions

if TYPE_CHECKING:
    from fluidsr.dataset import PairedSimulation
    from fluidsr.frame import Frame
    from fluidsr.upscaling import Upscaler

LEAST_R2 = 0.3  # of a direction that is one
_FRAMES = 16  # of the dataset
_EARLIEST = 0.4  # share of a simulation before which there is little smoke


def find_styles(
    model: str,
    data: str,
    scores: Sequence[StyleScore],
    output: Path | None = None,
    *,
    hold: Sequence[StyleScore] = (),
    split: str = "test",
    samples: int = 512,
    device: str = "auto",
    overwrite: bool = False,
    quiet: bool = False,
) -> tuple[Path, FoundDirections]:
    """Find the direction of the latent code along which each score grows, by regression. Returns the file and its
    contents.

    Each seed upsamples one of 16 frames, and the frame before it if a score needs two. A quarter of the frames is held
    out of the regression.

    Args:
        model: a shipped name or a path.
        data: the dataset.
        scores: the scores to find directions for.
        output: the file; by default beside the model.
        hold: scores that must not change along the directions.
        split: of the dataset.
        samples: number of seeds.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        overwrite: replace a file that exists.
        quiet: show no progress.

    Raises InputError if the model has no latent code, if a score does not follow it (a share explained below 0.3), for
    a split without simulations, and for a file that exists; ModelError if model and data do not fit.
    """
    from fluidsr import dataset, models, upscaling
    from fluidsr.models.style import seeded_content

    card = models.read_card(model)
    if not card.has_latent:
        raise InputError(
            str(model), "has no latent code", f"give a model with styles, such as smoke{card.dim}d-x4-style"
        )
    target = output or models.locate(model).with_suffix(SUFFIX)
    if target.exists() and not overwrite:
        raise InputError(str(target), "already exists", "use `overwrite`, or another `output`")
    store = dataset.open_source(data)
    if (card.dim, card.factor) != (store.dim, store.factor):
        pairs = f"{store.dim}-D pairs of factor {store.factor}"
        problem = f"upsamples {card.dim}-D smoke {card.factor}x, but {data} has {pairs}"
        raise ModelError(model, problem, "choose a model and a dataset that match")
    simulations = store.simulations(split)
    if not simulations:
        raise InputError(str(data), f"has no simulations in the split '{split}'", "choose another `split`")
    upscaler = upscaling.load(model, device=devices.resolve(device))
    latent = upscaler.generator.latent
    assert latent is not None
    frames = np.arange(samples) % _FRAMES
    with Progress(samples, stage="styles", quiet=quiet) as progress:
        measured = _measured(upscaler, simulations, frames, (*scores, *hold), progress)
    contents = np.stack([seeded_content(latent, seed).numpy() for seed in range(samples)]).astype(np.float64)
    directions = FoundDirections(
        model=card.name, sha256=card.sha256, directions=_directions(contents, measured, frames, scores, hold)
    )
    write_directions(target, directions)
    return target, directions


def _directions(
    contents: np.ndarray,
    measured: dict[str, np.ndarray],
    frames: np.ndarray,
    scores: Sequence[StyleScore],
    hold: Sequence[str],
) -> dict[str, FoundDirection]:
    from fluidsr.evaluation.style_scores import direction, without

    unconstrained = {name: direction(contents, values, frames) for name, values in measured.items()}
    directions: dict[str, FoundDirection] = {}
    for name in scores:
        if unconstrained[name].r2 < LEAST_R2:
            problem = (
                f"the model's latent code does not control it (R² {unconstrained[name].r2:.2f}, below 0.3)"
            )
            raise InputError(f"score: {name}", problem, "choose another score, or train with more diversity")
        held = [
            unconstrained[other].vector for other in hold if other != name and unconstrained[other].slope > 0
        ]
        vector = without(unconstrained[name].vector, held)
        if vector is None:
            raise InputError(
                f"score: {name}", f"changes only together with {', '.join(hold)}", "hold fewer scores"
            )
        slope = unconstrained[name].slope * float(vector @ unconstrained[name].vector)
        directions[name] = FoundDirection(
            vector=tuple(vector), r2=unconstrained[name].r2, slope=slope, held=tuple(dict.fromkeys(hold))
        )
    return directions


def _measured(
    upscaler: Upscaler,
    simulations: Sequence[PairedSimulation],
    frames: np.ndarray,
    scores: Sequence[StyleScore],
    progress: Progress,
) -> dict[str, np.ndarray]:
    """Each score of each seed, in one of the frames."""
    from fluidsr.evaluation.style_scores import SCORES

    pairs = [_frame_pair(upscaler, simulations, number) for number in range(_FRAMES)]
    with_previous = "divergence" in scores
    values: dict[StyleScore, list[float]] = {name: [] for name in scores}
    for seed, frame in enumerate(frames):
        (before, past), (now, recent) = pairs[frame]
        fine = upscaler.upsample(now, history=recent, style_seed=seed, fields=()).numpy().density
        previous: Any = fine
        if with_previous:
            previous = upscaler.upsample(before, history=past, style_seed=seed, fields=()).numpy().density
        velocity = before.numpy().velocity_in_cells()
        for name in values:
            values[name].append(SCORES[name](fine, previous, velocity))
        progress.advance()
    return {name: np.array(of_score) for name, of_score in values.items()}


def _frame_pair(
    upscaler: Upscaler, simulations: Sequence[PairedSimulation], number: int
) -> tuple[tuple[Frame, list[Frame]], ...]:
    """Two consecutive coarse frames, each with its past: the later the number, the later in its simulation."""
    simulation = simulations[number % len(simulations)]
    share = _EARLIEST + (1 - _EARLIEST) * number / max(1, _FRAMES - 1)
    index = max(1, round(share * (simulation.frames - 1)))

    def with_past(at: int) -> tuple[Frame, list[Frame]]:
        past = [simulation.coarse(n) for n in range(max(0, at - upscaler.past), at)]
        return simulation.coarse(at), past

    if simulation.frames < 2:
        raise InputError(simulation.name, "has one frame", "give simulations of two frames or more")
    return with_past(index - 1), with_past(index)
