"""The command line: parse, call one pipeline function, print.

Nothing heavy is imported at module level, so that `--help` answers at once.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

import click

from fluidsr.cli.builtin import models, scenes
from fluidsr.cli.datasets import generate_dataset, import_dataset
from fluidsr.cli.options import with_option_names
from fluidsr.cli.simulate import simulate
from fluidsr.cli.training import evaluate, train
from fluidsr.cli.view import info, render
from fluidsr.cli.volumes import convert, upsample
from fluidsr.device import keep_freed_memory
from fluidsr.errors import FluidsrError

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

    0 done; 1 the run failed; 2 bad usage or bad input; 130 stopped by Ctrl-C (or SIGTERM).
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # render farms stop jobs with SIGTERM: the same as Ctrl-C
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
    except (KeyboardInterrupt, click.Abort):
        if debug:
            raise
        _fail("interrupted; completed frames were kept. Rerun the same command to resume", 130)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        if debug:
            raise
        where = error.filename or "the system"
        _fail(f"{where}: {error.strerror or error}; see the output above, or add --debug", 1)
    except MemoryError:
        if debug:
            raise
        _fail("not enough memory for this run; use a smaller domain or --tile, or set --max-memory", 1)
    except Exception as error:
        if debug:
            raise
        kind = type(error).__name__
        _fail(f"internal error ({kind}: {error}); rerun with --debug and report the traceback", 1)


def _fail(message: str, code: int) -> None:
    first_line = " ".join(message.split())
    click.echo(f"Error: {first_line}", err=True)
    sys.exit(code)
