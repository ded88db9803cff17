"""Kernels launched without Taichi's own preparation of arguments give what Taichi gives, and refuse what it refuses."""

import pytest
import taichi as ti
import torch

from fluidsr.solver import backend
from fluidsr.solver.launch import Kernel, kernel
from fluidsr.solver.sampling import F32, F64, I3, V3


def fill(a: F32, sums: F64, n: int, shift: I3, scale: V3, factor: ti.f32, offset: ti.template()):  # type: ignore[valid-type]
    for i in range(n):
        a[i] = factor * scale[2] * i + shift[1] + offset
        sums[i] = a[i] / 3.0


def arguments(offset: int = 1) -> tuple[object, ...]:
    return torch.zeros(8), torch.zeros(8, dtype=torch.float64), 7, (1, -2, 3), (0.1, 0.2, 0.3), 0.7, offset


@pytest.fixture
def launched() -> Kernel:
    backend.start("cpu")
    return kernel(fill)


def test_a_launch_gives_taichis_bits_for_each_constant(launched: Kernel) -> None:
    for offset in (1, 5, 1):
        own, taichis = arguments(offset), arguments(offset)
        launched(*own)
        ti.kernel(fill)(*taichis)
        assert own[0].any() and torch.equal(own[0], taichis[0]) and torch.equal(own[1], taichis[1])


@pytest.mark.parametrize(
    "place, wrong, reported",
    [
        (0, torch.zeros(8, dtype=torch.float64), "fill: a .*float64"),
        (0, torch.zeros(4, 2), r"fill: a .*\(4, 2\)"),
        (0, torch.zeros(16)[::2], "fill: a .*contiguous"),
        (1, torch.zeros(8), "fill: sums .*float32"),
        (3, (1, 2), "fill: shift .*3 numbers"),
    ],
)
def test_arguments_of_another_kind_are_refused(
    launched: Kernel, place: int, wrong: object, reported: str
) -> None:
    launched(*arguments())
    given = [*arguments()]
    given[place] = wrong
    with pytest.raises(TypeError, match=reported):
        launched(*given)


def test_arguments_that_are_missing_are_named(launched: Kernel) -> None:
    with pytest.raises(TypeError, match="factor, offset; 6 values"):
        launched(*arguments()[:6])
