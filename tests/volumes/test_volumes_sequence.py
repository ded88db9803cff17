"""From what a user types to files in numeric order."""

import os
from pathlib import Path

import pytest

from fluidsr.errors import InputError, VolumeError
from fluidsr.volumes import read_pvd, write_pvd
from fluidsr.volumes.numbering import frame_number
from fluidsr.volumes.sequence import expand, series_name


@pytest.fixture
def folder(tmp_path):
    for number in (1, 2, 3, 5, 10, 100):
        (tmp_path / f"smoke_{number}.vdb").touch()
        (tmp_path / f"smoke_{number}.vti").touch()
    return tmp_path


@pytest.mark.parametrize("pattern", ["smoke_####.vdb", "smoke_%04d.vdb", "smoke_$F4.vdb", "smoke_*.vdb", ""])
def test_files_come_in_numeric_order(folder, pattern):
    found = expand([folder / pattern if pattern else folder])
    assert [file.number for file in found] == [1, 2, 3, 5, 10, 100]
    assert found.paths[-1] == folder / "smoke_100.vdb"
    assert found.gaps[:2] == (4, 6) and len(found.gaps) == 94


def test_named_files_are_sorted_and_counted_once(folder):
    names = [folder / f"smoke_{n}.vdb" for n in (10, 2, 2)]
    assert expand(names).paths == [names[1], names[0]]


def test_files_without_numbers_stay_in_order(tmp_path):
    names = [tmp_path / "b.vdb", tmp_path / "a.vdb"]
    for name in names:
        name.touch()
    assert expand(names).paths == names
    assert expand(names).gaps == ()


def test_mixed_sequences_are_refused(folder):
    (folder / "fire_0001.vdb").touch()
    with pytest.raises(InputError, match="2 sequences: fire_####"):
        expand([folder])
    with pytest.raises(InputError, match="frame 1 is also"):
        expand([folder / "*.vdb"])


@pytest.mark.parametrize("key", ["part", "timestep"])
def test_a_series_without_end_is_refused(tmp_path, key):
    """Three hundred thousand files, of one frame or of as many."""
    path = tmp_path / "a.pvd"
    with path.open("w") as file:
        file.write("<VTKFile type='Collection'><Collection>")
        other = "timestep" if key == "part" else "part"
        for number in range(300_000):
            file.write(f"<DataSet {other}='0' {key}='{number}' file='a.vti'/>")
        file.write("</Collection></VTKFile>")
    with pytest.raises(VolumeError, match="it names more than 100000 files; split it"):
        expand([path])


def test_a_frame_of_many_parts_is_one_frame(tmp_path):
    entries = "".join(f"<DataSet timestep='0.5' part='{n}' file='a_{n}.vti'/>" for n in range(5000))
    (tmp_path / "a.pvd").write_text(
        f"<VTKFile type='Collection'><Collection>{entries}</Collection></VTKFile>"
    )
    (frame,) = expand([tmp_path / "a.pvd"])
    assert frame.time == 0.5 and len(frame.parts) == 4999


def test_what_no_file_can_be_called_is_said(folder):
    assert len(expand([folder / "smoke**.vdb"])) == 6
    for name in ("x" * 5000, "#" * 300, "*" * 300 + "x" * 300, "x" * 300 + ".pvd"):
        with pytest.raises(InputError, match=r"cannot be found|no file matches|cannot be read"):
            expand([folder / name])


def test_missing_inputs_are_reported(folder):
    for missing in ("nothing.vdb", "none_####.vdb", "none*.vdb", "no/such_####.vdb"):
        with pytest.raises(InputError, match="check the"):
            expand([folder / missing])
    with pytest.raises(InputError, match="which ends in white space"):  # from a list with Windows line ends
        expand([f"{folder / 'nothing.vdb'}\r"])
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="holds no volumes"):
        expand([folder / "empty"])
    with pytest.raises(InputError, match="no file is named"):
        expand([])


def test_frame_numbers():
    assert frame_number("smoke.v2_0012.vdb") == 12
    assert frame_number("7/smoke.1001.vdb") == 1001
    assert frame_number("smoke.vdb") is None


