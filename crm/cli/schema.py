"""`crm schema`: the schema as a text."""

import signal

import typer


def schema() -> None:
    """Print the schema (SDL), sorted: what `schema.graphql` holds and clients generate types from."""
    from crm.graph.sdl import sdl  # noqa: PLC0415  (imports the whole API)
    from crm.schema import schema as api  # noqa: PLC0415

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `crm schema | head` ends quietly
    typer.echo(sdl(api), nl=False)
