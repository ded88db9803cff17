"""Old names of the public surface still work, with a DeprecationWarning that names the new one."""

import importlib

import pytest

from fluidsr import models

RENAMED = {
    "fluidsr.dataset": {"Foreign": "ExternalPair", "Joined": "ConcatStore"},
    "fluidsr.evaluation": {"judged": "is_evaluated"},
    "fluidsr.preview": {"Look": "RenderStyle", "Reduced": "DownsampledDensity"},
    "fluidsr.training": {"Progress": "TrainingProgress"},
    "fluidsr.upscaling": {"Piece": "FieldBlock"},
}


@pytest.mark.parametrize("name", RENAMED)
def test_an_old_name_is_the_new_one_and_warns(name):
    module = importlib.import_module(name)
    for old, new in RENAMED[name].items():
        with pytest.warns(DeprecationWarning, match=f"{old} is now .*{new}"):
            assert getattr(module, old) is getattr(module, new)
        assert old not in module.__all__ and new in module.__all__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        module.nonsense  # noqa: B018


def test_an_old_attribute_is_the_new_one_and_warns():
    generator = models.build("SmokeGenerator", dim=2, width=4, blocks=0, rise_width=4)
    with pytest.warns(DeprecationWarning, match=r"Generator\.weights is now num_parameters"):
        assert generator.weights == generator.num_parameters
    with pytest.warns(DeprecationWarning, match="multiply_adds is now macs_per_voxel"):
        assert generator.multiply_adds == generator.macs_per_voxel
