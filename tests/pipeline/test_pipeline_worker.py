"""The worker and its client: what is asked is done, what is wrong is refused in one line, and nothing is left."""

import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from fluidsr import volumes
from fluidsr.client import Client, RequestCancelled, WorkerError, _Shared
from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.pipeline.inference_settings import InferenceSettings
from fluidsr.pipeline.worker import connections, requests
from fluidsr.pipeline.worker import service as service_module
from fluidsr.pipeline.worker.connections import MAX_LINE, Connection
from fluidsr.pipeline.worker.service import _CANCEL, Service
from fluidsr.upscaling.tiles import Box

DOCS = Path(__file__).parents[2] / "docs"
COMMAND = [sys.executable, "-m", "fluidsr.cli"]


def puff(seed: int = 0) -> Frame:
    random = np.random.default_rng(seed)
    velocity, color = random.normal(size=(2, 2, 12, 10)).astype(np.float32)
    density = random.random((12, 10), np.float32)
    return Frame(density, velocity=velocity, others={"color": color}, cell_size=0.1)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client.start([*COMMAND]) as client:
        yield client


def test_arrays_come_back_as_the_generator_makes_them(client: Client, tiny_model: str) -> None:
    frame = puff()
    arrays = frame.fields()
    fine = client.upsample_arrays(arrays, model=tiny_model, cell_size=0.1, device="cpu")
    expected = InferenceSettings().load(tiny_model, "cpu").upsample(frame)
    for name, values in expected.fields().items():
        np.testing.assert_array_equal(fine[name], values)
    softer = client.upsample_arrays(arrays, model=tiny_model, cell_size=0.1, device="cpu", detail=0.5)
    expected = InferenceSettings().load(tiny_model, "cpu").upsample(frame, detail=0.5)
    np.testing.assert_array_equal(softer["density"], expected.density)
    assert np.abs(softer["density"] - fine["density"]).max() > 1e-3


