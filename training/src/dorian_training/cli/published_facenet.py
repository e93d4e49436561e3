"""``dorian-train facenet-published``: weights of FaceNet that others trained, as a checkpoint of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dorian_training.checkpoint import WEIGHTS_FILE, save_weights
from dorian_training.cli.runs import DEFAULT_CACHE
from dorian_training.errors import ConfigError, TrainingError
from dorian_training.networks.inception_resnet import InceptionResNetShape
from dorian_training.published import PublishedFile, fetch, read_facenet

# Faces and people that the published weights learned from, by what the set is called.
_SETS = {"VGGFace2": (3_141_890, 8631), "CASIA-WebFace": (494_414, 10_575)}


@click.command("facenet-published")
@click.option("--weights", "source", metavar="FILE|URL", required=True, help="State dict: .pt or .safetensors.")
@click.option("--sha256", help="Sum that the file must have, in hexadecimal; a URL needs it.")
@click.option(
    "--licence", required=True, help="Terms that the weights are published under, in words, for the model card."
)
@click.option(
    "--trained-on", "data", type=click.Choice(list(_SETS)), default="VGGFace2", help="What they learned from."
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the checkpoint."
)
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, help="Where what a URL gives is kept.")
def facenet_published(source: str, sha256: str | None, licence: str, data: str, out: Path, cache: Path) -> None:
    """FaceNet as others trained it: Inception-ResNet-v1 with weights in facenet-pytorch's layout.

    The checkpoint goes where the compact FaceNet's goes: to --facenet of age-translator and of dorian-export.

    \b
    dorian-train facenet-published --weights 20180402-114759-vggface2.pt --licence "as its publisher states it" --out runs/facenet
    """
    try:
        if (out / WEIGHTS_FILE).exists():
            raise ConfigError(f"{out} holds a checkpoint, which would be lost; choose another folder")
        file = fetch(source, sha256, cache.expanduser())
        found = read_facenet(file)
        _, people = _SETS[data]
        if found.identities not in (None, people):
            raise ConfigError(
                f"{file.name} tells {found.identities:,} people apart, but {data} has {people:,}; see --trained-on"
            )
        out.mkdir(parents=True, exist_ok=True)
        save_weights(out / WEIGHTS_FILE, {"facenet_ema": found.network.state_dict()}, _about(file, data, licence))
    except TrainingError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{out / WEIGHTS_FILE}: Inception-ResNet-v1, learned from {data}; {file.name}, sha256 {file.sha256}")


def _about(file: PublishedFile, data: str, licence: str) -> dict[str, Any]:
    faces, people = _SETS[data]
    return {
        "family": "facenet",
        "shape": InceptionResNetShape().as_dict(),
        "stage": "published",
        "steps": 0,  # of ours
        "earlier": [],
        "data": {data: faces},
        "identities": people,
        "seed": 0,
        "settings": {"file": file.name, "sha256": file.sha256},
        "licence": licence,
    }
