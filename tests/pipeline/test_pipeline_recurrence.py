"""Commands with a model that reads its own previous fine frame: in order, resumed to the bit, or refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from pipeline_helpers import SMALL

import fluidsr
from fluidsr import metrics, upscaling, volumes
from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.models import Card, SmokeGenerator, save
from fluidsr.models.store import properties_of
from fluidsr.pipeline import recurrent_order
from fluidsr.pipeline.evaluated_methods import EvaluatedMethods
from fluidsr.pipeline.inference_settings import DEFAULT
from fluidsr.pipeline.shaping import Shaping
from fluidsr.pipeline.simulate import SimulateJob, simulate
from fluidsr.pipeline.upscale_methods import GeneratorMethod


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(2)
    generator = SmokeGenerator(2, 4, width=8, blocks=1, rise_width=4, previous=True)
    with torch.no_grad():
        generator.rises[-1].weight.mul_(30)
    path = tmp_path_factory.mktemp("models") / "recurrent.safetensors"
    card = Card(name="recurrent", **properties_of(generator), density_range=(0, 2), velocity_range=(-9, 9))
    save(path, generator, card)
    return str(path)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five coarse frames."""
    folder = tmp_path_factory.mktemp("cache")
    for number, frame in enumerate(frames(), start=1):
        volumes.write(folder / f"s_{number:04d}.npz", frame, precision="float")
    return folder


def frames(count: int = 5) -> list[Frame]:
    random = np.random.default_rng(0)
    velocity = random.normal(size=(2, 10, 12)).astype(np.float32)
    return [
        Frame(random.random((10, 12), np.float32), velocity=velocity, cell_size=0.1, time=n / 24, dt=1 / 24)
        for n in range(1, count + 1)
    ]


def run(model: str, cache: Path, output: Path, **options) -> dict[str, bytes]:
    fluidsr.upsample(
        str(cache), output, model=model, formats=["npz"], fields=["density"], quiet=True, **options
    )
    return {file.name: file.read_bytes() for file in sorted((output / "frames").iterdir())}


