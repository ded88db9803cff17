"""Evaluation of methods whose quality is known, and the files it leaves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from fluidsr.errors import InputError
from fluidsr.evaluation import (
    Metric,
    Pair,
    Report,
    baselines,
    evaluate,
    lpips_distance,
    pairs_of,
    rendered,
    report_files,
    write,
)
from fluidsr.evaluation.optical_flow import optical_flow
from fluidsr.frame import Frame
from fluidsr.models.resample import downsample

FACTOR = 4


@dataclass
class Recorded:
    """A cloud with detail that drifts by a fine cell per frame; counts the frames that were read."""

    name: str
    shape: tuple[int, ...] = (48, 32)
    frames: int = 6
    read: int = 0

    def fine(self, index: int) -> Frame:
        grids = np.indices(self.shape, dtype=np.float32)
        middle = [n / 2 for n in self.shape]
        around = sum(((g - m) / (0.25 * n)) ** 2 for g, m, n in zip(grids, middle, self.shape, strict=True))
        detail = np.random.default_rng(len(self.name)).random(self.shape)
        density = np.exp(-around) * (0.6 + 0.4 * np.roll(detail, index, axis=0))
        return Frame(density=density.astype(np.float32), cell_size=0.01, time=index / 24)

    def coarse(self, index: int) -> Frame:
        self.read += 1
        fine = self.fine(index)
        density = downsample(torch.from_numpy(fine.density)[None, None], FACTOR)[0, 0].numpy()
        velocity = np.zeros((density.ndim, *density.shape), np.float32)
        return fine.with_fields({"density": density, "velocity": velocity}, cell_size=0.04)


def _oracle(simulations: list[Recorded]) -> object:
    """A method that knows the answer, up to a little blur."""

    def raised(frame: Frame, *, history: Sequence[Frame], fine_solid: object = None) -> Frame:
        fine = simulations[0].fine(round(frame.time * 24))
        return fine.with_fields({"density": torch.from_numpy(fine.density * 0.99)})

    return raised


@pytest.fixture
def report() -> Report:
    simulations = [Recorded("cloud"), Recorded("cloud".upper())]
    return evaluate(
        _oracle(simulations),
        baselines(FACTOR),
        pairs_of(simulations),
        name="good",
        about={"data": "<synthetic>"},
    )


def test_a_good_method_beats_interpolation_in_every_figure(report: Report) -> None:
    good, cubic = report.figures("good"), report.figures("cubic")
    assert good["psnr"] > cubic["psnr"] + 5
    assert good["spectrum"] == pytest.approx(2 * -np.log10(0.99), rel=1e-3)
    assert good["spectrum"] < 0.1 * cubic["spectrum"]
    assert good["temporal"] == pytest.approx(0.99, rel=1e-3)
    assert good["coherence"] == pytest.approx(0.99, rel=1e-3) and abs(cubic["coherence"] - 1) > 0.02
    assert good["mass"] == pytest.approx(0.01, rel=1e-3)
    assert cubic["mass"] < 0.05
    assert report.figures("reference")["phase"] > 0


def test_means_are_over_simulations_and_skip_values_that_are_not_finite() -> None:
    report = Report("m", ("m",))
    report.add("a", 0, "m", {"psnr": 10.0})
    report.add("a", 1, "m", {"psnr": float("inf")})
    report.add("b", 0, "m", {"psnr": 20.0})
    report.add("b", 1, "m", {"psnr": 30.0})
    assert report.figures("m", "a")["psnr"] == 10
    assert report.figures("m")["psnr"] == 17.5
    assert np.isnan(report.figures("m")["temporal"])


def test_the_table_names_all_methods_and_simulations(report: Report) -> None:
    lines = report.table().splitlines()
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["mean", "nearest"],
        ["mean", "linear"],
        ["mean", "cubic"],
        ["mean", "good"],
    ]
    assert {line.split()[0] for line in lines if line} == {"simulation", "mean", "cloud", "CLOUD"}


def test_the_files_are_whole_and_the_page_stands_alone(report: Report, tmp_path: Path) -> None:
    files = write(report, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(p.name for p in files)
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    assert document["mean"]["good"]["psnr"] == pytest.approx(report.figures("good")["psnr"])
    assert len(document["frames"]) == 2 * 6 * 5  # simulations, frames, methods and the reference
    assert document["frames"][0].keys() >= {"simulation", "frame", "method", "phase"}
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "&lt;synthetic&gt;" in page
    for name in ("spectra.png", "psnr.png", "slices.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="not a folder"):
        write(report, tmp_path / "file" / "out")


def test_report_json_is_written_last(report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is stopped before is not refused when it is started again."""
    put, seen = report_files._put, []
    monkeypatch.setattr(
        report_files, "_put", lambda path, content: seen.append(path.name) or put(path, content)
    )
    written = write(report, tmp_path)
    assert seen[-1] == "report.json" and sorted(seen) == sorted(path.name for path in written)