def test_a_series_goes_round_and_can_be_moved(tmp_path):
    (tmp_path / "frames").mkdir()
    entries = [(n / 24, tmp_path / "frames" / f"a <&> {n:04d}.vti") for n in range(12)]
    write_pvd(tmp_path / "a.pvd", entries)
    assert read_pvd(tmp_path / "a.pvd") == entries
    moved = tmp_path.rename(tmp_path.parent / f"{tmp_path.name}-moved")
    found = expand([moved / "a.pvd"])
    assert [(file.time, file.path) for file in found] == [(t, moved / "frames" / p.name) for t, p in entries]
    assert [file.number for file in found] == list(range(12))


def test_a_series_is_named_relative_to_its_folder_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("run")  # noqa: PTH102
    write_pvd("run/a.pvd", [(0.0, "run/frames/a.vti")])
    assert 'file="frames/a.vti"' in Path("run/a.pvd").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<VTKFile",
        "<VTKFile type='ImageData'/>",
        "<VTKFile type='Collection'><Collection><DataSet timestep='x' file='a'/></Collection></VTKFile>",
        "<VTKFile type='Collection'><Collection><DataSet timestep='1'/></Collection></VTKFile>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><VTKFile type='Collection'/>",
    ],
)
def test_damaged_series_are_refused(tmp_path, text):
    (tmp_path / "a.pvd").write_text(text)
    with pytest.raises(VolumeError):
        read_pvd(tmp_path / "a.pvd")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("smoke_0001.vdb", "smoke"), ("a.b.0012.vti", "a.b"), ("cloud.npz", "cloud"), ("0007.vdb", "volumes")],
)
def test_what_frames_share_of_their_names(name, expected):
    assert series_name(name) == expected


