"""Files and overrides: every mistake is one line with the place, what is wrong, and the remedy."""

import re

import pytest
from pydantic import BaseModel

from fluidsr import scenes
from fluidsr.errors import InputError, SceneError
from fluidsr.scenes import Scene, load_yaml_model, yaml_loader

GOOD = """\
name: small
domain:
  resolution: [32, 48, 32]
  cell_size: 0.02
  boundary: {x: open, y: [closed, open], z: open}
time:
  frames: 10
physics:
  buoyancy: {temperature: 0.5}
sources:
  - shape: sphere
    center: [0.32, 0.1, 0.32]
    radius: 0.08
    density: 1.0
    temperature: 1.0
    velocity: [0, 0.5, 0]
    noise: {strength: 0.5, scale: 8}
    seconds: [0, 3]
obstacles:
  - {shape: box, center: [0.32, 0.6, 0.32], size: [0.1, 0.1, 0.1]}
upscale: {model: smoke3d-x4}
"""


def write(tmp_path, text):
    path = tmp_path / "small.yaml"
    path.write_text(text)
    return path


def complaint(tmp_path, text, overrides=()):
    path = write(tmp_path, text)
    with pytest.raises(SceneError) as caught:
        scenes.load(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(path), "small.yaml")


def test_a_good_file_loads(tmp_path):
    scene = scenes.load(write(tmp_path, GOOD))
    assert scene.domain.sides == (("open", "open"), ("closed", "open"), ("open", "open"))
    assert scene.sources[0].noise.scale == 8.0
    assert scene.time.fps == 24.0


