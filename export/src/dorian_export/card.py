"""The model card: what a bundle's reader should know before using it."""

from __future__ import annotations

from collections.abc import Mapping

from dorian_bundle.manifest import AgeCganMethod, Manifest, Provenance


def write_card(
    manifest: Manifest, counts: Mapping[str, int], differences: Mapping[str, float], with_curves: bool
) -> str:
    """The card of a bundle with one Age-cGAN method, in Markdown; its pictures lie beside it.

    ``counts``: training faces by age group; ``differences``: largest difference from torch by graph file.
    """
    method = manifest.methods[0]
    origin = method.provenance
    steps = ", ".join(f"{stage} {count:,}" for stage, count in origin.steps.items())
    groups = "\n".join(f"| {label} | {count:,} |" for label, count in counts.items())
    data = "\n".join(f"| {entry.name} | {entry.faces:,} | {entry.licence} |" for entry in origin.data)
    parity = "\n".join(
        f"| `{file.path}` | {file.precision} | {file.bytes / 1e6:.1f} MB | {differences[file.path]:.1g} |"
        for graph in manifest.graphs.values()
        for file in graph.files
    )
    return f"""# {manifest.name} {manifest.version}

{method.description}

![Generated faces](samples.jpg)

*Faces that the generator draws: a latent per row, an age group per column ({", ".join(g.label for g in method.age_groups)}).*

## Use

To age faces in photographs for research and demonstration. Not for identifying people, not for judging anybody's age, and not
for deceiving anybody about either. A picture that this model made shows what it learned from its data, not how a person will look.

## Data

| set | faces | licence |
|---|---|---|
{data}

| age group | training faces |
|---|---|
{groups}

Each age group is drawn equally often. Only the training splits were used.

## Licence

{origin.licence}

## Training

Method: `{method.name}` (family `{method.family}`), {method.crop_size} px crops, latents of {method.latent_size}. Steps: {steps};
batch {origin.training.get("batch_size")}, seed {origin.seed}. All settings are in `manifest.json` under `provenance`.

{"![Learning curves](curves.png)" if with_curves else "(No learning curves were kept.)"}

{_measured(method)}{_readers(manifest)}## Graphs

Every graph takes and gives RGB in [0, 1]. The last column is the largest difference from the torch network in fp32, over random
and real inputs at batches of 1, 3 and 8.

| file | precision | size | difference |
|---|---|---|---|
{parity}

## Limits

- It sees {method.crop_size} × {method.crop_size} pixels of a face: what it adds to a large photo is soft.
- Upright faces seen from the front; glasses, hands and hair over the face confuse it.
- It learned from photographs found on the web, with their balance of people, places and lighting; the youngest group spans
  babies and teenagers, and one condition stands for them all.
"""


def _measured(method: AgeCganMethod) -> str:
    """A table of judged ages, if the manifest has them."""
    judged = method.provenance.metrics.get("judged_age")
    if not judged:
        return ""
    head = " | ".join(group.label for group in method.age_groups)
    rule = "---|" * (len(method.age_groups) + 1)
    generated = " | ".join(f"{judged['generated'][group.label]:.1f}" for group in method.age_groups)
    real = " | ".join(f"{judged['real'][group.label]:.1f}" for group in method.age_groups)
    return f"""## Measured

Mean age in years that an independent estimator reads from {judged["faces_per_group"]:,} generated faces of each group, beside
real faces of the test split (`dorian-evaluate age-groups`):

| | {head} |
|{rule}
| generated | {generated} |
| real | {real} |

"""


def _readers(manifest: Manifest) -> str:
    """The networks that see faces: where each comes from, and what was measured on it."""
    readers = manifest.readers
    parts = (
        ("Face detector", readers.detector.provenance),
        ("Landmark refiner", readers.landmark_refiner.provenance),
        ("Age estimator", readers.age_estimator.provenance),
        ("FaceNet", readers.facenet.provenance),
    )
    rates = "\n".join(f"| {each.false_accept_rate:g} | {each.similarity:.3f} |" for each in readers.facenet.thresholds)
    return f"""## The networks that see faces

Every photo passes them, whatever the method. Figures are in `docs/evaluation.md`; all settings are in `manifest.json` under
`readers`.

| network | data (faces) | steps | batch |
|---|---|---|---|
{chr(10).join(_reader_row(name, origin) for name, origin in parts)}

{readers.detector.provenance.licence if len({o.licence for _, o in parts}) == 1 else " ".join(f"{n}: {o.licence}" for n, o in parts)}

FaceNet takes two faces for one person's from this cosine similarity on, at these rates of false accepts, measured over all
pairs of different people of a validation split:

| false accepts | similarity |
|---|---|
{rates}

"""


def _reader_row(name: str, origin: Provenance) -> str:
    data = ", ".join(f"{entry.name} {entry.faces:,}" for entry in origin.data)
    steps = ", ".join(f"{count:,}" for count in origin.steps.values())
    return f"| {name} | {data} | {steps} | {origin.training.get('batch_size')} |"
