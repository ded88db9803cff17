"""Random scenes: reproducible, sound on both grids, and as varied as they claim."""

import itertools

import numpy as np
import pytest

from fluidsr.errors import InputError
from fluidsr.scenes import Scene, load_yaml_model
from fluidsr.scenes.random_scenes.distribution import distributions, load_distribution
from fluidsr.scenes.random_scenes.scene import KINDS, RandomScene, random_scene

DEFAULT = load_distribution()


def _many(count: int, dim: int = 3, *overrides: str) -> list[RandomScene]:
    choice = load_distribution("default", overrides)
    return [random_scene(choice, seed, dim, 128, 60) for seed in range(count)]


@pytest.mark.parametrize("dim", [2, 3])
def test_the_same_seed_gives_the_same_scene(dim):
    assert random_scene(DEFAULT, 5, dim, 128, 60) == random_scene(DEFAULT, 5, dim, 128, 60)
    assert random_scene(DEFAULT, 5, dim, 128, 60) != random_scene(DEFAULT, 6, dim, 128, 60)


@pytest.mark.parametrize("name", distributions())
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(("resolution", "factor"), [(128, 4), (32, 4), (64, 8), (64, 2)])
def test_both_grids_are_sound(name, dim, resolution, factor):
    choice = load_distribution(name)
    for seed in range(12):
        drawn = random_scene(choice, seed, dim, resolution, 40, factor=factor)
        fine = drawn.scene
        coarse = fine.coarsened(factor)
        assert fine.dim == dim
        assert max(fine.domain.resolution) == resolution
        assert all(n % (8 * factor) == 0 for n in fine.domain.resolution)
        assert coarse.refined(factor).domain.resolution == fine.domain.resolution
        assert fine.time.frames == 40 + drawn.warm_up
        assert 10 <= drawn.warm_up <= 20
        assert any(source.density for source in fine.sources)
        assert fine.upscale is None
        assert load_yaml_model(fine.to_yaml(), Scene) == fine
        assert drawn.warm_up_scene.physics.vorticity_confinement == 0.05


def test_the_scenes_are_varied():
    drawn = _many(200)
    assert {d.kind for d in drawn} == set(KINDS)
    assert {d.boundary for d in drawn} == set(type(DEFAULT.boundary).model_fields)
    scenes = [d.scene for d in drawn]
    assert {scene.time.fps for scene in scenes} == {24, 25, 30, 48}
    assert min(s.time.cfl for s in scenes) < 1.5 and max(s.time.cfl for s in scenes) > 3.5
    shares = {
        "buoyant": np.mean([s.has_temperature for s in scenes]),
        "obstacles": np.mean([bool(s.obstacles) for s in scenes]),
        "moving": np.mean([any(body.motion for body in s.obstacles) for s in scenes]),
        "wind": np.mean([s.physics.wind is not None for s in scenes]),
        "forcing": np.mean([any(q.density is None for q in s.sources) for s in scenes]),
        "puffs": np.mean([any(q.density and q.seconds for q in s.sources) for s in scenes]),
    }
    for name, share in shares.items():
        assert 0.05 < share < 0.95, f"{name}: {share:.2f}"
    assert len({scene.domain.resolution for scene in scenes}) > 5


def test_the_distribution_decides():
    drawn = _many(
        40,
        2,
        "kinds={jet: 1}",
        "boundary={periodic: 1}",
        "jet.speed=2",
        "obstacles={chance: 1, moving: 1}",
        "physics.wind={chance: 1, of: 0.5}",
        "physics.viscosity=0.001",
        "numerics.advection=reflection",
        "time={fps: [12], cfl: 2}",
    )
    for scene in (d.scene for d in drawn):
        unit = scene.domain.cell_size * 4 * 12
        assert np.linalg.norm(scene.sources[0].velocity) / unit == pytest.approx(2, rel=1e-3)
        assert scene.domain.boundary.x == ("periodic", "periodic")
        assert scene.obstacles and all(body.motion for body in scene.obstacles)
        assert abs(scene.physics.wind[0]) / unit == pytest.approx(0.5, rel=1e-3)
        assert (scene.physics.viscosity, scene.numerics.advection) == (0.001, "reflection")
        assert (scene.time.fps, scene.time.cfl) == (12, 2)


def test_moving_obstacles_keep_to_their_speed_and_never_stop():
    for drawn in _many(30, 3, "obstacles={chance: 1, moving: 1, speed: 1.5}"):
        scene = drawn.scene
        unit = scene.domain.cell_size * 4 * scene.time.fps
        for body in scene.obstacles:
            keys = body.motion
            steps = [
                np.linalg.norm(np.subtract(b.offset, a.offset)) / (b.time - a.time)
                for a, b in itertools.pairwise(keys)
            ]
            assert np.array(steps) / unit == pytest.approx(1.5, rel=1e-2)
            assert keys[-1].time >= scene.duration


def test_speeds_are_drawn_in_coarse_cells_per_frame():
    for seed in range(60):
        scene = random_scene(DEFAULT, seed, 2, 256, 60).scene
        unit = scene.domain.cell_size * 4 * scene.time.fps
        speeds = [np.linalg.norm(q.velocity) / unit for q in scene.sources if q.velocity]
        assert all(0.05 < speed < 6.5 for speed in speeds), speeds


def test_a_wake_always_has_wind_and_something_in_it():
    for seed in range(30):
        scene = random_scene(DEFAULT, seed, 2, 64, 10, kind="wake").scene
        assert any(scene.physics.wind) and scene.obstacles
        assert all(source.velocity is None for source in scene.sources)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((1, 4, 64, 10), "dim: 4"), ((1, 2, 50, 10), "give 64"), ((1, 2, 0, 10), "give 32")],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(InputError, match=words):
        random_scene(DEFAULT, *arguments)


def test_an_unknown_kind():
    with pytest.raises(InputError, match="use one of plume, jet, collision, blobs, wake"):
        random_scene(DEFAULT, 1, 2, 64, 10, kind="fire")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("time.cfl=[4, 1]", "time.cfl: .*descending; give"),
        ("jet.sped=1", "did you mean 'speed'"),
        ("physics.buoyant=2", "physics.buoyant: 2 is not at most 1"),
        ("kinds={plume: 0}", "kinds: all weights are 0; give one above 0"),
        ("physics.wind={chance: 2, of: 1}", "physics.wind.chance: 2 is not at most 1"),
    ],
)
def test_a_wrong_distribution_is_told_by_its_key(override, words):
    with pytest.raises(InputError, match=words):
        load_distribution("default", [override])


def test_a_distribution_from_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("kinds: {jet: 2}\nboundary: {open: 1}\n")
    assert load_distribution(path).name == "mine"
    path.write_text("kinds: {jet: 2}\nboundary: {opened: 1}\n")
    with pytest.raises(InputError, match=r"mine.yaml:2: boundary.opened.*did you mean 'open'"):
        load_distribution(path)
    path.write_text("kinds: {jet: 2}\nboundary:\n  open: 0\n  room: 0\n")
    with pytest.raises(InputError, match=r"mine.yaml:2: boundary: all weights are 0; give one above 0"):
        load_distribution(path)
    path.write_text("kinds: {}\nboundary: {open: 1}\nsources:\n  shapes: {box: 0}\n")
    with pytest.raises(InputError, match=r"mine.yaml:1: kinds: all weights are 0; give .* \(and 1 more\)"):
        load_distribution(path)
    with pytest.raises(InputError, match="no such distribution of scenes; did you mean 'default'"):
        load_distribution("defalt")