MISTAKES = [
    (
        "radius: 0.08",
        "radus: 0.08",
        "small.yaml:13: sources[0].radus: there is no key",
        "did you mean 'radius'?",
    ),
    ("resolution:", "resolutoin:", "small.yaml:3: domain.resolutoin: there is no key", "'resolution'"),
    ("time:\n", "tyme:\n", "small.yaml:6: tyme: there is no key", "'time'"),
    (
        "radius: 0.08",
        "radius: 0.9",
        "small.yaml:13: sources[0].radius: 0.9 m is wider than the domain",
        "0.32",
    ),
    (
        "velocity: [0, 0.5, 0]",
        "inflow: true",
        "small.yaml:16: sources[0].inflow: needs a velocity",
        "give velocity",
    ),
    (
        "shape: sphere\n    center: [0.32, 0.1, 0.32]\n    radius: 0.08",
        "shape: cylinder\n    center: [0.32, 0.1, 0.32]\n    radius: 0.08\n    height: 1.1",
        "small.yaml:14: sources[0].height: 1.1 m is wider",
        "at most 0.96",
    ),
    (
        "shape: sphere\n    center: [0.32, 0.1, 0.32]\n    radius: 0.08",
        "shape: capsule\n    center: [0.32, 0.1, 0.32]\n    radius: 0.5\n    height: 0.1",
        "small.yaml:13: sources[0].radius: 0.5 m makes it 1 m across",
        "at most 0.32",
    ),
    (
        "radius: 0.08",
        "radius: 0.33",
        "small.yaml:13: sources[0].radius: 0.33 m makes it 0.66 m across, and the domain is 0.64 m",
        "at most 0.32",
    ),
    (
        "[0.32, 0.1, 0.32]",
        "[-2, 0.1, 0.32]\n    motion: [{time: 0, offset: [0, 0, 0]}, {time: 1, offset: [1, 0, 0]}]",
        "small.yaml:12: sources[0].center: the source lies outside the domain, for all of its motion",
        "move it, or enlarge domain.cell_size: the domain is x 0 to 0.64",
    ),
    (
        "    radius: 0.08",
        "    radius: 0.08\n    inherit: 0.5",
        "small.yaml:14: sources[0].inherit: the source does not move",
        "give motion",
    ),
    (
        "radius: 0.08",
        "radius: true",
        "small.yaml:13: sources[0].radius: true is not a number",
        "give a number",
    ),
    ("radius: 0.08", "radius: -1", "small.yaml:13: sources[0].radius: -1 is not greater than 0", "greater"),
    ("radius: 0.08", "radius: .nan", "small.yaml:13: sources[0].radius: nan is not a finite", "finite"),
    ("    radius: 0.08\n", "", "small.yaml:11: sources[0].radius: is missing", "add it: Radius"),
    (
        "[0.32, 0.1, 0.32]",
        "[0.32, 0.1]",
        "small.yaml:12: sources[0].center: has 2 numbers in a 3-D",
        "give 3",
    ),
    (
        "[0.32, 0.1, 0.32]",
        "[0.32, 9, 0.32]",
        "small.yaml:12: sources[0].center: the source lies outside",
        "0 to",
    ),
    ("[0.32, 0.1, 0.32]", "[0.32, 0.6, 0.32]", None, None),
    ("[0, 0.5, 0]", "[0, 0.5]", "small.yaml:16: sources[0].velocity: has 2 numbers", "give 3"),
    ("[0, 3]", "[3, 0]", "small.yaml:18: sources[0].seconds: [3, 0] s ends before it starts", "[start, end]"),
    ("shape: sphere", "shape: spere", "small.yaml:11: sources[0].shape: 'spere'", "'sphere'"),
    (
        "shape: sphere",
        "shape: mesh\n    path: none.obj",
        "small.yaml:14: sources[0].radius: there is no key 'radius' here",
        "the keys are",
    ),
    (
        "size: [0.1",
        "motion: [], size: [0.1",
        "small.yaml:20: obstacles[0].motion: has 0 items",
        "give at least 1",
    ),
    (
        "size: [0.1",
        "motion: [{time: 0, offset: [0, 0]}], size: [0.1",
        "small.yaml:20: obstacles[0].motion[0].offset: has 2 numbers in a 3-D scene",
        "give 3",
    ),
    (
        "size: [0.1",
        "motion: [{time: 1, offset: [0, 0, 0]}, {time: 1, offset: [1, 0, 0]}], size: [0.1",
        "small.yaml:20: obstacles[0].motion[1].time: 1 s is not after the 1 s before it",
        "order of time",
    ),
    (
        "size: [0.1",
        "motion: [{time: 0, offset: [0, 0, 0]}, null], size: [0.1",
        "small.yaml:20: obstacles[0].motion[1]: an empty value is not a mapping of keys",
        "as an offset from its `center`)",
    ),
    (
        "size: [0.1",
        "motion: [{time: 1, offset: [0, .inf, 0]}], size: [0.1",
        "small.yaml:20: obstacles[0].motion[0].offset[1]: inf is not a finite number",
        "finite",
    ),
    (
        "    radius: 0.08",
        "    radius: 0.08\n    motion: [{time: 0, offset: [9, 0, 0]}, {time: 1, offset: [10, 0, 0]}]",
        "small.yaml:12: sources[0].center: the source lies outside",
        "the domain is",
    ),
    (
        "    radius: 0.08",
        "    radius: 0.03\n    motion: [{time: 0, offset: [0, 0.51, 0]}, {time: 1, offset: [0.01, 0.51, 0]}]",
        "small.yaml:14: sources[0].motion: the source stays inside an obstacle",
        "move one of them",
    ),
    (
        "size: [0.1, 0.1, 0.1]",
        "size: [9, 9, 9]",
        "small.yaml:19: obstacles: they fill the whole domain",
        "room",
    ),
    (
        "frames: 10",
        "frames: 0",
        "small.yaml:7: time.frames: 0 is not at least 1",
        "give a number of at least 1",
    ),
    ("frames: 10", "frames: 1.5", "small.yaml:7: time.frames: 1.5 is not a whole number", "whole"),
    ("frames: 10", "cfl: 0", "small.yaml:7: time.cfl: 0 is not greater than 0", "greater than 0"),
    (
        "cell_size: 0.02",
        "cell_size: 1.0e-9",
        "small.yaml:4: domain.cell_size: 1e-09 is not at least 1e-05",
        "give",
    ),
    ("frames: 10", "cfl: 50", "small.yaml:7: time.cfl: 50 is not at most 20", "at most 20"),
    (
        "size: [0.1, 0.1, 0.1]",
        "size: [0.1, 0, 0.1]",
        "small.yaml:20: obstacles[0].size[1]: 0 is not greater than 0",
        "greater than 0",
    ),
    ("density: 1.0", "density: -1", "small.yaml:14: sources[0].density: -1 is not at least 0", "at least 0"),
    (
        "x: open, y",
        "x: [periodic, open], y",
        "small.yaml:5: domain.boundary.x: is periodic at one end only",
        "write x: periodic",
    ),
    (
        "physics:",
        "physics:\n  wind: [1, 2, 0]",
        "small.yaml:9: physics.wind[1]: ",
        "give 0, or make domain.boundary.y open or periodic",
    ),
    ("physics:", "physics:\n  wind: [1, 0]", "small.yaml:9: physics.wind: has 2 numbers in a 3-D", "give 3"),
    ("physics:", "physics:\n  viscosity: -1", "small.yaml:9: physics.viscosity: -1 is not at least 0", "at"),
    (
        "time:\n",
        "numerics: {advection: reflections}\ntime:\n",
        "small.yaml:6: numerics.advection: 'reflections' is not one of",
        "did you mean 'reflection'?",
    ),
    (
        "name: small",
        "name: small\nstart: {path: nowhere.vdb}",
        "small.yaml:2: start.path: ",
        "give a volume file, relative to the scene's",
    ),
    (
        "name: small",
        "name: small\nstart: {}",
        "small.yaml:2: start.path: is missing",
        "add it: A volume file",
    ),
    (
        "{model: smoke3d-x4}",
        "{model: smoke3d-x4, factor: 4}",
        "small.yaml:21: upscale.factor: there is no key 'factor' here",
        "the keys are method, model, detail",
    ),
    (
        "{model: smoke3d-x4}",
        "{method: wavelet, strenght: 4}",
        "small.yaml:21: upscale.strenght: there is no key",
        "did you mean 'strength'?",
    ),
    (
        "{model: smoke3d-x4}",
        "{}",
        "small.yaml:21: upscale.model: is missing",
        "add it: Name of a shipped generator",
    ),
    (
        "{model: smoke3d-x4}",
        "{method: wave}",
        "small.yaml:21: upscale.method: 'wave'",
        "did you mean 'wavelet'?",
    ),
    (
        "{model: smoke3d-x4}",
        "{method: wavelet, factor: 1}",
        "small.yaml:21: upscale.factor: 1 is not at least 2",
        "at least 2",
    ),
    ("[32, 48, 32]", "[0, 48, 32]", "small.yaml:3: domain.resolution[0]: 0 is not at least 4", "at least 4"),
    ("[32, 48, 32]", "[20000, 20000, 20000]", "small.yaml:3: domain.resolution: ", "2.1 billion"),
    ("[32, 48, 32]", "[32]", "small.yaml:3: domain.resolution: has 1 item", "at least 2"),
    (
        "x: open, y",
        "x: opn, y",
        "small.yaml:5: domain.boundary.x: 'opn' is not one of",
        "did you mean 'open'?",
    ),
    ("time:\n  frames: 10", "time: 3", "small.yaml:6: time: 3 is not a mapping", "give"),
    ("name: small", "name: ../x", "small.yaml:1: name: '../x' cannot be used", "letters"),
    (
        "frames: 10",
        "frames: [",
        "small.yaml:9: is not valid YAML (expected ',' or ']', but got ':') in what begins on line 7",
        "correct the syntax",
    ),
    ("frames: 10", "frames: 10\n  frames: 11", "small.yaml:8: 'time.frames' is given twice", "remove one"),
    ("frames: 10", "frames: &a 10", "small.yaml:7: anchors and aliases are not supported", "write the value"),
    (
        "frames: 10",
        "frames: !!python/name:os.system x",
        "small.yaml:7: the tag '!!python/name:os",
        "remove it",
    ),
    # Keys in the wrong place, under a part of their name, or of another program.
    ("time:\n  frames: 10", "frames: 10", "small.yaml:6: frames: there is no key", "time.frames"),
    ("physics:\n  buoyancy:", "buoyancy:", "small.yaml:8: buoyancy: there is no key", "physics.buoyancy"),
    ("upscale: {model: smoke3d-x4}", "model: smoke3d-x4", "small.yaml:21: model: there", "upscale.model"),
    ("frames: 10", "frame_rate: 10", "small.yaml:7: time.frame_rate: there is no key", "cfl, max_substeps"),
    ("velocity:", "vel:", "small.yaml:16: sources[0].vel: there is no key", "did you mean 'velocity'?"),
    (
        "  buoyancy: {temperature: 0.5}",
        "  vorticity: 1",
        "small.yaml:9: physics.vorticity: there",
        "'vorticity_confinement'?",
    ),
    ("{temperature: 0.5}", "{temperature:0.5}", "small.yaml:9: physics.buoyancy.temperature:0.5", "a space"),
    ("x: open, y", "X: open, y", "small.yaml:5: domain.boundary.X: there is no key", "did you mean 'x'?"),
    # Values of another type than the key's.
    ("radius: 0.08", "radius: '0.08'", "small.yaml:13: sources[0].radius: '0.08' is not", "without quotes"),
    ("{model: smoke3d-x4}", "{method: carry, factor: '2'}", "small.yaml:21: upscale.factor", "without"),
    ("{model: smoke3d-x4}", "smoke3d-x4", "small.yaml:21: upscale: ", "{model: smoke3d-x4}"),
    ("{model: smoke3d-x4}", "{model: ''}", "small.yaml:21: upscale.model: is empty", "name of a shipped"),
    (
        "{model: smoke3d-x4}",
        f"{{model: {'a' * 1001}}}",
        "small.yaml:21: upscale.model: has more than",
        "name",
    ),
    (
        "upscale:",
        "output: {fields: [temp]}\nupscale:",
        "small.yaml:21: output.fields[0]: 'temp'",
        "'temperature'?",
    ),
    ("{model: smoke3d-x4}", "{model: none}", "small.yaml:21: upscale.model: ", "leave out upscale"),
    ("  - {shape: box", "  {shape: box", "small.yaml:19: obstacles: {shape: box", "'- '"),
    ("shape: sphere", "shape:", "small.yaml:11: sources[0].shape: an empty value is not", "use one of"),
    ("shape: sphere", "shape: [sphere]", "small.yaml:11: sources[0].shape: [sphere] is not", "use one of"),
    ("x: open, y", "x: true, y", "small.yaml:5: domain.boundary.x: is neither", "closed, open, periodic"),
    ("x: open, y", "x: wall, y", "small.yaml:5: domain.boundary.x: 'wall' is not", "closed, open, periodic"),
    ("frames: 10", "frames:\t10", "small.yaml:7: has a tab", "spaces"),
    ("frames: 10", "<<: {frames: 10}", "small.yaml:7: merge keys (<<) are not supported", "write the keys"),
    (
        "    density: 1.0\n    temperature: 1.0\n    velocity: [0, 0.5, 0]\n",
        "    density: 0\n",
        "small.yaml:11: sources[0]: emits nothing",
        "density",
    ),
    ("frames: 10", "? [a]\n  : 10", "small.yaml:7: a key is not a word", "plain key"),
    ("frames: 10", "fps: 1e999", "small.yaml:7: '1e999' is not a usable number", "smaller"),
    ("frames: 10", f"frames: {'9' * 5000}", "small.yaml:7: ", "give"),
    ("frames: 10", f"frames: {'[' * 200}", "small.yaml:7: nested more than", "flatter"),
]


