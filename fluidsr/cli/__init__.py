"""The command line: parse, call one pipeline function, print.

Nothing heavy is imported at module level, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from fluidsr import __version__, signals
from fluidsr.cli.builtin import models, scenes
from fluidsr.cli.datasets import generate_dataset, import_dataset
from fluidsr.cli.flow import restcoords, retime
from fluidsr.cli.options import echo_document, with_option_names
from fluidsr.cli.serve import serve
from fluidsr.cli.session import Session
from fluidsr.cli.simulate import simulate
from fluidsr.cli.training import evaluate, finetune, styles, train
from fluidsr.cli.view import info, render, view
from fluidsr.cli.volumes import convert, upsample
from fluidsr.device import keep_freed_memory
from fluidsr.errors import FluidsrError
from fluidsr.pipeline.events import failure

_RESUME = "Rerun the same command to resume"
# What is there after a stop, by command; of the others nothing is.
_KEPT = {
    **dict.fromkeys(
        ("simulate", "upsample", "convert", "retime", "restcoords"), f"completed frames were kept. {_RESUME}"
    ),
    **dict.fromkeys(("generate-dataset", "import-dataset"), f"completed simulations were kept. {_RESUME}"),
    **dict.fromkeys(("train", "finetune"), f"a checkpoint of the completed steps was kept. {_RESUME}"),
    "view": "the page is no longer served",
}

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(context_settings=_HELP, invoke_without_command=True)
@click.option("--version", is_flag=True, help="Print the version; with --json, also those of the libraries.")
@click.option("--json", "as_json", is_flag=True, help="Print the version as one JSON document.")
@click.pass_context
def cli(context: click.Context, version: bool, as_json: bool) -> None:
    """Turn coarse smoke simulations into render-ready detail."""
    if as_json and not version:
        raise click.UsageError("use --json with --version, or after a command", context)
    if version and as_json:
        from fluidsr.pipeline.provenance import environment

        echo_document({"version": __version__, **environment()}, as_json)
    elif version:
        click.echo(f"fluidsr, version {__version__}")
    elif context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)
    if version:
        context.exit()


_COMMANDS = (
    simulate,
    generate_dataset,
    import_dataset,
    train,
    finetune,
    evaluate,
    styles,
    upsample,
    convert,
    retime,
    restcoords,
    render,
    view,
    info,
    serve,
    scenes,
    models,
)
for _command in _COMMANDS:
    cli.add_command(_command)


def _read_environment(command: click.Command, words: tuple[str, ...]) -> None:
    """Let `FLUIDSR_COMMAND_OPTION`, and for all commands `FLUIDSR_OPTION`, give an option that the line does not."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            _read_environment(inner, (*words, name))
        return
    for option in command.params:
        if isinstance(option, click.Option):
            longest = max((*option.opts, *option.secondary_opts), key=lambda text: text.startswith("--"))
            name = longest.lstrip("-")
            variables = ("_".join(("fluidsr", *some, name)) for some in (words, ()))
            option.envvar = [variable.replace("-", "_").upper() for variable in variables]


_read_environment(cli, ())


def _with_variables(line: str, context: click.Context | None) -> str:
    """The line of an error with the environment variable beside the option, or the value, that it has given."""
    if context is None:
        return line
    for option in context.command.params:
        if option.name and context.get_parameter_source(option.name) is ParameterSource.ENVIRONMENT:
            variable = next(name for name in option.envvar or () if os.environ.get(name))
            names = "|".join(map(re.escape, (*option.opts, *option.secondary_opts)))
            place = rf"(?<![\w-])'?(?:{names})'?(?![\w-])|^{re.escape(os.environ[variable])}(?=: )"
            line = re.sub(place, rf"\g<0> ({variable})", line, count=1)
    return line


def _refuse_empty(arguments: Sequence[str]) -> None:
    """Raise UsageError for an empty argument: as a path it would mean the working directory, and it usually comes from
    a shell variable that is not set."""
    for place, argument in enumerate(arguments):
        if argument == "" or re.fullmatch(r"--[a-z-]+=", argument):
            option = argument.rstrip("=") or arguments[place - 1]
            named = place > 0 and not argument and option.startswith("-")
            what = f"The value of {option}" if named or argument else f"Argument {place + 1}"
            raise click.UsageError(
                f"{what} is empty; give one, or check the shell variable that it comes from"
            )


def _with_home(argument: str) -> str:
    """`argument` with the home folder for a leading `~`, which a shell leaves as it is in quotes (a pattern of files)
    and behind `--option=`."""
    return re.sub(r"\A(--[a-z-]+=)?~(?=/|\Z)", lambda match: (match[1] or "") + str(Path.home()), argument)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: every error a user can cause ends as one line and an exit code.

    0 done; 1 the run failed; 2 bad usage or bad input; 130 stopped by Ctrl-C, 143 by SIGTERM or SIGHUP.
    """
    arguments = [_with_home(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    signals.install()
    keep_freed_memory()
    with Session(arguments) as session:
        try:
            _refuse_empty(arguments)
            sys.exit(cli.main(args=arguments, prog_name="fluidsr", standalone_mode=False, obj=session) or 0)
        except click.ClickException as error:
            context = getattr(error, "ctx", None)
            command = context.command_path if context is not None else "fluidsr"
            line = f"{command}: {error.format_message().rstrip('.')}; see '{command} --help'"
            session.fail(error, _with_variables(line, context), 2)
        except BrokenPipeError:
            sys.exit(1)
        except (KeyboardInterrupt, click.Abort) as error:
            if session.debug:
                raise
            stopped = (
                error.__cause__ if isinstance(error, click.Abort) else error
            )  # click makes an Abort of it
            command = next((word for word in arguments if word in cli.commands), "")
            kept = _KEPT.get(command, "no half-written file is left")
            session.fail(error, f"interrupted; {kept}", getattr(stopped, "exit_code", 130))
        except Exception as error:
            if session.debug:
                raise
            line, code = failure(error)
            if isinstance(error, FluidsrError):
                line = _with_variables(with_option_names(error), session.context)
            session.fail(error, line, code)
