"""Random trees, through OpenVDB and back: what we write it reads, and what it writes we read.

A tree here is a dictionary of leaves and tiles, looked up voxel by voxel: no code of ours says what is right.
"""

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from clients_openvdb_found import PYTHON, needs_openvdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluidsr.volumes import vdb

HERE = Path(__file__).parent
DTYPES = {
    "float": np.float32,
    "vec3s": np.float32,
    "bool": np.bool_,
    "double": np.float64,
    "half": np.float32,
    "int32": np.int32,
    "int64": np.int64,
    "vec3i": np.int32,
    "vec3d": np.float64,
}


@dataclass(repr=False)
class Tree:
    """Leaves and tiles by edge and place; `lookup` is the definition of a VDB tree."""

    type: str
    background: np.ndarray
    leaves: dict = field(default_factory=dict)  # origin -> values [512, c], active [512]
    tiles: dict = field(default_factory=dict)  # (edge, origin) -> value [c], active
    half: bool = False
    compression: str = "blosc"
    transform: vdb.Transform = field(default_factory=lambda: vdb.Transform.uniform(1.0))
    metadata: dict = field(default_factory=dict)

    def __repr__(self):
        leaves = {origin: int(on.sum()) for origin, (_, on) in self.leaves.items()}
        return f"{self.type} {self.half=} {self.compression} {self.background} {leaves} {self.tiles} {self.metadata}"

    def _repr_pretty_(self, printer, cycle):
        printer.text(repr(self))

    def lookup(self, point):
        origin = tuple(n // 8 * 8 for n in point)
        if origin in self.leaves:
            x, y, z = (n % 8 for n in point)
            values, active = self.leaves[origin]
            return values[(x * 8 + y) * 8 + z], active[(x * 8 + y) * 8 + z]
        for edge in (8, 128, 4096):
            found = self.tiles.get((edge, tuple(n // edge * edge for n in point)))
            if found is not None:
                return found
        return self.background, False

    @property
    def active(self):
        return sum(int(on.sum()) for _, on in self.leaves.values()) + sum(
            edge**3 for (edge, _), (_, on) in self.tiles.items() if on
        )

    def points(self, rng):
        """Voxels in and around everything."""
        found = [np.zeros((1, 3), np.int64)]
        around = np.stack(np.meshgrid(*[np.arange(-1, 9)] * 3, indexing="ij"), -1).reshape(-1, 3)
        found += [around + origin for origin in self.leaves]
        for edge, origin in self.tiles:
            ends = np.stack(np.meshgrid(*[(-1, 0, edge - 1, edge)] * 3, indexing="ij"), -1).reshape(-1, 3)
            found += [ends + origin, rng.integers(0, edge, (20, 3)) + origin]
        return np.concatenate(found)

    def grid(self, name):
        channels = len(self.background)
        values = np.array([v for v, _ in self.leaves.values()]).reshape(-1, 8, 8, 8, channels)
        return vdb.SparseGrid(
            name,
            np.array(list(self.leaves)).reshape(-1, 3),
            values if channels > 1 else values[..., 0],
            np.array([on for _, on in self.leaves.values()]).reshape(-1, 8, 8, 8),
            vdb.Tiles(
                np.array([origin for _, origin in self.tiles]).reshape(-1, 3),
                np.array([edge for edge, _ in self.tiles], np.int64),
                np.array([v for v, _ in self.tiles.values()]).reshape(-1, channels),
                np.array([on for _, on in self.tiles.values()], bool),
            ),
            self.background if channels > 1 else self.background[0],
            self.type,
            self.transform,
            self.metadata,
            self.half,
            self.compression,
        )


@st.composite
def trees(draw, types):
    kind = draw(st.sampled_from(types))
    channels = 3 if kind.startswith("vec3") else 1
    dtype = DTYPES[kind]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    half = kind in ("float", "vec3s", "double", "vec3d") and draw(st.booleans())
    exact = half or kind == "half"

    def values(n):
        """Numbers that a half holds, or for floats any bits but NaN, infinities and subnormals (zero to a
        process in which some library has switched them off)."""
        if np.dtype(dtype).kind == "f" and not exact and rng.random() < 0.5:
            bits = rng.integers(0, 256, (n, channels * np.dtype(dtype).itemsize), np.uint8)
            any_bits = bits.view(dtype)
            normal = np.isfinite(any_bits) & (np.abs(any_bits) >= np.finfo(dtype).tiny)
            return np.where(normal, any_bits, dtype(1.5))
        if dtype is np.bool_:
            return rng.random((n, channels)) < 0.5
        return (rng.integers(-2000, 2000, (n, channels)) / (1 if "i" in np.dtype(dtype).str else 8)).astype(
            dtype
        )

    background = values(1)[0] if draw(st.booleans()) else np.zeros(channels, dtype)
    tree = Tree(kind, background, half=half, compression=draw(st.sampled_from(["blosc", "zip", "none"])))
    near = st.integers(-3, 3)
    spread = st.sampled_from([8, 16, 128, 4096, 12288])  # neighbours, other nodes, other branches
    for place in draw(st.lists(st.tuples(near, near, near, spread), max_size=6)):
        origin = tuple(n * place[3] for n in place[:3])
        share = draw(st.sampled_from([0.0, 0.01, 0.5, 1.0]))
        on = rng.random(512) < share
        found = values(512)
        if np.dtype(dtype).kind == "f":
            found[on & (rng.random(512) < 0.1)] = -0.0  # kept where active; OpenVDB takes it for 0 elsewhere
        off = draw(st.sampled_from(["background", "one", "two", "sides", "many"]))
        if off in ("background", "one"):
            found[~on] = background if off == "background" else values(1)[0]
        elif off != "many":
            a, b = values(2) if off == "two" or dtype is np.bool_ else (background, 0 - background)
            found[~on] = np.where(rng.random((512, 1)) < 0.5, a, b)[~on]
        tree.leaves[origin] = found, on
    for place in draw(st.lists(st.tuples(near, near, near, st.sampled_from([8, 128, 4096])), max_size=6)):
        edge = place[3]
        origin = tuple(n * edge for n in place[:3])
        inside = [
            leaf for leaf in tree.leaves if all(o <= n < o + edge for n, o in zip(leaf, origin, strict=True))
        ]
        over = [
            t
            for t in tree.tiles
            if all(a < c + e and c < a + edge for a, c, e in zip(origin, t[1], (t[0],) * 3, strict=True))
        ]
        if not inside and not over:
            tree.tiles[edge, origin] = values(1)[0], bool(rng.random() < 0.6)
    scales = rng.choice([0.25, 0.5, 2.0, -1.0], 3)
    matrix = draw(st.sampled_from(["uniform", "scale", "affine"]))
    if matrix == "uniform":
        scales[:] = 0.125
    rows = np.diag(scales) + (matrix == "affine") * np.triu([[0, 0.25, 0.5], [0, 0, 0.125], [0, 0, 0]])
    move = tuple(rng.integers(-50, 50, 3) / 4)
    tree.transform = vdb.Transform(tuple(map(tuple, rows.tolist())), tuple(map(float, move)), "")
    tree.metadata = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "class": st.sampled_from(["fog volume", "level set", "staggered", "unknown"]),
                "note": st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=9),
                "answer": st.integers(-(2**31), 2**31 - 1),
                "ratio": st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
                "place": st.tuples(*[st.integers(-9, 9)] * 3),
            },
        )
    )
    return tree


