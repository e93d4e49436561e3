"""A bundle of one Age-cGAN checkpoint: graphs, manifest, model card and its pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dorian_bundle import write_manifest
from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.graphs import Precision
from dorian_bundle.manifest import CARD_FILE, AgeCganMethod, DataSet, Manifest, Provenance
from dorian_export.age_cgan import ROLES, export_graphs, group_sheet
from dorian_export.card import age_cgan_card
from dorian_export.curves import draw_curves, read_curves
from dorian_training.checkpoint import load_weights
from dorian_training.data.crops import Crops
from dorian_training.data.sources import LICENCES, SetTerms
from dorian_training.loop import write_grid
from dorian_training.networks.age_cgan import SIZE

_SHEET_ROWS = 10
_UNSTATED = "not stated"  # the licence of users' own archives
_DESCRIPTION = (
    "Age-cGAN after Antipov et al. 2017: an encoder finds the face's latent, a generator draws it at six age groups,"
    " and the difference between two of them is added to the photo."
)


def build_bundle(
    checkpoint: Path,
    folder: Path,
    crops: Crops,
    precisions: Sequence[Precision],
    name: str,
    version: str,
    metrics: dict[str, Any],
) -> Manifest:
    """Write the bundle of ``checkpoint`` to ``folder``, which must be empty; its manifest.

    ``crops`` are at least 8 real faces to prove the graphs on; ``metrics`` go into the manifest as they are.
    """
    weights, about = load_weights(checkpoint)
    graphs, differences = export_graphs(weights, about, crops.pixels, folder, precisions)
    method = AgeCganMethod(
        name="age_cgan",
        description=_DESCRIPTION,
        graphs={role: f"age_cgan_{role}" for role in ROLES},
        age_groups=PAPER_GROUPS,
        crop_size=SIZE,
        latent_size=about["shape"]["latent"],
        provenance=_provenance(about, {**metrics, "onnx_difference": differences}),
    )
    manifest = Manifest(
        name=name,
        version=version,
        created=datetime.now(UTC).date().isoformat(),
        alignment=DEFAULT_TEMPLATE,
        graphs=graphs,
        methods=(method,),
    )
    write_grid(folder / "samples.jpg", group_sheet(weights, about, _SHEET_ROWS))
    if curves := read_curves(checkpoint):
        draw_curves(folder / "curves.png", curves)
    counts = dict(zip((group.label for group in PAPER_GROUPS), about["group_counts"], strict=True))
    (folder / CARD_FILE).write_text(
        age_cgan_card(manifest, counts, differences, with_curves=bool(curves)), encoding="utf-8"
    )
    write_manifest(folder, manifest)
    return manifest


def _data_set(source: str, faces: int) -> DataSet:
    terms = LICENCES.get(source, SetTerms(source, _UNSTATED))
    return DataSet(name=terms.name, faces=faces, licence=terms.licence)


def _provenance(about: dict[str, Any], metrics: dict[str, Any]) -> Provenance:
    data = tuple(_data_set(source, faces) for source, faces in about["data"].items())
    strict = [entry for entry in data if "non-commercial" in entry.licence]
    unstated = [entry.name for entry in data if entry.licence == _UNSTATED]
    if strict:
        words = f"The weights are for non-commercial research, as is their training data ({', '.join(e.name for e in strict)})."
    elif unstated:
        words = (
            f"Whoever passes the weights on must settle their terms: those of {', '.join(unstated)} are not known here."
        )
    else:
        words = f"The weights are under {' and '.join(sorted({entry.licence for entry in data}))}."
    stages = [*about["earlier"], {"stage": about["stage"], "steps": about["steps"]}]
    steps: Counter[str] = Counter()
    for stage in stages:
        steps[stage["stage"]] += stage["steps"]
    return Provenance(
        licence=words,
        data=data,
        seed=about["seed"],
        steps=dict(steps),
        training={key: about[key] for key in ("preset", "shape", "batch_size", "settings", "earlier")},
        metrics=metrics,
    )
