"""A mutation fuzzer for every reader of volume files.

    python tests/volumes/fuzz.py vdb --count 10000 --seed 0      # or vti, npz, uni, vtk, vtkhdf, pvd; `all`

Each mutant of a good file (`SOURCES`) is given to the reader (`READERS`). Whatever it is, the outcome must be a
read or an InputError (VolumeError is one), within CPU_SECONDS, within MEMORY more address space than before,
and without a file written. Mutants are numbered: the same number is the same mutant, so that a finding is run
again with `--seed N --count 1`. The work is done in a child process with its address space limited; where that
dies, the parent says at which mutant, and goes on behind it.

A reader joins by a function in READERS that takes a path and max_bytes, and one in SOURCES that writes good
files into a folder; HOT may tell where the sizes, offsets and counts of its format are, PACKED how to mutate what
lies behind a checksum. A mutant has the name of its good file. tests/reliability/fuzz_documents.py has the readers
of everything that is no volume.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import random
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import traceback
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.volumes import inspect, read, read_pvd, vdb, write, write_pvd

SAMPLES = Path(__file__).parent / "samples"
MAX_BYTES = 16 << 20  # what the reader may make of one file
MEMORY = 320 << 20  # and what that may take in all, with everything that is short-lived
CPU_SECONDS = 10

TELLING = [
    0,
    1,
    2,
    7,
    255,
    2**15,
    2**16 - 1,
    2**30,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**62,
    2**63 - 1,
    2**64 - 1,
]


def read_any(path, max_bytes):
    """Everything that the room offers for a file: a description, and a frame."""
    try:
        inspect(path, max_bytes=max_bytes)
    finally:
        read(path, max_bytes=max_bytes)


def read_vdb(path, max_bytes):
    """The same, and every grid by leaves, tiles and a window."""
    refused = None
    with vdb.open(path, max_bytes) as file:
        for grid in file.grids:
            try:
                if grid.supported:
                    for _ in grid.leaves():
                        pass
                    tiles = grid.tiles()
                    corners = [*tiles.origins[:1].tolist(), *(grid.bounds or ()), (0, 0, 0)]
                    low, high = (tuple(n + more for n in corners[0]) for more in (-3, 20))
                    grid.dense(low, high)
            except InputError as error:
                refused = error
    read_any(path, max_bytes)
    if refused:
        raise refused


def sources_of_frames(suffix):
    """Files of ours: both precisions, with empty, full, and noisy leaves, in 2-D and 3-D."""

    def make(folder):
        rng = np.random.default_rng(0)
        density = np.where(rng.random((20, 17, 30)) < 0.3, rng.random((20, 17, 30)), 0).astype(np.float32)
        density[8:] = 0.5
        frame = Frame(density, velocity=np.stack([density] * 3))
        flat = Frame(density[0])
        for precision in ("half", "float"):
            write(folder / f"a_{precision}{suffix}", frame, precision=precision)
        write(folder / f"flat{suffix}", flat)

    return make


def sources_of_vdb(folder):
    """Frames, OpenVDB's and Blender's own files, and trees of every type with tiles at every level."""
    sources_of_frames(".vdb")(folder)
    for sample in SAMPLES.glob("*.vdb"):
        (folder / sample.name).write_bytes(sample.read_bytes())
    rng = np.random.default_rng(1)
    tiles = vdb.Tiles(
        np.array([[16, 0, 0], [128, 0, 0], [256, 0, 0], [4096, 0, 0]]),
        np.array([8, 128, 128, 4096]),
        np.ones((4, 1)),
        np.array([True, True, False, True]),
    )
    for compression in ("blosc", "zip", "none"):
        grids = []
        for kind in ("float", "double", "int32", "int64", "bool", "mask", "half", "vec3s", "vec3i"):
            width = 3 if kind.startswith("vec") else 1
            values = rng.integers(-3, 4, (2, 512, width)).reshape(2, 8, 8, 8, width)
            three = vdb.Tiles(tiles.origins, tiles.edges, tiles.values * np.ones(width), tiles.active)
            masks = rng.random((2, 8, 8, 8)) < 0.5
            origins = np.array([[0, 0, 0], [0, 8, -8]])
            values = values if width > 1 else values[..., 0]
            grids.append(
                vdb.SparseGrid(kind, origins, values, masks, three, 1, kind, compression=compression)
            )
        vdb.write(folder / f"types_{compression}.vdb", grids)

    place = vdb.Transform.uniform(0.1)
    turned = vdb.Transform(((0.1, 0, 0), (0, 0, -0.1), (0, 0.1, 0)), (0.0, 0.0, 0.0), "AffineMap")
    dense = rng.random((10, 9, 8)).astype(np.float32)
    others = [
        vdb.DenseGrid("density", dense, place, low=(20, 0, 0)),
        vdb.DenseGrid("density", dense, place, low=(5, 0, 0)),
        vdb.DenseGrid("vel", np.stack([dense] * 3), vdb.Transform.uniform(0.25, (0.02, 0.0, 0.0))),
        vdb.DenseGrid("fuel", dense, turned),
    ]
    vdb.write(folder / "lattices.vdb", [vdb.DenseGrid("density", dense, place), *others])
    vdb.write(folder / "turned.vdb", [vdb.DenseGrid("density", dense, turned)])


def sources_of_npz(folder):
    """Frames of ours, and those of PhiFlow, Mantaflow and others."""
    sources_of_frames(".npz")(folder)
    rng = np.random.default_rng(3)
    values = rng.random((6, 5, 4)).astype(np.float32)
    box = {"lower": np.zeros(3), "upper": np.array([0.6, 0.5, 0.4]), "field_type": "StaggeredGrid"}
    faces = rng.random((7, 6, 5, 3))
    np.savez(folder / "density_0001.npz", values[..., None])
    np.savez(folder / "smoke.npz", data=faces, dim_names=[*"xyz", "vector"], **box)
    np.savez(folder / "other.npz", density=values, u=rng.random((7, 5, 4)), dx=0.1, name="x", mask=faces)


# A long comment, so that some mutants are as good as the file.
HEAD = (
    f"<!--{'x' * 400}-->"
    + "<VTKFile type='{0}'><{0} WholeExtent='0 5 0 4 0 3' Origin='0 0 0' Spacing='1 1 1'>"
)


def piece(values, extent):
    """A piece of an image in ascii."""
    text = " ".join(f"{x:.3f}" for x in values.transpose(2, 1, 0).ravel())
    return (
        f"<Piece Extent='{extent}'><PointData><DataArray type='Float32' Name='density' format='ascii'>{text}"
        "</DataArray></PointData></Piece>"
    )


def sources_of_vti(folder):
    """Frames of ours, and an image of two pieces."""
    sources_of_frames(".vti")(folder)
    values = np.random.default_rng(4).random((6, 5, 4))
    pieces = piece(values[:3], "0 2 0 4 0 3") + piece(values[2:], "2 5 0 4 0 3")
    (folder / "pieces.vti").write_text(f"{HEAD.format('ImageData')}{pieces}</ImageData></VTKFile>")


def sources_of_pvti(folder):
    """An image of two files, which are named by where they lie."""
    values = np.random.default_rng(4).random((6, 5, 4))
    sources = ""
    for name, part, extent in (("l", values[:3], "0 2 0 4 0 3"), ("r", values[2:], "2 5 0 4 0 3")):
        file = folder.parent / f"{name}.vti"
        head = HEAD.format("ImageData").replace("0 5 0 4 0 3", extent)
        file.write_text(f"{head}{piece(part, extent)}</ImageData></VTKFile>")
        sources += f"<Piece Extent='{extent}' Source='{file.absolute()}'/>"
    (folder / "a.pvti").write_text(f"{HEAD.format('PImageData')}{sources}</PImageData></VTKFile>")


def sources_of_vtm(folder):
    """An image of two blocks, which are named by where they lie."""
    sources_of_pvti(folder)
    files = re.findall("Source='([^']*)'", (folder / "a.pvti").read_text())
    blocks = "".join(
        f"<Block index='{n}'><DataSet index='0' file='{file}'/></Block>" for n, file in enumerate(files)
    )
    kind = "vtkMultiBlockDataSet"
    comment = f"<!--{'x' * 400}-->"
    (folder / "a.vtm").write_text(f"{comment}<VTKFile type='{kind}'><{kind}>{blocks}</{kind}></VTKFile>")


def sources_of_vtr(folder):
    """A rectilinear grid of even coordinates, in ascii."""
    values = np.random.default_rng(4).random((6, 5, 4))
    axes = "".join(
        f"<DataArray type='Float32' Name='{axis}' format='ascii'>{' '.join(map(str, range(n)))}</DataArray>"
        for axis, n in zip("xyz", values.shape, strict=True)
    )
    inside = piece(values, "0 5 0 4 0 3").replace("</Piece>", f"<Coordinates>{axes}</Coordinates></Piece>")
    (folder / "a.vtr").write_text(f"{HEAD.format('RectilinearGrid')}{inside}</RectilinearGrid></VTKFile>")


def sources_of_series(folder):
    """A series of ParaView's."""
    entries = ", ".join(f'{{"name": "a_{n}.vti", "time": {n / 24}}}' for n in range(6))
    (folder / "a.series").write_text(f'{{"file-series-version": "1.0", "files": [{entries}]}}')


