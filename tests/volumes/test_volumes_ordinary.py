"""Odd but ordinary files of artists and researchers, each with its right values."""

from pathlib import Path

import numpy as np
import pytest

from fluidsr.errors import InputError, VolumeError
from fluidsr.frame import Frame
from fluidsr.volumes import inspect, read, sequence, take, write

RNG = np.random.default_rng(8)
SHAPE, CELL = (6, 5, 4), 0.1
DENSITY = RNG.random(SHAPE).astype(np.float32)
VELOCITY = RNG.normal(size=(3, *SHAPE)).astype(np.float32)


def names(folder: Path, *stems: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for stem in stems:
        (folder / f"{stem}.npz").write_bytes(b"x")
    return [folder / f"{stem}.npz" for stem in stems]


def image(
    path: Path,
    arrays: dict[str, np.ndarray],
    points: tuple[int, ...] = SHAPE,
    *,
    where: str = "PointData",
    thick: float = 0.1,
) -> Path:
    """An ascii .vti; arrays `[x, y, z]`, or with components last, of the points or the cells; cells `thick` along z."""
    extent = " ".join(f"0 {n - 1}" for n in points)
    rows = "".join(
        f'<DataArray type="Float32" Name="{name}" NumberOfComponents="{1 if a.ndim == 3 else a.shape[3]}"'
        f' format="ascii">{" ".join(f"{x:.9e}" for x in np.swapaxes(a, 0, 2).ravel())}</DataArray>'
        for name, a in arrays.items()
    )
    path.write_text(
        f'<VTKFile type="ImageData"><ImageData WholeExtent="{extent}" Origin="0 0 0" Spacing="1e-1 1e-1 {thick}">'
        f'<Piece Extent="{extent}"><{where}>{rows}</{where}></Piece></ImageData></VTKFile>'
    )
    return path


@pytest.mark.parametrize(
    ("stems", "numbers"),
    [
        (["shot_f001v2", "shot_f002v2", "shot_f010v2"], [1, 2, 10]),
        (["plume_01_res64", "plume_02_res64"], [1, 2]),
        (["a2b_0001", "a2b_0002"], [1, 2]),  # the last number, where it differs
        (["shot_v01_0007", "shot_v01_0008"], [7, 8]),
        (["out_0001_t0.958", "out_0002_t1.000", "out_0003_t1.042"], [1, 2, 3]),
        (["out_20260102_115959_f007", "out_20260102_120004_f008", "out_20260103_000001_f009"], [7, 8, 9]),
        (["out_0.000", "out_0.125", "out_0.250"], [0, 125, 250]),
    ],
)
def test_the_number_that_differs_is_the_frame(tmp_path: Path, stems: list[str], numbers: list[int]) -> None:
    files = names(tmp_path, *stems)
    for given in ([tmp_path], files, [tmp_path / "*.npz"]):  # a shell may have expanded the pattern
        assert [file.number for file in sequence.expand(given)] == numbers
    assert sequence.frame_number("shot_f012v2.vdb") == 12
    assert sequence.frame_number("smoke.v2.vdb") == 2


def test_decimals_at_even_distances_are_in_order(tmp_path: Path) -> None:
    files = names(tmp_path, *(f"out_{0.03 * n:.2f}" for n in range(40)))
    for given in ([tmp_path], [tmp_path / "*.npz"]):
        assert sequence.expand(given).paths == files
    names(tmp_path / "takes", "s.1.0001", "s.1.0002", "s.2.0001", "s.2.0002")
    with pytest.raises(InputError, match="2 sequences"):
        sequence.expand([tmp_path / "takes"])


def test_frames_at_even_distances_have_no_gaps(tmp_path: Path) -> None:
    names(tmp_path, "u-000", "u-100", "u-200", "u-300")
    assert sequence.expand([tmp_path]).gaps == ()
    (tmp_path / "u-200.npz").unlink()
    assert 101 in sequence.expand([tmp_path]).gaps


def test_brackets_may_be_part_of_a_name(tmp_path: Path) -> None:
    files = names(tmp_path, "smoke[v2]_0001", "smoke[v2]_0002")
    assert sequence.expand([tmp_path / "smoke[v2]_*.npz"]).paths == files
    others = names(tmp_path, "smokev_0003")  # where the brackets are a pattern that fits, they are one
    assert sequence.expand([tmp_path / "smoke[v2]_*.npz"]).paths == others


def test_files_named_one_by_one_are_ordered_as_those_of_a_folder(tmp_path: Path) -> None:
    files = names(tmp_path, "s.1001", "s.1001.25", "s.1001.5", "s.1002")
    found = sequence.expand(files)
    assert found.paths == files and [file.subframe for file in found] == [0, 0.25, 0.5, 0]
    fields = names(tmp_path, "rho_0001", "rho_0002", "u_0001", "u_0002")
    assert sequence.expand(fields).paths == fields[:2]
    two = names(tmp_path, "a_0001", "b_0001")
    with pytest.raises(InputError, match="frame 1 is also"):
        sequence.expand(two)


def test_times_in_names_are_times(tmp_path: Path) -> None:
    files = names(tmp_path, "out_1.0e+00", "out_0.0000e+00", "out_4.1667e-02", "out_8.3333e-02")
    for given in ([tmp_path], files):
        found = sequence.expand(given)
        assert [file.time for file in found] == [0, 4.1667e-2, 8.3333e-2, 1]
        assert found.paths == [files[1], files[2], files[3], files[0]]
    assert sequence.frame_number(files[2]) is None
    assert sequence.frame_number("shot_2e03.vdb") == 3  # no time


def test_single_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "density_0001.npy", DENSITY)
    np.save(tmp_path / "velocity_0001.npy", np.moveaxis(VELOCITY, 0, -1))
    assert [file.path.name for file in sequence.expand([tmp_path])] == ["density_0001.npy"]
    frame = read(tmp_path / "density_0001.npy")
    np.testing.assert_array_equal(frame.density, DENSITY)
    np.testing.assert_array_equal(frame.velocity, VELOCITY)
    assert inspect(tmp_path / "density_0001.npy").format == "npy"
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(VolumeError, match="not an array of numbers"):
        read(tmp_path / "objects.npy")
    (tmp_path / "short.npy").write_bytes((tmp_path / "density_0001.npy").read_bytes()[:200])
    with pytest.raises(VolumeError, match=r"short\.npy"):
        read(tmp_path / "short.npy")
    with pytest.raises(VolumeError, match="are allowed"):
        read(tmp_path / "density_0001.npy", max_bytes=100)


