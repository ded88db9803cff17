"""The mutation fuzzer of tests/volumes/fuzz.py for everything that is read and is no volume.

python tests/reliability/fuzz_documents.py scene --count 10000 --seed 0     # or another of READERS; `all`
"""

import functools
import io
import json
import os
import re
import shutil
import struct
import sys
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "volumes"))

import fuzz
import google_crc32c
import numpy as np

# Warnings are errors in the child process, but for Taichi's at its import.
warnings.filterwarnings("ignore", "'locale.getdefaultlocale' is deprecated", DeprecationWarning)

PACKAGE = Path(__file__).parents[2] / "fluidsr"


def read_scene(path, max_bytes):
    """What `simulate --dry-run` makes of it, but for the model."""
    from fluidsr import scenes
    from fluidsr.pipeline import memory_need
    from fluidsr.scenes.build import setup_of

    scene = scenes.load(path)
    memory_need.of_scene(scene, None)
    setup_of(scene)


def read_recipe(path, max_bytes):
    """A recipe; whether it is one of a corrector is asked first."""
    from fluidsr.training import load_recipe
    from fluidsr.training.recipe import trains_closure

    trains_closure(path)
    load_recipe(path)


def read_distribution(path, max_bytes):
    """A distribution, and a scene drawn from it."""
    from fluidsr.dataset import DatasetConfig
    from fluidsr.dataset.simulation_job import scene_of
    from fluidsr.scenes.random_scenes.distribution import load_distribution

    scene_of(DatasetConfig(dim=2, resolution=16, simulations=1, distribution=load_distribution(path)), 1)


def read_regions(path, max_bytes):
    """Regions, and the field that they give."""
    from fluidsr.frame import Frame
    from fluidsr.scenes.region_file import load_regions
    from fluidsr.scenes.regions import factors

    regions = load_regions(path)
    if all(len(region.center) == 3 for region in regions):
        factors(regions, Frame(np.ones((6, 6, 6), np.float32), cell_size=0.2))


def read_model(path, max_bytes):
    """The card, its page, and the weights."""
    from fluidsr import models

    models.read_card(path).to_markdown()
    models.load(path)


def read_run(path, max_bytes):
    """A run's folder with one file of a mutant: described, and gone on with."""
    from fluidsr.pipeline.info import info
    from fluidsr.pipeline.run_folder import RunFolder

    with standing_in(path) as root:
        info(str(root))
        with RunFolder.open(
            root, "simulate", {"a": 1}, overwrite=False, notes={}, needed=("time",)
        ) as folder:
            for number in folder.complete:
                folder.is_complete(number, [root / "frames" / f"a_{number:04d}.npz"])


def read_store(path, max_bytes):
    """A dataset with one file of a mutant: described, and read."""
    from fluidsr.dataset import Store

    with standing_in(path) as root:
        store = Store.open(root)
        store.describe()
        for simulation in store.simulations():
            simulation.verify()
            simulation.coarse(0)
            simulation.fine(0)


def read_chunk(path, max_bytes):
    """The frame of which the chunk is a mutant; the dataset is opened once, so that many are read in a second."""
    root = path.parent.parent / "tree"
    place = root / inner(path)
    whole = place.read_bytes()
    place.write_bytes(path.read_bytes())
    try:
        simulations(root)[place.relative_to(root).parts[0]].fine_density(0)
    finally:
        place.write_bytes(whole)


@functools.cache
def simulations(root):
    """Those of a dataset, by their names."""
    from fluidsr.dataset import Store

    return {simulation.name: simulation for simulation in Store.open(root).simulations()}


def read_request(path, max_bytes):
    """A line that a client sends to a worker; and what is sent back has to arrive."""
    from fluidsr.errors import InputError
    from fluidsr.pipeline.events import error_event, failure
    from fluidsr.pipeline.worker import connections, requests

    def send(event):
        answer = io.BytesIO()
        connections.Connection(io.BytesIO(), answer, None).send(event)
        assert json.loads(answer.getvalue())

    try:
        request = connections._parse(path.read_bytes())
        requests.parse(request)
        send({"id": request.id})
    except InputError as error:
        send(error_event(error, *failure(error)))
        raise


@contextmanager
def standing_in(path):
    """A copy of the good folder in which the file that `path` is named after is the mutant."""
    root = path.parent.parent / "copy"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(path.parent.parent / "tree", root)
    (root / inner(path)).write_bytes(path.read_bytes())
    yield root


