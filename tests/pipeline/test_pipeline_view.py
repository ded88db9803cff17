"""`fluidsr view`: what the browser is given, to whom, and what it shows."""

import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from fluidsr import volumes
from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.pipeline.frame_sequence import FrameRef
from fluidsr.pipeline.read_options import ReadOptions
from fluidsr.pipeline.viewer import Viewer
from fluidsr.pipeline.viewer.sequences import Sequences
from fluidsr.pipeline.viewer.volume_cache import VolumeCache, volume_of


def write_puffs(folder: Path, cells: int, name: str = "puff", count: int = 3) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    axes = [(np.arange(n, dtype=np.float32) + 0.5) / cells for n in (cells, 2 * cells, cells)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    for number in range(1, count + 1):
        inside = (x - 0.5) ** 2 + (y - 0.4 * number) ** 2 + (z - 0.5) ** 2 < 0.12
        frame = Frame(2 * inside.astype(np.float32) * x, cell_size=1 / cells, time=number / 12, dt=1 / 12)
        volumes.write(folder / f"{name}_{number:04d}.npz", frame)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a run with coarse frames leaves it; the last fine frame is damaged, and a file lies beside."""
    root = tmp_path_factory.mktemp("hostile") / "<img src=x onerror=alert(1)>&quot;"
    write_puffs(root / "coarse", 4)
    write_puffs(root / "frames", 8)
    (root / "frames" / "puff_0003.npz").write_bytes(b"PK\x03\x04 nonsense")
    (root / "secret.txt").write_text("secret")
    return root


@pytest.fixture(scope="module")
def viewer(run: Path) -> Iterator[Viewer]:
    options = ReadOptions()
    with Viewer(Sequences(run, None, options, None), VolumeCache(16, options)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(
    viewer: Viewer, path: str, *, method: str = "GET", host: str | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """The answer to a path that is sent as it is; `~` stands for the token."""
    connection = http.client.HTTPConnection("127.0.0.1", viewer.server_port, timeout=30)
    try:
        headers = {} if host is None else {"Host": host}
        connection.request(method, path.replace("~", viewer.token), headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_what_goes_wrong_with_one_request_does_not_end_the_others(
    viewer: Viewer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(viewer.cache, "get", full)
        status, _, content = ask(viewer, "/~/volumes/0/1")
    assert status == 500 and content.startswith(b"not enough memory")
    gone = socket.create_connection(("127.0.0.1", viewer.server_port))
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset, not closed
    gone.sendall(b"GET /")
    gone.close()
    assert ask(viewer, "/~/volumes/0/1")[0] == 200
    assert ask(viewer, "/~/volumes/0/99999999999999999999")[2] == b"There is no such frame."
    assert "Traceback" not in capfd.readouterr().err


def test_only_who_knows_the_token_gets_anything(viewer: Viewer) -> None:
    assert ask(viewer, "/~/")[0] == 200
    for path in (
        "/",
        "/index.json",
        "//index.json",
        f"/{'x' * len(viewer.token)}/",
        "/~",
        "/~x/",
        "/%E4/",
        "~/",
    ):
        status, _, content = ask(viewer, path)
        assert (status, content) == (404, b"There is no such page."), path
    assert len(viewer.token) >= 32


def test_another_sites_name_for_this_machine_gets_nothing(viewer: Viewer) -> None:
    assert ask(viewer, "/~/index.json", host=f"localhost:{viewer.server_port}")[0] == 200
    assert ask(viewer, "/~/index.json", host="attacker.example")[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "..%2f..%2fsecret.txt",
        "secret.txt",
        "frames/puff_0001.npz",
        "server.py",
        "page/view.js",
        "../server.py",
        "view.js/",
        "view.js?x",
        "volumes/2/1",
        "volumes/0/9",
        "volumes/0/../1",
        "volumes/0/1/",
        "volumes/-1/1",
        "volumes/0/",
        "volumes/0/%D9%A3",
        "/etc/passwd",
        "volumes/0/" + "9" * 30,
    ],
)
def test_the_viewer_serves_no_other_files(viewer: Viewer, path: str) -> None:
    status, _, content = ask(viewer, "/~/" + path)
    assert status == 404 and b"secret" not in content


def test_the_viewer_listens_locally_and_is_read_only(viewer: Viewer) -> None:
    assert viewer.socket.getsockname()[0] == "127.0.0.1"
    assert viewer.url == f"http://127.0.0.1:{viewer.server_port}/{viewer.token}/"
    for method in ("POST", "PUT", "DELETE"):
        assert ask(viewer, "/~/index.json", method=method)[0] == 501
    status, headers, content = ask(viewer, "/~/index.json", method="HEAD")
    assert status == 200 and int(headers["Content-Length"]) > 100 and content == b""


def test_a_port_that_is_taken_is_reported(viewer: Viewer, run: Path) -> None:
    options = ReadOptions()
    with pytest.raises(InputError, match=f"port: {viewer.server_port} cannot be used"):
        Viewer(Sequences(run, None, options, None), VolumeCache(16, options), viewer.server_port)


def test_the_index_is_right(viewer: Viewer, run: Path) -> None:
    status, headers, content = ask(viewer, "/~/index.json")
    index = json.loads(content)
    assert status == 200 and headers["Content-Type"] == "application/json"
    assert (index["name"], index["dim"]) == (run.name, 3)
    assert index["fps"] == pytest.approx(12)
    assert [side["name"] for side in index["sides"]] == ["coarse", "fine"]
    for side in index["sides"]:
        assert [frame["number"] for frame in side["frames"]] == [1, 2, 3]
        assert [frame["time"] for frame in side["frames"]] == pytest.approx([1 / 12, 2 / 12, 3 / 12])
    assert index["camera"]["axes"] == np.eye(3).tolist()  # y up


@pytest.mark.parametrize(("side", "folder", "cells"), [(0, "coarse", 4), (1, "frames", 8)])
def test_the_bytes_of_a_volume_are_the_density(
    viewer: Viewer, run: Path, side: int, folder: str, cells: int
) -> None:
    status, headers, content = ask(viewer, f"/~/volumes/{side}/2")
    reported = json.loads(headers["Volume"])
    frame = volumes.read(run / folder / "puff_0002.npz")
    assert status == 200 and reported["shape"] == [cells, 2 * cells, cells]
    assert reported["scale"] == pytest.approx(frame.density.max())
    assert reported["size"] == pytest.approx([1, 2, 1]) and reported["origin"] == [0, 0, 0]
    assert reported["time"] == pytest.approx(2 / 12)
    density = (np.frombuffer(content, np.uint8).reshape(reported["shape"]) / 255) ** 2 * reported["scale"]
    # Half a step of the root at the largest value is a step of 1/255 of the density.
    np.testing.assert_allclose(density, frame.density, atol=reported["scale"] / 255)


def test_a_damaged_frame_is_explained_and_the_others_are_shown(viewer: Viewer) -> None:
    status, headers, content = ask(viewer, "/~/volumes/1/3")
    assert status == 422 and headers["Content-Type"].startswith("text/plain")
    assert b"puff_0003.npz" in content
    assert ask(viewer, "/~/volumes/1/2")[0] == 200


def test_names_from_the_folder_are_never_markup(viewer: Viewer) -> None:
    for path in ("", "view.js", "view.css", "volume.js", "plane.js"):
        _, headers, content = ask(viewer, f"/~/{path}")
        assert b"onerror" not in content  # the pages are constant
        assert "default-src 'none'; script-src 'self'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
    scripts = b"".join(ask(viewer, f"/~/{name}.js")[2] for name in ("view", "volume", "plane"))
    assert b"innerHTML" not in scripts and b"insertAdjacentHTML" not in scripts and b"http" not in scripts


def test_frames_written_since_are_listed_and_read_anew(tmp_path: Path) -> None:
    folder = write_puffs(tmp_path / "cache", 4, count=2)
    options = ReadOptions()
    sequences, cache = Sequences(folder, None, options, None), VolumeCache(16, options)
    item = sequences.find(0, 1)
    assert item is not None and sequences.find(0, 3) is None
    before = cache.get(item)
    assert cache.get(item) is before
    write_puffs(tmp_path / "cache", 6, count=3)
    assert len(sequences.index()["sides"][0]["frames"]) == 3 and sequences.find(0, 3) is not None
    assert cache.get(item).cells.shape == (6, 12, 6)


def test_the_cache_keeps_the_last_used_in_its_bytes(tmp_path: Path) -> None:
    folder = write_puffs(tmp_path / "cache", 4, count=3)
    cache = VolumeCache(16, most_bytes=2 * 128)
    items = [FrameRef(n, folder / f"puff_{n:04d}.npz") for n in (1, 2, 3)]
    first, second, _ = cache.get(items[0]), cache.get(items[1]), cache.get(items[0])
    cache.get(items[2])
    assert cache.kept_bytes == 256
    assert cache.get(items[0]) is first and cache.get(items[1]) is not second
    assert VolumeCache(16, most_bytes=0).get(items[0]).cells.shape == (4, 8, 4)


def test_downsampling_keeps_means_and_place() -> None:
    density = np.random.default_rng(0).random((35, 16, 8), np.float32)
    volume = volume_of(Frame(density, cell_size=0.5, origin=(1, 2, 3)), 16)
    assert volume.cells.shape == (12, 6, 3)  # cubes of 3 cells; the last ones have fewer
    assert volume.size == (18, 9, 4.5) and volume.origin == (1, 2, 3)
    expected = [density[:3, :3, :3].mean(), density[33:, 15:, 6:].mean()]
    found = [(volume.cells[at] / 255) ** 2 * volume.scale for at in ((0, 0, 0), (11, 5, 2))]
    np.testing.assert_allclose(found, expected, atol=1 / 255)
    assert volume_of(Frame(np.ones((128, 64), np.float32)), 16).cells.shape == (128, 64)
    empty = volume_of(Frame(np.full((4, 4), -1, np.float32)), 16)
    assert empty.scale == 0 and not empty.cells.any()
    with pytest.raises(InputError, match="not finite"):
        volume_of(Frame(np.full((4, 4), np.nan, np.float32)), 16)


def test_a_folder_without_frames_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError):
            Sequences(folder, None, ReadOptions(), None)


@pytest.fixture
def served(run: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command itself, and the address that it prints."""
    command = [sys.executable, "-m", "fluidsr.cli", "view", str(run), "--no-browser", "-q"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


def test_the_address_is_alone_on_stdout_and_ctrl_c_ends_with_130(
    served: tuple[subprocess.Popen[str], str],
) -> None:
    process, address = served
    host, port = address.split("/")[2].split(":")
    with socket.create_connection((host, int(port)), timeout=10):  # a browser that stays connected
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert address.startswith("http://127.0.0.1:") and address.count("/") == 4 and out == ""
    assert (process.returncode, err.strip()) == (130, "Error: interrupted; the page is no longer served")


@pytest.mark.clients
@pytest.mark.timeout(400)
def test_chromium_shows_smoke_in_all_panes(tmp_path: Path, served: tuple[subprocess.Popen[str], str]) -> None:
    """FLUIDSR_CLIENT_PICTURES names a folder that keeps the picture."""
    if not shutil.which("chromium"):
        pytest.skip("needs chromium")
    picture = tmp_path / "view.png"
    subprocess.run(
        ["chromium", "--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
         f"--user-data-dir={tmp_path / 'profile'}", "--window-size=600,400", "--virtual-time-budget=10000",
         f"--screenshot={picture}", f"{served[1].strip()}#2"],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    if keep := os.environ.get("FLUIDSR_CLIENT_PICTURES"):
        shutil.copy(picture, Path(keep) / "view.png")
    rgb = imageio.imread(picture)[60:300, :, :3].astype(int)
    coarse, fine, difference = (rgb[:, 10 + left : 190 + left] for left in (0, 200, 400))
    for pane in (coarse, fine):
        assert (
            pane[120, 90].min() > 120 and pane[:, :8].max() < 80
        )  # smoke in the middle, nothing at the side
    orange, blue = difference[..., 0] - difference[..., 2], difference[..., 2] - difference[..., 0]
    assert orange.max() > 60 and blue.max() > 60  # cells of 2 sizes differ both ways along the surface
