"""Shell completion of scenes, models and recipes: names that come with the package, and files.

Names are read from the package's folders: a shell cannot wait for torch at every key.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

_PACKAGE = Path(__file__).parents[1]
_Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def names_in(folder: str, suffix: str, leave_out: str = "") -> list[str]:
    """The stems of the package's files in `folder`; none that begins with `leave_out`."""
    stems = sorted(path.stem for path in (_PACKAGE / folder).glob(f"*{suffix}"))
    return [stem for stem in stems if not (leave_out and stem.startswith(leave_out))]


def _complete(folder: str, suffix: str, leave_out: str = "", *, files: bool = True) -> _Complete:
    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        names = [name for name in names_in(folder, suffix, leave_out) if name.startswith(incomplete)]
        items = [CompletionItem(name) for name in names]
        return items if items or not files else [CompletionItem(incomplete, type="file")]

    return complete


SCENES = _complete("scenes", ".yaml")
BUILTIN_SCENES = _complete("scenes", ".yaml", files=False)
MODELS = _complete("models/weights", ".safetensors", "closure")
ANY_MODELS = _complete("models/weights", ".safetensors")
RECIPES = _complete("training/recipes", ".yaml")
