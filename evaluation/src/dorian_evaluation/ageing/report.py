"""The report of ``dorian-evaluate ageing``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dorian_evaluation.ageing.metrics import ADULT_TARGETS, FEW_FACES
from dorian_evaluation.ageing.people import FEW_REAL_FACES
from dorian_evaluation.ageing.targets import MAX_AGE, MIN_AGE
from dorian_evaluation.faces.identities import FALSE_ACCEPT_RATE
from dorian_evaluation.rendering import render


def render_ageing(metrics: Mapping[str, Any]) -> str:
    """Return the metrics of all methods as Markdown: together, then target by target and by group."""
    return render("ageing", methods=metrics, **ageing_terms())


def ageing_terms() -> dict[str, Any]:
    """Return the numbers that the templates of ageing explain."""
    return {
        "span": ADULT_TARGETS,
        "few_faces": FEW_FACES,
        "few_real_faces": FEW_REAL_FACES,
        "min_age": MIN_AGE,
        "max_age": MAX_AGE,
        "rate": FALSE_ACCEPT_RATE,
    }
