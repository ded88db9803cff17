"""Training a corrector of coarse runs: it learns, goes on to the bit, and refuses what is not its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fluidsr import models
from fluidsr.errors import InputError, ModelError, SceneError
from fluidsr.models import Closure
from fluidsr.models.closure import ClosureSample, Correction, state_of
from fluidsr.models.exchange import exchange, open_between
from fluidsr.training.closure import (
    CHECKPOINT,
    Change,
    ClosureRecipe,
    ClosureTraining,
    changed_by,
    energy_error,
    load_closure_recipe,
    unexplained,
    unexplained_distribution,
    unexplained_scores,
    unexplained_shares,
    with_noise,
)
from fluidsr.training.recipe import recipes, trains_closure


class Vortices:
    """Flows that lose a tenth of their velocity where it is fast: a rule that a network can find."""

    def __len__(self) -> int:
        return 6

    def frame(self, index: int) -> ClosureSample:
        generator = torch.Generator().manual_seed(index)
        coarse = torch.randn(1, 2, 3, 3, generator=generator)
        velocity = torch.nn.functional.interpolate(coarse, size=(12, 12), mode="bicubic")[0]
        density, air = 1.0 + torch.rand(1, 1, 12, 12, generator=generator), torch.ones(1, 1, 12, 12)
        change = 0.3 * velocity[[1, 0]]
        sharper = torch.full((1, 2, 12, 12), -0.1)
        return ClosureSample(
            state_of(density[0, 0], None, velocity, torch.zeros_like(velocity)),
            change[None],
            exchange(density, sharper, open_between(air, (False, False)), (False, False)),
            air,
            (False, False),
        )

    def sample(self, number: int) -> ClosureSample:
        return self.frame(int(np.random.default_rng([0, number]).integers(6)))


def recipe(**changes: object) -> ClosureRecipe:
    data = {"kind": "closure", "name": "tiny", "dim": 2, "steps": 60, "batch": 2, "validate_every": 30}
    data |= {"network": {"width": 8, "blocks": 1}, "checkpoint_every": 1000}
    data |= {"optimizer": {"learning_rate": 1e-2, "warmup_steps": 5, "average": 0.9}}
    return ClosureRecipe.model_validate({**data, **changes})


def test_training_reduces_the_error(tmp_path: Path) -> None:
    training = ClosureTraining(recipe(steps=150), tmp_path)
    before = unexplained(training.average, Vortices())
    network = training.run(Vortices(), Vortices())
    assert before["velocity"] > 0.95 and unexplained(network, Vortices())["velocity"] < 0.5
    assert training.validation == pytest.approx(unexplained(network, Vortices()))


def test_a_corrector_learns_to_sharpen_smoke_after_velocity(tmp_path: Path) -> None:
    first = ClosureTraining(recipe(steps=30), tmp_path / "first").run(Vortices())
    path = saved(first, tmp_path / "first.safetensors")
    both = recipe(steps=100, init=str(path), network={"width": 8, "blocks": 1, "exchange": 0.2})
    training = ClosureTraining(both, tmp_path / "both")
    before = unexplained(training.average, Vortices())
    assert before["velocity"] == pytest.approx(unexplained(first, Vortices())["velocity"])
    after = unexplained(training.run(Vortices(), Vortices()), Vortices())
    assert before["density"] > 0.95 and after["density"] < 0.5


def saved(network: Closure, path: Path) -> Path:
    ranges = {"density_range": (0.0, 1.0), "velocity_range": (-1.0, 1.0)}
    models.save(path, network, models.Card(name="first", **models.properties_of(network), **ranges))
    return path


def test_a_resumed_closure_training_ends_in_the_same_weights(tmp_path: Path) -> None:
    whole = ClosureTraining(recipe(), tmp_path / "whole").run(Vortices())

    class Stops(Vortices):
        def sample(self, number: int) -> ClosureSample:
            if number == 50:
                raise KeyboardInterrupt
            return super().sample(number)

    with pytest.raises(KeyboardInterrupt):
        ClosureTraining(recipe(), tmp_path / "parts").run(Stops())
    second = ClosureTraining(recipe(), tmp_path / "parts")
    assert second.step == 25
    for name, tensor in second.run(Vortices()).state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name]), name


def test_another_training_and_a_damaged_checkpoint_are_refused(tmp_path: Path) -> None:
    ClosureTraining(recipe(steps=2), tmp_path).run(Vortices())
    ClosureTraining(recipe(steps=4), tmp_path)
    with pytest.raises(InputError, match="noise"):
        ClosureTraining(recipe(noise=0.2), tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="cannot be used"):
        ClosureTraining(recipe(), tmp_path)


def test_a_second_training_begins_with_the_first(tmp_path: Path) -> None:
    first = ClosureTraining(recipe(steps=10), tmp_path / "first").run(Vortices())
    path = saved(first, tmp_path / "first.safetensors")
    second = ClosureTraining(recipe(init=str(path)), tmp_path / "second")
    state = Vortices().frame(0).state
    assert torch.equal(second.average(state).velocity, first(state).velocity)
    with pytest.raises(ModelError, match="is a corrector of"):
        ClosureTraining(recipe(init=str(path), network={"width": 5}), tmp_path / "third")


def test_a_wider_corrector_that_reads_noise_begins_with_the_first(tmp_path: Path) -> None:
    first = ClosureTraining(recipe(steps=10), tmp_path / "first").run(Vortices())
    path = saved(first, tmp_path / "first.safetensors")
    wider = {"width": 12, "blocks": 1, "exchange": 0.2, "noise": 2}
    second = ClosureTraining(recipe(init=str(path), network=wider), tmp_path / "second").average
    state = Vortices().frame(0).state
    with torch.no_grad():
        expected, silent = first(state).velocity, second(state).velocity
        moved = second(state, None, torch.randn(1, 2, 12, 12)).velocity
    assert torch.allclose(silent, expected, atol=1e-6) and not torch.allclose(moved, expected, atol=1e-4)
    with pytest.raises(ModelError, match="init"):  # not the other way round
        wide = saved(second, tmp_path / "wide.safetensors")
        ClosureTraining(recipe(init=str(wide)), tmp_path / "third")


def test_a_mirrored_training_stays_mirror_symmetric_and_learns(tmp_path: Path) -> None:
    class Drag(Vortices):
        def frame(self, index: int) -> ClosureSample:
            sample = super().frame(index)
            return replace(sample, change=-0.3 * sample.state[:, 2:4])

    network = {"width": 8, "blocks": 1, "mirrored": True}
    trained = ClosureTraining(recipe(steps=150, network=network), tmp_path / "first").run(Drag())
    assert unexplained(trained, Drag())["velocity"] < 0.5
    sample = Drag().frame(0)
    mirrored = sample.state.flip(2)
    mirrored[:, [2, 4]] *= -1
    with torch.no_grad():
        one, other = trained(sample.state).velocity, trained(mirrored).velocity.flip(2)
    other[:, 0] *= -1
    assert torch.allclose(one, other, atol=1e-5) and one.abs().max() > 0.01
    path = saved(trained, tmp_path / "first.safetensors")
    ClosureTraining(recipe(init=str(path), network=network), tmp_path / "second")
    plain = saved(
        ClosureTraining(recipe(steps=1), tmp_path / "third").average, tmp_path / "plain.safetensors"
    )
    with pytest.raises(ModelError, match="is not mirror-symmetric"):
        ClosureTraining(recipe(init=str(plain), network=network), tmp_path / "fourth")
    with pytest.raises(ValueError, match="no multiple of 4"):
        recipe(network={"width": 10, "mirrored": True})


def test_corrections_with_noise_spread_as_what_the_state_leaves_open(tmp_path: Path) -> None:
    """The same state gains or loses velocity, by chance."""

    class Chance(Vortices):
        def sample(self, number: int) -> ClosureSample:
            sample = self.frame(number % 6)
            sign = float(np.random.default_rng([1, number]).choice([-1.0, 1.0]))
            return replace(sample, change=sign * sample.change)

    noisy = recipe(steps=150, network={"width": 8, "blocks": 1, "noise": 2})
    network = ClosureTraining(noisy, tmp_path).run(Chance())
    ratios = []
    with torch.no_grad():
        for index in range(6):
            sample = Chance().frame(index)
            noise = torch.randn(8, 2, 12, 12, generator=torch.Generator().manual_seed(index))
            change = network(sample.state.expand(8, -1, -1, -1), sample.periodic, noise).velocity
            assert change.mean(0).square().mean() < 0.3 * sample.change.square().mean()
            ratios.append(float(change.std(0).mean() / sample.change.abs().mean()))
    assert 0.3 < np.mean(ratios) < 1.5


def test_unexplained_scores_are_one_for_no_change_and_least_for_the_right_spread() -> None:
    sample = Vortices().frame(0)
    still, random = torch.zeros(2, 2, 12, 12), torch.Generator().manual_seed(0)
    strong = replace(sample, change=20 * sample.change)
    assert unexplained_scores(Change(still, None), strong)["velocity"].item() == pytest.approx(1, abs=0.02)
    perfect = Change(sample.change.expand(2, -1, -1, -1), sample.density_change.expand(2, -1, -1, -1))
    for share in unexplained_scores(perfect, sample).values():
        assert share.item() < 0.05
    scores = {}
    for spread in (0.0, 1.0, 2.5):
        total = 0.0
        for _ in range(60):
            draws = torch.randn(3, 2, 12, 12, generator=random)
            chance = replace(sample, change=draws[2:])
            total += unexplained_scores(Change(spread * draws[:2], None), chance)["velocity"].item()
        scores[spread] = total
    assert scores[1.0] < 0.97 * min(scores[0.0], scores[2.5])


def test_unexplained_shares_are_zero_for_the_perfect_change_and_one_for_none() -> None:
    sample = Vortices().frame(0)
    assert unexplained_shares(Change(sample.change, None), sample) == {"velocity": 0.0}
    perfect = changed_by(Correction(sample.change, torch.full((1, 2, 12, 12), -0.1)), sample)
    assert unexplained_shares(perfect, sample) == {"velocity": 0.0, "density": 0.0}
    nothing = torch.zeros_like(sample.change)
    left = unexplained_shares(changed_by(Correction(nothing, nothing), sample), sample)
    assert left["velocity"] == pytest.approx(1.0, abs=0.01) and left["density"] > 0.5
    wall = torch.ones_like(sample.air)
    wall[..., :6] = 0.0
    beside = ClosureSample(sample.state, sample.change, sample.density_change, wall, sample.periodic)
    wrong = sample.change.clone()
    wrong[..., :6] = 9.0
    assert unexplained_shares(Change(wrong, None), beside) == {"velocity": 0.0}


def test_energy_of_detail_is_asked_for_whatever_its_place() -> None:
    sample = Vortices().frame(0)
    assert energy_error(sample.density_change, sample) == pytest.approx(0.0, abs=1e-9)
    without = energy_error(torch.zeros_like(sample.density_change), sample)
    state, fine = sample.state[:, :1], sample.state[:, :1] + sample.density_change
    ratios = [state.diff(n=2, dim=n).square().sum() / fine.diff(n=2, dim=n).square().sum() for n in (2, 3)]
    assert without == pytest.approx(sum(float(ratio.log()) ** 2 for ratio in ratios), rel=1e-3)
    sharper = torch.full((1, 2, 12, 12), -0.15).requires_grad_()
    change = changed_by(Correction(sample.change, sharper), sample)
    assert change.density is not None
    energy_error(change.density, sample).backward()
    assert sharper.grad is not None and sharper.grad.sum() < 0  # towards a weaker exchange


def test_the_distance_of_distributions_is_a_share_of_the_uncorrected_smokes() -> None:
    sample = Vortices().frame(0)
    nothing = torch.zeros_like(sample.density_change)
    assert unexplained_distribution(sample.density_change, sample) == 0
    assert unexplained_distribution(nothing, sample) == pytest.approx(1.0, abs=0.05)
    sharper = torch.full((1, 2, 12, 12), -0.15).requires_grad_()
    change = changed_by(Correction(sample.change, sharper), sample)
    assert change.density is not None
    unexplained_distribution(change.density, sample).backward()
    assert sharper.grad is not None and sharper.grad.abs().sum() > 0
    parts = (sample.state, sample.change, sample.density_change, sample.air)
    small = ClosureSample(*(field[..., :9] for field in parts), sample.periodic)
    assert unexplained_distribution(nothing[..., :9], small) == 0


def test_a_step_exchanges_the_smoke_of_each_sample_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(*arguments: Any) -> torch.Tensor:
        calls.append(arguments)
        return exchange(*arguments)

    monkeypatch.setattr("fluidsr.training.closure.exchange", counted)
    sharpened = {"network": {"width": 4, "blocks": 0, "exchange": 0.2}, "energy": 0.1}
    ClosureTraining(recipe(steps=3, batch=2, **sharpened), tmp_path).run(Vortices())
    assert len(calls) == 3 * 2


def test_noise_is_a_function_of_its_number_and_leaves_solids_alone() -> None:
    state = Vortices().frame(1).state
    noisy = with_noise(state, 0.1, 0, 7)
    assert torch.equal(noisy, with_noise(state, 0.1, 0, 7)) and not torch.equal(
        noisy, with_noise(state, 0.1, 0, 8)
    )
    assert torch.equal(noisy[:, 1], state[:, 1]) and float(noisy[:, 0].min()) >= 0.0
    deviation = float((noisy - state)[:, 2:4].std() / state[:, 2:4].std())
    assert deviation == pytest.approx(0.1, rel=0.2)


def test_the_shipped_recipes_load() -> None:
    closures = [name for name in recipes() if trains_closure(name)]
    assert closures == ["closure2d-x4", "closure3d-x4"]
    for name in closures:
        assert load_closure_recipe(name, ["batch=2"]).batch == 2
    with pytest.raises(InputError, match=r"reached\.longest: 2 is less than 3"):
        load_closure_recipe("closure2d-x4", ["reached.closure=x", "reached.shortest=3", "reached.longest=2"])


def test_the_kind_of_a_recipe_is_a_key_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for text, closure in (
        ("{kind: closure}", True),
        ("'kind': \"closure\"", True),
        ("kind: closures", False),
        ("summary: |\n  kind: closure\nkind: x", False),
        ('summary: >\n  one\n\n"kind": closure', True),
        ("", False),
    ):
        path.write_text(text)
        assert trains_closure(path) is closure, text
    path.write_text("kind: [closure")
    with pytest.raises(SceneError, match=r"mine.yaml:1: is not valid YAML"):
        trains_closure(path)


@pytest.mark.parametrize("key", ["energy", "distribution"])
def test_losses_of_smoke_need_an_exchange(key: str) -> None:
    with pytest.raises(SceneError, match=f"{key}: is that of smoke, and the network corrects velocity alone"):
        load_closure_recipe("closure2d-x4", [f"{key}=1", "network.exchange=0"])
