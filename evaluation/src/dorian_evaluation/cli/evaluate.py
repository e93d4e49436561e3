"""``dorian-evaluate``: measurements of bundles and servers by independent networks."""

from __future__ import annotations

import click

from dorian_evaluation.cli.age_cgan import evaluate_age_cgan
from dorian_evaluation.cli.ageing import evaluate_ageing
from dorian_evaluation.cli.faces import evaluate_faces
from dorian_evaluation.cli.licences import print_licences
from dorian_evaluation.cli.pictures import evaluate_children, evaluate_spectrum, evaluate_spots, write_sheets
from dorian_evaluation.cli.sets import evaluate_attributes, evaluate_cross_age
from dorian_evaluation.cli.stylegan import evaluate_stylegan


@click.group(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure bundles and servers with networks that took no part in their training."""


main.add_command(evaluate_faces)
main.add_command(evaluate_ageing)
main.add_command(evaluate_age_cgan)
main.add_command(evaluate_stylegan)
main.add_command(evaluate_attributes)
main.add_command(evaluate_cross_age)
for command in (evaluate_spots, evaluate_spectrum, evaluate_children, write_sheets):
    main.add_command(command)
main.add_command(print_licences)

if __name__ == "__main__":
    main()
