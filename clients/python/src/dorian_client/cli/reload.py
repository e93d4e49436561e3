"""dorian reload: make a server reload its bundles."""

from __future__ import annotations

import click

from dorian_client.cli.connection import Connection, with_admin_connection
from dorian_client.cli.options import SERVER, Command, option


@click.command(cls=Command, short_help="Make the server reload its bundles.")
@option(SERVER, "--bundle", "name", default="", metavar="NAME", help="The bundle to reload [default: all].")
@with_admin_connection
def reload(name: str, connection: Connection) -> None:
    """Make the server reload its bundles from disk, and list those that it reloaded.

    For operators: only servers with API keys offer it, and the key needs the scope "admin". The command ends when the new
    bundles serve; no call is lost in between. If a bundle is broken, the server keeps what it served before.

    \b
    Examples:
      dorian reload
      dorian reload --bundle portraits --timeout 300
    """
    with connection.open() as client:
        for bundle in client.reload_bundles(name):
            state = "changed" if bundle.changed else "unchanged"
            click.echo(f"bundle {bundle.name} {bundle.version} ({bundle.sha256[:12]}), {state}")