def test_axes_of_batch_and_channel(tmp_path: Path) -> None:
    last = np.moveaxis(VELOCITY, 0, -1)
    for at, (density, velocity) in enumerate(
        [
            (DENSITY[None, None], VELOCITY[None]),
            (DENSITY[None, ..., None], last[None]),
            (DENSITY[..., None], last),
        ]
    ):
        np.savez(tmp_path / f"{at}.npz", density=density, velocity=velocity, dx=CELL)
        frame = read(tmp_path / f"{at}.npz")
        np.testing.assert_array_equal(frame.density, DENSITY)
        np.testing.assert_array_equal(frame.velocity, VELOCITY)
    np.savez(tmp_path / "all.npz", density=np.stack([DENSITY] * 5), dx=CELL)
    with pytest.raises(VolumeError, match="several frames, or channels, in one array; write a file for each"):
        read(tmp_path / "all.npz")


@pytest.mark.parametrize("edges", [False, True], ids=["centers", "edges"])
def test_coordinates_tell_the_cell_size_and_the_place(tmp_path: Path, edges: bool) -> None:
    first = 1.0 if edges else 1.0 + CELL / 2
    axes = {name: first + CELL * np.arange(n + edges) for name, n in zip("xyz", SHAPE, strict=True)}
    np.savez(tmp_path / "a.npz", density=DENSITY, **axes)
    taken = take(tmp_path / "a.npz")
    assert taken.frame.cell_size == CELL and taken.frame.origin == pytest.approx((1, 1, 1))
    assert taken.notes == ()
    np.savez(tmp_path / "b.npz", density=DENSITY, **(axes | {"x": RNG.random(6)}))
    assert take(tmp_path / "b.npz").frame.cell_size == 1.0  # particles, say: they tell nothing
    for odd in (axes["x"] ** 2, 2 * axes["x"]):
        np.savez(tmp_path / "b.npz", density=DENSITY, **(axes | {"x": odd}))
        with pytest.raises(VolumeError, match=r"not at even distances|not cubes"):
            read(tmp_path / "b.npz")
        np.savez(tmp_path / "b.npz", density=DENSITY, dx=0.3, **(axes | {"x": odd}))
        assert read(tmp_path / "b.npz").cell_size == 0.3