def touched(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return [folder / name for name in names]


def test_frames_between_whole_ones_come_in_their_order(tmp_path):
    files = touched(tmp_path, *(f"s.{n}.vdb" for n in ("1001", "1001.25", "1001.5", "1001.75", "1002")))
    for given in ("", "s.*.vdb", "s.####.vdb"):
        found = expand([tmp_path / given if given else tmp_path])
        assert found.paths == files and [file.number for file in found] == [1001, 1001, 1001, 1001, 1002]
        assert [file.subframe for file in found] == [0, 0.25, 0.5, 0.75, 0]
    other = tmp_path / "other"
    touched(other, "s.2.012.vdb", "s.2.013.vdb", "s.2.020.vdb")  # a version, and frames
    assert [file.number for file in expand([other])] == [12, 13, 20]


def test_frames_before_zero(tmp_path):
    files = touched(tmp_path, "s.-0002.vdb", "s.-0001.vdb", "s.0000.vdb", "s.0001.vdb")
    for given in ("", "*.vdb", "s.####.vdb"):
        found = expand([tmp_path / given if given else tmp_path])
        assert found.paths == files and [file.number for file in found] == [-2, -1, 0, 1]
    assert frame_number("s-0012.vdb") == 12  # a dash between name and number is no minus


@pytest.mark.parametrize("head", ["smoke@2x_", "shot#3_", "50%d_", "a$F4_"])
def test_signs_of_a_number_may_be_part_of_the_name(tmp_path, head):
    files = touched(tmp_path, f"{head}0001.vdb", f"{head}0002.vdb")
    assert expand([tmp_path / f"{head}####.vdb"]).paths == files


def test_of_files_with_a_field_each_the_densities_stand_for_their_frames(tmp_path):
    touched(tmp_path, *(f"{name}-000{n}.vtk" for name in ("rho", "u") for n in (1, 2)))
    for given in ("", "*.vtk"):
        assert [file.path.name for file in expand([tmp_path / given if given else tmp_path])] == [
            "rho-0001.vtk",
            "rho-0002.vtk",
        ]
    assert [file.path.name for file in expand([tmp_path / "u-0001.vtk"])] == [
        "u-0001.vtk"
    ]  # when it is named


def series(path, *entries):
    rows = "".join(
        f"<DataSet timestep='{time}' part='{part}' file='{file}'/>"
        if time is not None
        else f"<DataSet file='{file}'/>"
        for time, part, file in entries
    )
    path.write_text(f"<VTKFile type='Collection'><Collection>{rows}</Collection></VTKFile>")


def test_the_order_of_a_series_counts_where_names_do_not_number_it(tmp_path):
    series(tmp_path / "a.pvd", (0.1, 0, "iT2iC0.vti"), (0.2, 0, "iT1iC0.vti"), (0.3, 0, "steps/3/data.vti"))
    found = list(expand([tmp_path / "a.pvd"]))
    assert [(file.number, file.time, file.path.name) for file in found] == [
        (1, 0.1, "iT2iC0.vti"),
        (2, 0.2, "iT1iC0.vti"),
        (3, 0.3, "data.vti"),
    ]


def test_parts_of_a_series_are_one_frame(tmp_path):
    series(tmp_path / "a.pvd", (0.1, 0, "l1.vti"), (0.1, 1, "r1.vti"), (0.2, 0, "l2.vti"), (0.2, 1, "r2.vti"))
    found = list(expand([tmp_path / "a.pvd"]))
    assert [(file.path.name, [part.name for part in file.parts]) for file in found] == [
        ("l1.vti", ["r1.vti"]),
        ("l2.vti", ["r2.vti"]),
    ]
    series(tmp_path / "a.pvd", (None, 0, "l1.vti"), (None, 1, "r1.vti"))  # without times there are no parts
    assert [len(file.parts) for file in expand([tmp_path / "a.pvd"])] == [0, 0]


def test_series_of_windows_and_of_paraview(tmp_path):
    (file,) = touched(tmp_path, "sub/s_4.vti")
    series(tmp_path / "a.pvd", (0.5, 0, ".\\sub\\s_4.vti"))
    assert expand([tmp_path / "a.pvd"]).paths == [file]
    text = '{"file-series-version": "1.0", "files": [{"name": "sub/s_4.vti", "time": 0.5}]}'
    (tmp_path / "s.vti.series").write_text(text)
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "s.vti.series").write_text(text.replace(", ", ",\r\n"), encoding)
        (tmp_path / "b.pvd").write_text((tmp_path / "a.pvd").read_text("utf-8"), encoding)
        assert [(f.path, f.time, f.number) for f in expand([tmp_path / "s.vti.series"])] == [(file, 0.5, 4)]
        assert expand([tmp_path / "b.pvd"]).paths == [file]
    (tmp_path / "b.pvd").write_bytes("<VTKFile type='räuch'>".encode("latin-1"))
    with pytest.raises(VolumeError, match=r"b\.pvd: it is not UTF-8 text .*; save it as UTF-8"):
        expand([tmp_path / "b.pvd"])
    for text in (
        "",
        "[]",
        '{"files": [{"name": 3}]}',
        '{"files": [{"name": "a", "time": "x"}]}',
        "[" * 10000,
    ):
        (tmp_path / "s.vti.series").write_text(text)
        with pytest.raises(VolumeError):
            expand([tmp_path / "s.vti.series"])


def test_a_run_folder_stands_for_its_frames(tmp_path):
    touched(tmp_path, "run.yaml", "frames/plume_0001.vdb", "frames/plume_0002.vdb")
    assert [file.number for file in expand([tmp_path])] == [1, 2]


