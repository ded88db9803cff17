"""A run's folder: resumption, differing configurations, damaged logs."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from fluidsr.errors import InputError
from fluidsr.pipeline.run_folder import RunFolder, first_difference


def open_run(
    path: Path,
    configuration: dict | None = None,
    *,
    overwrite: bool = False,
    frames: Iterable[int] | None = None,
    command: str = "simulate",
) -> RunFolder:
    notes = {"frames": "1-2"}
    return RunFolder.open(
        path, command, configuration or {"a": 1}, overwrite=overwrite, notes=notes, frames=frames
    )


def test_a_new_folder_records_what_was_asked(tmp_path: Path) -> None:
    open_run(tmp_path / "run")
    document = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    assert document["configuration"] == {"a": 1}
    assert document["environment"]["python"]


def test_a_frame_is_complete_with_its_line_and_its_files(tmp_path: Path) -> None:
    folder = open_run(tmp_path / "run")
    file = tmp_path / "run" / "frames" / "x.vdb"
    assert not folder.is_complete(1, [file])
    folder.record(1, {"time": 0.1})
    assert not folder.is_complete(1, [file])
    file.write_bytes(b"smoke")
    assert folder.is_complete(1, [file])
    folder.close()
    assert open_run(tmp_path / "run").is_complete(1, [file])


def test_a_line_cut_off_by_a_stop_is_dropped(tmp_path: Path) -> None:
    open_run(tmp_path / "run").record(1, {"time": 0.1})
    log = tmp_path / "run" / "run.jsonl"
    log.write_text(log.read_text() + '{"frame": 2, "ti')
    folder = open_run(tmp_path / "run")
    folder.record(3, {"time": 0.3})
    assert [json.loads(line)["frame"] for line in log.read_text().splitlines()] == [1, 3]


def test_another_configuration_is_named(tmp_path: Path) -> None:
    open_run(tmp_path / "run", {"scene": {"time": {"fps": 24}}}).record(1, {})
    with pytest.raises(InputError, match=r"scene.time.fps is 24 there and 25 here; use `overwrite`"):
        open_run(tmp_path / "run", {"scene": {"time": {"fps": 25}}})


def test_overwrite_removes_the_run_and_spares_the_users_files(tmp_path: Path) -> None:
    folder = open_run(tmp_path / "run")
    logged, killed, own = (folder.path / "frames" / name for name in ("x.vdb", "x_0002.vdb", "look.hip"))
    for file in (logged, killed, own, folder.path / "notes.txt"):
        file.write_text("mine")
    folder.record(1, {}, [logged])
    folder.close()
    fresh = open_run(tmp_path / "run", {"a": 2}, overwrite=True)
    assert not fresh.complete
    assert not logged.exists() and not killed.exists()
    assert own.read_text() == (fresh.path / "notes.txt").read_text() == "mine"


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="holds no run"):
        open_run(tmp_path, overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_without_a_finished_frame_gives_way(tmp_path: Path) -> None:
    open_run(tmp_path / "run", {"a": 1})
    open_run(tmp_path / "run", {"a": 2})
    assert yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["configuration"] == {"a": 2}


def test_a_second_machine_spares_what_the_first_has_begun(tmp_path: Path) -> None:
    first = open_run(tmp_path / "run", frames=range(1, 3))
    begun = first.path / "frames" / ".x_0002.1234abcd.part.vdb"
    begun.write_bytes(b"half a frame")
    second = open_run(tmp_path / "run", frames=range(3, 5))
    assert begun.exists()
    second.record(3, {})
    first.record(1, {})
    first.refresh()
    assert set(first.complete) == {1, 3}
    first.close()
    second.close()
    open_run(tmp_path / "run", frames=range(3, 5)).close()
    assert not begun.exists()  # nobody is at work on it any more


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="is a file"):
        open_run(tmp_path / "run")


def test_a_damaged_record_is_an_error_not_a_crash(tmp_path: Path) -> None:
    open_run(tmp_path).record(1, {})
    (tmp_path / "run.yaml").write_bytes(b"\xff\xfe: [")
    with pytest.raises(InputError, match="cannot be read"):
        open_run(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 1}}, ""),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b is 1 there and 2 here"),
        ({"a": [1, 2]}, {"a": [1, 3]}, "a is [1, 2] there and [1, 3] here"),
        ({}, {"model": None}, ""),
        ({"model": None}, {"model": {"name": "x"}}, 'model is null there and {"name": "x"} here'),
    ],
)
def test_first_difference(old: dict, new: dict, expected: str) -> None:
    assert first_difference(old, new) == expected