def test_falling_coordinates_turn_the_fields_round(tmp_path: Path) -> None:
    x, y, z = (1000 + CELL * (np.arange(n, dtype=np.float32) + 0.5) for n in SHAPE)
    fields = {"density": DENSITY[:, ::-1], "velocity": VELOCITY[:, :, ::-1]}
    fields["drift"] = np.moveaxis(VELOCITY, 0, -1)[:, ::-1]
    np.savez(tmp_path / "a.npz", **fields, x=x, y=y[::-1], z=z)
    frame = read(tmp_path / "a.npz")
    np.testing.assert_array_equal(frame.density, DENSITY)
    np.testing.assert_array_equal(frame.velocity, VELOCITY)
    np.testing.assert_array_equal(frame.others["drift"], VELOCITY)
    assert frame.origin == pytest.approx((1000, 1000, 1000), abs=1e-3)


def test_velocity_of_coarser_cells_in_an_archive(tmp_path: Path) -> None:
    fine = tuple(2 * n for n in SHAPE)
    at = np.stack(np.meshgrid(*[np.arange(n) + 0.5 for n in SHAPE], indexing="ij"))  # velocity = place
    np.savez(tmp_path / "a.npz", density=np.ones(fine), velocity=at, dx=CELL / 2)
    taken = take(tmp_path / "a.npz")
    expected = np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / 2 for n in fine], indexing="ij"))
    inner = (slice(None), slice(1, -1), slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(np.asarray(taken.frame.velocity)[inner], expected[inner], rtol=1e-6)
    assert "it is resampled" in taken.notes[0]


@pytest.mark.parametrize(
    ("cells", "phiflow"),
    [((3, 6), False), ((12, 6), False), ((3, 6), True), ((12, 6), True), ((8, 20), True)],
)
def test_velocity_on_faces_of_other_cells_in_an_archive(
    tmp_path: Path, cells: tuple[int, int], phiflow: bool
) -> None:
    """As in PhiFlow's demo of a plume, whose smoke has smaller cells than the velocity (PhiFlow issue 75)."""
    n, m = cells  # along each axis: of the velocity, of the smoke
    at = np.zeros((n + 1, n + 1, 2))
    for axis in (0, 1):  # velocity = place, on the lower faces along its own axis
        at[..., axis] = (np.arange(n + 1) / n).reshape((-1, 1) if axis == 0 else (1, -1))
    if phiflow:
        box = {"lower": np.zeros(2), "upper": np.ones(2)}
        density, names = np.ones((m, m)), {"dim_names": list("xy"), "field_type": "CenteredGrid"}
        np.savez(tmp_path / "smoke_000000.npz", data=density, **names, **box)
        names = {"dim_names": [*"xy", "vector"], "field_type": "StaggeredGrid"}
        np.savez(tmp_path / "velocity_000000.npz", data=at, **names, **box)
        frame = read(tmp_path / "smoke_000000.npz")
    else:
        np.savez(tmp_path / "a.npz", density=np.ones((m, m)), velocity=at, dx=1 / m)
        frame = read(tmp_path / "a.npz")
    places = (np.arange(m) + 0.5) / m
    inner = (places > 0.5 / n) & (places < 1 - 0.5 / n)  # between the centers of the outermost cells
    np.testing.assert_allclose(np.asarray(frame.velocity)[0, inner, 0], places[inner], atol=0.01)
    np.testing.assert_allclose(np.asarray(frame.velocity)[1, 0, inner], places[inner], atol=0.01)


def test_integers_are_fields_and_smoke_is_not_one(tmp_path: Path) -> None:
    labels = np.arange(120).reshape(SHAPE) * 37
    np.savez(
        tmp_path / "a.npz", density=(DENSITY * 200).astype(np.uint8), labels=labels, heat=labels, dx=CELL
    )
    taken = take(tmp_path / "a.npz")
    assert taken.style is not None and taken.style.whole == {"labels"}  # smoke and heat are smooth
    np.testing.assert_array_equal(taken.frame.others["labels"], labels)
    assert float(taken.frame.density.max()) == np.floor(DENSITY.max() * 200)


def test_vectors_of_two_components_in_a_flat_image(tmp_path: Path) -> None:
    velocity = np.moveaxis(VELOCITY[:2, ..., :1], 0, -1)
    path = image(tmp_path / "a.vti", {"density": DENSITY[..., :1], "velocity": velocity}, (6, 5, 1))
    frame = read(path)
    np.testing.assert_allclose(frame.velocity, VELOCITY[:2, ..., 0], rtol=1e-6)


def test_a_layer_of_cells_is_a_2d_frame_however_thick(tmp_path: Path) -> None:
    layer = {"density": DENSITY[..., :1], "velocity": np.moveaxis(VELOCITY[..., :1], 0, -1)}
    taken = take(image(tmp_path / "a.vti", layer, (7, 6, 2), where="CellData", thick=1.0))
    frame = taken.frame
    np.testing.assert_allclose(frame.density, DENSITY[..., 0], rtol=1e-6)
    np.testing.assert_allclose(frame.velocity, VELOCITY[:2, ..., 0], rtol=1e-6)
    assert frame.cell_size == CELL and frame.origin == (0, 0)
    assert taken.lifted().frame.shape == (6, 5, 1)  # for a 3-D generator


def test_a_layer_of_an_archive_is_a_2d_frame_unless_it_says_otherwise(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz", density=DENSITY[..., :1], velocity=VELOCITY[..., :1], dx=CELL, origin=[1, 2, 3]
    )
    taken = take(tmp_path / "a.npz")
    np.testing.assert_array_equal(taken.frame.density, DENSITY[..., 0])
    np.testing.assert_array_equal(taken.frame.velocity, VELOCITY[:2, ..., 0])
    assert taken.frame.origin == (1, 2) and taken.layer == 3
    assert inspect(tmp_path / "a.npz").dim == 2
    np.savez(tmp_path / "density_01.npz", arr_0=DENSITY[..., :1].T[..., None])  # Mantaflow
    np.testing.assert_array_equal(read(tmp_path / "density_01.npz").density, DENSITY[..., 0])
    write(tmp_path / "b.npz", Frame(DENSITY[..., :1]))
    assert read(tmp_path / "b.npz").shape == (6, 5, 1)


@pytest.mark.parametrize("key", ["fps", "frame_rate"])
def test_an_archive_may_say_its_rate(tmp_path: Path, key: str) -> None:
    np.savez(tmp_path / "a.npz", density=DENSITY, dx=CELL, **{key: 30})
    taken = take(tmp_path / "a.npz")
    assert taken.frame.dt == 1 / 30 and taken.has_rate
    np.savez(tmp_path / "a.npz", density=DENSITY, dx=CELL, **{key: 0})
    assert not take(tmp_path / "a.npz").has_rate


def test_even_coordinates_in_float32_far_away(tmp_path: Path) -> None:
    rows = "".join(
        f'<DataArray type="Float32" Name="{axis}" format="ascii">{" ".join(map(repr, at.tolist()))}</DataArray>'
        for axis, at in (
            ("x", np.float32(1000) + np.arange(6, dtype=np.float32) * np.float32(CELL)),
            ("y", np.arange(5, dtype=np.float32) * np.float32(CELL)),
            ("z", np.arange(4, dtype=np.float32) * np.float32(CELL)),
        )
    )
    text = image(tmp_path / "a.vti", {"density": DENSITY}).read_text()
    text = text.replace("ImageData", "RectilinearGrid").replace(
        "</Piece>", f"<Coordinates>{rows}</Coordinates></Piece>"
    )
    (tmp_path / "a.vtr").write_text(text)
    frame = read(tmp_path / "a.vtr")
    np.testing.assert_allclose(frame.density, DENSITY, rtol=1e-6)
    assert frame.cell_size == pytest.approx(CELL, rel=1e-6)
    assert frame.origin == pytest.approx((999.95, -0.05, -0.05))


@pytest.mark.parametrize(
    "name", ["vel{0}", "velocity_{1}", "Velocity {1} [ m s^-1 ]", "{1}-velocity", "pyro:vel_{1}"]
)
def test_components_by_letters_of_velocity_and_counted_from_one(tmp_path: Path, name: str) -> None:
    parts = {name.format(axis + 1, "uvw"[axis]): VELOCITY[axis] for axis in range(3)}
    stresses = dict.fromkeys(("uu", "uv", "uw"), DENSITY)
    np.savez(tmp_path / "a.npz", density=DENSITY, **stresses, **parts, dx=CELL)
    frame = read(tmp_path / "a.npz")
    np.testing.assert_array_equal(frame.velocity, VELOCITY)
    assert set(frame.others) == set(stresses)


def test_components_by_number_and_arrays_that_are_left_out(tmp_path: Path) -> None:
    parts = {f"Velocity{sign}{axis}": VELOCITY[axis] for axis in range(3) for sign in (":",)}
    path = image(tmp_path / "a.vti", {"density": DENSITY, **parts, "rgba": np.zeros((*SHAPE, 4))})
    taken = take(path)
    np.testing.assert_allclose(taken.frame.velocity, VELOCITY, rtol=1e-6)
    assert list(taken.frame.others) == []
    assert taken.notes == ("'rgba' has 4 components: it is left out",)
    parts = {f"vel_{axis}": VELOCITY[axis] for axis in range(3)}
    np.savez(tmp_path / "a.npz", density=DENSITY, **parts, dx=CELL)
    np.testing.assert_array_equal(read(tmp_path / "a.npz").velocity, VELOCITY)


def test_a_frame_of_integers_is_written_exactly(tmp_path: Path) -> None:
    """Half precision holds no whole number above 2048; integers are never written as halves."""
    labels = (np.arange(120).reshape(SHAPE) * 37).astype(np.int64)
    np.savez(tmp_path / "a.npz", density=DENSITY, labels=labels, dx=CELL)
    taken = take(tmp_path / "a.npz")
    for suffix in ("vdb", "vti", "npz", "uni"):
        write(tmp_path / f"b.{suffix}", taken.frame, style=taken.style)
        np.testing.assert_array_equal(read(tmp_path / f"b.{suffix}").others["labels"], labels)
    frame = Frame(DENSITY, others={"labels": labels.astype(np.float32)})
    write(tmp_path / "c.npz", frame)  # without the style these are numbers like any other
    assert not np.array_equal(read(tmp_path / "c.npz").others["labels"], labels)


def test_reading_a_folder_and_writing_an_array_give_plain_errors(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="is a folder; name one of the files in it"):
        read(tmp_path)
    with pytest.raises(InputError, match=r"^frame: "):
        write(tmp_path / "a.npz", DENSITY)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_arrays_of_other_components_are_named(tmp_path: Path) -> None:
    path = image(tmp_path / "a.vti", {"q": np.stack([DENSITY] * 4, -1)}, SHAPE)
    with pytest.raises(VolumeError, match="'q' has 4 components"):
        read(path)


def test_a_file_of_phiflow_whose_dimensions_have_no_known_name_is_refused(tmp_path: Path) -> None:
    names, box = np.array(["a", "b", "c", "d"]), {"lower": np.zeros(3), "upper": np.ones(3)}
    file = tmp_path / "smoke.npz"
    np.savez(file, data=np.ones((7, 6, 5, 3)), dim_names=names, field_type="StaggeredGrid", **box)
    with pytest.raises(VolumeError, match="is not a 2-D or 3-D grid"):
        read(file)
