"""The model card: what a bundle's reader should know before using it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from dorian_bundle.calibration import Calibration
from dorian_bundle.entries import Provenance
from dorian_bundle.families import Method
from dorian_bundle.families.age_cgan import AgeCganMethod
from dorian_bundle.families.age_translator import AgeTranslatorMethod
from dorian_bundle.families.cyclegan import CycleGanMethod
from dorian_bundle.manifest import Manifest

SAMPLES_FILE = "samples.jpg"


def curves_file(method: Method) -> str:
    """Where a bundle keeps the picture of a method's learning curves."""
    return f"curves_{method.name}.png"


def write_card(manifest: Manifest, differences: Mapping[str, float], pictures: Collection[str]) -> str:
    """The card of a bundle, in Markdown; the ``pictures`` that it shows lie beside it.

    ``differences``: largest difference from torch by graph file.
    """
    parity = "\n".join(
        f"| `{file.path}` | {file.precision} | {file.bytes / 1e6:.1f} MB | {differences[file.path]:.1g} |"
        for graph in manifest.graphs.values()
        for file in graph.files
    )
    return f"""# {manifest.name} {manifest.version}

{"".join(f"- `{method.name}`: {method.description}{chr(10)}" for method in manifest.methods)}
The first is what a request without a method's name gets.

## Use

To age faces in photographs for research and demonstration. Not for identifying people, not for judging anybody's age, and not
for deceiving anybody about either. A picture that this model made shows what it learned from its data, not how a person will look.

{"".join(_method(method, pictures) for method in manifest.methods)}{_readers(manifest)}## Graphs

Every graph takes and gives RGB in [0, 1]. The last column is the largest difference from the torch network in fp32, over random
and real inputs at batches of 1, 3 and 8.

| file | precision | size | difference |
|---|---|---|---|
{parity}

## Limits

- The networks see {_sizes(manifest)} pixels of a face: what they add to a large photo is soft.
- Upright faces seen from the front; glasses, hands and hair over the face confuse them.
- They learned from photographs found on the web, with their balance of people, places and lighting. Few of them show children, or
  people above seventy.
"""


def _sizes(manifest: Manifest) -> str:
    sizes = sorted({method.crop_size for method in manifest.methods})
    return " or ".join(f"{size} × {size}" for size in sizes)


def _method(method: Method, pictures: Collection[str]) -> str:
    """All that is to be said of one method."""
    origin = method.provenance
    steps = ", ".join(f"{stage} {count:,}" for stage, count in origin.steps.items())
    curves = curves_file(method)
    return f"""## Method `{method.name}`

Family `{method.family}`, {method.crop_size} px crops{_own_numbers(method)}. {origin.licence}

{_table(("set", "faces", "licence"), ((entry.name, f"{entry.faces:,}", entry.licence) for entry in origin.data))}
Only the training splits were used. Steps: {steps}; batch {origin.training.get("batch_size")}, seed {origin.seed}. All settings are
in `manifest.json` under `provenance`.

{f"![Learning curves]({curves})" if curves in pictures else "(No learning curves were kept.)"}

{_details(method, pictures)}"""


def _own_numbers(method: Method) -> str:
    match method:
        case AgeCganMethod():
            return f", latents of {method.latent_size}"
        case AgeTranslatorMethod():
            return f", ages from {method.min_years:g} to {method.max_years:g} years"
        case CycleGanMethod():
            return ", filters " + " and ".join(f"`{each.name}`" for each in method.filters)


def _details(method: Method, pictures: Collection[str]) -> str:
    match method:
        case AgeCganMethod():
            return _age_groups(method) + _generated(method, pictures) + _judged_groups(method) + _judged_targets(method)
        case AgeTranslatorMethod():
            return _calibration(method.calibration) + _judged_targets(method)
        case CycleGanMethod():
            return _judged_targets(method)