def test_hostile_names_are_only_names(tmp_path: Path) -> None:
    names = [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        r"$\frac{a$ \udead",
        "\x1b]0;x\x07\udcff",
    ]
    simulations = [Recorded(name, frames=1) for name in names]
    report = evaluate(
        _oracle(simulations),
        {},
        pairs_of(simulations),
        name="<b onclick='x'>$",
        about={"<i>": "</pre><script>"},
    )
    files = {path.name: path for path in write(report, tmp_path / "out")}
    text = files["index.html"].read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text and "&lt;/pre&gt;" in text
    pictures = re.sub(r'<img alt="[^"<>]*" src="data:image/png;base64,[A-Za-z0-9+/=]*">', "", text)
    assert len(pictures) < len(text)
    tags = set(re.findall(r"<[^>]*>", pictures))
    assert {re.match(r"</?!?(\w+)", tag)[1] for tag in tags} == {  # type: ignore[index]
        "DOCTYPE", "html", "head", "meta", "title", "style", "body", "h1", "table", "thead", "tr", "th", "tbody", "td",
        "dl", "dt", "dd", "h2", "h3", "pre", "p", "div", "details", "summary",
    }  # fmt: skip
    assert not any("onerror" in tag or "onclick" in tag for tag in tags)
    assert sorted(json.loads(files["report.json"].read_text())["simulations"]) == sorted(names)


def test_three_dimensions_and_a_single_frame(tmp_path: Path) -> None:
    simulations = [Recorded("deep", (16, 24, 16), frames=1)]
    report = evaluate(_oracle(simulations), baselines(FACTOR), pairs_of(simulations))
    assert report.slices["deep"].fields["coarse"].shape == (4, 6)
    assert report.slices["deep"].fields["model"].shape == (16, 24)
    assert "-" in report.table().splitlines()[1].split()  # no change from frame to frame to judge
    assert json.loads(write(report, tmp_path)[0].read_text())["mean"]["model"]["temporal"] is None


def test_pairs_stream_and_the_stride_keeps_neighbours() -> None:
    simulation = Recorded("cloud", frames=11)
    pairs = pairs_of([simulation], stride=5)
    assert simulation.read == 0
    first = next(pairs)
    assert (first.index, simulation.read) == (0, 1)
    assert [pair.index for pair in pairs] == [1, 5, 6, 10]
    with pytest.raises(InputError, match="stride"):
        next(pairs_of([simulation], 0))


def test_change_is_not_measured_across_gaps_or_simulations() -> None:
    simulations = [Recorded("cloud", frames=8), Recorded("again", frames=8)]
    report = evaluate(_oracle(simulations), {}, pairs_of(simulations, stride=4))
    judged = [r["frame"] for r in report.frames if "temporal" in r]
    assert judged == [1, 5, 1, 5]


def test_what_cannot_be_judged_is_said(tmp_path: Path) -> None:
    def pairs() -> Iterator[Pair]:
        return pairs_of([Recorded("cloud", frames=1)])

    with pytest.raises(InputError, match="no frames to evaluate"):
        evaluate(lambda frame, **_: frame, {}, [])
    with pytest.raises(InputError, match=r"model: gives \(12, 8\) cells where the reference has \(48, 32\)"):
        evaluate(lambda frame, **_: frame, {}, pairs())