def test_files_are_upsampled_with_progress_and_resumed(
    client: Client, tiny_model: str, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        volumes.write(tmp_path / f"s_{number:04d}.npz", puff(number))
    arguments = {
        "inputs": [str(tmp_path / "s_####.npz")],
        "output": str(tmp_path / "fine"),
        "model": tiny_model,
        "formats": ["npz"],
        "device": "cpu",
    }
    events: list[dict] = []
    result = client.call("upsample", events.append, **arguments)
    assert result["frames"] == str(tmp_path / "fine" / "frames")
    last = [event for event in events if event["event"] == "progress"][-1]
    assert (last["stage"], last["frame"], last["of"], last["seconds_left"]) == ("upsample", 3, 3, 0)
    written = volumes.read(tmp_path / "fine/frames/s_0002.npz")
    assert written.shape == (48, 40)
    (tmp_path / "fine/frames/s_0002.npz").unlink()
    events.clear()
    client.call("upsample", events.append, **arguments)
    assert [event["frame"] for event in events if event["event"] == "progress"] == [3]
    np.testing.assert_array_equal(volumes.read(tmp_path / "fine/frames/s_0002.npz").density, written.density)


def test_a_file_is_read_into_arrays(client: Client, tmp_path: Path) -> None:
    frame = puff()
    volumes.write(tmp_path / "s_0005.npz", frame, precision="float")
    fields, about = client.read(str(tmp_path / "s_0005.npz"))
    assert (about["shape"], about["cell_size"]) == ([12, 10], pytest.approx(0.1))
    assert fields.keys() == {"density", "velocity", "color"}
    for name, values in fields.items():
        np.testing.assert_array_equal(values, frame.fields()[name])


def test_a_request_that_runs_and_one_that_waits_are_cancelled(client: Client, tmp_path: Path) -> None:
    small = ["domain.resolution=[24,36]", "domain.cell_size=0.05"]
    arguments = {"overrides": small, "frames": 5000, "model": "none", "formats": ["npz"], "device": "cpu"}
    job = client.submit("simulate", scene="plume2d", output=str(tmp_path / "a"), **arguments)
    behind = client.submit("simulate", scene="plume2d", output=str(tmp_path / "b"), **arguments)
    while not any(event["event"] == "progress" for event in job.poll()):
        time.sleep(0.01)
    behind.cancel()
    job.cancel()
    for each in (job, behind):
        with pytest.raises(RequestCancelled):
            each.wait()
    assert list((tmp_path / "a" / "frames").glob("*.npz")) and not (tmp_path / "b").exists()
    assert client.call("info", path="smoke2d-x4")["factor"] == 4  # the worker goes on


@pytest.mark.parametrize(
    ("request_", "arguments", "needle"),
    [
        ("upsample", {"inputs": ["/nowhere.vdb"]}, "/nowhere.vdb: there is no such file"),
        ("upsample", {"inputs": "x", "bogus": 1}, "upsample: bogus"),
        ("upsample", {"inputs": "x", "passes": "2"}, "upsample: passes"),
        ("upsample", {}, "upsample: inputs"),
        ("simulate", {"scene": "no-such"}, "no-such"),
        ("nonsense", {}, "'nonsense' is not known"),
        ("info", {"path": "/nowhere.vdb"}, "/nowhere.vdb"),
        ("hello", {"protocol": 99}, "protocol 1, not 99"),
    ],
)
def test_errors_of_the_worker_are_one_line(
    client: Client, request_: str, arguments: dict, needle: str
) -> None:
    with pytest.raises(WorkerError) as caught:
        client.call(request_, **arguments)
    assert needle in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def memory(name: str = "none", shape: tuple[int, ...] = (4, 4)) -> dict:
    return {"memory": name, "shape": list(shape)}


@pytest.mark.parametrize(
    ("arrays", "needle"),
    [
        ({"density": memory("../../etc/passwd")}, "arrays.density.memory"),
        ({"density": memory("absent")}, "no shared memory 'absent'"),
        ({"density": memory(shape=(1 << 30, 1 << 30))}, "arrays.density.shape"),
        ({"density": memory(shape=(0, 4))}, "arrays.density.shape"),
    ],
)
def test_shared_memory_is_checked(client: Client, tiny_model: str, arrays: dict, needle: str) -> None:
    with pytest.raises(WorkerError) as caught:
        client.call("upsample_arrays", arrays=arrays, result=arrays, model=tiny_model, device="cpu")
    assert needle in str(caught.value)


def test_the_client_needs_no_second_process_for_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's watchman over shared memory is started as `sys.executable`, which in ParaView is no Python."""
    from multiprocessing import resource_tracker

    def broken() -> None:
        raise BrokenPipeError

    monkeypatch.setattr(resource_tracker._resource_tracker, "ensure_running", broken)
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    with _Shared() as shared:
        np.testing.assert_array_equal(shared.copy(shared.add(values.shape, values)), values)


def test_a_result_without_its_field_is_refused(client: Client, tiny_model: str) -> None:
    with pytest.raises(WorkerError, match="result: heat: is not a field of `arrays`"), _Shared() as shared:
        arrays = {"density": shared.add((4, 4), 1.0)}
        result = {"heat": shared.add((16, 16))}
        client.call("upsample_arrays", arrays=arrays, result=result, model=tiny_model, device="cpu")
    with pytest.raises(WorkerError, match="fields: confidence: 'tiny' has no mask"), _Shared() as shared:
        arrays = {"density": shared.add((4, 4), 1.0), "velocity": shared.add((2, 4, 4), 0.0)}
        result = {"confidence": shared.add((16, 16))}
        client.call("upsample_arrays", arrays=arrays, result=result, model=tiny_model, device="cpu")


def test_a_generator_that_ran_out_of_memory_is_not_kept(tiny_model: str) -> None:
    first = InferenceSettings().load(tiny_model, "cpu")
    assert InferenceSettings().load(tiny_model, "cpu") is first
    tiles = first._planner.plan(np.ones((12, 10), bool), Box((0, 0), (12, 10)), background=False).tiles
    bound = first.memory_bound
    first._planner.exhausted(tiles, (12, 10))
    assert first.memory_bound < bound
    second = InferenceSettings().load(tiny_model, "cpu")
    assert second is not first and second.memory_bound == bound


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Service, list[tuple[object, str]]]]:
    """A service, and the last events that it sends, with their ids."""
    service, events = Service(), []

    def submit(number: int, request: str, **arguments: object) -> None:
        asked = requests.Request(id=number, request=request, arguments=arguments)
        service.submit(None, asked, lambda event: events.append((number, event["event"])))

    monkeypatch.setattr(service, "ask", submit, raising=False)
    yield service, events
    signal.signal(_CANCEL, signal.SIG_DFL)


