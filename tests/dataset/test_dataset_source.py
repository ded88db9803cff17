"""Data sources of other packages: opened by their scheme, drawn from as a store is."""

from pathlib import Path

import numpy as np
import pytest
from synthetic_pairs import write_synthetic

from fluidsr.dataset import DATA_SOURCES, ConcatStore, DataSource, PatchSampler, Store, open_source
from fluidsr.errors import InputError


class Mirror(DataSource):
    """A store under another scheme."""

    name = "mirror"

    def __init__(self, path):
        self.path, self._store = path, Store.open(path.url.removeprefix("mirror://"))
        self.dim, self.factor, self.attrs = self._store.dim, self._store.factor, {"pairs": "filtered"}

    def simulations(self, split=None):
        return self._store.simulations(split)


@pytest.fixture
def mirrored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(DATA_SOURCES, "_classes", {})
    DATA_SOURCES.register(Mirror)
    return f"mirror://{write_synthetic(tmp_path / 'flat.zarr')}"


def test_a_source_is_drawn_from_as_its_store_is(mirrored: str) -> None:
    source = open_source(mirrored)
    assert isinstance(source, Mirror) and str(source) == mirrored and source.path.name == "flat.zarr"
    joined = ConcatStore([source])
    assert (joined.dim, joined.factor) == (2, 4)
    with (
        PatchSampler(joined, tile=8, batch=2) as ours,
        PatchSampler(Store.open(mirrored.removeprefix("mirror://")), tile=8, batch=2) as theirs,
    ):
        np.testing.assert_array_equal(ours.batch(3).coarse, theirs.batch(3).coarse)


def test_a_scheme_that_nobody_has_is_an_address(mirrored: str) -> None:
    with pytest.raises(InputError, match="nobody://"):
        open_source("nobody://somewhere")
