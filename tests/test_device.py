"""Precisions that `auto` stands for; freed memory stays with the process: the next tensor costs no page faults.

The latter in processes of their own: it lasts."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch

from fluidsr import device as devices
from fluidsr.device import keep_freed_memory
from fluidsr.pipeline.inference_settings import InferenceSettings

FAULTS = """
import resource, sys, torch
from fluidsr import models
from fluidsr.device import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else None
generator = models.build("SmokeGenerator", dim=3, width=8, blocks=0).fold()
coarse = torch.rand(1, 4, 36, 36, 36)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    with torch.inference_mode():
        generator(coarse)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for _ in range(4):  # until the heap has room for all of a round
    faults()
print(kept, sum(faults() for _ in range(4)))
"""


def run(word: str) -> tuple[str, int]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", FAULTS, word]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    kept, faults = done.stdout.split()
    return kept, int(faults)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc, whose habit it changes")
def test_a_generator_that_ran_before_asks_the_kernel_for_nothing() -> None:
    kept, few = run("keep")
    assert kept == "True"
    assert few < 0.2 * run("leave")[1], "nothing is won: glibc keeps it by itself"


def test_the_users_own_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "100000")
    assert not keep_freed_memory()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("MALLOC_", "GLIBC_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not keep_freed_memory()


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_bfloat16_where_the_cpu_has_instructions_for_it(native, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    expected = "bfloat16" if native else "float32"
    assert devices.resolve_precision("auto", "cpu") == expected
    assert InferenceSettings(precision="auto").on("cpu").precision == expected
    assert InferenceSettings(precision="auto").on(None) == InferenceSettings()
    assert devices.resolve_precision("float32", "cpu") == "float32"
