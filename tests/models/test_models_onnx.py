"""ONNX files give what the generators give, at any shape, and say what they are."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fluidsr.models import Card, SmokeGenerator, load, save
from fluidsr.models.onnx_export import OPSET, export_onnx
from fluidsr.models.store import properties_of

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def tiny(folder: Path, dim: int) -> Path:
    torch.manual_seed(1)
    generator = SmokeGenerator(dim, 4, width=8, blocks=1, rise_width=4)
    card = Card(name="tiny", **properties_of(generator), density_range=(0, 2), velocity_range=(-9, 9))
    save(folder / "tiny.safetensors", generator, card)
    return folder / "tiny.safetensors"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "tiny 2-D",
        pytest.param("tiny 3-D", marks=pytest.mark.slow),
        pytest.param("smoke3d-x4", marks=pytest.mark.slow),
    ],
)
def test_onnxruntime_gives_what_torch_gives(name: str, tmp_path: Path) -> None:
    model = load(tiny(tmp_path, int(name[5])) if name.startswith("tiny") else name)
    export_onnx(model, tmp_path / "a.onnx")
    stored = onnx.load(tmp_path / "a.onnx")
    onnx.checker.check_model(stored)
    assert [(each.domain, each.version) for each in stored.opset_import if not each.domain] == [("", OPSET)]
    cards = [entry.value for entry in stored.metadata_props if entry.key == "card"]
    assert json.loads(cards[0])["sha256"] == model.card.sha256
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    for batch, shape in ((1, (12, 9, 7)), (3, (5, 6, 11))):
        coarse = torch.rand(batch, 1 + model.card.dim, *shape[: model.card.dim])
        with torch.inference_mode():
            ends = [(False, False)] * model.card.dim
            expected = model.generator.forward_cropped(coarse, ends).numpy()
        (fine,) = session.run(["fine"], {"coarse": coarse.numpy()})
        np.testing.assert_allclose(fine, expected, atol=1e-5)
