"""Damaged data: every command that meets it says which file and what to do, in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fluidsr.cli import main
from fluidsr.dataset import DatasetConfig, generate
from fluidsr.dataset.store import Store
from fluidsr.scenes.random_scenes.distribution import load_distribution

CONFIG = DatasetConfig(
    dim=2, resolution=32, simulations=3, frames=3, fine_fields=("density",),
    distribution=load_distribution("default", ["warm_up.frames=0", "domain.aspect=1", "domain.lying=0"]),
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("damage") / "data.zarr"
    generate(CONFIG, path)
    return path


@pytest.mark.parametrize(
    ("command", "split"),
    [
        (["train", "--recipe", "smoke2d-x4", "--steps", "2", "--device", "cpu", "--data"], "train"),
        (["train", "--recipe", "smoke2d-x4", "--steps", "2", "--device", "cpu", "--data"], "validation"),
        (["evaluate", "--model", "smoke2d-x4", "--device", "cpu", "--data"], "test"),
        (["info"], "train"),
    ],
)
def test_a_damaged_chunk_is_one_line_with_the_file_and_the_remedy(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], split: str
) -> None:
    simulation = Store.open(data).simulations(split)[0]
    chunks = [p for p in (simulation.path / "high_density" / "c").rglob("*") if p.is_file()]
    whole = {chunk: chunk.read_bytes() for chunk in chunks}
    try:
        for chunk, good in whole.items():
            bent = np.frombuffer(good, np.uint8).copy()
            bent[len(bent) // 2] ^= 4
            chunk.write_bytes(bent.tobytes())
        (tmp_path / "out").mkdir()
        with pytest.raises(SystemExit) as end:
            main([*command, str(data), "-o", str(tmp_path / "out")])
    finally:
        for chunk, good in whole.items():
            chunk.write_bytes(good)
    assert end.value.code == 2
    (line,) = [words for words in capsys.readouterr().err.splitlines() if words.startswith("Error")]
    assert line.startswith(f"Error: {simulation.path}/high_density: frame ")
    assert line.endswith(
        ": cannot be read (its checksum does not match); "
        "remove the simulation's folder and give the command that made it again"
    )
    assert not [*tmp_path.rglob("*.safetensors")]


@pytest.mark.parametrize("harm", ["halved", "emptied", "gone", "bent"])
def test_a_damaged_simulation_is_not_complete_and_is_made_again(data: Path, harm: str) -> None:
    name = Store.open(data).simulations("test")[0].name
    chunk = sorted(p for p in (data / name / "low_velocity" / "c").rglob("*") if p.is_file())[-1]
    good = {file: file.read_bytes() for file in data.rglob("*") if file.is_file()}
    whole = good[chunk]
    bent = whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 4]) + whole[len(whole) // 2 + 1 :]
    if harm == "gone":
        chunk.unlink()
    else:
        chunk.write_bytes({"halved": whole[: len(whole) // 2], "emptied": b"", "bent": bent}[harm])
    report = generate(CONFIG, data)
    assert report.written == [name] and list(report.damaged) == [name]
    assert report.damaged[name].startswith("low_velocity: frame 2 ")
    assert {file: file.read_bytes() for file in data.rglob("*") if file.is_file()} == good
    assert not generate(CONFIG, data).written
