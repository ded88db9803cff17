"""Random scenes: reproducible, sound on both grids, and as varied as they claim."""

import numpy as np
import pytest

from fluidsr.errors import InputError
from fluidsr.scenes import Scene, load_yaml_model
from fluidsr.scenes.randomize import KINDS, random_scene


@pytest.mark.parametrize("dim", [2, 3])
def test_the_same_seed_gives_the_same_scene(dim):
    assert random_scene(5, dim, 128, 60) == random_scene(5, dim, 128, 60)
    assert random_scene(5, dim, 128, 60) != random_scene(6, dim, 128, 60)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(("resolution", "factor"), [(256, 4), (32, 4), (64, 8), (64, 2)])
def test_both_grids_are_sound(dim, resolution, factor):
    for seed in range(25):
        fine = random_scene(seed, dim, resolution, 40, factor=factor)
        coarse = fine.coarsened(factor)
        assert fine.dim == dim
        assert max(fine.domain.resolution) == resolution
        assert all(n % (8 * factor) == 0 for n in fine.domain.resolution)
        assert coarse.refined(factor).domain.resolution == fine.domain.resolution
        assert fine.time.frames == 40
        assert any(source.density for source in fine.sources)
        assert fine.upscale is None
        assert load_yaml_model(fine.to_yaml(), Scene) == fine


def test_the_scenes_are_varied():
    drawn = [random_scene(seed, 3, 128, 60) for seed in range(150)]
    assert {scene.name.split("-")[0] for scene in drawn} == set(KINDS)
    assert {scene.time.fps for scene in drawn} == {24, 25, 30}
    assert min(s.time.cfl for s in drawn) < 1.5 and max(s.time.cfl for s in drawn) > 3.5
    shares = {
        "buoyant": np.mean([s.has_temperature for s in drawn]),
        "obstacles": np.mean([bool(s.obstacles) for s in drawn]),
        "walls": np.mean([s.domain.boundary.x == ("closed", "closed") for s in drawn]),
        "forcing": np.mean([any(q.density is None for q in s.sources) for s in drawn]),
        "puffs": np.mean([any(q.density and q.seconds for q in s.sources) for s in drawn]),
    }
    for name, share in shares.items():
        assert 0.05 < share < 0.95, f"{name}: {share:.2f}"
    assert len({scene.domain.resolution for scene in drawn}) > 5


def test_speeds_are_drawn_in_coarse_cells_per_frame():
    for seed in range(60):
        scene = random_scene(seed, 2, 256, 60)
        unit = scene.domain.cell_size * 4 * scene.time.fps
        speeds = [np.linalg.norm(q.velocity) / unit for q in scene.sources if q.velocity]
        assert all(0.05 < speed < 6.5 for speed in speeds), speeds


def test_a_kind_can_be_asked_for():
    assert random_scene(1, 2, 64, 10, kind="jet").name == "jet-1"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((1, 4, 64, 10), "dim: 4"), ((1, 2, 50, 10), "give 64"), ((1, 2, 0, 10), "give 32")],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(InputError, match=words):
        random_scene(*arguments)


def test_an_unknown_kind():
    with pytest.raises(InputError, match="use one of plume, jet, crossing, blobs"):
        random_scene(1, 2, 64, 10, kind="fire")
