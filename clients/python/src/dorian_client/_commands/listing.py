"""The command that lists what the server has."""

from __future__ import annotations

import click

from dorian_client._commands import words
from dorian_client._commands.options import Server, with_json, with_server
from dorian_client._results import BundleInfo


@click.command()
@with_json
@with_server
def methods(as_json: bool, server: Server) -> None:
    """Lists the methods that the server has, with their age groups and filters, and its bundles if they are several.

    A method that reconstructs has latents, for 'dorian reconstruct'. Those of one that optimises can be searched, by
    'dorian optimize', by 'dorian reconstruct --mode' and by 'dorian age --optimisation'.

    With --json also the false-accept rates that 'dorian compare' can be asked for.

    \b
    Examples:
      dorian methods
      dorian methods --bundle portraits
      dorian methods --json
    """
    with server.connect() as client:
        bundle = client.bundle()
    if as_json:
        words.print_json(bundle)
    else:
        click.echo(_describe(bundle))


def _describe(bundle: BundleInfo) -> str:
    lines = [
        f"bundle {bundle.name} {bundle.version} ({bundle.sha256[:12]}), server {bundle.server_version}",
        f"weights: {bundle.weights_licence}",
    ]
    if len(bundle.bundles) > 1:
        lines += [f"bundles of the server: {', '.join(bundle.bundles)}"]
    for method in bundle.methods:
        lines += ["", method.name + (" (default)" if method.is_default else ""), f"  {method.description}"]
        lines += [f"  {method.family}, crops of {method.crop_size} px"]
        if method.age_groups:
            lines += [f"  ages {', '.join(group.label for group in method.age_groups)}"]
        lines += [f"  filter {filter}: {filter.description}" for filter in method.filters]
        abilities = {"reconstructs": method.reconstructs, "optimises": method.optimises}
        if any(abilities.values()):
            lines += [f"  {' and '.join(name for name, has in abilities.items() if has)} faces"]
    return "\n".join(lines)
