"""A training's folder: damaged checkpoints, one owner, what --overwrite removes, a full disk, a longer schedule."""

import json
import os
import signal
import struct
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tensorboard.compat.proto.event_pb2 import Event

from fluidsr import checkpoints
from fluidsr.errors import InputError, RunError
from fluidsr.training import Sources, train
from fluidsr.training.folder import CHECKPOINT, own
from fluidsr.training.loggers import TensorBoard
from fluidsr.training.metrics_log import MetricsLog


def flipped(path, tensor):
    """Change one number of a tensor in the file, as a failing disk would."""
    data = bytearray(path.read_bytes())
    header = int.from_bytes(data[:8], "little")
    with safe_open(path, framework="pt") as file:
        first = file.get_tensor(tensor).flatten()[:1].numpy().tobytes()
    data[data.index(first, 8 + header) + 2] ^= 1
    path.write_bytes(data)


def test_checkpoints_notice_a_changed_number_and_fall_back(tmp_path):
    path, reported = tmp_path / "c.safetensors", []
    for step in (1, 2, 3):
        checkpoints.save(path, {"w": torch.arange(6.0) + step, "n": torch.tensor(step)}, {"step": step})
    assert (
        checkpoints.newest(path, lambda saved: saved.record, reported.append) == {"step": 3} and not reported
    )
    flipped(path, "w")
    saved = checkpoints.newest(path, lambda saved: saved, reported.append)
    assert saved.record == {"step": 2} and saved.tensors["w"][0] == 2
    assert reported == [f"{path}: cannot be used (its checksum does not match); resuming from the one before"]
    path.unlink()  # killed between two renamings
    assert checkpoints.newest(path, lambda saved: saved.record, reported.append) == {"step": 2}
    checkpoints.previous(path).write_bytes(b"")
    with pytest.raises(InputError, match="cannot be used"):
        checkpoints.newest(path, lambda saved: saved, reported.append)
    checkpoints.remove(path)
    assert checkpoints.newest(path, lambda saved: saved, reported.append) is None and not list(
        tmp_path.iterdir()
    )


def test_a_record_that_was_changed_is_noticed_too(tmp_path):
    path = tmp_path / "c.safetensors"
    checkpoints.save(path, {"w": torch.zeros(2)}, {"step": 7})
    path.write_bytes(path.read_bytes().replace(b'step\\": 7', b'step\\": 8'))
    with pytest.raises(checkpoints.Damaged, match="checksum"):
        checkpoints.read(path)


def test_a_training_resumes_from_the_checkpoint_before_a_damaged_one(recipe, sampler, tmp_path):
    plan = recipe(checkpoint_every=2)
    train(plan, Sources(sampler(plan)), tmp_path / "whole")
    part, reported = tmp_path / "part", []
    train(plan.model_copy(update={"steps": 4}), Sources(sampler(plan)), part)
    with safe_open(part / CHECKPOINT, framework="pt") as file:
        name = next(name for name in file.keys() if name.startswith("generator/weight"))  # noqa: SIM118
    flipped(part / CHECKPOINT, name)
    again = sampler(plan)
    train(plan, Sources(again), part, on_note=reported.append)
    assert again.served[0] == 2 and "its checksum does not match" in reported[0]
    for file in ("tiny.safetensors", CHECKPOINT):
        whole, parts = load_file(tmp_path / "whole" / file), load_file(part / file)
        assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_a_stop_between_checkpoint_and_validation_is_made_up_for(recipe, sampler, tmp_path):
    """A kill after the checkpoint of step 4, whose validation and pictures were due; and one after the last step's."""
    plan = recipe(validate_every=2, sample_every=2, steps=6)
    calls, stops = [], set()

    def validation(generator):
        calls.append(0)
        if len(calls) in stops:
            raise SystemExit  # nothing is saved any more, as after a kill
        return {"error": float(sum(weight.abs().sum() for weight in generator.parameters()))}

    def pictures(generator):
        return {"smoke": np.full((2, 2, 3), 7, np.uint8)}

    def run(folder):
        with suppress(SystemExit):
            train(plan, Sources(sampler(plan)), tmp_path / folder, validation=validation, pictures=pictures)

    run("whole")
    calls.clear()
    stops |= {2, 4}
    for _ in range(4):
        run("parts")
    assert len(calls) == 3 + 2  # what is complete is not validated again
    logs = [
        [
            {name: record[name] for name in ("step", "group", "error", "total") if name in record}
            for record in map(json.loads, (tmp_path / folder / "metrics.jsonl").read_text().splitlines())
        ]
        for folder in ("whole", "parts")
    ]
    assert logs[0] == logs[1]
    for file in ("tiny.safetensors", "tiny.md", *(f"samples/smoke_000000{n}.png" for n in (2, 4, 6))):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()