def test_a_clean_up_is_not_cancelled_again(queued: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    service, events = queued
    cleaned: list[int] = []

    def work() -> dict:
        try:
            service.end()  # cancels it
            time.sleep(10)
        except KeyboardInterrupt:
            for number in (1, 2, 1):
                service.ask(9, "cancel", id=number)
                time.sleep(0.01)
            cleaned.append(1)
            raise
        return {}

    monkeypatch.setattr(requests, "function_of", lambda request: work)
    for number in (1, 2):
        service.ask(number, "models")
    service.run()
    assert cleaned == [1]
    assert (1, "cancelled") in events and (1, "result") not in events


def test_a_cancel_just_before_the_work_begins_is_not_lost(
    queued: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, events = queued
    shown_by, begun = service_module.progress.shown_by, []

    def cancel_first(display: object) -> object:
        service.end()
        time.sleep(0.01)
        return shown_by(display)

    monkeypatch.setattr(service_module.progress, "shown_by", cancel_first)
    monkeypatch.setattr(requests, "function_of", lambda request: lambda: begun.append(request) or {})
    service.ask(1, "models")
    service.run()
    assert events == [(1, "cancelled")] and not begun


def answers(*lines: bytes) -> list[dict]:
    """What a connection says to lines, without a worker behind it."""
    written = io.BytesIO()
    Connection(io.BytesIO(b"".join(lines)), written, Service()).serve()
    return [json.loads(line) for line in written.getvalue().splitlines()]


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"not json\n",
        b"\xff\xfe\n",
        b"[1, 2]\n",
        b'"x"\n',
        b'{"id": 1}\n',
        b'{"id": 1.5, "request": "info"}\n',
        b'{"id": true, "request": "info"}\n',
        b'{"id": 1, "request": "info", "arguments": [], "more": 1}\n',
        b'{"id": 1, "request": "info", "arguments": {"path": NaN}}\n',
        b'{"id": "' + b"x" * 65 + b'", "request": "info"}\n',
        b'{"id": ' + b"9" * 5000 + b', "request": "info"}\n',
        b"[" * 200_000 + b"\n",
        b"POST / HTTP/1.1\n",
        b'{"id": 1, "request": "info"',  # without an end
        b"x" * (3 * MAX_LINE) + b"\n",
    ],
    ids=range(16),
)
def test_lines_that_are_no_requests_are_refused_and_the_next_is_answered(line: bytes) -> None:
    after = b"" if not line.endswith(b"\n") else b'{"id": 7, "request": "nonsense"}\n'
    first, *rest = answers(line, after)
    assert first["event"] == "error" and first["id"] is None and first["exit_code"] == 2
    assert [event["id"] for event in rest] == ([7] if after else [])


def test_ids_are_not_used_twice_and_waiting_requests_are_bounded() -> None:
    line = b'{"id": %d, "request": "models"}\n'
    events = answers(line % 1, line % 1, *(line % n for n in range(2, 80)))
    assert events[0]["id"] == 1 and "id: 1 is the id of a request" in events[0]["message"]
    assert events[1]["id"] == 65 and "64 requests are waiting" in events[1]["message"]


