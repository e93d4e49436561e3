"""The command that has a server read its bundles anew."""

from __future__ import annotations

import click

from dorian_client._commands.options import Server, with_connection


@click.command()
@click.option("--bundle", "name", default="", metavar="NAME", help="The bundle to read anew [default: all].")
@with_connection
def reload(name: str, server: Server) -> None:
    """Has the server read its bundles anew from where they lie, and lists those that it has read.

    For operators: servers with API keys alone offer it, and the key needs the scope "admin". It ends when the new bundles
    serve; no call is lost in between. If a bundle is broken, what is served stays what it was.

    \b
    Examples:
      dorian reload
      dorian reload --bundle portraits --timeout 300
    """
    with server.connect() as client:
        for served in client.reload_bundles(name):
            state = "changed" if served.changed else "unchanged"
            click.echo(f"bundle {served.name} {served.version} ({served.sha256[:12]}), {state}")