@pytest.mark.parametrize(("old", "new", "start", "remedy"), MISTAKES, ids=[m[1][:30] for m in MISTAKES])
def test_a_mistake_says_where_what_and_the_remedy(tmp_path, old, new, start, remedy):
    assert GOOD.count(old) >= 1
    text = GOOD.replace(old, new, 1)
    if start is None:  # inside the obstacle only when small enough
        text, start = (
            text.replace("radius: 0.08", "radius: 0.04"),
            "small.yaml:12: sources[0].center: the source is inside",
        )
        remedy = "move one of them"
    message = complaint(tmp_path, text)
    assert message.startswith(start), message
    assert remedy in message.rsplit("; ", 1)[1], message


@pytest.mark.parametrize("key", ["inflow: true", "expansion: 2.0"])
def test_air_that_comes_in_needs_a_side_to_leave_by(tmp_path, key):
    text = GOOD.replace("{x: open, y: [closed, open], z: open}", "{x: closed, y: closed, z: periodic}")
    message = complaint(tmp_path, text.replace("radius: 0.08", f"radius: 0.08\n    {key}"))
    assert message == (
        f"small.yaml:14: sources[0].{key.split(':')[0]}: no side of the domain is open, and the air that comes in "
        "could not leave; open a side (domain.boundary), or leave it out"
    )