def test_only_the_token_opens_the_socket() -> None:
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    ready = json.loads(process.stdout.readline())
    port, token = ready["port"], ready["token"]
    hello = '{{"id": 1, "request": "hello", "arguments": {{"protocol": 1, "token": "{}"}}}}\n'
    for first in (
        hello.format("wrong"),
        hello.format(""),
        '{"id": 1, "request": "models"}\n',
        "x" * 9999 + "\n",
    ):
        with socket.create_connection(("127.0.0.1", port)) as intruder:
            intruder.sendall(first.encode())
            with suppress(ConnectionResetError):
                assert intruder.recv(100) == b""
    with Client.connect(port, token) as friend:
        assert friend.call("info", path="smoke2d-x4")["factor"] == 4
    process.stdin.close()  # as when the parent dies
    assert process.wait(60) == 0
    process.stdout.close()
    with pytest.raises(WorkerError, match="no worker answers"):
        Client.connect(port, token)


def test_a_worker_that_ends_fails_what_waits_and_a_missing_program_is_reported() -> None:
    client = Client.start([sys.executable, "-c", "import sys; sys.stdin.readline(); sys.exit(3)"])
    job = client.submit("models")
    with pytest.raises(WorkerError, match="has ended"):
        job.wait()
    client.close()
    with pytest.raises(WorkerError, match="cannot be started"):
        Client.start(["/no/such/fluidsr"])


def test_the_schema_in_the_docs_is_that_of_the_requests_and_fits_them() -> None:
    written = json.loads((DOCS / "worker.schema.json").read_text())
    assert written == requests.schema()
    names = {each["properties"]["request"]["const"] for each in written["oneOf"]}
    assert names == {
        "upsample",
        "upsample_arrays",
        "read",
        "simulate",
        "info",
        "models",
        "cancel",
        "hello",
        "shutdown",
    }
    page = (DOCS / "worker.md").read_text()
    for name in names:
        assert f"`{name}`" in page


def test_errors_in_requests_name_the_argument() -> None:
    for arguments, reported in (
        (
            {"inputs": "x", "velocity_scale": "1"},
            "upsample: velocity_scale: must be a valid number; see docs",
        ),
        ({"inputs": ["x", 1]}, "upsample: inputs"),
        ({}, "upsample: inputs: is missing; see docs"),
        ({"inputs": "x", "detal": 1}, "upsample: detal: is not known; did you mean 'detail'?"),
        ({"input": "x"}, "upsample: input: is not known; did you mean 'inputs'?"),
    ):
        with pytest.raises(InputError) as error:
            requests.parse(requests.Request(id=1, request="upsample", arguments=arguments))
        assert str(error.value).startswith(reported)
        assert not {"str", "list[str]", "constrained-str"} & set(
            error.value.where.replace(":", ".").split(".")
        )


@pytest.mark.parametrize(
    ("line", "reported"),
    [
        (b"[]", "request: is not an object"),
        (b'{"id": 1}', "request: is missing"),
        (b'{"id": {}, "request": "models"}', "id: must be a valid string"),
        (
            b'{"id": 1, "request": "models", "argument": {}}',
            "argument: is not known; did you mean 'arguments'?",
        ),
    ],
)
def test_invalid_request_lines_are_explained(line: bytes, reported: str) -> None:
    with pytest.raises(InputError) as error:
        connections._parse(line)
    assert str(error.value).startswith(reported)


def test_arrays_without_density_are_reported(client: Client) -> None:
    with pytest.raises(WorkerError, match="arrays: density is missing"):
        client.upsample_arrays({"velocity": np.zeros((3, 4, 4, 4), np.float32)}, cell_size=0.1, dt=0.1)


def test_threads_share_a_client(client: Client) -> None:
    factors: list[int] = []
    threads = [
        threading.Thread(target=lambda: factors.append(client.call("info", path="smoke2d-x4")["factor"]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert factors == [4, 4, 4, 4]
