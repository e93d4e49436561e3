"""``dorian-train facenet-published``: published weights of a FaceNet, as a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from dorian_training.checkpoint import WEIGHTS_FILE, save_weights
from dorian_training.cli.config import OUTPUT_FOLDER, Config, config_command, option
from dorian_training.cli.options import DEFAULT_CACHE
from dorian_training.errors import ConfigError
from dorian_training.published import PublishedFaceNet, PublishedFile, fetch, read_facenet

# Faces and people of the sets that published weights were trained on.
_SETS = {
    "VGGFace2": (3_141_890, 8631),
    "CASIA-WebFace": (494_414, 10_575),
    "dlib": (3_000_000, 7485),  # about; from FaceScrub, VGG and the web
}


@dataclass(frozen=True, kw_only=True)
class FaceNetPublishedConfig(Config):
    """Options of ``facenet-published``."""

    source: str = option(
        "State dict (.pt or .safetensors), or dlib's network (.dat).", flag="--weights", metavar="FILE|URL"
    )
    sha256: str | None = option("Checksum of the file, in hexadecimal; a URL needs it.", default=None)
    licence: str = option("Terms that the weights are published under, for the model card.")
    data: str = option(
        "Data set that the weights were trained on.",
        default="VGGFace2",
        flag="--trained-on",
        kind=click.Choice(list(_SETS)),
    )
    out: Path = option("Folder of the checkpoint.", kind=OUTPUT_FOLDER)
    cache: Path = option("Folder of downloads.", default=DEFAULT_CACHE, kind=click.Path(path_type=Path))

    def check(self) -> str:
        """Check that no checkpoint would be lost."""
        if (self.out / WEIGHTS_FILE).exists():
            raise ConfigError(f"{self.out} holds a checkpoint, which would be lost; choose another folder")
        return super().check()


@config_command("facenet-published", FaceNetPublishedConfig)
def facenet_published(config: FaceNetPublishedConfig) -> None:
    """Take over a published FaceNet: dlib's, or Inception-ResNet-v1 with weights in facenet-pytorch's layout.

    The checkpoint goes to --facenet of age-translator, age-cgan and dorian-export. dlib's is in the package
    face_recognition_models; facenet-whitening then makes its similarities alike in all groups of people.

    \b
    dorian-train facenet-published --weights dlib_face_recognition_resnet_model_v1.dat --trained-on dlib --licence CC0-1.0 --out runs/dlib
    dorian-train facenet-published --weights 20180402-114759-vggface2.pt --licence "as its publisher states it" --out runs/facenet
    """
    config.check()
    file = fetch(config.source, config.sha256, config.cache.expanduser())
    published = read_facenet(file)
    _, identities = _SETS[config.data]
    if published.identities not in (None, identities):
        raise ConfigError(
            f"{file.name} tells {published.identities:,} people apart, but {config.data} has {identities:,}; "
            "see --trained-on"
        )
    config.out.mkdir(parents=True, exist_ok=True)
    weights = {"facenet_ema": published.network.state_dict()}
    save_weights(config.out / WEIGHTS_FILE, weights, _metadata(file, published, config))
    click.echo(
        f"{config.out / WEIGHTS_FILE}: {published.name}, learned from {config.data}; {file.name}, sha256 {file.sha256}"
    )


def _metadata(file: PublishedFile, published: PublishedFaceNet, config: FaceNetPublishedConfig) -> dict[str, Any]:
    faces, identities = _SETS[config.data]
    return {
        "family": "facenet",
        "shape": published.network.shape.as_dict(),
        "stage": "published",
        "steps": 0,  # of ours
        "earlier": [],
        "data": {config.data: faces},
        "identities": identities,
        "seed": 0,
        "settings": {"file": file.name, "sha256": file.sha256},
        "licence": config.licence,
    }
