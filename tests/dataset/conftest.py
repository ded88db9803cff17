"""Stores to read from."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_pairs import write_synthetic

from fluidsr.dataset import Store


@pytest.fixture
def store2d(tmp_path: Path) -> Store:
    return Store.open(write_synthetic(tmp_path / "flat.zarr"))


@pytest.fixture
def store3d(tmp_path: Path) -> Store:
    return Store.open(
        write_synthetic(
            tmp_path / "deep.zarr", dim=3, shape=(10, 12, 8), factor=2, frames=4, temperature=True
        )
    )
