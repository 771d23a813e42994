"""The command line: crm dev | serve | worker | migrate | demo | recalculate | token | schema."""

from importlib.metadata import version
from typing import Annotated

import psycopg
import typer

from crm.cli import data, dev, schema, serve, tokens, worker
from crm.cli.console import fail, first_line

app = typer.Typer(
    help="A GraphQL-first CRM backend. Start with `crm dev`; run it for real with `crm serve`.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
# In the order in which `crm --help` lists them.
for command in (
    dev.dev,
    serve.serve,
    worker.worker,
    data.migrate,
    data.demo,
    data.recalculate,
    tokens.token,
    schema.schema,
):
    app.command()(command)


def _print_version(wanted: bool) -> None:  # noqa: FBT001  (Typer calls it with the option's value)
    if wanted:
        typer.echo(f"crm {version('crm')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


def main() -> None:
    """The `crm` command."""
    try:
        app()
    except psycopg.OperationalError as error:
        fail(f"The connection to the database broke, and this command with it: {first_line(error)}")
