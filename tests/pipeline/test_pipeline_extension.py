"""The example package of examples/extension, by the commands that its README gives."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "examples" / "extension"


@pytest.mark.slow
def test_the_example_trains_and_is_evaluated_beside_ours(tmp_path: Path) -> None:
    """Installed into a folder of its own. Training starts at linear interpolation, and ends above it, as ours does."""
    site = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(site),
    ]
    subprocess.run([*install, str(EXAMPLE)], check=True)
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{REPOSITORY}"}

    def fluidsr(*arguments: str) -> None:
        command = [sys.executable, "-m", "fluidsr.cli", *arguments, "-q"]
        run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr

    size = ["--dim", "2", "--resolution", "48", "--simulations", "12", "--frames", "40"]
    fluidsr("generate-dataset", *size, "-o", "small.zarr")
    fluidsr("train", "--data", "small.zarr", "--recipe", str(EXAMPLE / "multiplier2d.yaml"), "-o", "run")
    both = ["--model", "run/multiplier2d.safetensors", "--model", "smoke2d-x4"]
    fluidsr("evaluate", "--data", "small.zarr", *both, "--metric", "sharpness", "-o", "report")
    mean = json.loads((tmp_path / "report" / "report.json").read_text())["mean"]
    assert all(0 < mean[name]["sharpness"] < 1.5 for name in ("multiplier2d", "smoke2d-x4"))
    psnr = {name: figures["psnr"] for name, figures in mean.items()}
    assert psnr["linear"] < psnr["multiplier2d"] and psnr["linear"] < psnr["smoke2d-x4"]
