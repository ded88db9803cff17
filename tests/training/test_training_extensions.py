"""Extensions: another package's classes train and load by entry point or `module:Class`; data files name no code."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import Field

from fluidsr import models
from fluidsr.errors import InputError, ModelError, SceneError
from fluidsr.extensions import Registry
from fluidsr.models import Discriminator
from fluidsr.training import LOGGERS, LOSSES, Logger, Loss, Recipe, Sources, load_recipe, train
from fluidsr.training.checkpoint import TrainingState

EXAMPLE = Path(__file__).parents[2] / "examples" / "extension"
ENTRY_POINTS = """
[fluidsr.generators]
Multiplier = fluidsr_example:Multiplier
Misnamed = fluidsr_example:Multiplier
[fluidsr.losses]
spectrum = fluidsr_example:SpectrumLoss
[fluidsr.metrics]
sharpness = fluidsr_example:Sharpness
"""
TINY = ["steps=4", "patches.tile=8", "patches.batch=2", "generator.width=8", "log_every=2"]


def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registries that forget what this test makes known."""
    from fluidsr.evaluation import METRICS

    for registry in (models.GENERATORS, models.DISCRIMINATORS, LOSSES, LOGGERS, METRICS):
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))
        monkeypatch.setattr(registry, "_imported", {})


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example package can be imported, and is not installed."""
    fresh(monkeypatch)
    monkeypatch.syspath_prepend(str(EXAMPLE))


@pytest.fixture
def installed(importable: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example package is installed, with its entry points."""
    information = tmp_path / "site" / "fluidsr_example-0.1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: fluidsr-example\nVersion: 0.1.0\n")
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(information.parent))


def test_an_installed_generator_and_loss_train_and_load(installed: None, sampler, tmp_path: Path) -> None:
    recipe = load_recipe(EXAMPLE / "multiplier2d.yaml", TINY)
    report = train(recipe, Sources(sampler(recipe)), tmp_path / "run")
    assert report.steps == 4 and report.losses["spectrum"] > 0
    assert report.losses["total"] == pytest.approx(
        report.losses["absolute"] + 0.02 * report.losses["spectrum"], rel=1e-5
    )
    model = models.load(report.model)
    assert type(model.generator).__module__ == "fluidsr_example.generator"
    assert model.card.architecture == "Multiplier" and model.card.hyperparameters["width"] == 8
    changed = load_recipe(EXAMPLE / "multiplier2d.yaml", [*TINY, "losses.extra=[]"])
    with pytest.raises(InputError, match=r"holds a training with losses\.extra"):
        train(changed, Sources(sampler(changed)), tmp_path / "run")


def test_the_generator_of_the_example_keeps_the_contract(importable: None) -> None:
    from fluidsr_example import Multiplier

    for dim in (2, 3):
        generator = Multiplier(dim, 4, width=6, depth=1)
        for layer in generator.layers:
            torch.nn.init.normal_(layer.weight, std=0.5)
        coarse = torch.rand(1, 1 + dim, *(16,) * dim)
        fine = generator(coarse)
        assert fine.shape == (1, 1, *(64,) * dim) and fine.min() >= 0
        centre = (slice(None), slice(None), *(slice(32, 36),) * dim)
        radius = generator.receptive_radius
        inside = (slice(None), slice(None), *(slice(8 - radius, 9 + radius),) * dim)
        elsewhere = torch.rand_like(coarse)
        elsewhere[inside] = coarse[inside]
        torch.testing.assert_close(generator(elsewhere)[centre], fine[centre])
        far = coarse.clone()
        far[:, 0] = 0
        far[(0, 0, *(8,) * dim)] = 1
        assert generator(far).count_nonzero() <= 12**dim  # the cell and one to either side
        coarse[:, 0] = 0
        assert not generator(coarse).any()


