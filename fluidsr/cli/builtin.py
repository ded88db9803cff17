"""`fluidsr scenes` and `fluidsr models`: what comes with the package."""

from __future__ import annotations

import click


@click.group()
def scenes() -> None:
    """The built-in scenes, and help for writing one."""


@scenes.command("list")
def scenes_list() -> None:
    """Name the built-in scenes."""
    from fluidsr import scenes as room

    for name in room.names():
        click.echo(f"{name:12s} {room.describe(name)}")


@scenes.command("show")
@click.argument("name")
def scenes_show(name: str) -> None:
    """Print a built-in scene's YAML: a start for one's own."""
    from fluidsr import scenes as room

    click.echo(room.source(name), nl=False)


@scenes.command("check")
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key; dotted, repeatable."
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
def scenes_check(files: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Validate scenes without running them."""
    from fluidsr import scenes as room

    for file in files:
        scene = room.load(file, overrides)
        cells = " x ".join(str(n) for n in scene.domain.resolution)
        click.echo(f"{file}: fine ({cells} cells, {scene.time.frames} frames)")


@scenes.command("schema")
def scenes_schema() -> None:
    """Print the JSON Schema, for editors."""
    import json

    from fluidsr import scenes as room

    click.echo(json.dumps(room.json_schema(), indent=2))


@click.group()
def models() -> None:
    """The shipped generators."""


@models.command("list")
def models_list() -> None:
    """Name the shipped generators."""
    from fluidsr import models as room

    for name in room.shipped():
        card = room.read_card(name)
        click.echo(
            f"{name:16s} {card.dim}-D, {card.factor}x, {card.multiply_adds} multiply-adds per fine cell"
        )


@models.command("show")
@click.argument("name")
def models_show(name: str) -> None:
    """Print a generator's model card."""
    from fluidsr import models as room

    click.echo(room.read_card(name).to_markdown(), nl=False)
