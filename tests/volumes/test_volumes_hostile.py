"""Damaged and malicious files end in a VolumeError: no crash, no other exception, no absurd allocation."""

import re
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from fluidsr import memory
from fluidsr.errors import VolumeError
from fluidsr.frame import Frame
from fluidsr.volumes import inspect, read, write

SAMPLES = Path(__file__).parent / "samples"
MEMORY = 64 << 20


def small_frame():
    rng = np.random.default_rng(0)
    density = np.where(rng.random((20, 17, 30)) < 0.3, rng.random((20, 17, 30)), 0).astype(np.float32)
    return Frame(density, velocity=np.stack([density] * 3))


@pytest.mark.parametrize("suffix", [".vdb", ".vti", ".npz"])
@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"<?xml version='1.0'?>", b"PK\3\4"])
def test_files_that_are_no_volumes_are_refused(tmp_path, suffix, data):
    (tmp_path / f"a{suffix}").write_bytes(data)
    for function in (read, inspect):
        with pytest.raises(VolumeError, match=re.escape(str(tmp_path / f"a{suffix}"))):
            function(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", [".vdb", ".vti", ".npz"])
def test_missing_files_are_said_clearly(tmp_path, suffix):
    with pytest.raises(VolumeError, match=r"cannot be read|not a readable"):
        read(tmp_path / f"a{suffix}")


def vdb_of(tree, buffers=b"", flags=3):
    """A VDB of one float grid, `density`, with the bytes of `tree` as its topology."""

    def text(value):
        return struct.pack("<I", len(value)) + value

    head = struct.pack("<q3IB", 0x56444220, 224, 10, 0, 1) + b"0" * 36 + struct.pack("<Ii", 0, 1)
    head += text(b"density") + text(b"Tree_float_5_4_3") + text(b"")
    body = struct.pack("<2I", flags, 0) + text(b"UniformScaleMap") + struct.pack("<15d", *[1.0] * 15) + tree
    start = len(head) + 24
    positions = struct.pack("<3q", start, start + len(body), start + len(body) + len(buffers))
    return head + positions + body + buffers


def test_a_small_file_cannot_claim_millions_of_tiles(tmp_path):
    packed = zlib.compress(b"\1\0\0\0" * 32768)
    node = bytes(4096) + b"\xff" * 4096 + b"\0" + struct.pack("<q", len(packed)) + packed
    branches = [struct.pack("<3i", 4096 * i, 0, 0) + node for i in range(130)]
    (tmp_path / "a.vdb").write_bytes(vdb_of(struct.pack("<ifII", 1, 0.0, 0, 130) + b"".join(branches)))
    with pytest.raises(VolumeError, match="GiB are allowed"):
        inspect(tmp_path / "a.vdb", max_bytes=MEMORY)


def test_a_bomb_of_zlib_is_not_inflated(tmp_path):
    packed = zlib.compress(bytes(1 << 25))
    node = bytes(4096) + b"\xff" * 4096 + b"\0" + struct.pack("<q", len(packed)) + packed
    tree = struct.pack("<ifII", 1, 0.0, 0, 1) + struct.pack("<3i", 0, 0, 0) + node
    (tmp_path / "a.vdb").write_bytes(vdb_of(tree))
    with pytest.raises(VolumeError, match="does not hold the 131072 bytes"):
        inspect(tmp_path / "a.vdb")


def test_a_huge_tile_is_described_but_not_densified():
    path = SAMPLES / "cpp_unk_zipmask_half.vdb"
    with pytest.raises(VolumeError, match="GiB are allowed"):
        read(path)
    density = inspect(path).grids[0]
    assert density.active_voxels == 68_721_614_491 and density.box == ((-7, -1, -19), (8192, 4096, 4096))


def test_a_huge_image_is_refused_before_it_is_allocated(tmp_path):
    write(tmp_path / "a.vti", small_frame())
    data = (tmp_path / "a.vti").read_bytes()
    extent = b"0 19 0 16 0 29"
    assert data.count(extent) == 2
    (tmp_path / "b.vti").write_bytes(data.replace(extent, b"0 99999 0 99999 0 99999"))
    with pytest.raises(VolumeError, match="GiB are allowed"):
        read(tmp_path / "b.vti")
    with pytest.raises(VolumeError, match="bytes instead of"):
        (tmp_path / "b.vti").write_bytes(data.replace(extent, b"0 19 0 16 0 300"))
        read(tmp_path / "b.vti")


def test_a_small_archive_of_much_air_is_read_once_and_within_the_free_memory(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", density=np.zeros((300, 300, 300), np.float32))
    assert (tmp_path / "a.npz").stat().st_size < 1 << 20
    read_array, calls = np.lib.format.read_array, []
    monkeypatch.setattr(
        np.lib.format, "read_array", lambda *given, **more: calls.append(0) or read_array(*given, **more)
    )
    assert inspect(tmp_path / "a.npz").grids[0].active_voxels == 0 and len(calls) == 1
    monkeypatch.setattr(memory, "free", lambda: memory.Free(MEMORY, "within the control group's limit"))
    with pytest.raises(VolumeError, match=r"needs 0.101 GiB as dense arrays, and 0.0625 GiB are allowed"):
        inspect(tmp_path / "a.npz")
    assert len(calls) == 1


def test_pickles_and_bombs_in_an_archive_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", density=np.array([[[{}]]], dtype=object))
    with pytest.raises(VolumeError, match="not an array of real numbers"):
        read(tmp_path / "a.npz")
    np.savez_compressed(tmp_path / "b.npz", density=np.zeros((300, 300, 300), np.float32))
    with pytest.raises(VolumeError, match="GiB are allowed"):
        read(tmp_path / "b.npz", max_bytes=MEMORY)
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr(
            "density.npy", b"\x93NUMPY\1\0\x40\0{'descr': '<f4', 'fortran_order': False, 'shape': (9,"
        )
    with pytest.raises(VolumeError):
        read(tmp_path / "c.npz")


def test_a_header_of_an_archive_that_is_too_long_is_one_line(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (9,), " + b" " * 20000 + b"}\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("density.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header)
    with pytest.raises(VolumeError, match="header of an array is damaged") as error:
        read(tmp_path / "a.npz")
    assert "\n" not in str(error.value)
    assert "allow_pickle" not in str(error.value)