@pytest.mark.parametrize("radius", [1e-4, 0.003, 0.008])
def test_a_source_may_be_smaller_than_a_cell(tmp_path, radius):
    scene = scenes.load(write(tmp_path, GOOD.replace("radius: 0.08", f"radius: {radius}")))
    assert scene.refined(2).coarsened(8).sources[0].radius == radius


def test_a_source_may_begin_in_an_obstacle_and_come_out(tmp_path):
    path = tmp_path / "moving.yaml"
    motion = "    radius: 0.03\n    motion: [{time: 0, offset: [0, 0.51, 0]}, {time: 1, offset: [0, 0, 0]}]"
    path.write_text(GOOD.replace("    radius: 0.08", motion, 1))
    assert scenes.load(path).sources[0].motion is not None


def test_several_mistakes_give_the_first_and_the_count(tmp_path):
    text = (
        GOOD.replace("frames: 10", "frames: 0")
        .replace("scale: 8", "scale: 0")
        .replace("cell_size", "cellsize")
    )
    message = complaint(tmp_path, text)
    assert message.startswith("small.yaml:4: domain.cellsize")
    assert message.endswith("(and 2 more)")


@pytest.mark.parametrize(
    ("overrides", "start"),
    [
        (["time.frames=0"], "overrides time.frames: 0 is not at least 1"),
        (["time.frmes=1"], "overrides time.frmes: there is no key 'frmes'"),
        (["sources.0.radius=9"], "overrides sources[0].radius: 9 m is wider"),
        (["sources[0].radius=9"], "overrides sources[0].radius: 9 m is wider"),
        (
            ["sources.1.radius=0.1"],
            "overrides sources.1.radius: sources has no item '1'; the items are 0 to 0",
        ),
        (["output={formats: [exr]}"], "overrides output: output.formats[0]: 'exr' is not one of"),
        (["name.x=1"], "overrides name.x: name is a single value"),
        (["time.frames"], "overrides: 'time.frames' is not KEY=VALUE"),
        (["=3"], "overrides: '=3' is not KEY=VALUE"),
        (["time.frames=["], "overrides time.frames:1: is not valid YAML"),
        (["crop.size=8"], "overrides crop.size: there is no key 'crop'"),
        (["output.size.x=8"], "overrides output.size.x: there is no key 'size'"),
        (
            ["frames=3"],
            "overrides frames: there is no key 'frames' here; it belongs to a section: time.frames",
        ),
    ],
)
def test_a_wrong_override_is_named(tmp_path, overrides, start):
    assert complaint(tmp_path, GOOD, overrides).startswith(start)


