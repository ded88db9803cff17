"""The command line: parse, call one pipeline function, print.

Nothing heavy is imported at module level, so that `--help` answers at once.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence

import click

from fluidsr import signals
from fluidsr.cli.builtin import models, scenes
from fluidsr.cli.datasets import generate_dataset, import_dataset
from fluidsr.cli.options import with_option_names
from fluidsr.cli.simulate import simulate
from fluidsr.cli.training import evaluate, train
from fluidsr.cli.view import info, render
from fluidsr.cli.volumes import convert, upsample
from fluidsr.device import keep_freed_memory
from fluidsr.errors import FluidsrError, printable

_RESUME = "Rerun the same command to resume"
# What is there after a stop, by command; of the others nothing is.
_KEPT = {
    **dict.fromkeys(("simulate", "upsample", "convert"), f"completed frames were kept. {_RESUME}"),
    **dict.fromkeys(("generate-dataset", "import-dataset"), f"completed simulations were kept. {_RESUME}"),
    "train": f"a checkpoint of the completed steps was kept. {_RESUME}",
}

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(context_settings=_HELP)
@click.version_option(package_name="fluidsr")
def cli() -> None:
    """Turn coarse smoke simulations into render-ready detail."""


_COMMANDS = (
    simulate,
    generate_dataset,
    import_dataset,
    train,
    evaluate,
    upsample,
    convert,
    render,
    info,
    scenes,
    models,
)
for _command in _COMMANDS:
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: every error a user can cause ends as one line and an exit code.

    0 done; 1 the run failed; 2 bad usage or bad input; 130 stopped by Ctrl-C, 143 by SIGTERM or SIGHUP.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    signals.install()
    keep_freed_memory()
    try:
        sys.exit(cli.main(args=arguments, prog_name="fluidsr", standalone_mode=False) or 0)
    except click.ClickException as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "fluidsr")
        _fail(f"{command}: {error.format_message().rstrip('.')}; see '{command} --help'", 2)
    except FluidsrError as error:
        if debug:
            raise
        _fail(with_option_names(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort) as error:
        if debug:
            raise
        stopped = error.__cause__ if isinstance(error, click.Abort) else error  # click makes an Abort of it
        command = next((word for word in arguments if word in cli.commands), "")
        kept = _KEPT.get(command, "no half-written file is left")
        _fail(f"interrupted; {kept}", getattr(stopped, "exit_code", 130))
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        if debug:
            raise
        label = error.filename or "the system"
        if error.errno == errno.ENAMETOOLONG:
            _fail(f"{label}: the name is too long; give a shorter one", 2)
        _fail(f"{label}: {error.strerror or error}; see the output above, or add --debug", 1)
    except Exception as error:
        if debug:
            raise
        kind = type(error).__name__
        if kind in ("MemoryError", "OutOfMemoryError"):  # the latter is torch's, of a GPU
            _fail("not enough memory for this run; use a smaller domain or --tile, or set --max-memory", 1)
        _fail(f"internal error ({kind}: {error}); rerun with --debug and report the traceback", 1)


def _fail(message: str, code: int) -> None:
    click.echo(f"Error: {printable(message)}", err=True)
    sys.exit(code)