def inner(path):
    """Where in its folder a file lies: `a++b.store` is `a/b`."""
    return path.stem.replace("++", "/")


def read_pattern(path, max_bytes):
    """What a user types for the inputs of a command."""
    from fluidsr.pipeline.frame_sequence import FrameSequence

    text = os.fsdecode(path.read_bytes().translate(None, b"\0\n\r")[:5000])
    FrameSequence.of([f"{path.parent.parent}/tree/{text}"], "1-9")


def copies_of(folder, suffix, *files):
    for file in files:
        shutil.copy(file, folder / f"{file.stem}{suffix}")


def sources_of_scene(folder):
    copies_of(folder, ".scene", *(PACKAGE / "scenes").glob("*.yaml"))
    (folder / "all.scene").write_text(
        "domain: {resolution: [16, 12, 8], cell_size: 0.1, up: z, boundary: {x: periodic, y: [closed, open]}}\n"
        "time: {frames: 9, fps: 30, cfl: 2.0, max_substeps: 8}\n"
        "physics: {gravity: 9.81, wind: [0.5, 0, 0], viscosity: 1.0e-4, dissipation: {density: 0.1}}\n"
        "numerics: {advection: reflection, pressure: {tolerance: 1.0e-3, max_iterations: 50}}\n"
        "sources:\n"
        "  - {shape: sphere, center: [0.8, 0.6, 0.2], radius: 0.12, density: 1.0, temperature: 30,\n"
        "     noise: {strength: 0.5, scale: 8, seed: 3}, seconds: [0, 3]}\n"
        "  - {shape: cylinder, center: [0.4, 0.6, 0.2], radius: 0.1, height: 0.2, axis: z, velocity: [0, 0, 2],\n"
        "     inflow: true, motion: [{time: 0, offset: [0, 0, 0]}, {time: 1, offset: [0.2, 0, 0]}], inherit: 0.5}\n"
        "obstacles: [{shape: box, center: [0.8, 0.6, 0.5], size: [0.2, 0.1, 0.1]}]\n"
        "upscale: {model: smoke3d-x4, detail: 1.0, regions: [{shape: sphere, center: [0.8, 0.6, 0.5], radius: 0.1,\n"
        "          velocity_scale: 2}]}\n"
        "output: {formats: [vdb], fields: [density, solid], precision: half, naming: blender, threshold: 0.001}\n"
    )


def sources_of_recipe(folder):
    copies_of(folder, ".recipe", *(PACKAGE / "training" / "recipes").glob("*.yaml"))


def sources_of_distribution(folder):
    copies_of(folder, ".distribution", *(PACKAGE / "scenes" / "distributions").glob("*.yaml"))


def sources_of_regions(folder):
    (folder / "a.regions").write_text(
        "regions:\n"
        "  - {shape: sphere, center: [0.6, 0.6, 0.6], radius: 0.3, velocity_scale: 2.5, soft: 0.2}\n"
        "  - {shape: box, center: [0.3, 0.3, 0.3], size: [0.2, 0.4, 0.2], velocity_scale: 0,\n"
        "     motion: [{time: 0, offset: [0, 0, 0]}, {time: 1, offset: [0.1, 0, 0]}]}\n"
        "  - {shape: capsule, center: [0.6, 0.6, 0.6], radius: 0.1, height: 0.3, axis: y, velocity_scale: 3}\n"
    )


def sources_of_model(folder):
    import torch

    from fluidsr.models import Card, SmokeGenerator, save
    from fluidsr.models.store import properties_of

    torch.manual_seed(1)
    generator = SmokeGenerator(2, 4, width=8, blocks=1, rise_width=4)
    card = Card(name="tiny", **properties_of(generator), density_range=(0, 2), velocity_range=(-9, 9))
    save(folder / "a.safetensors", generator, card)
    (folder / "a.safetensors").rename(folder / "a.model")
    (folder / "a.md").unlink()


def sources_of_run(folder):
    from fluidsr.frame import Frame
    from fluidsr.pipeline.run_folder import RunFolder
    from fluidsr.volumes import write

    tree = folder.parent / "tree"
    with RunFolder.open(tree, "simulate", {"a": 1}, overwrite=False, notes={"frames": "1-3"}) as run:
        for number in (1, 2, 3):
            file = tree / "frames" / f"a_{number:04d}.npz"
            write(file, Frame(np.full((4, 4), number, np.float32)))
            run.record(number, {"time": number / 24, "shape": [4, 4], "fields": ["density"]}, [file])
    copies_of_tree(folder, ".run", "run.*")


