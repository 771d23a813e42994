"""`crm schema`: the schema as a text."""

import signal
from typing import Annotated

import typer


def schema(
    *,
    federation: Annotated[
        bool, typer.Option("--federation", help="As a subgraph of Apollo Federation 2, with the records' keys.")
    ] = False,
) -> None:
    """Print the schema (SDL), sorted: what `schema.graphql` holds and clients generate types from."""
    from crm.graph.federation import subgraph_sdl  # noqa: PLC0415  (imports the whole API)
    from crm.graph.sdl import sdl  # noqa: PLC0415
    from crm.schema import schema as api  # noqa: PLC0415

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `crm schema | head` ends quietly
    typer.echo(subgraph_sdl(api) if federation else sdl(api), nl=False)
