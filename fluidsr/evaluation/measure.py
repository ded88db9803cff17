"""The figures of one pair, which compare the fine fields of a method with the reference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fluidsr import metrics
from fluidsr.evaluation.figures import OCTAVES, SCALES, STILL, SURFACE, Metric

Spectrum = tuple[np.ndarray, np.ndarray]  # frequencies and energies


@dataclass(frozen=True)
class FineFields:
    """The fine fields of a method, NumPy: density `[*S]`, and velocity `[d, *S]` if the method has one."""

    density: np.ndarray
    velocity: np.ndarray | None = None


@dataclass(frozen=True)
class Before:
    """The frame before an evaluated one.

    Attributes:
        densities: its fine densities by method.
        coarse: its coarse density.
        flow: its coarse velocity `[d, *S]`, in cells per frame; None if there is none.
        reference_flow: the same of the fine simulation on coarse cells, if it differs; None: `flow`.
    """

    densities: Mapping[str, np.ndarray]
    coarse: np.ndarray
    flow: np.ndarray | None
    reference_flow: np.ndarray | None = None


class Reference:
    """The reference of a pair, with its properties that methods are compared with, computed once."""

    def __init__(self, fields: FineFields, coarse: np.ndarray) -> None:
        self.density, self.coarse = fields.density, coarse
        self.factor = fields.density.shape[0] // coarse.shape[0]
        self.spectrum = metrics.spectrum(fields.density)
        self.velocity_spectrum = None if fields.velocity is None else velocity_spectrum(fields.velocity)
        self.peak = float(self.density.max())
        self.level = SURFACE * self.peak
        self.area = metrics.isosurface_area(self.density, self.level) if self.level > 0 else 0.0
        self.wrinkling = self._wrinkling(self.density) if self.area else {}

    def spectrum_of(self, field: np.ndarray) -> np.ndarray:
        """The energies of the density `field` by frequency; those of the reference are not computed again."""
        return self.spectrum[1] if field is self.density else metrics.spectrum(field)[1]

    def absolute(self, field: np.ndarray) -> dict[str, float]:
        """Figures that do not compare `field` with the reference. The reference has them as well."""
        return {
            "phase": metrics.phase_score(field, self.factor),
            "zigzag": metrics.zigzag(field),
            "seams": metrics.border_share(field, self.factor),
            "consistency": metrics.consistency_error(field, self.coarse),
        }

    def relative(self, field: np.ndarray, energies: np.ndarray, *, aligned: bool) -> dict[str, float]:
        """Figures that compare the density `field` of a method, with the spectrum `energies`, with the reference.
        `aligned`: whether both show the same smoke, voxel by voxel."""
        reference = self.density
        frequencies, expected = self.spectrum
        figures = {"spectrum": metrics.log_spectrum_distance(frequencies, energies, expected)}
        for key, (low, high) in OCTAVES.items():
            figures[key] = metrics.log_spectrum_distance(frequencies, energies, expected, low, high)
        if aligned:
            figures["psnr"] = metrics.psnr(field, reference)
            figures["ssim"] = metrics.structural_similarity(field, reference)
        return figures | {
            "mass": metrics.mass_drift(field, reference),
            "gradients": metrics.gradient_distance(field, reference),
            "densities": metrics.density_distance(field, reference),
            **self._surface(field),
        }

    def velocity_error(self, velocity: np.ndarray | None) -> dict[str, float]:
        """The figure that compares velocities; empty if the method or the reference has none."""
        if velocity is None or self.velocity_spectrum is None:
            return {}
        frequencies, expected = self.velocity_spectrum
        energies = velocity_spectrum(velocity)[1]
        return {"velocity": metrics.log_spectrum_distance(frequencies, energies, expected)}

    def change(self, field: np.ndarray, before: Before, method: str, reference: str) -> dict[str, float]:
        """Figures of the change from the frame before.

        Args:
            field: the density of a method in this frame.
            before: the frame before.
            method: the name of the method.
            reference: the name of the reference in `before`.
        """
        frames = before.densities[method], field
        expected = before.densities[reference], self.density
        figures = {"temporal": metrics.temporal_difference(*frames, *expected)}
        still = self._still(before, expected[0])
        if np.count_nonzero(still) >= 64:
            moved = (frames[1].astype(np.float64) - frames[0])[still]
            figures["still"] = float(np.sqrt(np.mean(np.square(moved)))) / self.peak
        if before.flow is not None:
            mean = float(self.density.mean(dtype=np.float64))
            flow = before.flow
            if method == reference and before.reference_flow is not None:
                flow = before.reference_flow
            difference = metrics.flow_difference(*frames, flow)
            figures["warped"] = difference / mean if mean else math.nan
            figures["coherence"] = metrics.coherence(*frames, *expected, flow, before.reference_flow)
        return figures

    def added(self, extra: Sequence[Metric], field: np.ndarray) -> dict[str, float]:
        """The figures of metrics from other packages."""
        return {metric.name: metric.value(field, self.density, self.coarse) for metric in extra}

    def _surface(self, field: np.ndarray) -> dict[str, float]:
        """Figures of the isosurface, relative to the reference; empty if that has none."""
        if not self.area:
            return {}
        wrinkling = self._wrinkling(field)
        ratios = {
            key: wrinkling[key] / self.wrinkling[key] if self.wrinkling[key] else math.nan
            for key in wrinkling
        }
        return {"area": metrics.isosurface_area(field, self.level) / self.area, **ratios}

    def _wrinkling(self, field: np.ndarray) -> dict[str, float]:
        """The wrinkling of the isosurface at all SCALES, by key."""
        return {
            key: metrics.wrinkling(field, self.level, scale * self.factor) for key, scale in SCALES.items()
        }

    def _still(self, before: Before, previous: np.ndarray) -> np.ndarray:
        """The voxels with smoke in which neither the reference nor the coarse frame changes."""
        moved = np.abs(self.coarse - before.coarse)
        for axis in range(moved.ndim):
            moved = np.repeat(moved, self.factor, axis=axis)
        bound = STILL * self.peak
        still: np.ndarray = (
            (moved < bound) & (np.abs(self.density - previous) < bound) & (self.density > self.level)
        )
        return still


def velocity_spectrum(velocity: np.ndarray) -> Spectrum:
    """The sum of the spectra of all components of `velocity [d, *S]`."""
    spectra = [metrics.spectrum(component) for component in velocity]
    return spectra[0][0], np.sum([energies for _, energies in spectra], axis=0)
