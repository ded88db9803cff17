"""The USD layer beside a sequence: names, paths and numbers that its syntax has other meanings for."""

from pathlib import Path

import pytest

from fluidsr.pipeline.usd import Sample, write_usda


def test_names_paths_and_numbers_of_any_kind(tmp_path: Path) -> None:
    grids = {"density": "density", "Cd.r": "Cd.r", "Cd_r": "Cd_r", "\u00e9": "\u00e9", "x\ny": 'a"\n'}
    files = [tmp_path / "frames" / f"smoke@2x_{number}.vdb" for number in (1234567, 1234568)]
    samples = [Sample(code, file, grids) for code, file in zip((1234567, 1234567.25), files, strict=True)]
    write_usda(tmp_path / "a.usda", samples, frame_rate=24000 / 1001)
    text = (tmp_path / "a.usda").read_text(encoding="utf-8")
    assert "1234567.25: @@@./frames/smoke@2x_1234568.vdb@@@," in text
    assert "startTimeCode = 1234567\n" in text and "framesPerSecond = 23.976024" in text
    names = [line.split('"')[1] for line in text.splitlines() if "def OpenVDBAsset" in line]
    assert names == ["density", "Cd_r", "Cd_r_2", "_", "x_y"]
    assert 'fieldName = "\u00e9"' in text and r'fieldName = "a\x22\x0a"' in text
    usd = pytest.importorskip("pxr.Usd", reason="usd-core is not installed")
    stage = usd.Stage.Open(str(tmp_path / "a.usda"))
    assert stage.GetPrimAtPath("/volume/x_y").GetAttribute("fieldName").Get() == 'a"\n'
