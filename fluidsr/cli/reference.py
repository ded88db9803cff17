"""The reference of all commands, as Markdown, from their help; the documentation site shows it."""

from __future__ import annotations

from collections.abc import Iterator

import click

from fluidsr.cli import cli


def reference() -> str:
    """A section for each command, with a table of its options."""
    return "\n".join(_command(cli, "fluidsr")).rstrip() + "\n"


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
        everywhere = set(parameter.opts) & {"--help", "--debug", "--quiet"}
        if record is not None and isinstance(parameter, click.Option) and not everywhere:
            yield f"| `{_cell(record[0])}` | {_cell(record[1])} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
