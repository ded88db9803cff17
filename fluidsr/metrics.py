"""How far a fine density is from its reference: figures used by training, evaluation and tests.

All take NumPy arrays `[x, y]` or `[x, y, z]` of one shape and compute in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import fft, ndimage

_EMPTY = 1e-12  # share of the reference's energy below which a shell of its spectrum counts as empty


def psnr(prediction: np.ndarray, reference: np.ndarray, peak: float | None = None) -> float:
    """Peak signal-to-noise ratio in dB, `10 log10(peak² / mean((prediction - reference)²))`.

    `peak` is the reference's maximum unless given, and 1 where the reference is zero everywhere. Infinite for
    equal fields.
    """
    error = _mean_square(_difference(prediction, reference))
    if peak is None:
        peak = float(reference.max()) or 1.0
    return math.inf if error == 0 else 10 * math.log10(peak**2 / error)


def spectrum(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energy of `field` by spatial frequency: `(frequencies, energies)`, frequencies in cycles per cell.

    Shells of width `1 / max(shape)` around the origin of frequency space, up to 1/2 (Nyquist); an energy is
    the sum of `|fft|²` over its shell, normalised so that the energies of all shells up to the corners (not
    all are returned) sum to the mean square of the windowed field. A periodic Hann window along each axis
    is applied first: smoke is not periodic, and the jump across the border would lay a slope of k^-2 over
    the upper octaves. The window has a mean square of 3/8 per axis.
    """
    windowed = np.asarray(field, dtype=np.float64)
    for axis, n in enumerate(field.shape):
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(n) + 0.5) / n) if n > 1 else np.ones(1)
        windowed = windowed * hann.reshape([n if a == axis else 1 for a in range(field.ndim)])
    transformed = fft.rfftn(windowed, workers=1)
    energy = transformed.real**2 + transformed.imag**2
    energy /= float(field.size) ** 2
    n = field.shape[-1]  # the half that rfftn leaves out
    energy[..., 1 : (n + 1) // 2] *= 2
    longest = max(field.shape)
    squared = np.zeros(energy.shape)
    for axis, n in enumerate(field.shape):
        frequency = fft.rfftfreq(n) if axis == field.ndim - 1 else fft.fftfreq(n)
        squared += (frequency**2).reshape([-1 if a == axis else 1 for a in range(field.ndim)])
    shell = np.rint(np.sqrt(squared) * longest).astype(np.intp)
    count = longest // 2 + 1
    totals = np.bincount(shell.reshape(-1), weights=energy.reshape(-1), minlength=count)[:count]
    return np.arange(count) / longest, totals


def log_spectrum_error(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Mean of `|log10 E_prediction - log10 E_reference|` over the upper two octaves, 1/8 to 1/2 cycles per
    cell.

    `E` are the shells of `spectrum`; those where the reference has no energy (below 1e-12 of its total) do
    not count. A prediction's energy is taken to be at least that much, so an empty one has a finite error.
    0 where the reference has no energy up there at all. One decade too little energy everywhere is an error
    of 1.
    """
    _difference(prediction, reference)
    frequencies, of_reference = spectrum(reference)
    return log_spectrum_distance(frequencies, spectrum(prediction)[1], of_reference)


def log_spectrum_distance(
    frequencies: np.ndarray,
    prediction: np.ndarray,
    reference: np.ndarray,
    low: float = 1 / 8,
    high: float = math.inf,
) -> float:
    """`log_spectrum_error` of two spectra that are known already, over the frequencies from `low` to below `high`."""
    floor = _EMPTY * float(reference.sum())
    used = (frequencies >= low) & (frequencies < high) & (reference > floor)
    if not used.any():
        return 0.0
    return float(np.abs(np.log10(np.maximum(prediction[used], floor)) - np.log10(reference[used])).mean())


def structural_similarity(prediction: np.ndarray, reference: np.ndarray, peak: float | None = None) -> float:
    """SSIM, the mean over all cells under a Gaussian window with a deviation of 1.5 cells: 1 for equal fields.

    `K1 = 0.01`, `K2 = 0.03`; `peak` is the reference's maximum unless given, and 1 where the reference is zero
    everywhere. Wang, Bovik, Sheikh and Simoncelli, IEEE Trans. Image Process. 13(4), 2004.
    """
    _difference(prediction, reference)
    x, y = (np.asarray(field, dtype=np.float64) for field in (prediction, reference))
    peak = peak or float(y.max()) or 1.0

    def mean(field: np.ndarray) -> np.ndarray:
        blurred: np.ndarray = ndimage.gaussian_filter(field, 1.5, mode="nearest", truncate=3.5)
        return blurred

    own, of_reference = mean(x), mean(y)
    own_variance, reference_variance = mean(x * x) - own**2, mean(y * y) - of_reference**2
    covariance = mean(x * y) - own * of_reference
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    luminance = (2 * own * of_reference + c1) / (own**2 + of_reference**2 + c1)
    structure = (2 * covariance + c2) / (own_variance + reference_variance + c2)
    return float((luminance * structure).mean())


def consistency_error(prediction: np.ndarray, coarse: np.ndarray) -> float:
    """How far `prediction [*(S * factor)]` is from the coarse density `[*S]` that it was made of, where it is
    downsampled (`models.resample.downsample`): the mean absolute difference over the coarse mean. 0 is consistent."""
    import torch

    from fluidsr.models.resample import downsample

    fine = torch.from_numpy(np.ascontiguousarray(prediction, np.float32))[None, None]
    difference = np.abs(downsample(fine, prediction.shape[0] // coarse.shape[0])[0, 0].numpy() - coarse)
    mean = float(np.abs(coarse).mean(dtype=np.float64))
    return 0.0 if not difference.any() else _ratio(float(difference.mean(dtype=np.float64)), mean)


def temporal_difference(
    previous: np.ndarray, current: np.ndarray, reference_previous: np.ndarray, reference_current: np.ndarray
) -> float:
    """Mean change from frame to frame over the reference's: 1 is right, more is flicker, less is lag.

    `mean|current - previous| / mean|reference_current - reference_previous|`; where the reference stands
    still, 1 if the prediction does too, else infinite.
    """
    own = float(np.abs(_difference(current, previous)).mean())
    of_reference = float(np.abs(_difference(reference_current, reference_previous)).mean())
    return _ratio(own, of_reference)


def coherence(
    previous: np.ndarray,
    current: np.ndarray,
    reference_previous: np.ndarray,
    reference_current: np.ndarray,
    velocity: np.ndarray,
    reference_velocity: np.ndarray | None = None,
) -> float:
    """The change from frame to frame that the flow does not explain, relative to the reference's: 1 is ideal, more is
    flicker.

    `mean|current - A(previous)| / mean|reference_current - A'(reference_previous)|`, where `A` advects a field by
    one frame (`models.warp.advect`). Unlike `temporal_difference` it excludes motion, which would hide flicker. If the
    reference changes by its flow alone, the value is 1 if the prediction does too, else infinite.

    Args:
        previous, current: the prediction in two consecutive frames, `[*(s * factor)]`.
        reference_previous, reference_current: the same of the reference.
        velocity: `[d, *s]`, the velocity of the previous frame, in cells of the grid `s` per frame.
        reference_velocity: the reference's own velocity, for `A'`, where it flows differently; None: `velocity`.

    Raises ValueError if shapes do not fit.
    """
    reference_velocity = velocity if reference_velocity is None else reference_velocity
    change = flow_difference(previous, current, velocity)
    return _ratio(change, flow_difference(reference_previous, reference_current, reference_velocity))


def flow_difference(previous: np.ndarray, current: np.ndarray, velocity: np.ndarray) -> float:
    """`mean|current - A(previous)|`: the change from frame to frame that the flow does not explain; as in `coherence`.

    Lai et al., ECCV 2018, measure it in videos by optical flow; here the velocity is known. Raises ValueError where
    shapes do not fit.
    """
    factor = current.shape[0] // velocity.shape[1]
    if current.shape != tuple(factor * n for n in velocity.shape[1:]):
        raise ValueError(f"velocity {velocity.shape} does not fit fields of shape {current.shape}")
    return float(np.abs(_difference(current, carried(previous, velocity))).mean())


def carried(field: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """`field [*(s * factor)]` one frame later, along `velocity [d, *s]` in cells per frame of the grid `s`."""
    import torch

    from fluidsr.models.warp import advect, fine_velocity

    density, flow = (
        torch.from_numpy(np.ascontiguousarray(x, np.float32))[None] for x in (field[None], velocity)
    )
    result: np.ndarray = advect(density, fine_velocity(flow, field.shape[0] // velocity.shape[1]))[
        0, 0
    ].numpy()
    return result


def mass_drift(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Relative error of the total density, `|sum(prediction) / sum(reference) - 1|`; 0 for two empty
    fields."""
    own, of_reference = (
        float(np.sum(prediction, dtype=np.float64)),
        float(np.sum(reference, dtype=np.float64)),
    )
    return abs(_ratio(own, of_reference) - 1)


def phase_score(field: np.ndarray, factor: int) -> float:
    """How much of `field` is a pattern of period `factor`: checkerboards of an upsampling that is not even.

    The standard deviation over the means of the `factor^d` phases (cells of equal index modulo `factor`),
    divided by the field's root mean square; 0 for an empty field. Edges that are not multiples are cut.
    """
    shape = [n // factor for n in field.shape]
    cut = np.asarray(field, dtype=np.float64)[tuple(slice(0, n * factor) for n in shape)]
    blocks = cut.reshape([part for n in shape for part in (n, factor)])
    means = blocks.mean(axis=tuple(range(0, 2 * field.ndim, 2)))
    rms = math.sqrt(_mean_square(cut))
    return float(means.std() / rms) if rms else 0.0


def border_share(field: np.ndarray, factor: int) -> float:
    """Share of the differences between neighbours that lies across the borders of blocks of `factor` cells: seams.

    Of the sums of absolute differences along all axes. Even detail has `1 / factor`, up to what lies beside the
    domain's borders; nearest upsampling has 1. 0 for a field without changes.
    """
    across = whole = 0.0
    for axis in range(field.ndim):
        steps = np.moveaxis(np.abs(np.diff(np.asarray(field, dtype=np.float64), axis=axis)), axis, 0)
        across += float(steps[factor - 1 :: factor].sum())
        whole += float(steps.sum())
    return across / whole if whole else 0.0


def zigzag(field: np.ndarray, axes: Sequence[int] | None = None) -> float:
    """How much of `field` alternates from one voxel to the next, 0 to 1, mean over `axes` (all unless given).

    Of the differences d between neighbours along an axis: the sum of `|d[i] d[i + 1]|` where the two have unlike
    signs, over the sum of all. White noise has 0.86, noise blurred by a Gaussian of 0.5, 0.7, 1 and 1.5 voxels 0.76,
    0.47, 0.19 and 0.06; a simulation without stripes of one voxel is below about 0.25. 0 for a field without changes,
    and along axes of fewer than three voxels.
    """
    values = []
    for axis in range(field.ndim) if axes is None else axes:
        steps = np.moveaxis(np.diff(np.asarray(field, dtype=np.float64), axis=axis), axis, 0)
        products = steps[:-1] * steps[1:]
        whole = float(np.abs(products).sum())
        values.append(-float(products[products < 0].sum()) / whole if whole > 0 else 0.0)
    return float(np.mean(values))


def isosurface_area(field: np.ndarray, level: float) -> float:
    """Area of the surface where `field [x, y, z]` is `level`, in voxel faces; of `[x, y]` the length of the line, in
    voxel edges. Linear between voxel centres (flying edges; marching squares); the domain's border closes nothing."""
    if min(field.shape) < 2:
        return 0.0
    if field.ndim == 2:
        from contourpy import contour_generator

        made = contour_generator(z=np.asarray(field, dtype=np.float64)).lines(level)
        lines = [np.asarray(line, dtype=np.float64) for line in made]
        return float(sum(np.linalg.norm(np.diff(line, axis=0), axis=1).sum() for line in lines))
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D, vtkMassProperties

    image = vtkImageData()
    image.SetDimensions(field.shape)
    values = np.asarray(field, dtype=np.float32).ravel(order="F")
    image.GetPointData().SetScalars(numpy_to_vtk(values, deep=True))
    surface = vtkFlyingEdges3D()
    surface.SetInputData(image)
    surface.SetValue(0, level)
    surface.ComputeNormalsOff()
    surface.Update()
    if surface.GetOutput().GetNumberOfCells() == 0:
        return 0.0
    area = vtkMassProperties()
    area.SetInputConnection(surface.GetOutputPort())
    return float(area.GetSurfaceArea())


def wrinkling(field: np.ndarray, level: float, scale: float) -> float:
    """Area of the isosurface at `level` over its area after a Gaussian of deviation `scale` / 2 (voxels) has taken all
    that is smaller than about `scale` from it: 1 is smooth. Infinite where nothing is left of it, 1 where there was
    none."""
    area = isosurface_area(field, level)
    smooth = ndimage.gaussian_filter(np.asarray(field, dtype=np.float32), scale / 2, mode="nearest")
    return _ratio(area, isosurface_area(smooth, level))


def gradient_distance(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Wasserstein distance of order 1 between the distributions of the gradient's magnitude, over the reference's mean
    magnitude; 0 for the same distribution."""
    _difference(prediction, reference)
    own, of_reference = (
        np.sqrt(sum(g**2 for g in np.gradient(np.asarray(f, np.float64)))) for f in (prediction, reference)
    )
    return _distance(own, of_reference)


def density_distance(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Wasserstein distance of order 1 between the distributions of density, over the reference's mean: how it is mixed,
    not where it is."""
    _difference(prediction, reference)
    return _distance(prediction, reference)


def _distance(own: np.ndarray, of_reference: np.ndarray) -> float:
    a, b = (np.sort(np.asarray(values, dtype=np.float64), axis=None) for values in (own, of_reference))
    distance, mean = float(np.abs(a - b).mean()), float(np.abs(b).mean())
    return 0.0 if distance == 0 else _ratio(distance, mean)


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.shape != b.shape:
        raise ValueError(f"shapes {a.shape} and {b.shape} differ")
    return np.subtract(a, b, dtype=np.float64)


def _mean_square(field: np.ndarray) -> float:
    return float(np.mean(np.square(field)))


def _ratio(own: float, of_reference: float) -> float:
    if of_reference == 0:
        return 1.0 if own == 0 else math.inf
    return own / of_reference
