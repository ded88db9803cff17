"""The programs that our files are for open them: ParaView and Blender, if they are installed."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from fluidsr.frame import Frame
from fluidsr.volumes import read, take, write, write_pvd

HERE = Path(__file__).parent
pytestmark = pytest.mark.clients


def needs(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)} (apt-get install)")


RADIUS, CENTRE = 0.4, np.array([1.1, -0.6, 3.05])


def ball(time=0.0):
    """Density that falls from 1 at CENTRE to 0 at RADIUS, off the middle of a box that is no cube."""
    shape, cell, origin = (40, 32, 24), 0.04, np.array([0.4, -1.2, 2.6])
    at = [o + (np.arange(n) + 0.5) * cell for o, n in zip(origin, shape, strict=True)]
    offsets = np.stack(np.meshgrid(*at, indexing="ij")) - CENTRE[:, None, None, None]
    distance = np.sqrt((offsets**2).sum(0))
    density = np.clip(1 - distance / RADIUS, 0, None).astype(np.float32)
    velocity = (offsets * (density > 0)).astype(np.float32)
    return Frame(density, velocity=velocity, cell_size=cell, origin=tuple(origin.tolist()), time=time)


def run(command):
    """Run a program to its end. A virtual display that was not up in time (xvfb-run does not wait for it) says
    nothing about our files: the program is started again."""
    for _ in range(4):
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=tempfile.gettempdir())
        if done.returncode == 0 or "CreateAWindow" not in done.stderr:
            break
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def show(picture, name):
    """Keep the picture for a person to look at, where the environment says where; it must not be uniform."""
    assert imageio.imread(picture)[..., :3].std() > 5
    if folder := os.environ.get("FLUIDSR_CLIENT_PICTURES"):
        shutil.copy(picture, Path(folder) / name)


@needs("pvpython", "xvfb-run")
@pytest.mark.parametrize("precision", ["half", "float"])
def test_paraview_reads_our_series(tmp_path, precision):
    frames = [ball(), ball(0.5).replace(velocity=None)]
    files = [(f.time, tmp_path / f"{n}.vti") for n, f in enumerate(frames)]
    for frame, (_, file) in zip(frames, files, strict=True):
        write(file, frame, precision=precision)
    write_pvd(tmp_path / "a.pvd", files)
    names = [str(tmp_path / name) for name in ("a.pvd", "a.json", "a.png")]
    run(["xvfb-run", "-a", "pvpython", str(HERE / "clients_paraview.py"), *names])
    found = json.loads((tmp_path / "a.json").read_text())
    assert [f["time"] for f in found["frames"]] == [0.0, 0.5]
    for theirs, frame in zip(found["frames"], frames, strict=True):
        assert tuple(theirs["shape"]) == frame.shape
        np.testing.assert_allclose(theirs["spacing"], frame.cell_size)
        np.testing.assert_allclose(theirs["origin"], np.array(frame.origin) + frame.cell_size / 2)
        assert set(theirs["arrays"]) == set(frame.fields())
        for name, values in frame.fields().items():
            stored = values.astype(np.float16).astype(np.float32) if precision == "half" else values
            array = np.array(theirs["arrays"][name], np.float32)  # [cells, components], x fastest
            np.testing.assert_array_equal(
                array.reshape(*frame.shape[::-1], -1).T.reshape(stored.shape), stored
            )
    sphere = np.array(found["contour"]).reshape(3, 2)
    np.testing.assert_allclose(sphere.mean(1), CENTRE, atol=0.01)
    np.testing.assert_allclose(sphere[:, 1] - sphere[:, 0], RADIUS, atol=0.02)
    show(tmp_path / "a.png", f"paraview_{precision}.png")


@needs("blender")
@pytest.mark.parametrize(("precision", "naming"), [("half", "blender"), ("float", "houdini")])
def test_blender_imports_our_vdb(tmp_path, precision, naming):
    frame = ball()
    write(tmp_path / "a.vdb", frame, precision=precision, naming=naming)
    names = [str(tmp_path / name) for name in ("a.vdb", "a.json", "a.png")]
    options = ["-b", "--factory-startup", "-noaudio", "--python-exit-code", "1", "--python"]
    run(["blender", *options, str(HERE / "clients_blender.py"), "--", *names])
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["error"] == ""
    kinds = {name: (grid["type"], grid["channels"]) for name, grid in found["grids"].items()}
    velocity = "velocity" if naming == "blender" else "vel"
    assert kinds == {"density": ("FLOAT", 1), velocity: ("VECTOR_FLOAT", 3)}
    for grid in found["grids"].values():
        matrix = np.array(grid["matrix"])
        np.testing.assert_allclose(matrix[:3, :3], np.eye(3) * frame.cell_size, atol=1e-7)
        np.testing.assert_allclose(matrix[:3, 3], np.array(frame.origin) + frame.cell_size / 2, rtol=1e-6)
    # Every corner of the surface lies where our density is 0.5: values, cell size and position at once.
    # Blender moves the surface by half a voxel, to where it draws a volume: it takes an index for a voxel's
    # lower corner.
    distance = np.linalg.norm(np.array(found["corners"]) - frame.cell_size / 2 - CENTRE, axis=1)
    assert len(distance) > 400
    np.testing.assert_allclose(distance, RADIUS / 2, atol=frame.cell_size / 8)
    show(tmp_path / "a.png", f"blender_{naming}.png")


BLENDER = ["blender", "-b", "--factory-startup", "-noaudio", "-t", "2", "--python-exit-code", "1", "--python"]


@needs("blender")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"adaptive": True, "fps": 30},
        {"adaptive": True, "noise": True, "fire": True, "scale": 2.0},
        {"format": "UNI", "time_scale": 2.0},
        {"stretch": [1.0, 0.5, 1.0]},
    ],
    ids=["plain", "adaptive", "noise and fire", "uni", "stretched"],
)
def test_a_bake_of_blender_comes_back_in_its_place(tmp_path, options):
    """Baked, raised, and imported again: box, voxel size and centre of mass, all in the world of the scene."""
    from fluidsr.pipeline.upsample import upsample
    from fluidsr.pipeline.upsample_settings import UpsampleSettings

    number = 8
    run([*BLENDER, str(HERE / "clients_blender_bake.py"), "--", str(tmp_path), json.dumps(options)])
    theirs = json.loads((tmp_path / "bake.json").read_text())["frames"][str(number)]
    taken = take(next((tmp_path / "data").glob(f"*_{number:04d}.*"))) if "format" not in options else None
    coarse = read(sorted((tmp_path / "data").glob(f"*d*_{number:04d}.*"))[0])
    # The fluid's clock runs 2.5 units a second, times the time scale: cells per frame, whatever the place says.
    per_frame = 2.5 * options.get("time_scale", 1.0) / options.get("fps", 24)
    if taken:
        expected = taken.frame.velocity * per_frame
        np.testing.assert_allclose(coarse.velocity_in_cells(), expected, rtol=2e-4, atol=1e-6)
    settings = UpsampleSettings(("smoke3d-x4",), device="cpu", formats=("vdb",), naming="blender")
    fine = upsample([str(tmp_path / "data")], tmp_path / "fine", settings, quiet=True) / "frames"
    file = next(fine.glob(f"*_{number:04d}.vdb"))
    ours = read(file)
    edge = (theirs["high"][0] - theirs["low"][0]) / coarse.shape[0]
    assert ours.cell_size == pytest.approx(edge / 4, rel=1e-5)
    np.testing.assert_allclose(ours.origin, theirs["low"], atol=1e-5 * edge)
    end = np.add(ours.origin, np.multiply(ours.shape, ours.cell_size))
    np.testing.assert_allclose(end, theirs["high"], atol=1e-4 * edge)
    at = np.stack(
        np.meshgrid(*[o + (np.arange(n) + 0.5) * edge / 4 for o, n in zip(ours.origin, ours.shape, strict=True)],
                    indexing="ij")
    )  # fmt: skip
    centre = (at * ours.density).sum((1, 2, 3), np.float64) / ours.density.sum(dtype=np.float64)
    np.testing.assert_allclose(centre, np.divide(theirs["centre"], theirs["mass"]), atol=0.15 * edge)

    names = [str(file), str(tmp_path / "a.json"), str(tmp_path / "a.png")]
    run([*BLENDER, str(HERE / "clients_blender.py"), "--", *names])
    found = json.loads((tmp_path / "a.json").read_text())
    matrix = np.array(found["grids"]["density"]["matrix"])
    np.testing.assert_allclose(matrix[:3, :3], np.eye(3) * edge / 4, atol=1e-6)
    np.testing.assert_allclose(matrix[:3, 3], np.array(theirs["low"]) + edge / 8, atol=1e-5)
    # The surface at density 0.5 lies around the cells above 0.3, within a coarse cell or so.
    corners = np.array(found["corners"])
    np.testing.assert_allclose(corners.min(0), theirs["thick"][0], atol=1.5 * edge)
    np.testing.assert_allclose(corners.max(0), theirs["thick"][1], atol=1.5 * edge)
    show(tmp_path / "a.png", f"blender_bake_{'_'.join(map(str, options))}.png")


@needs("blender")
def test_the_unit_of_blenders_velocity_is_what_moves_its_smoke(tmp_path):
    """Carrying a frame along its velocity for one frame gives the next: best with 2.5 / fps cells, of all."""
    from scipy.ndimage import binary_erosion, map_coordinates

    run([*BLENDER, str(HERE / "clients_blender_bake.py"), "--", str(tmp_path), "{}"])
    files = sorted((tmp_path / "data").glob("*.vdb"))
    now, then = take(files[6]).frame, take(files[7]).frame
    flowing = (now.velocity != 0).all(0) & (then.density > 0.01)
    flowing[:, :, :15] = False  # the source
    inner = binary_erosion(flowing, iterations=2)
    cells = np.stack(np.meshgrid(*map(np.arange, now.shape), indexing="ij")).astype(float)

    def error(scale):
        middle = cells - 0.5 * scale * now.velocity
        velocity = np.stack([map_coordinates(part, middle, order=1) for part in now.velocity])
        moved = map_coordinates(now.density, cells - scale * velocity, order=1)
        return float(((moved - then.density)[inner] ** 2).mean())

    scales = np.linspace(0, 0.3, 61)
    best = scales[np.argmin([error(scale) for scale in scales])]
    assert best == pytest.approx(2.5 / 24, rel=0.15)
    assert error(2.5 / 24) < 0.1 * error(1 / 24 / 0.0625)  # not m/s


@needs("blender")
def test_blender_draws_our_frames_where_the_domain_is(tmp_path):
    frame = ball()
    write(tmp_path / "a.vdb", frame, naming="blender")
    box = json.dumps([frame.origin, [o + n * 0.04 for o, n in zip(frame.origin, frame.shape, strict=True)]])
    names = [str(tmp_path / "a.vdb"), str(tmp_path / "a.png"), box]
    run([*BLENDER, str(HERE / "clients_blender_scene.py"), "--", *names])
    show(tmp_path / "a.png", "blender_scene.png")


@needs("blender")
def test_fire_goes_through_with_its_flame_and_its_motion(tmp_path):
    """A baked fire, upsampled, has its grids under their names, and is drawn by Cycles with motion blur."""
    from fluidsr.pipeline.upsample import upsample
    from fluidsr.pipeline.upsample_settings import UpsampleSettings
    from fluidsr.volumes import vdb

    options = json.dumps({"fire": True, "adaptive": True, "scale": 2.0})
    run([*BLENDER, str(HERE / "clients_blender_bake.py"), "--", str(tmp_path), options])
    (source,) = (tmp_path / "data").glob("*_0008.vdb")
    settings = UpsampleSettings(("smoke3d-x4",), device="cpu", formats=("vdb",))
    file = upsample([str(source)], tmp_path / "fine", settings, quiet=True) / "frames" / source.name
    with vdb.open(source) as theirs, vdb.open(file) as ours:
        names = {grid.name for grid in theirs.grids if grid.bounds is not None}
        assert names <= {grid.name for grid in ours.grids} and {"flame", "velocity", "density"} <= names
        assert ours.grid("velocity").metadata["class"] == "staggered"
        assert ours.grid("velocity").metadata["units"] == "m/s"
    # Every value of a flame lies within what the bake has.
    coarse, fine = read(source), read(file)
    assert fine.others["flame"].max() <= coarse.others["flame"].max() * (1 + 1e-3)
    assert fine.others["flame"].mean() == pytest.approx(coarse.others["flame"].mean(), rel=0.1)
    pictures = []
    for blur in (False, True):
        end = np.add(fine.origin, np.multiply(fine.shape, fine.cell_size)).tolist()
        reported = {
            "blur": blur,
            "shutter": 8.0,
            "samples": 16,
            "width": 160,
            "low": fine.origin,
            "high": end,
        }
        picture = tmp_path / f"{blur}.png"
        run(
            [
                *BLENDER,
                str(HERE / "clients_blender_fire.py"),
                "--",
                str(file),
                str(picture),
                json.dumps(reported),
            ]
        )
        show(picture, f"blender_fire_{blur}.png")
        pictures.append(imageio.imread(picture)[..., :3].astype(float))
    still, blurred = pictures
    assert (still[..., 0] - still[..., 2]).max() > 50  # flames are red and yellow
    assert np.abs(still - blurred).mean() > 2  # and move
