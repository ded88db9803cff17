"""Scratch memory shared by stages."""

from __future__ import annotations

import torch

from fluidsr.solver.workspace import Workspace


def test_arrays_of_one_stage_are_apart_and_stages_overlap() -> None:
    space = Workspace("cpu")
    first, second = space.take("a", 100), space.take("a", 7, torch.float64)
    other = space.take("b", 100)
    first.fill_(1.0)
    second.fill_(2.0)
    assert bool((first == 1.0).all()) and bool((second == 2.0).all())
    other.fill_(3.0)
    assert bool((first == 3.0).all()) and bool((second == 2.0).all())
    assert first.data_ptr() % 64 == second.data_ptr() % 64 == 0


def test_the_block_is_as_large_as_the_hungriest_stage_and_grows_under_what_was_taken() -> None:
    space = Workspace("cpu")
    small = space.take("a", 16)
    large = space.take("b", 4096)
    assert 4 * 4096 <= space.nbytes < 4 * 4096 + 64
    assert small.data_ptr() == large.data_ptr()
    large.fill_(5.0)
    assert bool((small == 5.0).all())


def test_a_released_stage_takes_anew() -> None:
    space = Workspace("cpu")
    for _ in range(5):
        space.take("a", 1000)
        space.release("a")
    assert space.nbytes < 4 * 1000 + 64