def sources_of_pvd(folder):
    """A series of six."""
    write_pvd(folder / "a.pvd", [(n / 24, folder / f"a_{n:04d}.vti") for n in range(6)])


def sources_of_uni(folder):
    """A frame of ours, which is two files, and a grid of Mantaflow's on faces, of doubles."""
    sources_of_frames(".uni")(folder)
    shape = (9, 8, 7)
    values = np.random.default_rng(2).random((*shape[::-1], 3))
    head = b"MNT3" + struct.pack("<6i252siQ", *shape, 12, 2, 24, b"mantaflow", 0, 0)
    (folder / "vel.uni").write_bytes(gzip.compress(head + values.tobytes()))


def sources_of_vtk(folder):
    """Ascii and binary, written by VTK: scalars, vectors, fields, metadata."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkIOLegacy import vtkStructuredPointsWriter

    from fluidsr.volumes.vtk_write import make_image

    rng = np.random.default_rng(0)
    density = rng.random((7, 6, 5), np.float32)
    frame = Frame(density, velocity=np.stack([density] * 3), others={"heat haze": density})
    image = make_image(frame, {name: name for name in frame.fields()}, half=False, threshold=0.0)
    more = numpy_to_vtk(np.arange(210), deep=True)
    more.SetName("whole")
    image.GetPointData().AddArray(more)
    for kind in (1, 2):
        writer = vtkStructuredPointsWriter()
        writer.SetInputData(image)
        writer.SetFileName(str(folder / f"a{kind}.vtk"))
        writer.SetFileType(kind)
        writer.Write()


def sources_of_vtkhdf(folder):
    """A series of three, and a file of one frame."""
    from fluidsr.frame_grid import FrameGrid
    from fluidsr.volumes import vtkhdf

    density = np.random.default_rng(0).random((12, 9, 7), np.float32)
    frame = Frame(density, velocity=np.stack([density] * 3))
    for times in ([0.0], [0.0, 0.5, 1.0]):
        vtkhdf.write_series(
            folder / f"a{len(times)}.vtkhdf",
            times,
            lambda _: frame,
            FrameGrid.of(frame),
            ["density", "velocity"],
            half=False,
            threshold=0.0,
        )


def read_vtkhdf(path, max_bytes):
    """Through a fork of this process, where VTK is loaded already, instead of a new one: 50 times as fast.

    A crash of the library ends the fork, and is then the refusal that it is for a user.
    """
    from fluidsr.volumes import vtkhdf, vtkhdf_child

    def forked(command):
        with tempfile.TemporaryFile(dir="/tmp") as answer:
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    signal.setitimer(signal.ITIMER_PROF, 0)
                    os.dup2(answer.fileno(), 1)
                    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
                    vtkhdf_child.main(command[3], int(command[4]), int(command[5]), CPU_SECONDS)
                    code = 0
                except SystemExit as stop:
                    code = stop.code
                finally:
                    os._exit(code)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            answer.seek(0)
            return code, answer.read()

    vtkhdf._run = forked
    from vtkmodules.util import numpy_support, vtkAlgorithm  # noqa: F401  # loaded before the fork
    from vtkmodules.vtkIOHDF import vtkHDFReader  # noqa: F401

    read(path, max_bytes=max_bytes)


READERS = {
    "vdb": read_vdb,
    "vti": read_any,
    "npz": read_any,
    "uni": read_any,
    "vtk": read_any,
    "vtkhdf": read_vtkhdf,
    "vtr": read_any,
    "pvti": read_any,
    "vtm": read_any,
    "pvd": lambda path, max_bytes: read_pvd(path),
    "series": lambda path, max_bytes: read_pvd(path),
}
SOURCES = {
    "vdb": sources_of_vdb,
    "vti": sources_of_vti,
    "npz": sources_of_npz,
    "uni": sources_of_uni,
    "vtk": sources_of_vtk,
    "vtkhdf": sources_of_vtkhdf,
    "vtr": sources_of_vtr,
    "pvti": sources_of_pvti,
    "vtm": sources_of_vtm,
    "pvd": sources_of_pvd,
    "series": sources_of_series,
}


def hot_vdb(path):
    """Where a VDB file holds lengths, positions, counts, modes and sizes: [(place, bytes)]."""
    spots = [(8, 4), (20, 1), (57, 4)]
    data = path.read_bytes()
    for match in re.finditer(rb"Tree_\w+_5_4_3(_HalfFloat)?", data):
        spots += [(match.start() - 4, 4), (match.end(), 4), *((match.end() + 4 + 8 * i, 8) for i in range(3))]
    for match in re.finditer(rb"(string|bool|int32|int64|double|vec3[isd]|\w+Map)(?=[\0-\x7f]\0\0\0)", data):
        spots += [(match.start() - 4, 4), (match.end(), 4)]
    with vdb.open(path) as file:
        for grid in file.grids:
            if grid.supported:
                start = grid._source.start
                spots += [(start + n, 4) for n in (-4, 0, 4, 8, 12, 16, 20, 24)]
                spots += [(int(at) - 8, 8) for at in grid._source.blocks.start[:50]]
                spots += [(int(at) - 9, 1) for at in grid._source.blocks.start[:50]]
                spots += [(int(at) + n, 4) for at in grid._source.blocks.start[:20] for n in (0, 4, 8, 12)]
    return [spot for spot in spots if 0 <= spot[0] < len(data)]


def hot_text(path):
    """Where an XML file holds numbers: [(place, bytes)], overwritten as text."""
    data = path.read_bytes()
    return [
        (match.start(), -len(match[0]))
        for match in re.finditer(rb"(?<=[\"' ])-?\d+(\.\d+)?(?=[\"' ])", data[:20000])
    ]


def hot_zip(path):
    """The fields of a zip's headers, and the header of each array."""
    data = path.read_bytes()
    spots = []
    for mark in (b"PK\3\4", b"PK\1\2", b"PK\5\6"):
        for match in re.finditer(mark, data):
            spots += [(match.start() + n, 4) for n in range(4, 46, 2)]
    return [spot for spot in spots if spot[0] < len(data)]


