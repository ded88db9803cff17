"""Rest coordinates among the output fields of a run: resumable, and upsampled with the frame."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipeline_helpers import SMALL, contents

from fluidsr import volumes
from fluidsr.cli import main

REST = ["--set", "output.fields=[density,rest,rest2,rest_ratio]", "--set", "output.coarse=true"]


def simulate(output: Path, tiny_model: str, *arguments: str) -> int:
    command = ["simulate", "plume2d", *SMALL, *REST, "--frames", "5", "--model", tiny_model, "--no-preview"]
    with pytest.raises(SystemExit) as stop:
        main([*command, "--format", "vdb", "-q", "-o", str(output), *arguments])
    return int(stop.value.code or 0)


def test_a_run_with_rest_coordinates(
    tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert simulate(tmp_path / "whole", tiny_model) == 0
    fine = volumes.read(tmp_path / "whole/frames/plume2d_0005.vdb")
    coarse = volumes.read(tmp_path / "whole/coarse/plume2d_0005.vdb")
    assert fine.shape == (96, 144) and fine.others["rest"].shape == (3, 96, 144)
    for name in ("rest", "rest2"):
        blocks = fine.others[name].reshape(3, 24, 4, 36, 4).mean((2, 4))
        inner = (slice(0, 2), slice(2, -2), slice(2, -2))
        assert np.abs(blocks - coarse.others[name])[inner].max() < 0.1 * coarse.cell_size
        x = (np.arange(24) + 0.5) * coarse.cell_size
        moved = np.abs(coarse.others[name][0] - x[:, None])
        assert 0 < moved.max() < 4 * coarse.cell_size
    np.testing.assert_allclose(fine.others["rest_ratio"], 10 / 24, atol=1e-3)
    assert simulate(tmp_path / "late", tiny_model, "--frames", "4-5") == 0
    assert contents(tmp_path / "late").items() <= contents(tmp_path / "whole").items()

    monkeypatch.setattr("fluidsr.pipeline.checkpoint.Checkpoint.is_due", lambda self: True)
    stream, calls = volumes.stream, []

    def interrupted(path: Path, *arguments: Any, **options: Any) -> Any:
        calls.append(path)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return stream(path, *arguments, **options)

    monkeypatch.setattr(volumes, "stream", interrupted)
    assert simulate(tmp_path / "stopped", tiny_model) == 130
    assert simulate(tmp_path / "stopped", tiny_model) == 0
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