def sources_of_store(folder):
    from fluidsr.dataset import DatasetConfig, generate
    from fluidsr.scenes.random_scenes.distribution import load_distribution

    small = load_distribution("default", ["warm_up.frames=0"])
    generate(
        DatasetConfig(dim=2, resolution=16, simulations=1, frames=2, distribution=small),
        folder.parent / "tree",
    )
    copies_of_tree(folder, ".store", "**/zarr.json")
    copies_of_tree(folder, ".store", "**/c/0/**/*")


def sources_of_chunk(folder):
    """Chunks of every codec that a dataset may have: of Blosc each compressor and filter, in one block and in
    several, whole and with a last block that is shorter, and one that was not compressed."""
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec

    from fluidsr.dataset.writer import SimulationWriter, create_root
    from fluidsr.frame import Frame

    codecs = [
        *(
            BloscCodec(cname=name, clevel=5, shuffle=shuffle, blocksize=blocksize, typesize=2)
            for name, blocksize in (("zstd", 0), ("zstd", 640), ("lz4", 512), ("blosclz", 768), ("zlib", 512))
            for shuffle in ("shuffle", "bitshuffle", "noshuffle")
        ),
        BloscCodec(cname="zstd", clevel=0, typesize=2),
        ZstdCodec(level=3),
        GzipCodec(level=5),
    ]
    tree = folder.parent / "tree"
    create_root(tree, {"dim": 2, "factor": 2, "simulations": len(codecs)})
    x = np.linspace(0, 3, 40, dtype=np.float32)
    smoke = np.round(np.sin(x[:, None] * x) ** 2, 2).astype(np.float16)
    coarse = Frame(smoke[::2, ::2].astype(np.float32), velocity=np.zeros((2, 20, 20), np.float32))
    attrs = {"seed": 1, "split": "train", "dt": 0.04, "start_time": 0.0, "origin": [0.0, 0.0], "low_cell_size": 0.2,
             "high_cell_size": 0.1, "factor": 2, "pairs": "filtered"}  # fmt: skip
    for number, codec in enumerate(codecs):
        with SimulationWriter(tree, f"sim_{number:05d}", 1, 2) as writer:
            writer.add(coarse, {"density": smoke})
            writer.finish(attrs)
        place = tree / f"sim_{number:05d}" / "high_density"
        array = zarr.create_array(
            place, shape=(1, 40, 40), chunks=(1, 40, 40), dtype="float16", compressors=[codec, Crc32cCodec()],
            fill_value=float("nan"), overwrite=True,
        )  # fmt: skip
        array[0] = smoke
    copies_of_tree(folder, ".chunk", "*/high_density/c/0/0/0")


def copies_of_tree(folder, suffix, pattern):
    tree = folder.parent / "tree"
    for file in tree.glob(pattern):
        if file.is_file():
            shutil.copy(file, folder / f"{str(file.relative_to(tree)).replace('/', '++')}{suffix}")


def sources_of_pattern(folder):
    tree = folder.parent / "tree"
    tree.mkdir()
    for name in ("smoke_0001.vdb", "smoke_0002.vdb", "s.1001.25.vdb", "density-3.vtk", "a.pvd", "b.series"):
        (tree / name).write_bytes(b"x")
    (tree / "sub").mkdir()
    patterns = ("smoke_####.vdb", "smoke_%04d.vdb", "smoke_$F4.vdb", "s*_000?.vdb", "smoke_000[12].vdb", "a.pvd", "sub",
                "s.@@@@.25.vdb", "b.series", "density-3.vtk", "sub/../smoke_####.vdb")  # fmt: skip
    for number, text in enumerate(patterns):
        (folder / f"{number}.pattern").write_text(text)