def unpacked_zip(data):
    """The archive with its members as they are, so that a mutant is one of their contents."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w") as plain:
        for entry in archive.infolist():
            plain.writestr(zipfile.ZipInfo(entry.filename), archive.read(entry))
    return out.getvalue()


def mended_zip(data):
    """`data` with the checksum of each member that can be found put right, or the reader would look no further."""
    data = bytearray(data)
    for match in re.finditer(b"PK\1\2", bytes(data)):
        at = match.start()
        if at + 46 > len(data):
            continue
        (size,), (header,) = struct.unpack_from("<I", data, at + 20), struct.unpack_from("<I", data, at + 42)
        if header + 30 > len(data):
            continue
        names = sum(struct.unpack_from("<2H", data, header + 26))
        content = data[header + 30 + names : header + 30 + names + size]
        for place in (at + 16, header + 14):
            struct.pack_into("<I", data, place, zlib.crc32(content))
    return bytes(data)


HOT = {"vdb": hot_vdb, "vti": hot_text, "pvd": hot_text, "npz": hot_zip, "vtk": hot_text}
# Formats with a checksum: most mutants are made of what is behind it.
PACKED = {
    "uni": (gzip.decompress, lambda data: gzip.compress(data, 1, mtime=0)),
    "npz": (unpacked_zip, mended_zip),
}


def mutant(data, others, spots, rng):
    """A copy of `data` with one to three things wrong."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        n = len(data)
        at = rng.randrange(n) if rng.random() < 0.5 else rng.randrange(min(n, 2000))
        kind = rng.randrange(10)
        if spots and kind >= 5:
            place, width = rng.choice(spots)
            if width < 0:  # a number in words
                number = str(rng.choice([*TELLING, -1, -5, 1e300, "nan", "", "inf", 0.5])).encode()
                data[place : place - width] = number
            else:
                value = rng.choice(TELLING)
                if rng.random() < 0.4:  # a little off
                    value = int.from_bytes(data[place : place + width], "little") + rng.choice(
                        [-9, -1, 1, 8, 64]
                    )
                data[place : place + width] = struct.pack("<Q", value % 2**64)[:width]
        elif kind in (0, 5):
            del data[at:]
        elif kind in (1, 6):
            for _ in range(rng.choice([1, 1, 2, 8])):
                data[rng.randrange(n)] ^= 1 << rng.randrange(8)
        elif kind in (2, 7):
            del data[at : at + rng.randrange(1, 200)]
        elif kind in (3, 8):  # a splice out of another file, or of this one
            other = rng.choice(others)
            start = rng.randrange(len(other))
            piece = other[start : start + rng.randrange(1, 5000)]
            data[at : at + len(piece) * rng.randrange(2)] = piece
        else:  # two chunks swapped
            size, b = rng.randrange(1, 2000), rng.randrange(n)
            data[at : at + size], data[b : b + size] = data[b : b + size], data[at : at + size]
        if not data:
            break
    return bytes(data)