def test_progress_and_time_are_reported() -> None:
    reported: list[str] = []
    simulations = [Recorded("cloud", frames=2)]
    report = evaluate(
        _oracle(simulations),
        {},
        pairs_of(simulations),
        on_progress=lambda message, frames: reported.append(message),
    )
    assert reported == ["cloud frame 0", "cloud frame 1"]
    assert set(report.seconds) == {"model"}


class Fading:
    """A run that knows the answer of the frames that it has come to, and gives half of it."""

    def __init__(self, simulation: Recorded, first: Frame) -> None:
        self.simulation, self.come_to = simulation, [round(first.time * 24)]

    def advance(self, coarse: Frame) -> None:
        self.come_to.append(round(coarse.time * 24))

    def frame(self, coarse: Frame) -> Frame:
        assert self.come_to == list(range(round(coarse.time * 24) + 1))  # every frame, once, in order
        fine = self.simulation.fine(self.come_to[-1])
        return fine.with_fields({"density": fine.density / 2})


def test_a_run_goes_along_with_every_frame_and_is_judged_beside_the_others() -> None:
    simulations = [Recorded("cloud", frames=9), Recorded("again", frames=9)]
    pairs = pairs_of(simulations, stride=4, first=1 / 3, runs={"fading": Fading})
    report = evaluate(_oracle(simulations), baselines(FACTOR), pairs, name="good", runs=("fading",))
    assert report.methods == ("nearest", "linear", "cubic", "fading", "good")
    assert sorted({record["frame"] for record in report.frames}) == [3, 4, 7, 8]
    assert report.figures("fading")["mass"] == pytest.approx(0.5, rel=1e-5)
    assert report.seconds["fading"] > 0


def test_free_pairs_are_not_compared_voxel_by_voxel() -> None:
    simulations = [Recorded("cloud", frames=2)]
    report = evaluate(_oracle(simulations), {}, pairs_of(simulations), kind="free")
    assert np.isnan([report.figures("model")[key] for key in ("psnr", "ssim")]).all()
    assert report.figures("model")["gradients"] == pytest.approx(0.01, rel=1e-3)


def _mirrored(frame: Frame, speed: float) -> Frame:
    velocity = np.zeros((frame.density.ndim, *frame.density.shape), np.float32)
    velocity[0] = speed
    density = frame.density if speed > 0 else frame.density[::-1].copy()
    return frame.with_fields({"density": density, "velocity": velocity})


class Mirrored(Recorded):
    """A coarse run that is the mirror image of its fine simulation, and so flows the other way."""

    def fine_state(self, index: int) -> Frame:
        return _mirrored(super().coarse(index), 24 * 0.01)

    def coarse(self, index: int) -> Frame:
        return _mirrored(super().coarse(index), -24 * 0.01)


def test_the_reference_of_a_free_run_changes_along_its_own_flow() -> None:
    simulation = Mirrored("cloud", frames=2)

    def mirrored(frame: Frame, *, history: Sequence[Frame], fine_solid: object = None) -> Frame:
        fine = simulation.fine(round(frame.time * 24))
        return fine.with_fields({"density": torch.from_numpy(fine.density[::-1].copy())})

    figures = evaluate(mirrored, {}, pairs_of([simulation]), kind="free").figures("model")
    assert figures["coherence"] == pytest.approx(1, abs=1e-3)


class Reset(Recorded):
    """A coarse run that is set to the fine state before its frame 1."""

    def is_reset(self, index: int) -> bool:
        return index == 1


def test_no_change_is_measured_across_a_reset_of_the_coarse_run() -> None:
    simulations = [Reset("cloud", frames=4)]
    report = evaluate(_oracle(simulations), {}, pairs_of(simulations), kind="coupled")
    changes = {r["frame"] for r in report.frames if r["method"] == "model" and "coherence" in r}
    assert changes == {2, 3}


