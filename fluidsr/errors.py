"""The tree of errors a user can meet.

Every message has the same three parts, `where: what; remedy`, and every error knows the exit code of the
command that meets it: 2 for bad usage or bad input, 1 for a run that failed.
"""

from __future__ import annotations


def escaped(line: str) -> str:
    """`line` with all that a terminal would obey (control and direction characters) written as escapes: it may come
    from a file."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)


def printable(text: str) -> str:
    """`text` on one line, `escaped`."""
    return escaped(" ".join(text.split()))


class FluidsrError(Exception):
    """Base of all errors that end as one line on the terminal; `str()` is `where: what; remedy`."""

    exit_code = 1

    def __init__(self, where: str, what: str, remedy: str) -> None:
        what = " ".join(what.split("\n"))  # it may quote a library
        super().__init__(f"{where}: {what}; {remedy}")
        self.where, self.what, self.remedy = where, what, remedy

    def __reduce__(self) -> tuple[type[FluidsrError], tuple[str, str, str]]:
        # Errors cross process borders in dataset workers; the default would lose two of the three parts.
        return type(self), (self.where, self.what, self.remedy)


class InputError(FluidsrError):
    """Input that cannot be used: an option, a path, a name, an array."""

    exit_code = 2


class SceneError(InputError):
    """A scene, recipe or override is wrong; `where` is `file:line: key`."""


class VolumeError(InputError):
    """A volume file is damaged, unsupported, or lacks what was asked for."""


class NotFiniteError(InputError):
    """A field holds a NaN or an infinity; `where` names the field, and the file where it is known."""


class MissingFieldError(VolumeError):
    """A volume file is fine, and has no grid for a field that was asked for."""


class ModelError(InputError):
    """A model file is missing, damaged, or does not fit its use."""


class DatasetError(InputError):
    """A dataset is missing, damaged, or does not fit its use."""


class RunError(FluidsrError):
    """A run that started well could not continue."""


class SolverError(RunError):
    """A simulation diverged (a NaN, or a pressure solve that did not converge), or ran out of air."""


class TrainingError(RunError):
    """Training diverged or lost its data."""