SPICES = {}  # by reader: more to be spliced in


class TooSlow(BaseException):
    """The mutant took more than CPU_SECONDS."""


def child(name, folder, first, count):
    """Run mutants and print one JSON line of what happened to those that were not handled well."""

    def slow(*_):
        raise TooSlow

    sources = sorted(path for path in (folder / "good").iterdir() if path.suffix == f".{name}")
    contents = [path.read_bytes() for path in sources]
    unpack, pack = PACKED.get(name, (bytes, bytes))
    inner = [unpack(content) for content in contents]
    spots = [HOT[name](path) if name in HOT else [] for path in sources]
    spices = [*contents, *SPICES.get(name, [])]
    for path in sources:
        with suppress(InputError):  # some samples are too large
            READERS[name](path, MAX_BYTES)  # everything is imported now
    signal.signal(signal.SIGPROF, slow)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (pages + MEMORY, pages + MEMORY))
    mutants, work = folder / "mutants", folder / "work"
    os.chdir(work)
    refused = 0
    for number in range(first, first + count):
        rng = random.Random(number)
        i = rng.randrange(len(sources))
        path = mutants / sources[i].name
        if rng.random() < 0.8:
            same_places = contents[i].startswith(inner[i])  # nothing but a checksum at the end is missing
            path.write_bytes(pack(mutant(inner[i], spices, spots[i] if same_places else [], rng)))
        else:
            path.write_bytes(mutant(contents[i], spices, spots[i], rng))
        (folder / "last").write_text(str(number))
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        try:
            READERS[name](path, MAX_BYTES)
        except InputError as error:
            refused += 1
            if "\n" in str(error):
                report(number, sources[i], "its error has several lines")
        except BaseException as error:
            trace = traceback.extract_tb(error.__traceback__)[-1]
            report(number, sources[i], f"{type(error).__name__}: {error} at {trace.filename}:{trace.lineno}")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        written = [*work.rglob("*"), *(other for other in mutants.iterdir() if other != path)]
        if written:
            report(number, sources[i], f"wrote {written[0]}")
            for other in written:
                other.unlink()
        path.unlink()
    print(json.dumps({"refused": refused}), flush=True)


