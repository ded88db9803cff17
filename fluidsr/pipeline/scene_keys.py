"""Errors about parameters that a YAML file gives (a scene, a list of pairs) name its keys, not a command's options."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from fluidsr.errors import InputError, ModelError, VolumeError

# The parameters of `Shaping.given`, which are also keys of `upscale`.
SHAPING = (
    "detail",
    "detail_mask",
    "detail_mask_grid",
    "velocity_scale",
    "mask",
    "mask_grid",
    "regions",
    "style_seed",
    "style",
    "styles",
)


@contextmanager
def named_in(section: str, keys: Collection[str] = (), file: str | None = None) -> Iterator[None]:
    """Let errors that are raised within name `section.key` where they name one of the parameters `keys`.

    A parameter is the first word of an error's `where`, or stands in backticks. `file` is the dotted key of the model
    or volume file that is read within; errors about that file then name it, too.
    """
    try:
        yield
    except InputError as error:
        first, rest = re.split(r"(?=:? |$)", error.where, maxsplit=1)
        where = error.where
        if first in keys:
            where = f"{section}.{first}{rest}"
        elif file is not None and isinstance(error, (ModelError, VolumeError)):
            where = f"{file}: {error.where}"

        def key(match: re.Match[str]) -> str:
            return f"{section}.{match[1]}" if match[1] in keys else match[0]

        what, remedy = (re.sub(r"`(\w+)`", key, text) for text in (error.what, error.remedy))
        raise type(error)(where, what, remedy) from error