def expected(tree, points):
    both = [tree.lookup(tuple(point)) for point in points.tolist()]
    return np.array([v for v, _ in both]), np.array([bool(on) for _, on in both])


def assert_bits(found, wanted, name):
    """Equal bit for bit."""
    found = np.ascontiguousarray(np.asarray(found).reshape(wanted.shape), wanted.dtype)
    np.testing.assert_array_equal(
        found.view(np.uint8), np.ascontiguousarray(wanted).view(np.uint8), err_msg=name
    )


def assert_ours(path, trees, points):
    """Our reader finds in the file what the trees say: by windows, leaves and tiles."""
    with vdb.open(path) as file:
        assert [grid.name for grid in file.grids] == [f"g{i % 3}" for i in range(len(trees))]
        for grid, tree, around in zip(file.grids, trees, points, strict=True):
            assert grid.active_voxels == tree.active
            background = np.asarray(grid.background).reshape(-1).astype(tree.background.dtype)
            assert_bits(background, tree.background, "background")
            values, active = expected(tree, around)
            at = 0
            for batch in np.split(around, range(1000, len(around), 1000)):  # a box around each thousand
                low, high = batch.min(0), batch.max(0) + 1
                if np.prod(high - low) < 2e5:
                    box = grid.dense(tuple(low.tolist()), tuple(high.tolist()))
                    mask = grid.dense_mask(tuple(low.tolist()), tuple(high.tolist()))
                    box = box[..., None] if box.ndim == 3 else np.moveaxis(box, 0, -1)
                    place = tuple((batch - low).T)
                    assert_bits(box[place], values[at : at + len(batch)], grid.name)
                    np.testing.assert_array_equal(mask[place], active[at : at + len(batch)])
                at += len(batch)
            seen = {}
            for leaves in grid.leaves(batch=2):
                for origin, found, on in zip(
                    leaves.origins.tolist(), leaves.values, leaves.masks, strict=True
                ):
                    seen[tuple(origin)] = found.reshape(512, -1), on.reshape(512)
            for origin, (wanted, on) in tree.leaves.items():
                if origin in seen:  # OpenVDB may have written a leaf as a tile, or dropped it
                    assert_bits(seen[origin][0], wanted, grid.name)
                    np.testing.assert_array_equal(seen[origin][1], on)
            assert grid.leaf_count == len(seen) == len(tree.leaves)
            tiles = grid.tiles()
            assert (tiles.active * tiles.edges**3).sum() + sum(
                int(on.sum()) for _, on in tree.leaves.values()
            ) == tree.active


