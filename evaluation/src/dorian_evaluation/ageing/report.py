"""The figures of ageing, as Markdown that says how each was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dorian_evaluation.ageing.metrics import FEW, GROWN
from dorian_evaluation.ageing.targets import OLDEST, YOUNGEST
from dorian_evaluation.faces.identities import RATE
from dorian_evaluation.tables import number, share, table

_SPAN = f"{GROWN[0]:g}–{GROWN[1]:g}"


def ageing_markdown(figures: Mapping[str, Any]) -> str:
    """All methods of ``figures``, as ``dorian-evaluate ageing`` writes them: together, then target by target and by group."""
    parts = [_head(figures), _summary(figures)]
    for method, found in figures.items():
        for strength, its in found["ageing"]["strengths"].items():
            parts.append(_targets(method, strength, its))
        strength, its = next(iter(found["ageing"]["strengths"].items()))
        parts.append(_groups(method, strength, its))
    return "\n".join(parts)


def _head(figures: Mapping[str, Any]) -> str:
    about = next(iter(figures.values()))["ageing"]
    asked = next(iter(about["strengths"].values()))["faces"]["asked"]
    known = about["people"]
    pairs = "No faces of known people were given, so that nothing is said of acceptance."
    if known:
        pairs = f"""Two photographs of one person: {known["same"]:.3f} on average ({known["people"]:,} people of the test split, {known["faces"]:,} faces);
accepted: from {known["threshold"]:.3f}, which takes {RATE:g} of the pairs of different people for one person's."""
    return f"""## Ageing by independent judges

{asked:,} faces of the test split, {YOUNGEST:g} to {OLDEST:g} years old, drawn evenly over decades and people, were sent to a server of
{about["bundle"]["name"]} {about["bundle"]["version"]}, which estimated their ages itself. Judged: the age that an independent network reads. Error: mean distance
from the age asked for; judge: its own error on real faces of that age. Similarity: cosine of an independent recogniser's
embeddings before and after. {pairs}
Unchanged: mean change in grey levels when the age asked for is the face's own, over the face and over the picture.
Grid: power of what was added at periods of 2 and of 4 pixels of the crop, against the frequencies beside them; 1 or less is none.
"""


def _summary(figures: Mapping[str, Any]) -> str:
    head = [
        "method",
        "strength",
        "faces",
        f"error, {_SPAN}",
        "judge",
        "ratio",
        "similarity",
        "accepted",
        "unchanged",
        "grid",
    ]
    rows = []
    for method, found in figures.items():
        for strength, its in found["ageing"]["strengths"].items():
            still = its.get("unchanged", {})
            cells = [number(its.get("error"), 1), number(its.get("error_real"), 1), number(its.get("error_ratio"), 2)]
            cells += [number(its["identity"]["similarity"], 3), share(its["identity"]["accepted"])]
            cells += [" / ".join(number(still.get(where), 2) for where in ("face", "picture"))]
            cells += [" / ".join(number(ratio, 2) for ratio in its["grid"].values())]
            rows.append([method, strength, measured_faces(its["faces"]), *cells])
    return table(head, rows)


def _targets(method: str, strength: str, its: Mapping[str, Any]) -> str:
    head = ["to", "judged", "real faces judged", "off by", "error", "judge", "similarity", "accepted"]
    rows = [
        [
            name,
            number(found["judged"], 1),
            _real(found),
            _signed(found.get("off")),
            number(found.get("error"), 1),
            number(found.get("error_real"), 1),
            number(found["similarity"], 3),
            share(found["accepted"]),
        ]
        for name, found in its["targets"].items()
    ]
    return f"""`{method}` × {strength}. The faces are judged {its["judged_before"]:.1f} before. Off by: how far the mean lies from the target, less what the judge reads
beyond the age of real faces (in parentheses: how many of them, and how many years off the target at most).

{table(head, rows)}"""


def _groups(method: str, strength: str, its: Mapping[str, Any]) -> str:
    head = ["faces of", "number", f"error, {_SPAN}", "times the best", "similarity", "times the best"]
    rows = [
        [
            f"{label} *" if row["few"] else label,
            f"{row['faces']:,}",
            number(row["error"], 1),
            number(row["error_ratio"], 2),
            number(row["similarity"], 3),
            number(row["similarity_ratio"], 2),
        ]
        for groups in its["groups"].values()
        for label, row in groups.items()
    ]
    return f"""`{method}` × {strength} by group; those with fewer than {FEW} faces are marked * and are not taken for the best.

{table(head, rows)}"""


def measured_faces(faces: Mapping[str, Any]) -> str:
    """How many faces were measured, and why others were not."""
    missing = ", ".join(f"{count:,} {reason}" for reason, count in faces["left_out"].items())
    return f"{faces['measured']:,}" + (f" (left out: {missing})" if missing else "")


def _real(found: Mapping[str, Any]) -> str:
    if "judged_real" not in found:
        return number(None, 1)
    return f"{found['judged_real']:.1f} ({found['real_faces']:,}, ± {found['window']})"


def _signed(value: float | None) -> str:
    return number(None, 1) if value is None else f"{value:+.1f}"
