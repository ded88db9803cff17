"""Metrics of fine densities and their references, used by training, evaluation and tests.

Fields are NumPy arrays `[x, y]` or `[x, y, z]`, prediction and reference of the same shape (otherwise ValueError is
raised). Unless stated otherwise, metrics are computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import fft, ndimage

_EMPTY = 1e-12  # a shell of the spectrum is empty if its share of the energy is smaller


def psnr(prediction: np.ndarray, reference: np.ndarray, peak: float | None = None) -> float:
    """The peak signal-to-noise ratio in dB, `10 log10(peak² / mean((prediction - reference)²))`.

    `peak` is the maximum of the reference by default, or 1 if that is zero. The result is infinite for equal fields.
    """
    error = _mean_square(_difference(prediction, reference))
    if peak is None:
        peak = float(reference.max()) or 1.0
    return math.inf if error == 0 else 10 * math.log10(peak**2 / error)


def spectrum(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The energy of `field` by spatial frequency: `(frequencies, energies)`, frequencies in cycles per cell.

    An energy is the sum of `|fft|²` over a shell of width `1 / max(shape)` around the origin of frequency space. The
    shells up to 1/2 (Nyquist) are returned. Energies are normalized so that those of all shells, up to the corners, sum
    to the mean square of the windowed field. The window is a periodic Hann window along each axis, with a mean square
    of 3/8 per axis. Without it, the jump across the border, as smoke is not periodic, would add a slope of k^-2 to the
    upper octaves.
    """
    windowed = np.asarray(field, dtype=np.float64)
    for axis, n in enumerate(field.shape):
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(n) + 0.5) / n) if n > 1 else np.ones(1)
        windowed = windowed * hann.reshape([n if a == axis else 1 for a in range(field.ndim)])
    transformed = fft.rfftn(windowed, workers=1)
    energy = transformed.real**2 + transformed.imag**2
    energy /= float(field.size) ** 2
    n = field.shape[-1]  # rfftn omits the frequencies that mirror these
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
    """The mean of `|log10 E_prediction - log10 E_reference|` over the upper two octaves, 1/8 to 1/2 cycles per cell.

    `E` are the energies of `spectrum`. An error of 1 means a factor of 10 in energy. Shells in which the reference has
    less than 1e-12 of its total energy are ignored; the result is 0 if all are. The energies of the prediction are
    clamped to this minimum, so the error of an empty prediction is finite.
    """
    _difference(prediction, reference)
    frequencies, reference_energies = spectrum(reference)
    return log_spectrum_distance(frequencies, spectrum(prediction)[1], reference_energies)


def log_spectrum_distance(
    frequencies: np.ndarray,
    prediction: np.ndarray,
    reference: np.ndarray,
    low: float = 1 / 8,
    high: float = math.inf,
) -> float:
    """`log_spectrum_error` of two spectra that have been computed already.

    Args:
        frequencies: of both spectra, in cycles per cell.
        prediction: energies.
        reference: energies.
        low: the smallest frequency that is compared.
        high: only frequencies below it are compared.
    """
    floor = _EMPTY * float(reference.sum())
    used = (frequencies >= low) & (frequencies < high) & (reference > floor)
    if not used.any():
        return 0.0
    return float(np.abs(np.log10(np.maximum(prediction[used], floor)) - np.log10(reference[used])).mean())


def structural_similarity(prediction: np.ndarray, reference: np.ndarray, peak: float | None = None) -> float:
    """SSIM, the mean over all cells, with a Gaussian window of standard deviation 1.5 cells; 1 for equal fields.

    `K1 = 0.01`, `K2 = 0.03`. `peak` is the maximum of the reference by default, or 1 if that is zero. Wang, Bovik,
    Sheikh and Simoncelli, IEEE Trans. Image Process. 13(4), 2004.
    """
    _difference(prediction, reference)
    x, y = (np.asarray(field, dtype=np.float64) for field in (prediction, reference))
    peak = peak or float(y.max()) or 1.0

    def mean(field: np.ndarray) -> np.ndarray:
        blurred: np.ndarray = ndimage.gaussian_filter(field, 1.5, mode="nearest", truncate=3.5)
        return blurred

    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return float((luminance * structure).mean())