def test_a_folder_of_folders_names_those_that_hold_frames(tmp_path: Path) -> None:
    """The cache folder of a bake, and a folder of runs."""
    for name in ("config/config_0001.uni", "data/fluid_data_0001.vdb", "fluidsr/run.yaml", "notes/a.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=r"holds no volumes; give a folder in it: data, fluidsr$"):
        expand([str(tmp_path)])


def test_an_empty_series_is_reported_by_its_name(tmp_path):
    write_pvd(tmp_path / "a.pvd", [])
    with pytest.raises(InputError, match=r"a\.pvd: it names no files"):
        expand([tmp_path / "a.pvd"])


@pytest.mark.parametrize(
    ("names", "times"),
    [
        ([f"out_t{time}.npz" for time in ("0.8", "0.9", "1.0", "1.1")], [0.8, 0.9, 1.0, 1.1]),
        ([f"t={time}.npz" for time in ("0.05", "0.1", "0.15", "0.2")], [0.05, 0.1, 0.15, 0.2]),
        ([f"out_{time}s.npz" for time in ("9.5", "10", "10.5")], [9.5, 10.0, 10.5]),
    ],
)
def test_times_in_names_are_times_however_the_files_are_named(tmp_path, names, times):
    files = touched(tmp_path, *names)
    for given in ([tmp_path], [tmp_path / "*.npz"], files[::-1]):
        found = expand(given)
        assert found.paths == files and [file.time for file in found] == times


@pytest.mark.parametrize(
    ("numbers", "frames"),
    [
        (("10", "10.5", "11", "11.5"), [10, 10.5, 11, 11.5]),
        (("-2", "-1.5", "-1", "-0.5", "0"), [-2, -1.5, -1, -0.5, 0]),
        (("0.05", "0.1", "0.15", "0.2"), [0.05, 0.1, 0.15, 0.2]),
        (("0.1", "0.15", "0.2", "0.25"), [0.1, 0.15, 0.2, 0.25]),
        (("1.8", "1.9", "1.10", "1.11"), [8, 9, 10, 11]),
    ],
)
def test_decimals_are_distinguished_from_two_numbers(tmp_path, numbers, frames):
    files = touched(tmp_path, *(f"s.{number}.npz" for number in numbers))
    for given in ([tmp_path], [tmp_path / "*.npz"], files[::-1]):
        found = expand(given)
        assert found.paths == files
        assert [file.number + file.subframe for file in found] == pytest.approx(frames)


@pytest.mark.parametrize("numbers", [("00-59", "01-00", "01-01"), ("10p00", "10p50", "11p25", "11p75")])
def test_numbers_that_would_scramble_the_frames_are_refused(tmp_path, numbers):
    files = touched(tmp_path, *(f"s_{number}.npz" for number in numbers))
    for given in ([tmp_path], [tmp_path / "*.npz"], files):
        with pytest.raises(InputError, match=r"which number counts is not clear|2 sequences"):
            expand(given)


def test_a_number_of_cells_is_no_frame():
    assert frame_number("smoke_7_64x64x64.vdb") == 7
    assert frame_number("smoke_64x64.vdb") is None


def test_frames_that_are_there_in_another_format_only_are_not_lost(tmp_path):
    touched(tmp_path, "s_0001.vdb", "s_0001.npz", "other_0005.npz")
    assert [file.path.name for file in expand([tmp_path])] == ["s_0001.vdb"]
    touched(tmp_path, "s_0002.npz")
    with pytest.raises(InputError, match=r"s_0002\.npz is not a \.vdb file"):
        expand([tmp_path])
    touched(tmp_path, "run.yaml", "frames/p_0001.vdb", "frames/p_0001.vti", "frames/p_0002.vti")
    assert len(expand([tmp_path])) == 1  # a run that is still being written


def test_groups_of_a_series_are_parts_and_a_file_may_come_again(tmp_path):
    rows = "".join(f"<DataSet timestep='0.5' group='{g}' part='0' file='{g}.vti'/>" for g in "ab")
    (tmp_path / "a.pvd").write_text(f"<VTKFile type='Collection'><Collection>{rows}</Collection></VTKFile>")
    (frame,) = expand([tmp_path / "a.pvd"])
    assert frame.path.name == "a.vti" and [part.name for part in frame.parts] == ["b.vti"]
    series(tmp_path / "b.pvd", (0.1, 0, "s_1.vti"), (0.2, 0, "s_1.vti"), (0.3, 0, "s_2.vti"))
    found = expand([tmp_path / "b.pvd"])
    assert [(file.number, file.time, file.path.name) for file in found] == [
        (1, 0.1, "s_1.vti"),
        (2, 0.2, "s_1.vti"),
        (3, 0.3, "s_2.vti"),
    ]
