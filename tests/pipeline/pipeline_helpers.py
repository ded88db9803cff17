"""What the pipeline's tests share."""

from pathlib import Path

# plume2d on a grid of 24 x 36 cells; the factor 4 makes it 96 x 144.
SMALL = ["--set", "domain.resolution=[24,36]", "--set", "domain.cell_size=0.05", "--device", "cpu"]


def contents(folder: Path) -> dict[str, bytes]:
    """Every volume and picture of a run by its path: what must be the same whatever happened on the way."""
    files = [
        *folder.glob("frames/*"),
        *folder.glob("coarse/*"),
        *folder.glob("*.pvd"),
        folder / "preview.png",
    ]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files if file.exists()}