def test_frames_are_made_in_order_and_go_on_to_the_bit(
    model: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(model, cache, tmp_path / "whole")
    upscaler, fine = upscaling.load(model), None
    for number, frame in enumerate(frames(), start=1):
        fine = upscaler.upsample(frame, previous=fine)
        written = volumes.read(tmp_path / f"whole/frames/s_{number:04d}.npz").density
        np.testing.assert_allclose(written, fine.density, atol=2e-3)  # half precision
    assert not list((tmp_path / "whole").glob(f"{recurrent_order.STATE}*"))
    # A part, and the rest: what came before is made again.
    assert len(run(model, cache, tmp_path / "parts", frames="1-3")) == 3
    assert run(model, cache, tmp_path / "parts") == whole
    # Stopped while it writes: from the state of the frame before.
    monkeypatch.setattr("fluidsr.pipeline.checkpoint.Checkpoint.is_due", lambda self: True)
    made: list[float] = []
    real = upscaling.Upscaler.pieces

    def stopped(self, frame, **options):
        made.append(round(frame.time * 24))
        if len(made) == 4:
            raise KeyboardInterrupt
        return real(self, frame, **options)

    monkeypatch.setattr(upscaling.Upscaler, "pieces", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(model, cache, tmp_path / "stopped")
    assert run(model, cache, tmp_path / "stopped") == whole
    assert made == [1, 2, 3, 4, 4, 5]


def test_a_gap_is_reported_and_starts_a_new_sequence(
    model: str, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(cache, tmp_path / "gap")
    (tmp_path / "gap/s_0003.npz").unlink()
    fluidsr.upsample(str(tmp_path / "gap"), tmp_path / "out", model=model, formats=["npz"], quiet=False)
    assert (
        "s_0004.npz: does not follow the frame before it: its detail starts again" in capsys.readouterr().err
    )
    first = upscaling.load(model).upsample(frames()[3]).density
    written = volumes.read(tmp_path / "out/frames/s_0004.npz").density
    np.testing.assert_allclose(written, first, atol=2e-3)


@pytest.mark.parametrize(
    ("options", "needle"),
    [
        ({"frames": "2-4"}, "frames: 'recurrent' reads its own previous fine frame"),
        ({"frames": "1-5x2"}, "give a count, or a range from 1 on"),
        ({"scheduler": "tcp://127.0.0.1:9"}, "scheduler: 'recurrent' reads"),
        ({"passes": 2}, "cannot be one of several passes"),
    ],
)
def test_what_does_not_go_with_it_is_refused(
    model: str, cache: Path, tmp_path: Path, options: dict, needle: str
) -> None:
    with pytest.raises(InputError, match=needle):
        run(model, cache, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_range_of_a_simulation_is_that_of_the_whole(model: str, tmp_path: Path) -> None:
    settings = [setting for setting in SMALL if setting.startswith("domain.")]
    job = {"model": model, "overrides": settings, "formats": ["npz"], "device": "cpu"}
    for name, wanted in (("whole", 4), ("range", "3-4")):
        simulate(
            SimulateJob.of("plume2d", frames_wanted=wanted, **job),
            tmp_path / name,
            preview=False,
            overwrite=False,
            quiet=True,
        )
    for number in (3, 4):
        name = f"frames/plume2d_{number:04d}.npz"
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "range" / name).read_bytes()


def test_a_run_s_state_has_the_last_frame(model: str) -> None:
    """Taken before the present frame is made, as checkpoints are, and after."""
    upscaler = upscaling.load(model, "cpu")
    method = GeneratorMethod(upscaler, Shaping.given(), DEFAULT)
    all_frames = [frame.torch() for frame in frames(4)]
    for asked in (False, True):
        run = method.start(None, None, all_frames[0])
        run.step(all_frames[1]).whole(())
        present = run.step(all_frames[2])
        if asked:
            present.whole(())
        again = method.start(None, None, all_frames[0])
        again.restore(run.state())
        ends = [each.step(all_frames[3]).whole(()).density for each in (run, again)]
        assert torch.equal(*ends)
        assert (ends[0] - upscaler.upsample(all_frames[3]).density).abs().max() > 1e-3


def test_evaluate_makes_every_frame_in_order(model: str) -> None:
    """Whatever the stride, whichever frame is the first to be judged, and after another simulation."""

    noise = frames(9)

    class Recorded:
        name, frames = "noise", len(noise)
        coarse = staticmethod(noise.__getitem__)

        def fine(self, index: int) -> Frame:
            density = np.kron(noise[index].density, np.ones((4, 4), np.float32))
            return noise[index].replace(density=density, velocity=None, cell_size=0.025)

    simulations, upscaler = [Recorded(), Recorded()], upscaling.load(model, device="cpu")
    expected: list[Frame] = []
    for frame in noise:
        expected.append(upscaler.upsample(frame, previous=expected[-1] if expected else None, fields=()))
    methods = EvaluatedMethods.of({"recurrent": upscaler}, 2, 4, "cpu", wavelet=False)
    for number, made in enumerate(methods.frames_of(simulations[0], 1 / 3)):
        np.testing.assert_array_equal(made["recurrent"].density, expected[3 + number].density)
    report = methods.evaluate(simulations, "recorded", 4, first=1 / 3, about={})
    assert report.methods == ("nearest", "linear", "cubic", "carry", "recurrent")
    reported = [record for record in report.frames if record["method"] == "recurrent"]
    assert [record["frame"] for record in reported] == [3, 4, 7, 8] * 2
    for record in reported:
        index = record["frame"]
        error = metrics.consistency_error(expected[index].density, noise[index].density)
        assert record["consistency"] == pytest.approx(error, rel=1e-6)
