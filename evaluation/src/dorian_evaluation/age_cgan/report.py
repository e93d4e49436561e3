"""The figures of Age-cGAN, as Markdown that says how each was measured and what the paper has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dorian_evaluation.ageing.metrics import FEW
from dorian_evaluation.ageing.report import ageing_markdown, measured_faces
from dorian_evaluation.ageing.targets import OLDEST, YOUNGEST
from dorian_evaluation.faces.identities import RATE
from dorian_evaluation.tables import NOTHING, number, share, table

# What Antipov, Baccouche and Dugelay 2017 report, by judges and on faces of their own.
_PAPER_RELATIVE = "17 %"  # less of the synthetic faces than of real ones look their group
_PAPER_ACCEPTED = "82.9 %"  # of the identity-preserving reconstructions


def age_cgan_markdown(figures: Mapping[str, Any]) -> str:
    """Those parts that ``figures`` has, as ``dorian-evaluate age-cgan`` writes them for its method."""
    parts = []
    if "judged_age" in figures:
        parts.append(_generation(figures["judged_age"]))
    if "reconstruction" in figures:
        parts.append(_reconstruction(figures["reconstruction"]))
    if "frechet" in figures:
        parts.append(_frechet(figures["frechet"]))
    aged = {"age_cgan": figures["ageing"]} if "ageing" in figures else {}
    aged |= {f"age_cgan, {budget} search": its for budget, its in figures.get("ageing_searched", {}).items()}
    if aged:
        parts.append(ageing_markdown({name: {"ageing": its} for name, its in aged.items()}))
    return "\n".join(parts)


def _generation(its: Mapping[str, Any]) -> str:
    labels, accuracy = list(its["generated"]), its["accuracy"]
    means = [[kind, *(number(its[kind][label], 1) for label in labels)] for kind in ("generated", "real")]
    right = [
        [kind, share(accuracy[kind]), *(share(its["confusion"][kind][label][label]) for label in labels)]
        for kind in ("generated", "real")
    ]
    confusion = "\n".join(
        f"Judged groups of {kind} faces, by the group {words}:\n\n{_confusion(its['confusion'][kind])}"
        for kind, words in (("generated", "that was asked for"), ("real", "of their age"))
    )
    rising = "The mean rises from each group to the next" if its["rising"] else "The mean does not rise throughout"
    off = number(its["judge_error_on_real"], 1)
    return f"""## Age-cGAN: age-conditioned generation

{its["faces_per_group"]:,} faces of each age group, generated from the same random latents in every group, beside {its["real_per_group"]:,} real faces of the
test split in each, drawn at random. Both are seen as crops of the generator's size. Accuracy: share of the faces whose judged age falls into
their group. On generated faces it is {_lower(accuracy)} than on real ones; in the paper {_PAPER_RELATIVE} lower, with an estimator and
faces of its own. The judge's mean error on the real faces of exact age is {off} years.

{table(["accuracy", "all", *labels], right)}
Mean judged age in years:

{table(["", *labels], means)}
{rising}; the oldest is {its["span"]:.1f} years above the youngest.

{confusion}"""


def _confusion(shares: Mapping[str, Mapping[str, float]]) -> str:
    rows = ([asked, *(share(value) for value in row.values())] for asked, row in shares.items())
    return table(["group", *shares], rows)


def _lower(accuracy: Mapping[str, float | None]) -> str:
    """How much lower or higher it is, as a share of that on real faces and in points."""
    points, relative = 100 * (accuracy["difference"] or 0.0), accuracy["relative"]
    words = f"{abs(points):.1f} points {'lower' if points <= 0 else 'higher'}"
    return (
        words
        if relative is None
        else f"{share(abs(relative))} ({abs(points):.1f} points) {'lower' if points <= 0 else 'higher'}"
    )


def _reconstruction(its: Mapping[str, Any]) -> str:
    people = "No faces of known people were given, so that nothing is said of acceptance."
    if its["people"]:
        known = its["people"]
        people = f"""Accepted: from a similarity of {known["threshold"]:.3f}, which takes {RATE:g} of the pairs of different people
for one person's ({known["people"]:,} people of the test split, {known["faces"]:,} faces); two photographs of one person have {known["same"]:.3f} on average."""
    rows = [["the crop itself", number(its["crop"]["similarity"], 3), share(its["crop"]["accepted"]), *[NOTHING] * 4]]
    rows += [
        [
            mode,
            number(found["similarity"], 3),
            share(found["accepted"]),
            number(found["to_crop"]["similarity"], 3),
            share(found["to_crop"]["accepted"]),
            number(found["pixel_error"], 4),
            number(found["steps"], 1),
        ]
        for mode, found in its["modes"].items()
    ]
    head = ["mode", "similarity", "accepted", "similarity to the crop", "accepted", "pixel error", "steps"]
    return f"""## Age-cGAN: reconstruction

{measured_faces(its["faces"])} of {its["faces"]["asked"]:,} faces of the test split, {YOUNGEST:g} to {OLDEST:g} years old, drawn evenly over decades and people, were sent to a server of
{its["bundle"]["name"]} {its["bundle"]["version"]}, which estimated their ages itself. Similarity: cosine of an independent recogniser's embeddings of what is drawn and
of the photograph; beside it, of the crop that the networks saw, which has no more pixels than what is drawn. {people}
Pixel error: root mean square difference from the crop, pixel values from 0 to 1. Steps: evaluations of loss and gradient. In the paper
{_PAPER_ACCEPTED} are accepted in the mode identity, by OpenFace and of faces of its own.

{table(head, rows)}
Accepted by group; those with fewer than {FEW} faces are marked *.

{_reconstruction_groups(its)}"""


def _reconstruction_groups(its: Mapping[str, Any]) -> str:
    modes = list(its["modes"])
    rows = [
        [
            f"{label} *" if row["few"] else label,
            f"{row['faces']:,}",
            *(f"{share(row['modes'][mode]['accepted'])} ({row['modes'][mode]['similarity']:.3f})" for mode in modes),
        ]
        for groups in its["groups"].values()
        for label, row in groups.items()
    ]
    return table(["faces of", "number", *(f"{mode} (similarity)" for mode in modes)], rows)


def _frechet(its: Mapping[str, Any]) -> str:
    rows = [["generated and real", number(its["distance"], 3)], ["real and real", number(its["floor"], 3)]]
    few = its["faces"] <= its["dimensions"]
    words = " These are fewer faces than features, so that the figures say less." if few else ""
    return f"""## Age-cGAN: Fréchet distance

Of {its["dimensions"]:,} features of `{its["features"]}`, between {its["faces"]:,} generated faces and a random half of the real faces of the test split, in the
same age groups, and between that half and the other, which is the floor.{words} It is an FID only by the Inception network of Heusel et al. 2017.

{table(["", "distance"], rows)}"""
