"""``dorian-train``: a command for each trainable network or method, resumed by giving the same run folder again."""

from __future__ import annotations

import logging

import click

from dorian_training.cli.ae_stylegan import ae_stylegan
from dorian_training.cli.age_cgan import age_cgan
from dorian_training.cli.age_estimator import age_estimator
from dorian_training.cli.age_translator import age_translator
from dorian_training.cli.cycle_stylegan import cycle_stylegan
from dorian_training.cli.cyclegan import cyclegan
from dorian_training.cli.face_shape import face_shape
from dorian_training.cli.facenet_published import facenet_published
from dorian_training.cli.facenet_whitening import facenet_whitening
from dorian_training.cli.hair_segmenter import hair_segmenter
from dorian_training.cli.landmark_refiner import landmark_refiner
from dorian_training.cli.latent_optimisation import latent_optimisation
from dorian_training.cli.search import search
from dorian_training.cli.skin_detail import skin_detail

COMMANDS = (
    ae_stylegan,
    age_cgan,
    age_estimator,
    age_translator,
    cycle_stylegan,
    cyclegan,
    face_shape,
    facenet_published,
    facenet_whitening,
    hair_segmenter,
    landmark_refiner,
    latent_optimisation,
    search,
    skin_detail,
)


@click.group(
    context_settings={"show_default": True, "help_option_names": ["-h", "--help"]},
    commands={str(command.name): command for command in COMMANDS},
)
def main() -> None:
    """Train Dorian's networks. Every command resumes a run folder that it is given again; --dry-run shows its config."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")


if __name__ == "__main__":
    main()