def report(number, source, what):
    """One finding, as a line."""
    print(json.dumps({"mutant": number, "of": source.name, "what": what[:300]}), flush=True)


def fuzz(name, count, seed=0):
    """Run `count` mutants for the reader `name`; returns the findings, and how many mutants were refused."""
    findings, refused = [], 0
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        for part in ("good", "mutants", "work"):
            (folder / part).mkdir()
        SOURCES[name](folder / "good")
        first, end = seed, seed + count
        while first < end:
            command = [
                sys.executable,
                __file__,
                name,
                "--child",
                root,
                "--seed",
                str(first),
                "--count",
                str(end - first),
            ]
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "error"}
            done = subprocess.run(
                command, capture_output=True, text=True, env=environment, timeout=600 + 20 * count
            )
            lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
            findings += [line for line in lines if "mutant" in line]
            refused += sum(line.get("refused", 0) for line in lines)
            if done.returncode == 0:
                break
            if not (folder / "last").exists():
                raise RuntimeError(done.stderr)
            last = int((folder / "last").read_text())
            findings.append(
                {"mutant": last, "of": "", "what": f"died {done.returncode}: {done.stderr[-300:]}"}
            )
            first = last + 1
    return findings, refused


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("readers", nargs="+", choices=[*READERS, "all"])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.readers[0], options.child, options.seed, options.count)
        return
    bad = 0
    for name in READERS if "all" in options.readers else options.readers:
        findings, refused = fuzz(name, options.count, options.seed)
        for finding in findings:
            print(json.dumps(finding))
        print(f"{name}: {options.count} mutants, {refused} refused, {len(findings)} not handled", flush=True)
        bad += len(findings)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
