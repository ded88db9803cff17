"""Starting and restarting the backend; CPU against CUDA where there is one."""

from __future__ import annotations

import pytest
import torch
from solver_cases import SPHERE, plume

from fluidsr.errors import InputError
from fluidsr.solver import Noise, Solver, backend


def frames(device: str, count: int = 4) -> dict[str, torch.Tensor]:
    solver = Solver(plume(noise=Noise(0.5, 8.0), obstacles=(SPHERE,)), device)
    for _ in range(count):
        solver.advance(1 / 24)
    return solver.state()


def test_a_restarted_backend_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What going to another device and back does: kernels are compiled anew, tensors stay."""
    solver = Solver(plume(noise=Noise(0.5, 8.0), obstacles=(SPHERE,)))
    for count in range(4):
        if count == 2:
            monkeypatch.setattr(backend, "_started", None)
            backend.start("cpu")
        solver.advance(1 / 24)
    state, whole = solver.state(), frames("cpu")
    assert all(torch.equal(state[name], whole[name]) for name in whole)


def test_a_second_gpu_is_refused_with_the_way_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend.devices, "resolve", lambda device: "cuda:1")
    with pytest.raises(InputError, match="set CUDA_VISIBLE_DEVICES=1 and use `device` cuda"):
        backend.start("cuda:1")


def test_the_thread_pool_has_the_granted_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(backend.os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert backend.threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert backend.threads() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert backend.threads() == 3


def test_starting_says_nothing(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_started", None)
    backend.start("cpu")
    assert capfd.readouterr().out == ""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_cuda_agrees_with_the_cpu() -> None:
    on_cpu, on_gpu = frames("cpu"), frames("cuda")
    for name, expected in on_cpu.items():
        assert torch.allclose(on_gpu[name], expected, atol=2e-3), name