def test_a_recipe_imports_a_class(importable: None, sampler, tmp_path: Path) -> None:
    extra = "losses.extra=[{loss: 'fluidsr_example:SpectrumLoss', weight: 0.5, options: {floor: 0.1}}]"
    recipe = load_recipe(
        EXAMPLE / "multiplier2d.yaml", [*TINY, "generator.architecture=fluidsr_example:Multiplier", extra]
    )
    assert recipe.generator.kind == "Multiplier" and recipe.losses.extra[0].term.floor == 0.1
    report = train(recipe, Sources(sampler(recipe)), tmp_path)
    again = train(recipe, Sources(sampler(recipe)), tmp_path, steps=6)  # a checkpoint that names the classes
    assert again.steps == 6 and models.load(again.model).card.steps == 6
    assert report.card.recipe["generator"]["architecture"] == "fluidsr_example:Multiplier"


def test_neither_a_model_nor_a_checkpoint_imports_code(
    importable: None, sampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files from a training by `module:Class` are opened where nobody loaded that recipe."""
    recipe = load_recipe(
        EXAMPLE / "multiplier2d.yaml",
        [*TINY, "generator.architecture=fluidsr_example:Multiplier", "losses.extra=[]"],
    )
    report = train(recipe, Sources(sampler(recipe)), tmp_path / "run")
    code = f"""
import sys
from fluidsr import models
from fluidsr.errors import InputError
from fluidsr.training import Recipe
for attempt in (
    lambda: models.load({str(report.model)!r}),
    lambda: models.build("fluidsr_example:Multiplier", dim=2),
    lambda: Recipe.model_validate({recipe.model_dump(mode="json")!r}),
):
    try:
        attempt()
    except (InputError, ValueError) as error:
        assert "Multiplier" in str(error), error
    else:
        raise SystemExit("was accepted")
assert not [name for name in sys.modules if name.startswith("fluidsr_example")]
"""
    environment = {"PYTHONPATH": f"{EXAMPLE}:{Path(models.__file__).parents[2]}", "PATH": ""}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (run.returncode, run.stderr) == (0, "")
    fresh(monkeypatch)
    from fluidsr_example import Multiplier

    models.GENERATORS.register(Multiplier)
    assert models.load(report.model).card.architecture == "Multiplier"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["generator.architecture=nowhere:Net"], ["generator", "nowhere:Net", "cannot be imported"]),
        (["generator.architecture=fluidsr_example:Sharpness"], ["generator", "models", "Generator"]),
        (["generator.architecture=Multiplyer"], ["generator.architecture", "Multiplyer"]),
        (["generator.architecture=Misnamed"], ["generator", "Misnamed", "same name"]),
        (["generator={architecture: Multiplier, widht: 8}"], ["generator.widht", "'width'"]),
        (["losses.extra=[{loss: spektrum}]"], ["losses.extra[0]", "spektrum", "spectrum"]),
        (
            ["losses.extra=[{loss: spectrum, options: {flor: 1}}]"],
            ["losses.extra[0].options.flor", "'floor'"],
        ),
        (["losses.extra=[{loss: spectrum}, {loss: spectrum}]"], ["losses.extra[1]", "spectrum"]),
        (["loggers=[nix]"], ["loggers[0]", "nix", "wandb"]),
        (
            ["losses.spatial=1", "discriminators={temporal: null, network: nix}"],
            ["discriminators.network", "nix"],
        ),
    ],
)
def test_a_wrong_extension_name_is_refused_with_its_key(installed: None, overrides, words) -> None:
    with pytest.raises(SceneError) as refused:
        load_recipe(EXAMPLE / "multiplier2d.yaml", overrides)
    assert not [word for word in words if word not in str(refused.value)], str(refused.value)


class Change(Loss):
    """How much the output changes; looks at three frames."""

    name = "change"
    over_time = True
    power: int = Field(default=2, ge=1)

    def value(self, output, batch):
        assert output.shape == batch.fine.shape and output.shape[1] == 3
        return output.diff(dim=1).abs().pow(self.power).mean()


class Mean(Discriminator):
    """A logit from the mean alone."""

    name = "mean"

    def __init__(self, dim, channels_in, *, tile, norm, widths, head):
        super().__init__(dim, channels_in, tile=tile, norm=norm, widths=widths, head=head)
        del self.convolutions, self.norms, self.full
        self.last = torch.nn.Linear(channels_in, 1)

    def forward(self, x):
        return self.last(x.flatten(2).mean(2)), []


class Memory(Logger):
    """Keeps everything."""

    name = "memory"
    kept: list = []  # noqa: RUF012

    def __init__(self, folder, start, recipe):
        self.kept.append(("opened", start, recipe["name"]))

    def add_scalars(self, step, values):
        self.kept.append((step, sorted(values)))

    def add_image(self, step, name, pixels):
        self.kept.append((step, name, pixels.shape))

    def close(self):
        self.kept.append("closed")


def test_losses_over_time_discriminators_and_loggers(
    monkeypatch: pytest.MonkeyPatch, recipe, sampler, tmp_path: Path
) -> None:
    fresh(monkeypatch)
    for registry, kind in ((LOSSES, Change), (models.DISCRIMINATORS, Mean), (LOGGERS, Memory)):
        assert registry.register(kind) is kind
    chosen = recipe(
        losses={"absolute": 1.0, "spatial": 0.1, "extra": [{"loss": "change", "weight": 0.5}]},
        discriminators={"network": "mean", "temporal": None},
        loggers=["memory"],
        steps=2,
    )
    assert chosen.learns_from_time
    pictures = {"one": np.zeros((2, 3, 3), np.uint8)}
    report = train(chosen, Sources(sampler(chosen)), tmp_path, pictures=lambda generator: pictures)
    assert report.losses["change"] > 0 and "accuracy_spatial" in report.losses
    assert Memory.kept[0] == ("opened", 0, "tiny") and Memory.kept[-1] == "closed"
    assert (2, "samples/one", (2, 3, 3)) in Memory.kept
    (curves,) = [names for step, names in Memory.kept[1:2]]
    assert {"training/change", "training/total"} <= set(curves)
    assert isinstance(TrainingState(chosen, 0, "cpu").discriminators["spatial"].network, Mean)


def test_a_registry_refuses_strangers_and_second_owners() -> None:
    registry: Registry[Loss] = Registry("fluidsr.losses", Loss, (Change,))
    twin = type("Twin", (Loss,), {"name": "change", "__module__": __name__, "__annotations__": {}})
    with pytest.raises(InputError, match="has the name 'change'"):
        registry.register(twin)
    with pytest.raises(InputError, match="not a subclass"):
        registry.register(Memory)
    with pytest.raises(InputError, match="no attribute 'name'"):
        registry.register(type("Nameless", (Loss,), {"__module__": __name__}))


def test_an_unknown_architecture_of_a_card_names_the_remedy() -> None:
    with pytest.raises(ModelError, match="install the package"):
        models.build("Zzzz", dim=2)


def test_recipes_from_python_name_registered_classes_only() -> None:
    with pytest.raises(ValueError, match="load_recipe"):
        Recipe.model_validate(
            {"name": "a", "dim": 2, "steps": 1, "losses": {"extra": [{"loss": "os:getcwd"}]}}
        )


def test_weights_and_biases_get_the_records_and_resume(
    monkeypatch: pytest.MonkeyPatch, recipe, sampler, tmp_path: Path
) -> None:
    """With a stand-in: the service is not asked."""
    started: list[dict] = []

    class Run:
        id = "abc"

        def log(self, values, step):
            started[-1].setdefault("logged", []).append((step, sorted(values)))

        def finish(self):
            started[-1]["finished"] = True

    class Module:
        @staticmethod
        def init(**options):
            started.append(options)
            return Run()

        @staticmethod
        def Image(pixels):
            return pixels

    monkeypatch.setitem(sys.modules, "wandb", Module)
    chosen = recipe(loggers=["wandb"], steps=2)
    train(chosen, Sources(sampler(chosen)), tmp_path / "run")
    train(chosen, Sources(sampler(chosen)), tmp_path / "run", steps=4)
    assert [run["id"] for run in started] == [None, "abc"]
    assert started[0]["name"] == "run" and started[0]["config"]["name"] == "tiny" and started[0]["finished"]
    assert started[0]["logged"][0][0] == 2 and "training/absolute" in started[0]["logged"][0][1]
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"fluidsr\[wandb\]"):
        train(chosen, Sources(sampler(chosen)), tmp_path / "other")