def consistency_error(prediction: np.ndarray, coarse: np.ndarray) -> float:
    """The mean absolute difference of the downsampled `prediction [*(S * factor)]` from the coarse density `[*S]`,
    divided by the mean of the coarse density. 0 is consistent. See `models.resample.downsample`."""
    import torch

    from fluidsr.models.resample import downsample

    fine = torch.from_numpy(np.ascontiguousarray(prediction, np.float32))[None, None]
    difference = np.abs(downsample(fine, prediction.shape[0] // coarse.shape[0])[0, 0].numpy() - coarse)
    mean = float(np.abs(coarse).mean(dtype=np.float64))
    return 0.0 if not difference.any() else _ratio(float(difference.mean(dtype=np.float64)), mean)


def temporal_difference(
    previous: np.ndarray, current: np.ndarray, reference_previous: np.ndarray, reference_current: np.ndarray
) -> float:
    """The mean change from frame to frame, relative to the reference: 1 is right, more is flicker, less is lag.

    `mean|current - previous| / mean|reference_current - reference_previous|`. If the reference does not change, it is 1
    if the prediction does not change either, else infinite.

    Args:
        previous: the prediction for the frame before.
        current: the prediction.
        reference_previous: the reference for the frame before.
        reference_current: the reference.
    """
    change = float(np.abs(_difference(current, previous)).mean())
    reference_change = float(np.abs(_difference(reference_current, reference_previous)).mean())
    return _ratio(change, reference_change)


def coherence(
    previous: np.ndarray,
    current: np.ndarray,
    reference_previous: np.ndarray,
    reference_current: np.ndarray,
    velocity: np.ndarray,
    reference_velocity: np.ndarray | None = None,
) -> float:
    """The mean change from frame to frame that the flow does not explain, relative to the reference: 1 is right, more
    is flicker.

    `mean|current - A(previous)| / mean|reference_current - A'(reference_previous)|` with the advections `A` and `A'`
    (`models.warp.advect`). Unlike `temporal_difference` it is not dominated by the motion of the smoke. If the flow
    explains all changes of the reference, it is 1 if the same holds for the prediction, else infinite.

    Args:
        previous: the prediction for the frame before.
        current: the prediction.
        reference_previous: the reference for the frame before.
        reference_current: the reference.
        velocity: `[d, *s]`, of the frame before, in cells per frame. The grid `s` may be coarser than the fields by a
            whole factor.
        reference_velocity: the same for the reference, if it flows differently; None: `velocity`.

    Raises ValueError if shapes do not fit.
    """
    reference_velocity = velocity if reference_velocity is None else reference_velocity
    change = flow_difference(previous, current, velocity)
    return _ratio(change, flow_difference(reference_previous, reference_current, reference_velocity))


def flow_difference(previous: np.ndarray, current: np.ndarray, velocity: np.ndarray) -> float:
    """`mean|current - A(previous)|`, the change from frame to frame that the flow does not explain; see `coherence`.

    Lai et al., ECCV 2018, measure it in videos with the optical flow; here the velocity is known. Raises ValueError if
    shapes do not fit.
    """
    factor = current.shape[0] // velocity.shape[1]
    if current.shape != tuple(factor * n for n in velocity.shape[1:]):
        raise ValueError(f"velocity {velocity.shape} does not fit fields of shape {current.shape}")
    return float(np.abs(_difference(current, carried(previous, velocity))).mean())


def carried(field: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """Advect `field [*(s * factor)]` by one frame along `velocity [d, *s]` (cells of `s` per frame), in float32."""
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
    """The relative error of the total density, `|sum(prediction) / sum(reference) - 1|`; 0 for two empty fields."""
    total, reference_total = (float(np.sum(field, dtype=np.float64)) for field in (prediction, reference))
    return abs(_ratio(total, reference_total) - 1)


def phase_score(field: np.ndarray, factor: int) -> float:
    """The strength of patterns with the period `factor`, such as checkerboards from uneven upsampling; 0 is none.

    It is the standard deviation of the means of the `factor^d` phases (cells with the same index modulo `factor`),
    divided by the root mean square of the field; 0 for an empty field. Edges are cropped to multiples of `factor`.
    """
    shape = [n // factor for n in field.shape]
    cut = np.asarray(field, dtype=np.float64)[tuple(slice(0, n * factor) for n in shape)]
    blocks = cut.reshape([part for n in shape for part in (n, factor)])
    means = blocks.mean(axis=tuple(range(0, 2 * field.ndim, 2)))
    rms = math.sqrt(_mean_square(cut))
    return float(means.std() / rms) if rms else 0.0


def border_share(field: np.ndarray, factor: int) -> float:
    """The share of differences between neighboring cells that is across borders of blocks of `factor` cells: seams.

    Differences are absolute, and summed over all axes. It is about `1 / factor` if detail is evenly distributed, 1 for
    nearest upsampling, and 0 for a constant field.
    """
    across = total = 0.0
    for axis in range(field.ndim):
        steps = np.moveaxis(np.abs(np.diff(np.asarray(field, dtype=np.float64), axis=axis)), axis, 0)
        across += float(steps[factor - 1 :: factor].sum())
        total += float(steps.sum())
    return across / total if total else 0.0


def zigzag(field: np.ndarray, axes: Sequence[int] | None = None) -> float:
    """The share of `field` that alternates from voxel to voxel, 0 to 1, mean over `axes` (all by default).

    With the differences d of neighboring voxels along an axis, it is the sum of `|d[i] d[i + 1]|` over the pairs with
    different signs, divided by the sum over all pairs. It is 0.86 for white noise, and 0.76, 0.47, 0.19 and 0.06 for
    noise blurred by a Gaussian of 0.5, 0.7, 1 and 1.5 voxels. Simulations without stripes of one voxel are below about
    0.25. It is 0 for constant fields, and along axes of fewer than three voxels.
    """
    values = []
    for axis in range(field.ndim) if axes is None else axes:
        steps = np.moveaxis(np.diff(np.asarray(field, dtype=np.float64), axis=axis), axis, 0)
        products = steps[:-1] * steps[1:]
        total = float(np.abs(products).sum())
        values.append(-float(products[products < 0].sum()) / total if total > 0 else 0.0)
    return float(np.mean(values))


def isosurface_area(field: np.ndarray, level: float) -> float:
    """The area of the isosurface of `field [x, y, z]` at `level`, in voxel faces; for `[x, y]` the length of the line,
    in voxel edges.

    Interpolation between voxel centers is linear (flying edges; marching squares). Surfaces are not closed at the
    border of the domain.
    """
    if min(field.shape) < 2:
        return 0.0
    if field.ndim == 2:
        from contourpy import contour_generator

        contours = contour_generator(z=np.asarray(field, dtype=np.float64)).lines(level)
        lines = [np.asarray(line, dtype=np.float64) for line in contours]
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
    """The area of the isosurface at `level` relative to its area without structures below about `scale` voxels.

    These are removed by a Gaussian with a standard deviation of `scale` / 2 voxels. 1 is smooth; it is also the result
    if there is no surface. It is infinite if the Gaussian removes the whole surface.
    """
    area = isosurface_area(field, level)
    smooth = ndimage.gaussian_filter(np.asarray(field, dtype=np.float32), scale / 2, mode="nearest")
    return _ratio(area, isosurface_area(smooth, level))


def gradient_distance(prediction: np.ndarray, reference: np.ndarray) -> float:
    """The Wasserstein distance of order 1 between the distributions of the gradient's magnitude, divided by the mean
    magnitude of the reference; 0 for equal distributions."""
    _difference(prediction, reference)
    magnitudes, reference_magnitudes = (
        np.sqrt(sum(g**2 for g in np.gradient(np.asarray(f, np.float64)))) for f in (prediction, reference)
    )
    return _distance(magnitudes, reference_magnitudes)


def density_distance(prediction: np.ndarray, reference: np.ndarray) -> float:
    """The Wasserstein distance of order 1 between the distributions of density, divided by the mean of the reference.

    It compares how much smoke is mixed with air, but not where.
    """
    _difference(prediction, reference)
    return _distance(prediction, reference)


def _distance(values: np.ndarray, reference: np.ndarray) -> float:
    """The Wasserstein distance of order 1 between two sets of values, divided by the mean of `reference`."""
    a, b = (np.sort(np.asarray(array, dtype=np.float64), axis=None) for array in (values, reference))
    distance, mean = float(np.abs(a - b).mean()), float(np.abs(b).mean())
    return 0.0 if distance == 0 else _ratio(distance, mean)


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.shape != b.shape:
        raise ValueError(f"shapes {a.shape} and {b.shape} differ")
    return np.subtract(a, b, dtype=np.float64)


def _mean_square(field: np.ndarray) -> float:
    return float(np.mean(np.square(field)))


def _ratio(value: float, reference: float) -> float:
    """`value / reference`; if `reference` is 0, 1 for equal values, else infinity."""
    if reference == 0:
        return 1.0 if value == 0 else math.inf
    return value / reference