def test_reports_on_several_kinds_of_pairs_are_one_document(report: Report, tmp_path: Path) -> None:
    simulations = [Recorded("cloud", frames=3)]
    free = evaluate(_oracle(simulations), baselines(FACTOR), pairs_of(simulations), name="good", kind="free")
    frames = [
        {"coarse": s.coarse(i), "good": s.fine(i), "reference": s.fine(i)}
        for s in simulations
        for i in (0, 1)
    ]
    free.rendered = [rendered("cloud", frames, "reference", _grey)]
    both = replace(report, others={"free": free})
    assert re.findall(r"^(\w+) pairs$", both.table(), re.M) == ["recorded", "free"]
    movies: list[Path] = []

    def movie(path: Path, pictures: Sequence[np.ndarray], fps: float) -> None:
        assert len(pictures) == 2 and fps == pytest.approx(24)
        path.write_bytes(b"movie")
        movies.append(path)

    write(both, tmp_path, movie)
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["pairs"] == "recorded" and document["others"]["free"]["mean"]["good"]["render_ssim"] == 1
    page = (tmp_path / "index.html").read_text()
    assert [path.parent.name for path in movies] == ["free"]
    assert "Recorded pairs" in page and "Free pairs" in page and "data:video/mp4;base64,bW92aWU=" in page


def _grey(frame: Frame) -> np.ndarray:
    """The density itself as a picture, coarse cells as large as fine ones."""
    large = np.kron(frame.density, np.ones([48 // frame.shape[0]] * 2))
    return np.repeat((255 * np.clip(large, 0, 1)).astype(np.uint8)[..., None], 3, axis=2)


def test_rendered_figures_rank_the_reference_above_delayed_frames() -> None:
    def moved(by: float) -> Frame:
        smooth = ndimage.gaussian_filter(np.random.default_rng(0).random((48, 48)), 3)
        smooth = (smooth - smooth.min()) / np.ptp(smooth)
        density = ndimage.shift(smooth, (by, 0), order=3, mode="nearest").astype(np.float32)
        return Frame(density=density, cell_size=0.01, dt=1 / 24)

    frames = [{"reference": moved(step), "right": moved(step), "slow": moved(step / 2)} for step in range(4)]
    found = rendered("cloud", frames, "reference", _grey).figures
    assert found["right"]["tof"] == 0 and found["right"]["render_ssim"] == pytest.approx(1)
    assert found["slow"]["tof"] == pytest.approx(0.5, abs=0.1) and found["slow"]["render_ssim"] < 0.99


def test_optical_flow_finds_a_shift_and_none_where_nothing_moves() -> None:
    picture = ndimage.gaussian_filter(np.random.default_rng(3).random((80, 96)), 2) * 8
    moved = ndimage.shift(picture, (2.5, -4.0), order=3, mode="nearest")
    inner = optical_flow(picture, moved)[:, 16:-16, 16:-16]
    np.testing.assert_allclose(inner.mean(axis=(1, 2)), [2.5, -4.0], atol=0.1)
    assert not optical_flow(picture, picture).any() and not optical_flow(0 * picture, 0 * picture).any()


def test_lpips_is_measured_only_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("fluidsr.evaluation.rendered")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert lpips_distance() == (None, "the package lpips is not installed")
    monkeypatch.setattr(module, "find_spec", lambda name: name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    distance, missing = lpips_distance()
    assert distance is None and "alexnet" in missing and str(tmp_path) in missing


class Peak(Metric):
    """The largest density over the reference's."""

    name, heading, meaning, digits = (
        "peak",
        "peak <ratio>",
        "largest density over the reference's; 1 is right",
        2,
    )

    def value(self, output: np.ndarray, reference: np.ndarray, coarse: np.ndarray) -> float:
        assert output.shape == reference.shape == tuple(4 * n for n in coarse.shape)
        return float(output.max() / reference.max())


def test_an_added_metric_is_measured_for_every_method(tmp_path: Path) -> None:
    simulations = [Recorded("cloud", frames=2)]
    report = evaluate(
        _oracle(simulations), baselines(FACTOR), pairs_of(simulations), name="oracle", added=[Peak()]
    )
    assert report.figures("oracle")["peak"] == pytest.approx(0.99, rel=1e-5)
    assert 0 < report.figures("linear")["peak"] < 0.99
    assert "peak <ratio>" in report.table().splitlines()[0] and "0.99" in report.table()
    write(report, tmp_path)
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["figures"]["peak"] == Peak.meaning
    assert written["mean"]["oracle"]["peak"] == pytest.approx(0.99, rel=1e-5)
    assert "peak &lt;ratio&gt;" in (tmp_path / "index.html").read_text()
