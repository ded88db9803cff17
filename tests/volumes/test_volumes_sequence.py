"""From what a user types to files in numeric order."""

import os
from pathlib import Path

import pytest

from fluidsr.errors import InputError, VolumeError
from fluidsr.volumes import read_pvd, write_pvd
from fluidsr.volumes.sequence import expand, frame_number, series_name


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


def test_what_is_not_there_is_said(folder):
    for missing in ("nothing.vdb", "none_####.vdb", "none*.vdb", "no/such_####.vdb"):
        with pytest.raises(InputError, match="check the"):
            expand([folder / missing])
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
