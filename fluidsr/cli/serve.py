"""`fluidsr serve`."""

from __future__ import annotations

import click

from fluidsr.cli.options import echo_document, options
from fluidsr.cli.ranges import IntRange


@click.command()
@click.option(
    "--port",
    type=IntRange(0, 65535),
    help="Also listen on this port of 127.0.0.1, for clients with the token; 0: any free port.  [default: only stdin]",
)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the requests, and stop.")
@options()
def serve(port: int | None, schema: bool, quiet: bool) -> None:
    """Process requests from other programs.

    Libraries and models stay loaded between requests. Requests are lines of JSON on stdin, events are lines of JSON on
    stdout; docs/worker.md explains them. The worker ends when stdin is closed.
    """
    if schema:
        from fluidsr.pipeline.worker import requests

        echo_document(requests.schema(), as_json=True)
        return
    from fluidsr.pipeline.worker import connections

    connections.serve(port)
