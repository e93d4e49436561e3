"""The `dorian` program: its commands, examples and exit codes."""

from __future__ import annotations

import click

from dorian_client.cli.age import age
from dorian_client.cli.batch import batch
from dorian_client.cli.compare import compare
from dorian_client.cli.detect import detect
from dorian_client.cli.exit_codes import EXIT_USAGE, Program
from dorian_client.cli.methods import methods
from dorian_client.cli.mix import mix
from dorian_client.cli.optimize import optimize
from dorian_client.cli.reconstruct import reconstruct
from dorian_client.cli.reload import reload


@click.group("dorian", cls=Program, invoke_without_command=True)
@click.version_option(package_name="dorian-client", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Make the people in a photo older or younger, with a Dorian server.

    Faces are numbered from 0, the largest, as 'dorian detect' lists them.

    \b
    Examples:
      dorian age portrait.jpg --to 60+ -o older.jpg
      dorian age portrait.jpg --filter old -o older.jpg
      dorian age portrait.jpg --sweep -o sheet.jpg
      dorian batch photos/ -o aged/ --to 60+ --priority batch
      dorian detect wedding.jpg --draw faces.png
      dorian compare then.jpg now.jpg
      dorian mix portrait.jpg --reference old.jpg -o older.jpg
      dorian optimize portrait.jpg -o drawing.png --latent latent.json
      dorian methods --server photos.example:50051

    \b
    Exit codes:
      0  success; there may be warnings about faces that were left unchanged
      1  the result could not be written, or the command was interrupted
      2  the command line is invalid
      3  the photo, all its faces, an option or the API key was rejected
      4  no server could be reached
      5  the server failed, was too busy or did not respond in time
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(EXIT_USAGE)


for _command in (age, batch, compare, detect, methods, mix, optimize, reconstruct, reload):
    main.add_command(_command)
