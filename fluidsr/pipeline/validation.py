"""Validator: metrics and images of a generator in training, on a few whole frames of the validation split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fluidsr import metrics
from fluidsr.frame import Frame
from fluidsr.frame_plot import opacity

if TYPE_CHECKING:
    from fluidsr.dataset import ConcatStore, PairedSimulation
    from fluidsr.models import Generator
    from fluidsr.upscaling import Upscaler

# Pairs of frames of the validation split: enough to rank models, few enough not to delay training.
_PAIRS = 6
_PICTURES = 3
_PAST = 99  # frames before each pair at most, as far as a recipe's generator may look back
_LAST_FRAMES = 8  # made before each pair where the generator reads its own last one
_GAP = 4  # pixels between the panels of a picture


@dataclass(frozen=True)
class _FramePair:
    """Two consecutive frames of a simulation, coarse and fine, and the coarse frames before them."""

    simulation: str
    coarse: tuple[Frame, Frame]
    fine: tuple[np.ndarray, np.ndarray]
    past: tuple[Frame, ...]


class Validator:
    """Held-out frames, kept in memory, on which `metrics_of` and `images_of` evaluate a generator."""

    def __init__(self, pairs: list[_FramePair], device: str) -> None:
        self._pairs, self._device = pairs, device

    @classmethod
    def from_store(cls, store: ConcatStore, device: str) -> Validator | None:
        """Use late frames of the validation split, in which smoke has developed; None if it has no simulations."""
        simulations = [s for s in store.simulations("validation") if s.frames > 1][:_PAIRS]
        if not simulations:
            return None
        return cls.of_spans([(s, range(s.frames)) for s in simulations], device, earliest=0.4)

    @classmethod
    def of_spans(
        cls, spans: Sequence[tuple[PairedSimulation, range]], device: str, *, earliest: float = 0.0
    ) -> Validator:
        """Use frames that are evenly spread over a span of each simulation, which has at least two frames.

        The share `earliest` of a span is skipped.
        """
        spans = spans[:_PAIRS]
        share = np.linspace(earliest, 1.0, max(1, _PAIRS // len(spans)))
        pairs = [_frame_pair(s, span[round(x * (len(span) - 2))]) for s, span in spans for x in share]
        return cls(pairs[:_PAIRS], device)

    def metrics_of(self, generator: Generator) -> dict[str, float]:
        """The means of metrics over the pairs (see `fluidsr.metrics`).

        They are the `absolute` difference, `psnr` in dB, `spectrum` error, `temporal` difference relative to the
        reference's (1 is right), `coherence` (the same without changes by the flow), `phase` score and `mass` drift.
        """
        upscaler = self._upscaler(generator)
        scores: list[dict[str, float]] = []
        for pair in self._pairs:
            before, after = (fine.numpy().density for fine in _upsampled(upscaler, pair))
            reference_before, reference = pair.fine
            scores.append(
                {
                    "absolute": float(np.abs(after - reference).mean(dtype=np.float64)),
                    "psnr": metrics.psnr(after, reference),
                    "spectrum": metrics.log_spectrum_error(after, reference),
                    "temporal": metrics.temporal_difference(before, after, reference_before, reference),
                    "coherence": metrics.coherence(
                        before, after, reference_before, reference, pair.coarse[0].numpy().velocity_in_cells()
                    ),
                    "phase": metrics.phase_score(after, generator.factor),
                    "mass": metrics.mass_drift(after, reference),
                }
            )
        return {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}

    def images_of(self, generator: Generator) -> dict[str, np.ndarray]:
        """One picture per simulation, coarse | output | reference, `uint8 [height, width, 3]`."""
        upscaler = self._upscaler(generator)
        images: dict[str, np.ndarray] = {}
        for pair in self._pairs:
            if pair.simulation not in images and len(images) < _PICTURES:
                fine = _upsampled(upscaler, pair)[1].numpy().density
                coarse = pair.coarse[1].numpy().density
                images[pair.simulation] = panels(coarse, fine, pair.fine[1])
        return images

    def _upscaler(self, generator: Generator) -> Upscaler:
        from fluidsr.models import Card, Model
        from fluidsr.upscaling import Upscaler

        card: Any = Card.model_construct(
            name="in-training", density_range=(0, np.inf), velocity_range=(-np.inf, np.inf)
        )
        return Upscaler(Model(generator.eval(), card), device=self._device)


def _upsampled(upscaler: Upscaler, pair: _FramePair) -> tuple[Frame, Frame]:
    """Both fine frames of a pair."""
    from fluidsr.upscaling import InOrder

    past = pair.past[-_LAST_FRAMES:] if upscaler.reads_previous else pair.past
    upsample = InOrder(upscaler) if upscaler.reads_previous else upscaler.upsample
    first, second = pair.coarse
    return upsample(first, history=past), upsample(second, history=(*past, first))


def panels(coarse: np.ndarray, output: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Three densities side by side, white smoke on black, y up: `uint8 [height, width, 3]`.

    `coarse` is shown cell by cell, at the size of the others; volumes are shown along z.
    """
    factor = output.shape[0] // coarse.shape[0]
    images = [opacity(coarse), opacity(output), opacity(reference)]
    images[0] = images[0].repeat(factor, 0).repeat(factor, 1)
    gap = np.full((_GAP, images[1].shape[1]), 0.5)
    strip = np.concatenate([images[0], gap, images[1], gap, images[2]], axis=0)
    grey = np.rint(255 * strip.T[::-1]).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _frame_pair(simulation: PairedSimulation, index: int) -> _FramePair:
    pair = (index, index + 1)
    first, second = (simulation.fine(i).numpy().density for i in pair)
    coarse = simulation.coarse(pair[0]), simulation.coarse(pair[1])
    past = tuple(simulation.coarse(i) for i in range(max(0, index - _PAST), index))
    return _FramePair(simulation.name, coarse, (first, second), past)


def as_arguments(validator: Validator | None) -> Mapping[str, Any]:
    """The functions of a validator as keyword arguments of `training.train`; empty without a validator."""
    return {} if validator is None else {"validation": validator.metrics_of, "pictures": validator.images_of}