def _age_groups(method: AgeCganMethod) -> str:
    counts = method.provenance.training.get("group_counts")
    if not counts:
        return ""
    rows = ((group.label, f"{count:,}") for group, count in zip(method.age_groups, counts, strict=True))
    return f"{_table(('age group', 'training faces'), rows)}\nEach age group is drawn equally often.\n\n"


def _generated(method: AgeCganMethod, pictures: Collection[str]) -> str:
    if SAMPLES_FILE not in pictures:
        return ""
    labels = ", ".join(group.label for group in method.age_groups)
    return f"""![Generated faces]({SAMPLES_FILE})

*Faces that the generator draws: a latent per row, an age group per column ({labels}).*

"""


def _judged_groups(method: AgeCganMethod) -> str:
    """A table of judged ages, if the manifest has them."""
    judged = method.provenance.metrics.get("judged_age")
    if not judged:
        return ""
    labels = [group.label for group in method.age_groups]
    rows = ((kind, *(f"{judged[kind][label]:.1f}" for label in labels)) for kind in ("generated", "real"))
    return f"""Mean age in years that an independent estimator reads from {judged["faces_per_group"]:,} generated faces of each group, beside
real faces of the test split (`dorian-evaluate age-cgan`):

{_table(("", *labels), rows)}
"""


def _calibration(calibration: Calibration) -> str:
    if not calibration.points:
        return ""
    points = calibration.points
    rows = (
        ("drawn at", *(f"{point.asked + point.offset:g}" for point in points)),
        ("times", *(f"{point.strength:g}" for point in points)),
    )
    return f"""What it is asked for, so that a face wished at an age is read as real faces of that age are, as measured on faces of the
validation split with an age estimator (see docs/decisions/0009-age-translator.md):

{_table(("wished", *(f"{point.asked:g}" for point in points)), rows)}
"""


def _judged_targets(method: Method) -> str:
    """Judged ages and similarities at full strength, as ``dorian-evaluate ageing`` writes them, if the manifest has them."""
    strengths = method.provenance.metrics.get("ageing", {}).get("strengths", {})
    targets: dict[str, Any] = strengths.get("1", {}).get("targets", {})
    if not targets:
        return ""
    names = {
        "judged": "judged age",
        "error": "mean error, years",
        "similarity": "mean similarity",
        "accepted": "accepted",
    }
    rows = [
        (words, *(f"{figures[key]:.2f}" if key in figures else "" for figures in targets.values()))
        for key, words in names.items()
    ]
    return f"""Measured by independent judges on faces of the test split (`dorian-evaluate ageing`; docs/evaluation.md has all figures):

{_table(("target", *targets), rows)}
"""


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names), *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines) + "\n"


def _readers(manifest: Manifest) -> str:
    """The networks that see faces: where each comes from, and what was measured on it."""
    readers = manifest.readers
    parts = (
        ("Face detector", readers.detector.provenance),
        ("Landmark refiner", readers.landmark_refiner.provenance),
        ("Age estimator", readers.age_estimator.provenance),
        ("FaceNet", readers.facenet.provenance),
    )
    rates = [(f"{each.false_accept_rate:g}", f"{each.similarity:.3f}") for each in readers.facenet.thresholds]
    return f"""## The networks that see faces

Every photo passes them, whatever the method. Figures are in `docs/evaluation.md`; all settings are in `manifest.json` under
`readers`.

{_table(("network", "data (faces)", "steps", "batch"), (_reader_row(name, origin) for name, origin in parts))}
{readers.detector.provenance.licence if len({o.licence for _, o in parts}) == 1 else " ".join(f"{n}: {o.licence}" for n, o in parts)}

FaceNet takes two faces for one person's from this cosine similarity on, at these rates of false accepts, measured over all
pairs of different people of a validation split:

{_table(("false accepts", "similarity"), rates)}
"""


def _reader_row(name: str, origin: Provenance) -> tuple[str, ...]:
    data = ", ".join(f"{entry.name} {entry.faces:,}" for entry in origin.data)
    steps = ", ".join(f"{count:,}" for count in origin.steps.values() if count) or "as published"
    return name, data, steps, str(origin.training.get("batch_size", ""))
