"""`fluidsr scenes` and `fluidsr models`: the scenes and generators that come with the package."""

from __future__ import annotations

import click

from fluidsr.cli.options import options


@click.group()
def scenes() -> None:
    """List, show and validate scenes."""


@scenes.command("list")
@options()
def scenes_list(quiet: bool) -> None:
    """List the built-in scenes."""
    from fluidsr import scenes

    for name in scenes.names():
        click.echo(f"{name:12s} {scenes.describe(name)}")


@scenes.command("show")
@click.argument("name")
@options()
def scenes_show(name: str, quiet: bool) -> None:
    """Print the YAML of a built-in scene, as a template for your own."""
    from fluidsr import scenes

    click.echo(scenes.source(name), nl=False)


@scenes.command("check")
@click.argument("files", nargs=-1, required=True)
@options("set")
def scenes_check(files: tuple[str, ...], overrides: tuple[str, ...], quiet: bool) -> None:
    """Validate scene files without running them."""
    from fluidsr import scenes

    for file in files:
        scene = scenes.load(file, overrides)
        cells = " x ".join(str(n) for n in scene.domain.resolution)
        click.echo(f"{file}: OK ({cells} cells, {scene.time.frames} frames)")


@scenes.command("schema")
@options()
def scenes_schema(quiet: bool) -> None:
    """Print the JSON Schema of scenes, for editors."""
    import json

    from fluidsr import scenes

    click.echo(json.dumps(scenes.json_schema(), indent=2))


@click.group()
def models() -> None:
    """List and show the shipped models."""


@models.command("list")
@options()
def models_list(quiet: bool) -> None:
    """List the shipped models."""
    from fluidsr import models

    for name in models.shipped():
        card = models.read_card(name)
        click.echo(
            f"{name:16s} {card.dim}-D, {card.factor}x, {card.multiply_adds} multiply-adds per fine cell"
        )


@models.command("show")
@click.argument("name")
@options()
def models_show(name: str, quiet: bool) -> None:
    """Print the model card of a model, by its name or file."""
    from fluidsr import models

    click.echo(models.read_card(name).to_markdown(), nl=False)
