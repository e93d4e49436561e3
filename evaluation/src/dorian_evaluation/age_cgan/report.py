"""The report of ``dorian-evaluate age-cgan``, beside what the paper reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dorian_evaluation.ageing.report import ageing_terms
from dorian_evaluation.rendering import render

# What Antipov, Baccouche and Dugelay 2017 report, with other judges and on other faces.
_PAPER = {
    "relative": "17 %",  # how much lower the accuracy of generated faces is
    "accepted": "82.9 %",  # of the reconstructions that preserve identity
}


def render_age_cgan(metrics: Mapping[str, Any]) -> str:
    """Return the parts that ``metrics`` has as Markdown."""
    aged = {"age_cgan": metrics["ageing"]} if "ageing" in metrics else {}
    aged |= {f"age_cgan, {budget} search": entry for budget, entry in metrics.get("ageing_searched", {}).items()}
    methods = {name: {"ageing": entry} for name, entry in aged.items()}
    return render("age_cgan", metrics=metrics, methods=methods, paper=_PAPER, **ageing_terms())
