"""`fluidsr info`: what is in a volume, data set, model or run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fluidsr import volumes
from fluidsr.errors import InputError
from fluidsr.pipeline.run_folder import read_spec


def info(path: str) -> dict[str, Any]:
    """Describe one thing by its path, as nested plain values that print as YAML.

    A model may also be given by the name of a shipped one. Raises InputError for what is none of these.
    """
    place = Path(path)
    if place.suffix == ".safetensors" or not place.exists():
        return _model(path)
    if place.is_file() and place.name == "run.yaml":
        place = place.parent
    if (place / "run.yaml").exists():
        return _run(place)
    if (place / "zarr.json").exists():
        from fluidsr import dataset

        return {"kind": "data set", **dataset.Store.open(place).describe()}
    if place.is_file():
        return _known({"kind": "volume", **volumes.inspect(place).as_dict()})
    raise InputError(
        path, "is not a volume, data set, model or run", "give a file, a .zarr store or a run's folder"
    )


def _known(value: Any) -> Any:
    """`value` without the keys that nothing is known of."""
    if isinstance(value, dict):
        return {key: _known(v) for key, v in value.items() if v not in (None, {}, ()) and key != "path"}
    return [_known(v) for v in value] if isinstance(value, (list, tuple)) else value


def _model(name: str) -> dict[str, Any]:
    from fluidsr import models

    if not Path(name).exists() and name not in models.shipped():
        raise InputError(
            name, "does not exist", f"give a path, or a model's name: {', '.join(models.shipped())}"
        )
    return {"kind": "model", **models.read_card(name).model_dump(mode="json")}


def _run(folder: Path) -> dict[str, Any]:
    document = read_spec(folder)
    names = sorted(file.name for file in (folder / "frames").glob("*") if not file.name.startswith("."))
    found = {"files": len(names), "first": names[0], "last": names[-1]} if names else {"files": 0}
    return {"kind": "run", **document, "frames_found": found}