def test_overrides_apply_in_order(tmp_path):
    overrides = [
        "time.frames=5",
        "time.frames=6",
        "sources.0.noise.seed=7",
        "upscale=",
        "output.formats=[npz]",
    ]
    scene = scenes.load(write(tmp_path, GOOD), overrides)
    assert (scene.time.frames, scene.sources[0].noise.seed, scene.upscale) == (6, 7, None)
    assert scene.output.formats == ("npz",)


def test_overrides_make_missing_sections(tmp_path):
    text = GOOD.replace("upscale: {model: smoke3d-x4}\n", "")
    assert scenes.load(write(tmp_path, text), ["upscale.model=mine"]).upscale.model == "mine"


def test_name_defaults_to_the_file(tmp_path):
    assert scenes.load(write(tmp_path, GOOD.replace("name: small\n", ""))).name == "small"


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match="there is no such scene; did you mean 'plume'"):
        scenes.load("plum")
    with pytest.raises(InputError, match="is a folder"):
        scenes.load(tmp_path)
    with pytest.raises(SceneError, match="is empty"):
        scenes.load(write(tmp_path, "# nothing\n"))


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_bytes(b"name: x\ntime: \xff\xfe\n")
    with pytest.raises(SceneError, match=r"bad\.yaml:2: is not UTF-8"):
        scenes.load(path)
    path.write_bytes(b"a: \x00")
    with pytest.raises(SceneError, match="not valid YAML"):
        scenes.load(path)
    path.write_bytes(b"#" * (yaml_loader.MAX_BYTES + 1))
    with pytest.raises(SceneError, match="larger than 1 MiB"):
        scenes.load(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("1.5", 1.5), ("-3", -3), ("+2", 2), ("true", True), ("on", "on"), ("y", "y"),
     ("~", None), ("", None), ("1:30", "1:30"), ("0x10", "0x10"), ("2024-01-01", "2024-01-01"),
     (".5", 0.5), ("'1'", "1")],
)  # fmt: skip
def test_scalars_follow_yaml_1_2(text, value):
    read = yaml_loader.parse(f"a: {text}", "t").data["a"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("word", ["1e5", "on", "true", "3", "~", "a: b", "é"])
def test_the_dumper_writes_what_the_reader_reads(word):
    import yaml

    assert yaml_loader.parse(yaml.dump({"a": word}, Dumper=yaml_loader.Dumper), "t").data == {"a": word}


def test_other_models_load_the_same_way():
    class Inner(BaseModel, extra="forbid"):
        rate: float

    class Recipe(BaseModel, extra="forbid"):
        steps: int
        inner: Inner

    assert load_yaml_model("steps: 3\ninner: {rate: 1e-4}", Recipe, kind="recipe").inner.rate == 1e-4
    with pytest.raises(
        SceneError, match=re.escape("recipe:2: inner.rat: there is no key 'rat' here; did you mean 'rate'?")
    ):
        load_yaml_model("steps: 3\ninner: {rat: 1}", Recipe, kind="recipe")
    with pytest.raises(SceneError, match=re.escape("overrides steps: 'x' is not a whole number")):
        load_yaml_model("steps: 3\ninner: {rate: 1}", Recipe, ["steps=x"], kind="recipe")


def test_random_edits_never_escape_as_other_errors():
    """Hostile until parsed: whatever the text is, it loads or it is a SceneError."""
    import random

    rng = random.Random(3)
    characters = "{}[]:,-#&*!|>'\"%@`\n\t \\0123456789.eaxyz~?\x00\u2028"
    for _ in range(300):
        text = list(GOOD)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(text))
            text[at : at + rng.randint(0, 3)] = rng.choices(characters, k=rng.randint(0, 3))
        try:
            load_yaml_model("".join(text), Scene)
        except SceneError as error:
            assert "\n" not in str(error)


