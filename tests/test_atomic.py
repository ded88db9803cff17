"""A file appears whole under its name, or not at all."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fluidsr.atomic import replacing
from fluidsr.errors import InputError, RunError
from fluidsr.frame import Frame
from fluidsr.ownership import sole_writer
from fluidsr.volumes import write, write_pvd

SUFFIXES = (".vdb", ".vti", ".npz", ".uni")


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_the_file_appears_at_the_end(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old" and temporary.parent == tmp_path
        assert temporary.name.startswith(".") and temporary.suffix == ".txt"
    assert path.read_text() == "new" and names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".pvd"])
def test_bad_paths_are_said_clearly(tmp_path, suffix):
    frame = Frame(np.ones((3, 3, 3), np.float32))

    def put(path):
        write_pvd(path, []) if suffix == ".pvd" else write(path, frame)

    with pytest.raises(InputError, match="the folder does not exist; create it"):
        put(tmp_path / "none" / f"a{suffix}")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file, not a folder"):
        put(tmp_path / "file" / f"a{suffix}")
    (tmp_path / f"a{suffix}").mkdir()
    with pytest.raises(InputError, match="it is a folder"):
        put(tmp_path / f"a{suffix}")
    with pytest.raises(InputError, match="the name is too long"):
        put(tmp_path / ("a" * 300 + suffix))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_without_permission(tmp_path, suffix):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="permission denied"):
        write(tmp_path / f"a{suffix}", Frame(np.ones((3, 3, 3), np.float32)))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_what_was_there(tmp_path, suffix):
    """A limit on the size of files stands for the full disk: the same errors, from the same calls."""
    path = tmp_path / f"a{suffix}"
    write(path, Frame(np.ones((3, 3, 3), np.float32)))
    before = path.read_bytes()
    script = f"""
import numpy as np
from fluidsr.errors import RunError
from fluidsr.frame import Frame
from fluidsr.ownership import sole_writer
from fluidsr.volumes import write
noise = np.random.default_rng(0).random((64, 64, 64), np.float32)
try:
    write({str(path)!r}, Frame(noise), precision="float")
except RunError as error:
    print(error)
"""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(path)) and done.stderr == ""
    assert "the disk is full; free some space" in done.stdout
    assert path.read_bytes() == before and names(tmp_path) == [path.name]


def test_contents_are_on_the_disk_before_the_name_and_the_name_before_the_return(tmp_path, monkeypatch):
    """In the order of the calls: after a power failure no file is empty, and none that was recorded is missing."""
    path, calls, fsync, rename = tmp_path / "a.txt", [], os.fsync, Path.replace

    def flushed(descriptor):
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        calls.append(("flushed", "folder" if place == tmp_path else place.read_text()))
        fsync(descriptor)

    def renamed(self, target):
        calls.append(("renamed", Path(target).name))
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert calls == [("flushed", "new"), ("renamed", "a.txt"), ("flushed", "folder")]


def test_run_error_is_not_the_users_fault():
    assert RunError("a", "b", "c").exit_code == 1


def test_only_what_a_killed_writer_left_of_a_file_is_removed(tmp_path):
    """Its owner clears up; another file's, and what merely looks like it, stays."""
    own = [".movie.0123abcd.part.mp4", ".movie.89abcdef.part.mp4"]
    others = [".movie.0123abcd.part.png", ".movies.0123abcd.part.mp4", ".movie.part.mp4", "movie.mp4"]
    for name in (*own, *others):
        (tmp_path / name).touch()
    with sole_writer(tmp_path / "movie.mp4"):
        assert names(tmp_path) == sorted([*others, ".movie.mp4.lock"])
        with pytest.raises(RunError, match=r"movie.mp4: another process is writing it; wait"):
            sole_writer(tmp_path / "movie.mp4").__enter__()
    assert names(tmp_path) == sorted(others)