@pytest.fixture(scope="module")
def openvdb():
    command = [PYTHON, str(HERE / "server_openvdb.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:

        def ask(path, copy, points):
            np.savez(f"{path}.npz", **{f"points{i}": p for i, p in enumerate(points)})
            server.stdin.write(f"{path} {copy} {path}.answer.npz\n")
            server.stdin.flush()
            assert server.stdout.readline() == "done\n"
            with np.load(f"{path}.answer.npz") as answer:
                return json.loads(answer["notes"].tobytes()), dict(answer)

        yield ask
        server.stdin.close()


def check_openvdb(ask, folder, found, rng):
    path, copy = folder / "a.vdb", folder / "b.vdb"
    vdb.write(path, [tree.grid(f"g{i % 3}") for i, tree in enumerate(found)])
    points = [tree.points(rng) for tree in found]
    # OpenVDB gives the grids in the order of their unique names.
    order = sorted(range(len(found)), key=lambda i: f"g{i % 3}" + f"\x1e{i // 3}" * (i >= 3))
    notes, answer = ask(path, copy, [points[i] for i in order])
    for j, (i, note) in enumerate(zip(order, notes, strict=True)):
        tree = found[i]
        values, active = expected(tree, points[i])
        assert_bits(answer[f"values{j}"], values, note["name"])
        np.testing.assert_array_equal(answer[f"active{j}"], active)
        assert (note["active"], note["leaves"]) == (tree.active, len(tree.leaves))
        assert note["half"] == tree.half
        corners = answer[f"corners{j}"]
        np.testing.assert_allclose(corners[0], tree.transform.translation, rtol=1e-12)
        np.testing.assert_allclose((corners[1:] - corners[0]).T, tree.transform.matrix, rtol=1e-9, atol=1e-12)
        for key, value in tree.metadata.items():
            assert note["metadata"][key] == (list(value) if isinstance(value, tuple) else value)
        if note["box"]:
            low, high = note["metadata"]["file_bbox_min"], note["metadata"]["file_bbox_max"]
            assert [low, high] == note["box"]
        assert note["metadata"]["file_voxel_count"] == tree.active
    assert_ours(path, found, points)
    return copy, points


QUICK = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
THOROUGH = settings(QUICK, max_examples=300)


def check_both_ways(ask, folder, found, seed):
    copy, points = check_openvdb(ask, folder, found, np.random.default_rng(seed))
    # Its own copy has its own encoding: Blosc, every mode of inactive values, its order of branches.
    assert_ours_copy(copy, found, points)


@needs_openvdb
@QUICK
@given(found=st.lists(trees(("float", "vec3s", "bool")), max_size=5), seed=st.integers(0, 99))
def test_openvdb_and_fluidsr_read_each_others_files(openvdb, tmp_path_factory, found, seed):
    check_both_ways(openvdb, tmp_path_factory.mktemp("trees"), found, seed)


@needs_openvdb
@pytest.mark.slow
@THOROUGH
@given(found=st.lists(trees(("float", "vec3s", "bool")), max_size=5), seed=st.integers(0, 99))
def test_many_trees_go_both_ways(openvdb, tmp_path_factory, found, seed):
    check_both_ways(openvdb, tmp_path_factory.mktemp("trees"), found, seed)


def assert_ours_copy(copy, found, points):
    with vdb.open(copy) as file:
        names = [f"g{i % 3}" for i in range(len(found))]
        for i, (tree, around) in enumerate(zip(found, points, strict=True)):
            same = [grid for grid in file.grids if grid.name == names[i]]
            grid = same[i // 3]
            values, active = expected(tree, around)
            assert grid.active_voxels == tree.active
            for start in range(0, len(around), 1000):
                batch = around[start : start + 1000]
                low, high = batch.min(0), batch.max(0) + 1
                if np.prod(high - low) < 2e5:
                    box = grid.dense(tuple(low.tolist()), tuple(high.tolist()))
                    box = box[..., None] if box.ndim == 3 else np.moveaxis(box, 0, -1)
                    place = tuple((batch - low).T)
                    assert_bits(box[place], values[start : start + 1000], grid.name)
                    mask = grid.dense_mask(tuple(low.tolist()), tuple(high.tolist()))
                    np.testing.assert_array_equal(mask[place], active[start : start + 1000])


@QUICK
@given(found=st.lists(trees(tuple(DTYPES)), max_size=3), seed=st.integers(0, 99))
def test_every_type_goes_round(tmp_path_factory, found, seed):
    path = tmp_path_factory.mktemp("trees") / "a.vdb"
    vdb.write(path, [tree.grid(f"g{i % 3}") for i, tree in enumerate(found)])
    rng = np.random.default_rng(seed)
    assert_ours(path, found, [tree.points(rng) for tree in found])
    data = path.read_bytes()
    vdb.write(path, [tree.grid(f"g{i % 3}") for i, tree in enumerate(found)])
    assert path.read_bytes() == data
