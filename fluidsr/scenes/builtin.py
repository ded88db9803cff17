"""The built-in scenes, and `load`: a Scene from a built-in name or a YAML file."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from fluidsr.errors import InputError
from fluidsr.scenes.schema import Scene
from fluidsr.scenes.upscale import DEFAULT_METHOD
from fluidsr.scenes.yaml_loader import load_yaml_model

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The names of the built-in scenes, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def source(name: str) -> str:
    """The YAML text of a built-in scene. Raises InputError for another name."""
    return _built_in(name).read_text(encoding="utf-8")


def describe(name: str) -> str:
    """One line about a built-in scene: the first comment of its file. Raises InputError for another name."""
    return source(name).split("\n", 1)[0].lstrip("# ").strip()


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Scene:
    """The built-in scene of that name, or the scene in that YAML file, with `KEY=VALUE` overrides applied.

    Raises SceneError (with file, line and key) if the scene is invalid, InputError if there is none of that name.
    """
    word = str(name_or_path)
    if word in names():
        return _load(_built_in(word), f"{word}.yaml", overrides)
    path = Path(word)
    if not path.exists():
        near = difflib.get_close_matches(word, names(), n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"give a YAML file or one of {', '.join(names())}"
        raise InputError(word, "there is no such scene", remedy)
    if path.is_dir():
        raise InputError(word, "is a folder", "give a scene's YAML file")
    return _load(path, word, overrides)


def _load(path: Path, label: str, overrides: Sequence[str]) -> Scene:
    return load_yaml_model(
        path,
        Scene,
        overrides,
        label=label,
        defaults={"name": path.stem},
        switches={("upscale", "method"): DEFAULT_METHOD},
    )


def _built_in(name: str) -> Path:
    if name not in names():
        raise InputError(name, "there is no such built-in scene", f"the scenes are {', '.join(names())}")
    return _FOLDER / f"{name}.yaml"
