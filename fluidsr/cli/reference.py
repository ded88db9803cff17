"""The page of all commands, from their help: `python -m fluidsr.cli.reference docs/commands.md` renews it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from fluidsr.cli import cli

BEGIN = "<!-- Made by `python -m fluidsr.cli.reference docs/commands.md`; edit the commands instead. -->"


def page() -> str:
    """The page's text."""
    lines = [
        "# Commands",
        "",
        BEGIN,
        "",
        "Exit codes: 0 done; 1 the run failed; 2 bad usage or input; 130 and 143 stopped by a signal. Every command has `-q`",
        "(print results and errors only), `--debug` (show the traceback of an error) and `--help`.",
        "",
        *_command(cli, "fluidsr"),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _command(command: click.Command, path: str) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _command(inner, f"{path} {name}")
        return
    pieces = [piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
    yield from (f"## {path}", "", f"`{' '.join([path, *pieces, '[OPTIONS]'])}`", "")
    yield from ((command.help or "").strip(), "", "| option | meaning |", "|---|---|")
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or set(parameter.opts) & {"--help", "--debug", "--quiet"}:
            continue
        yield f"| `{_cell(record[0])}` | {_cell(record[1])} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    for _path in map(Path, sys.argv[1:]):
        _path.write_text(page(), encoding="utf-8")