def sources_of_request(folder):
    shared = {"memory": "m1", "shape": [4, 4, 4]}
    requests = (
        {"request": "hello", "arguments": {"protocol": 1, "token": "x"}},
        {"request": "upsample", "arguments": {"inputs": ["a.vdb"], "output": "o", "model": "m", "frames": "1-9",
                                              "style": {"a": 1.0}, "formats": ["vdb"], "max_memory": 9000000}},
        {"request": "upsample_arrays", "arguments": {"arrays": {"density": shared}, "result": {"density": shared},
                                                     "cell_size": 0.1, "dt": 0.04, "previous": shared}},
        {"request": "read", "arguments": {"path": "a.vdb", "fields": ["density"], "result": {"density": shared}}},
        {"request": "simulate", "arguments": {"scene": "plume", "frames": 3, "overrides": ["a=b"], "seed": 1}},
        {"request": "info", "arguments": {"path": "x"}},
        {"request": "cancel", "arguments": {"id": 5}},
        {"request": "models"},
    )  # fmt: skip
    for number, request in enumerate(requests):
        (folder / f"{number}.request").write_text(json.dumps({"id": number, **request}))


def hot_numbers(path):
    """Every number of a text, and every word behind a colon."""
    data = path.read_bytes()
    numbers = re.finditer(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?|(?<=: )[a-z]\w*", data)
    return [(match.start(), -len(match[0])) for match in numbers]


def hot_card(path):
    """Every number of the header, and its length."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return [(0, 8), *(spot for spot in hot_numbers(path) if spot[0] < end)]


def hot_chunk(path):
    """What the header of a chunk of Blosc says, where its blocks begin, and how long each of them is."""
    data = path.read_bytes()[:-4]
    spots = [(0, 1), (2, 1), (3, 1), (4, 4), (8, 4), (12, 4)]
    size, block, packed = struct.unpack_from("<3I", data, 4)
    if data[0] != 2 or packed != len(data) or data[2] & 2:
        return spots  # of another codec, or not compressed
    for number in range(-(-size // block)):
        (start,) = struct.unpack_from("<I", data, 16 + 4 * number)
        spots += [(16 + 4 * number, 4), (start, 4)]
    return spots


def unpacked_chunk(data):
    """A chunk without its checksum (crc32c); metadata as they are."""
    return data if data.startswith(b"{") else data[:-4]


def packed_chunk(data):
    return data if data.startswith(b"{") else data + google_crc32c.value(data).to_bytes(4, "little")


def mended_card(data):
    """The length of the header put right, where the mutant still has the end of one."""
    end = data.rfind(b"}", 0, 20000) + 1
    for close in re.finditer(rb"\}\}\s*", data[8:]):
        with suppress(ValueError):
            json.loads(data[8 : 8 + close.end()])
            end = 8 + close.end()
            break
    return (end - 8).to_bytes(8, "little") + data[8:] if end > 8 else data


YAML = [
    b"[" * 3000, b"{a: " * 3000, b"&a [*a, *a]", b"!!python/object/apply:os.system [id]", b"!!binary aGVsbG8=",
    b"<<: ",
    b"\x1b]0;x\x07", b"\x00", b"\xff\xfe", "\u202e\u2028".encode(), b"? [a]\n: b\n", b"--- \n--- \n", b"%YAML 9.9\n",
    b"nan", b".inf", b"-.inf", b"1e400", b"9" * 5000, b"null", b"true", b"~", b"'", b'"', b"|\n", b"\t", b"x" * 5000,
    b"../../../../etc/passwd", b"/dev/zero", b"-1", b"1e-320", b"[]", b"{}",
]  # fmt: skip
PATTERNS = [
    b"**", b"[", b"]", b"%99999999999d", b"$F99999999999", b"#" * 300, b"/", b"//", b"..", b"*" * 300, b"?",
    b"\\", b"\x1b[2J", b"\xff", b"~", b"x" * 4000, b"/dev/zero", b"-0001", b"%d%d%d", b".",
]  # fmt: skip
fuzz.READERS = {
    "scene": read_scene,
    "recipe": read_recipe,
    "distribution": read_distribution,
    "regions": read_regions,
    "model": read_model,
    "run": read_run,
    "store": read_store,
    "chunk": read_chunk,
    "pattern": read_pattern,
    "request": read_request,
}
fuzz.SOURCES = {name: globals()[f"sources_of_{name}"] for name in fuzz.READERS}
fuzz.HOT = dict.fromkeys(fuzz.READERS, hot_numbers) | {"model": hot_card, "chunk": hot_chunk}
fuzz.PACKED = dict.fromkeys(("store", "chunk"), (unpacked_chunk, packed_chunk)) | {
    "model": (bytes, mended_card)
}
fuzz.SPICES = dict.fromkeys(fuzz.READERS, YAML) | {"pattern": PATTERNS}
fuzz.__file__ = __file__

if __name__ == "__main__":
    fuzz.main()
