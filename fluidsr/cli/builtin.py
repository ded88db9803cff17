"""`fluidsr scenes` and `fluidsr models`: the scenes and generators that come with the package."""

from __future__ import annotations

from pathlib import Path

import click

from fluidsr.cli import completion
from fluidsr.cli.options import echo_document, echo_unless_quiet, options
from fluidsr.errors import InputError


class _Group(click.Group):
    """A group of commands that names them in one line where none is given: click's own error is the whole help."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            raise click.UsageError(f"Missing command, one of {', '.join(self.list_commands(ctx))}", ctx)
        return super().parse_args(ctx, args)


@click.group(cls=_Group)
def scenes() -> None:
    """List, show and validate scenes."""


@scenes.command("list")
@options("json")
def scenes_list(as_json: bool, quiet: bool) -> None:
    """List the built-in scenes."""
    from fluidsr import scenes

    descriptions = {name: scenes.describe(name) for name in scenes.names()}
    if as_json:
        echo_document(descriptions, as_json)
        return
    for name, description in descriptions.items():
        click.echo(f"{name:12s} {description}")


@scenes.command("show")
@click.argument("name", shell_complete=completion.BUILTIN_SCENES)
@options()
def scenes_show(name: str, quiet: bool) -> None:
    """Print the YAML of a built-in scene, as a template for your own."""
    from fluidsr import scenes

    click.echo(scenes.source(name), nl=False)


@scenes.command("check")
@click.argument("files", nargs=-1, required=True, shell_complete=completion.SCENES)
@options("scene-set")
def scenes_check(files: tuple[str, ...], overrides: tuple[str, ...], quiet: bool) -> None:
    """Validate scene files without running them.

    The models and files that the scenes name are checked, too.
    """
    from fluidsr import scenes
    from fluidsr.pipeline import simulate

    for file in files:
        scene = scenes.load(file, overrides)
        try:
            simulate.check(scene)
        except InputError as error:
            raise type(error)(f"{file}: {error.where}", error.what, error.remedy) from error
        cells = " x ".join(str(n) for n in scene.domain.resolution)
        click.echo(f"{file}: OK ({cells} cells, {scene.time.frames} frames)")


@scenes.command("schema")
@options()
def scenes_schema(quiet: bool) -> None:
    """Print the JSON Schema of scenes, for editors."""
    import json

    from fluidsr import scenes

    click.echo(json.dumps(scenes.json_schema(), indent=2))


@click.group(cls=_Group)
def models() -> None:
    """List, show and export models."""


@models.command("list")
@options("json")
def models_list(as_json: bool, quiet: bool) -> None:
    """List the shipped models."""
    from fluidsr import models
    from fluidsr.pipeline.worker import requests

    if as_json:
        echo_document(requests.models(), as_json)
        return
    for name in models.shipped():
        card = models.read_card(name)
        click.echo(
            f"{name:16s} {card.dim}-D, {card.factor}x, {card.multiply_adds:,.0f} multiply-adds per fine cell"
        )


@models.command("show")
@click.argument("name", shell_complete=completion.ANY_MODELS)
@options("json")
def models_show(name: str, as_json: bool, quiet: bool) -> None:
    """Print the card of a model.

    NAME is a shipped name, a file or the folder of a training run.
    """
    from fluidsr import models

    if as_json:
        echo_document(models.read_card(name).model_dump(mode="json"), as_json)
        return
    click.echo(models.read_card(name).to_markdown(), nl=False)


@models.command("export")
@click.argument("name", shell_complete=completion.MODELS)
@click.option("--onnx", is_flag=True, required=True, help="Write an ONNX file, the only format available.")
@options("output", "overwrite", "json")
def models_export(
    name: str, onnx: bool, output: Path | None, overwrite: bool, as_json: bool, quiet: bool
) -> None:
    """Export a model for programs without PyTorch.

    NAME is a shipped name, a file or the folder of a training run.
    """
    from fluidsr import models
    from fluidsr.models.onnx_export import export_onnx

    if output is not None and output.suffix.lower() != ".onnx":
        raise InputError("output", f"{output} is not the name of an ONNX file", "give a name ending in .onnx")
    model = models.load(name)
    target = output or Path(f"{model.card.name}.onnx")
    if target.exists() and not overwrite:
        raise InputError(str(target), "already exists", "use `overwrite`, or another `output`")
    export_onnx(model, target)
    if as_json:
        echo_document({"output": target}, as_json)
    else:
        echo_unless_quiet(str(target), quiet)