def test_sources_may_be_left_out_only_where_there_is_a_start(tmp_path):
    text = "domain: {resolution: [8, 8], cell_size: 0.1}\n"
    assert "sources: is missing; add a source" in complaint(tmp_path, text)
    (tmp_path / "smoke.vdb").write_bytes(b"")
    assert scenes.load(write(tmp_path, text + "start: {path: smoke.vdb}\n")).sources == ()


def test_files_are_found_beside_the_scene_or_else_where_the_user_is(tmp_path, monkeypatch):
    text = "domain: {resolution: [8, 8], cell_size: 0.1}\nstart: {path: smoke.vdb}\n"
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "smoke.vdb").write_bytes(b"")
    monkeypatch.chdir(here)
    scene = scenes.load(write(there, text))
    assert scene.start.path == str(there / "smoke.vdb")
    assert load_yaml_model(scene.to_yaml(), Scene) == scene  # absolute once loaded
    (there / "smoke.vdb").unlink()
    assert scenes.load(there / "small.yaml").start.path == str(here / "smoke.vdb")


def test_another_method_leaves_the_keys_of_the_first_behind(tmp_path):
    path = write(tmp_path, GOOD)
    for overrides in (
        ["upscale.method=wavelet", "upscale.factor=2"],
        ["upscale.factor=2", "upscale.method=wavelet"],
    ):
        scene = scenes.load(path, overrides)
        assert (scene.upscale.method, scene.upscale.factor) == ("wavelet", 2)
    assert scenes.load(path, ["upscale.method=model"]).upscale.model == "smoke3d-x4"
    assert scenes.load(path, ["upscale.method=wavelet"]).with_model("mine").upscale.model == "mine"
    with pytest.raises(SceneError, match=r"overrides upscale.velocity_scale: there is no key"):
        scenes.load(path, ["upscale.velocity_scale=2", "upscale.method=wavelet"])


def test_wavelets_need_an_even_number_of_cells_where_they_repeat(tmp_path):
    text = GOOD.replace("x: open, y", "x: periodic, y").replace("[32, 48, 32]", "[33, 48, 32]")
    message = complaint(tmp_path, text.replace("{model: smoke3d-x4}", "{method: wavelet}"))
    assert message.startswith("small.yaml:3: domain.resolution[0]: eddies of the wavelet method")
    assert scenes.load(write(tmp_path, text)).domain.sides[0] == ("periodic", "periodic")
