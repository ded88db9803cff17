"""The prior on a generator's mask: less of it where the weight is higher, and what is left is where it is needed."""

import json

import pytest
import torch
from pydantic import ValidationError

from fluidsr.models import load
from fluidsr.models.generator import detail_mask
from fluidsr.models.resample import upsample
from fluidsr.training import Sources, train

NETWORK = {"width": 16, "blocks": 1, "rise_width": 16}


def test_the_prior_needs_a_mask_and_is_logged_unweighted(recipe, sampler, tmp_path):
    losses = {"absolute": 1.0, "mask": 0.1}
    with pytest.raises(ValidationError, match=r"losses\.mask is above 0, and the generator has no mask; set"):
        recipe(losses=losses)
    plan = recipe(losses=losses, generator={**NETWORK, "mask": True}, log_every=1, steps=2)
    report = train(plan, Sources(sampler(plan)), tmp_path)
    assert report.card.has_mask
    first = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert first["mask"] == pytest.approx(0.5, abs=0.05)  # the start
    assert first["total"] == pytest.approx(first["absolute"] + 0.1 * first["mask"], rel=1e-5)


def test_a_mask_without_its_prior_changes_no_loss(recipe, sampler, tmp_path):
    for mask in (False, True):
        plan = recipe(generator={**NETWORK, "mask": True}, steps=1, log_every=1)
        report = train(plan, Sources(sampler(plan)), tmp_path / str(mask))
        assert report.losses.keys() == {"total", "absolute", "gradient", "temporal", "gradient_norm"}


def auc(score: torch.Tensor, positive: torch.Tensor) -> float:
    """Area under the ROC curve: how often a positive has the higher score (Mann and Whitney)."""
    ranks = score.double().argsort().argsort().double()
    n, m = int(positive.sum()), int((~positive).sum())
    return (ranks[positive].sum().item() - n * (n - 1) / 2) / (n * m)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_prior_closes_the_mask_but_where_cubic_upsampling_is_wrong(recipe, sampler, tmp_path):
    batch = sampler(recipe(patches={"tile": 12, "batch": 4, "frames": 3})).batch(10_000)
    coarse, truth = batch.coarse.flatten(0, 1), batch.fine.flatten(0, 1)
    wrong = (truth - upsample(coarse[:, :1], 4)).abs() > 0.02
    near = detail_mask(coarse[:, :1], 4) > 0
    closed = []
    for weight in (0.0, 0.1, 1.0):
        plan = recipe(
            generator={**NETWORK, "mask": True},
            losses={"absolute": 1.0, "gradient": 1.0, "mask": weight},
            patches={"tile": 12, "batch": 2, "frames": 1},
            steps=300,
            validate_every=999,
            checkpoint_every=999,
        )
        report = train(plan, Sources(sampler(plan)), tmp_path / str(weight))
        generator = load(report.model).generator
        shares = generator(coarse, with_mask=True)[:, 1:]
        closed.append(shares[near].mean().item())
        if weight == 0.1:
            assert auc(shares.flatten(), wrong.flatten()) > 0.8
    assert closed[0] > closed[1] > closed[2], closed
