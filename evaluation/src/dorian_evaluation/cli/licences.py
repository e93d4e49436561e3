"""``dorian-evaluate licences``: which networks and methods of a bundle may be used commercially."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from dorian_bundle import load_bundle
from dorian_bundle.licences import MethodLicence, NetworkLicence, method_licences, network_licences
from dorian_evaluation.cli.options import INPUT_FOLDER
from dorian_evaluation.cli.outputs import click_errors


@click.command("licences")
@click.argument("bundle", type=INPUT_FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def print_licences(bundle: Path, as_json: bool) -> None:
    """Print where the weights of BUNDLE come from, and whether their sources' terms leave commercial use free.

    A method is free if its own networks and those that every photo passes are. Weights that others published go by their own
    licence, whatever they learned from.

    \b
    dorian-evaluate licences models/default
    """
    with click_errors():
        manifest = load_bundle(bundle).manifest
    networks = network_licences(manifest)
    methods = method_licences(manifest)
    if as_json:
        click.echo(json.dumps(_to_json(networks, methods), indent=2))
    else:
        click.echo(_render_tables(networks, methods))


def _to_json(networks: tuple[NetworkLicence, ...], methods: tuple[MethodLicence, ...]) -> dict[str, Any]:
    return {
        "networks": [
            {
                "name": network.name,
                "licence": network.licence,
                "sources": [source.model_dump() for source in network.sources],
                "commercial_use": network.commercial_use,
                "obstacles": network.obstacles,
            }
            for network in networks
        ],
        "methods": [asdict(method) | {"commercial_use": method.commercial_use} for method in methods],
    }


def _render_tables(networks: tuple[NetworkLicence, ...], methods: tuple[MethodLicence, ...]) -> str:
    lines = ["| network | sources | licence | commercial use |", "|---|---|---|---|"]
    for network in networks:
        sources = ", ".join(f"{source.name} ({source.licence})" for source in network.sources)
        free = "free" if network.commercial_use else "not free"
        lines.append(f"| {network.name} | {sources} | {network.licence} | {free} |")
    lines += ["", "| method | commercial use |", "|---|---|"]
    for method in methods:
        free = "free for commercial use" if method.commercial_use else f"not free: {'; '.join(method.obstacles)}"
        lines.append(f"| {method.name} | {free} |")
    return "\n".join(lines)
