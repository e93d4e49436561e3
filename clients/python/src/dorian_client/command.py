"""The dorian command: ages the faces in a photo, finds and compares faces, shows and renews what the server has."""

from __future__ import annotations

import click

from dorian_client._commands.ageing import age
from dorian_client._commands.faces import compare, detect
from dorian_client._commands.listing import methods
from dorian_client._commands.reconstruction import reconstruct
from dorian_client._commands.reloading import reload
from dorian_client._commands.searching import optimize
from dorian_client._program import EXIT_USAGE, Program


@click.group("dorian", cls=Program, invoke_without_command=True)
@click.version_option(package_name="dorian-client", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Makes the people in a photo older or younger, by a Dorian server.

    Faces are counted from 0, the largest, as 'dorian detect' lists them.

    \b
    Examples:
      dorian age portrait.jpg --to 60+ -o older.jpg
      dorian age portrait.jpg --filter old -o older.jpg
      dorian age portrait.jpg --sweep -o sheet.jpg
      dorian detect wedding.jpg --draw faces.png
      dorian compare then.jpg now.jpg
      dorian optimize portrait.jpg -o drawn.png --latent latent.json
      dorian methods --server photos.example:50051
      dorian age portrait.jpg --to 60+ -o older.jpg --priority batch --retries 10

    \b
    Exit codes:
      0  done; maybe with warnings of faces that were left as they were
      1  the result could not be written, or the command was interrupted
      2  the command line is wrong
      3  the photo, all faces asked for, a setting or the API key was refused
      4  no server could be reached
      5  the server failed, was too busy or did not answer in time
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(EXIT_USAGE)


for _command in (age, compare, detect, methods, optimize, reconstruct, reload):
    main.add_command(_command)


if __name__ == "__main__":
    main(prog_name="dorian")
