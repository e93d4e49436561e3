"""``dorian-export tensorrt``: a bundle's engines, built before a server asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from dorian_bundle import Bundle, BundleError, load
from dorian_bundle.engine_building import open_graph_engine
from dorian_bundle.engine_cache import build_profile
from dorian_bundle.graphs import Graph, GraphFile, Precision


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of engines, as dorian-server --engine-cache takes it; those that it has are kept.",
)
@click.option("--graph", "names", multiple=True, help="Graph of the bundle; once per graph, all of them unless given.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    help="Files of this precision alone, where a graph has several; those of each unless given.",
)
def tensorrt(bundle: Path, out: Path, names: tuple[str, ...], precision: Precision | None) -> None:
    """Build the TensorRT engines of BUNDLE for this machine's GPU, so that a server with --runtime tensorrt starts fast.

    \b
    dorian-export tensorrt models/default --out engines
    """
    try:
        loaded = load(bundle)
        for name, graph in chosen_graphs(loaded, names).items():
            for file in chosen_files(graph, precision):
                profile = build_profile(graph.signature)
                _, built = open_graph_engine(bundle / file.path, file.precision, profile, out)
                click.echo(f"{name}, {file.precision}: {'built' if built else 'was there'}")
    except BundleError as error:
        raise click.ClickException(str(error)) from error


def chosen_graphs(bundle: Bundle, names: Sequence[str]) -> dict[str, Graph]:
    """The graphs of ``bundle`` called ``names``, or all; ``click.BadParameter`` for a name that it lacks."""
    graphs = bundle.manifest.graphs
    for name in names:
        if name not in graphs:
            raise click.BadParameter(f"the bundle has no graph {name!r}; it has {', '.join(graphs)}")
    return {name: graphs[name] for name in names or graphs}


def chosen_files(graph: Graph, precision: Precision | None) -> Sequence[GraphFile]:
    """The files of ``graph`` that a server asked for ``precision`` may run (``None``: for any)."""
    return [file for file in graph.files if file.precision == precision] or graph.files