def test_extending_a_training_reports_a_jump_of_the_learning_rate(recipe, sampler, tmp_path):
    plan, reported = recipe(steps=4, optimizer={"learning_rate": 1e-3, "warmup_steps": 1}), []
    train(plan, Sources(sampler(plan)), tmp_path)
    train(plan.model_copy(update={"steps": 8}), Sources(sampler(plan)), tmp_path, on_note=reported.append)
    (line,) = reported
    assert "was planned for 4 steps and continues to 8" in line
    # Half a wave from 1e-3 down: at its end after 4 steps, and at the middle of one of 8.
    before, after = (float(word) for word in (line.split()[-6], line.split()[-4]))
    assert before < 0.5e-3 < after < 1e-3


def test_overwrite_removes_only_the_files_of_a_training(tmp_path):
    ours = [
        "other.safetensors",
        "other.md",
        "discriminators.safetensors",
        "metrics.jsonl",
        "tensorboard/events.out.tfevents.1.a.2",
        "samples/a_0000002.png",
    ]
    theirs = [
        "thesis.tex",
        "mine.safetensors",
        "samples/a.png",
        "tensorboard/notes.txt",
        "sub/other.md",
        "x.part.md",
    ]
    for name in [*ours, *theirs]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("data")
    for _ in range(2):
        checkpoints.save(tmp_path / CHECKPOINT, {"w": torch.zeros(1)}, {"recipe": {"name": "other"}})
    own(tmp_path, "tiny", overwrite=True).release()
    left = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file())
    assert left == sorted(theirs)


def test_a_training_has_one_owner_and_clears_up_after_a_killed_one(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from fluidsr.training.folder import own\n"
        "owner = own(Path(sys.argv[1]), 'tiny', overwrite=False); print('own', flush=True); time.sleep(600)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "own\n"
        (tmp_path / ".checkpoint.0123abcd.part.safetensors").write_bytes(b"half")
        with pytest.raises(RunError, match=rf"process {other.pid} on .* \(a training of tiny\)"):
            own(tmp_path, "tiny", overwrite=True)
    finally:
        os.kill(other.pid, signal.SIGKILL)
        other.communicate()
    with own(tmp_path, "tiny", overwrite=False) as owner:
        assert "has been recovered" in owner.notes[0]
    assert not list(tmp_path.iterdir())


def test_a_full_disk_ends_the_log_in_one_line(tmp_path, monkeypatch, capfd):
    board = TensorBoard(tmp_path, 0, {})
    log = MetricsLog(tmp_path, 0, [board])
    log.write(1, "training", {"total": 1.0})

    class Full:
        def write(self, data):
            raise OSError(28, "No space left on device")

        def flush(self): ...

    monkeypatch.setattr(board, "_records", Full())
    with pytest.raises(RunError, match="the disk is full; free some space"):
        log.write(2, "training", {"total": 1.0})
    log.close()
    assert capfd.readouterr() == ("", "")


def test_the_log_is_an_event_file_of_tensorboard(tmp_path):
    log = MetricsLog(tmp_path, 4, [TensorBoard(tmp_path, 4, {})])
    log.write(5, "training", {"total": 0.25})
    log.write_image(6, "smoke", np.zeros((2, 3, 3), np.uint8))
    log.close()
    (path,) = (tmp_path / "tensorboard").iterdir()
    assert ".tfevents." in path.name
    data, events, at = path.read_bytes(), [], 0
    while at < len(data):  # length, its checksum, the event, its checksum
        (size,) = struct.unpack_from("<Q", data, at)
        events.append(Event.FromString(data[at + 12 : at + 12 + size]))
        at += size + 16
    version, start, scalar, image = events
    assert version.file_version == "brain.Event:2" and start.step == 5
    assert scalar.step == 5 and scalar.summary.value[0].tag == "training/total"
    assert scalar.summary.value[0].simple_value == 0.25
    assert image.step == 6 and image.summary.value[0].image.width == 3


@pytest.mark.parametrize(
    "lines",
    [
        b"\xff\xfe\n",
        b'{"step": 1e999, "group": "validation"}\n',
        b'{"step": 1, "group": "validation", "psnr": "x"}\n',
    ],
)
def test_a_log_of_metrics_from_elsewhere_is_read_with_care(tmp_path, lines):
    (tmp_path / "metrics.jsonl").write_bytes(lines + b'{"step": 2, "group": "validation", "psnr": 30}\n')
    log = MetricsLog(tmp_path, 2)
    assert log.validation == {"psnr": 30.0}
    assert log.records("validation")[-1] == (2, {"psnr": 30.0})


def test_a_named_pipe_in_place_of_what_a_training_left_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises((InputError, RunError), match="not a regular file"):
        MetricsLog(tmp_path, 1)
    os.mkfifo(tmp_path / "c.safetensors")
    with pytest.raises(checkpoints.Damaged, match="not a regular file"):
        checkpoints.read(tmp_path / "c.safetensors")
