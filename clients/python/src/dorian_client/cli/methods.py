"""dorian methods: list what a server has."""

from __future__ import annotations

import click

from dorian_client._bundles import BundleInfo, Method
from dorian_client.cli.connection import Connection, with_connection
from dorian_client.cli.options import Command, with_json
from dorian_client.cli.reporting import print_json


@click.command(cls=Command, short_help="List the server's methods and bundles.")
@with_json
@with_connection
def methods(as_json: bool, connection: Connection) -> None:
    """List the server's methods with their age groups and filters, and its bundles if there are several.

    A method that reconstructs has latents, for 'dorian reconstruct'. The latents of one that optimises can be searched, by
    'dorian optimize', 'dorian reconstruct --mode' and 'dorian age --optimisation'. One that mixes styles is for 'dorian mix',
    with the presets that are listed.

    --json adds the false-accept rates that 'dorian compare' accepts.

    \b
    Examples:
      dorian methods
      dorian methods --bundle portraits
      dorian methods --json
    """
    with connection.open() as client:
        bundle = client.bundle()
    if as_json:
        print_json(bundle)
    else:
        click.echo(_describe_bundle(bundle))


def _describe_bundle(bundle: BundleInfo) -> str:
    lines = [
        f"bundle {bundle.name} {bundle.version} ({bundle.sha256[:12]}), server {bundle.server_version}",
        f"weights: {bundle.weights_licence}",
    ]
    if len(bundle.bundles) > 1:
        lines += [f"bundles of the server: {', '.join(bundle.bundles)}"]
    for method in bundle.methods:
        lines += ["", *_describe_method(method)]
    return "\n".join(lines)


def _describe_licence(method: Method) -> str:
    if method.commercial_use:
        return "free for commercial use"
    return f"not free for commercial use, because of {'; '.join(method.licence_obstacles)}"


def _describe_method(method: Method) -> list[str]:
    lines = [method.name + (" (default)" if method.is_default else ""), f"  {method.description}"]
    lines += [f"  {method.family}, crops of {method.crop_size} px"]
    if method.age_groups:
        lines += [f"  ages {', '.join(group.label for group in method.age_groups)}"]
    lines += [f"  filter {filter}: {filter.description}" for filter in method.filters]
    abilities = {"reconstructs": method.reconstructs, "optimises": method.optimises}
    if method.commercial_use is not None:
        lines += [f"  {_describe_licence(method)}"]
    if any(abilities.values()):
        lines += [f"  {' and '.join(name for name, is_able in abilities.items() if is_able)} faces"]
    if method.changes_hair:
        lines += ["  changes hair and beards, unless they are to be kept"]
    if method.style_levels:
        presets = ", ".join(preset.name for preset in method.style_presets)
        lines += [f"  mixes styles at {method.style_levels} levels{f': {presets}' if presets else ''}"]
    return lines
