"""The model card: what its reader has to know is in it."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, get_args

import pytest

import dorian_export
from dorian_bundle import Bundle, load_bundle
from dorian_bundle.calibration import Calibration
from dorian_bundle.families import Method
from dorian_bundle.families.age_translator import AgeTranslatorMethod
from dorian_bundle.manifest import CARD_FILE, Manifest
from dorian_export.exporters import EXPORTERS
from dorian_export.face_readers import DLIB_SIMILARITY_BY_YEARS
from dorian_export.model_card import render_card, render_card_of

DEFAULT_BUNDLE = Path(__file__).resolve().parents[2] / "models" / "default"
COUNTS = {"0-18": 9_001, "19-29": 11_002, "30-39": 8_003, "40-49": 4_004, "50-59": 3_005, "60+": 2_153}


def rows(card: str) -> list[list[str]]:
    """Cells of every table row."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in card.splitlines() if line.startswith("|")]


def section(card: str, name: str) -> str:
    """What the card says of a method."""
    return card.partition(f"## Method `{name}`\n")[2].partition("\n## ")[0]


def differences_of(manifest: Manifest) -> dict[str, float]:
    """How far each graph's file is from torch."""
    readers = manifest.readers
    parts = (*manifest.methods, readers.detector, readers.landmark_refiner, readers.age_estimator, readers.facenet)
    return {path: off for part in parts for path, off in part.provenance.metrics["onnx_difference"].items()}


def bare(manifest: Manifest, pictures: Collection[str] = ()) -> str:
    """The card without measurements, calibration and counts of faces."""
    nothing: dict[str, Any] = {"metrics": {}, "training": {}}
    methods = []
    for method in manifest.methods:
        changes: dict[str, Any] = {"provenance": method.provenance.model_copy(update=nothing)}
        changes |= {"calibration": Calibration()} if method.family == "age_translator" else {}
        methods.append(method.model_copy(update=changes))
    changed = manifest.model_copy(update={"methods": tuple(methods)})
    return render_card(changed, differences_of(manifest), pictures)


@pytest.fixture(scope="module")
def card(bundle: Bundle) -> str:
    return (bundle.folder / "README.md").read_text(encoding="utf-8")


def test_the_embedded_bundles_card_follows_from_its_manifest() -> None:
    embedded = load_bundle(DEFAULT_BUNDLE)
    assert render_card_of(embedded) == (embedded.folder / CARD_FILE).read_text(encoding="utf-8")


def test_every_family_has_an_exporter_and_a_section_of_the_card() -> None:
    families = {class_.model_fields["family"].default for class_ in get_args(get_args(Method)[0])}
    assert families <= EXPORTERS.keys()
    templates = Path(dorian_export.__file__).parent / "templates" / "methods"
    assert {path.name for path in templates.iterdir()} == {f"{family}.md.j2" for family in families}


def test_every_method_is_introduced_and_the_default_named(card: str, bundle: Bundle) -> None:
    head = card.partition("## Use")[0]
    lines = [f"- `{method.name}`: {method.description}" for method in bundle.manifest.methods]
    assert [line for line in head.splitlines() if line.startswith("- ")] == lines
    assert "The first is what a request without a method's name gets." in head
    assert "see 32 × 32 or 48 × 48 or 64 × 64 pixels of a face" in card


def test_data_and_licences(card: str) -> None:
    research = "The weights are for non-commercial research, as is their training data (UTKFace)."
    told = section(card, "age_cgan")
    assert ["UTKFace", "17,045", "non-commercial research"] in rows(told)
    assert ["FairFace", "20,123", "CC BY 4.0"] in rows(told)
    assert research in told
    assert ["FairFace", "41,007", "CC BY 4.0"] in rows(section(card, "age_translator"))
    assert research in section(card, "age_translator")
    assert ["FairFace", "15,001", "CC BY 4.0"] in rows(section(card, "cyclegan"))
    assert "The weights are under CC BY 4.0." in section(card, "cyclegan")


def test_faces_by_age_group(card: str) -> None:
    table = rows(section(card, "age_cgan"))
    assert all([label, f"{count:,}"] in table for label, count in COUNTS.items())
    assert "Each age group is drawn equally often." in section(card, "age_cgan")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("age_translator", ("Steps: age_translator 4,100; batch 24, seed 41", "48 px crops, ages from 1 to 90 years")),
        ("age_cgan", ("Steps: adversarial 12,000, latent 3,400; batch 48, seed 11", "64 px crops, latents of 16")),
        ("cyclegan", ("Steps: cyclegan 5,100; batch 3, seed 51", "32 px crops, filters `old` and `young`")),
    ],
)
def test_training(card: str, name: str, words: tuple[str, ...]) -> None:
    assert [item for item in (*words, f"Family `{name}`") if item not in section(card, name)] == []


def test_what_the_translator_is_asked_for(card: str, bundle: Bundle) -> None:
    method = bundle.manifest.methods[0]
    assert isinstance(method, AgeTranslatorMethod)
    points = method.calibration.points
    table = {name: cells for name, *cells in rows(section(card, "age_translator"))}
    assert [float(cell) for cell in table["wished"]] == [point.asked for point in points]
    assert [float(cell) for cell in table["drawn at"]] == pytest.approx(
        [point.asked + point.offset for point in points]
    )
    assert [float(cell) for cell in table["times"]] == [point.strength for point in points]
    assert "wished" not in bare(bundle.manifest)


def test_judged_ages_and_similarities_by_target(card: str, bundle: Bundle) -> None:
    assert rows(section(card, "age_translator"))[-6:] == [
        ["target", "25", "75"],
        ["---"] * 3,
        ["judged age", "27.13", "71.00"],
        ["mean error, years", "5.50", "5.50"],
        ["mean similarity", "0.71", "0.71"],
        ["accepted", "0.94", "0.94"],
    ]
    filtered = rows(section(card, "cyclegan"))
    assert ["target", "old"] in filtered
    assert ["judged age", "61.26"] in filtered
    assert ["mean error, years", ""] in filtered  # a filter has no age to be off from
    assert ["mean similarity", "0.65"] in filtered
    assert "dorian-evaluate ageing" not in section(card, "age_cgan")
    assert "dorian-evaluate" not in bare(bundle.manifest)


def test_the_networks_that_see_faces(card: str, bundle: Bundle) -> None:
    table = rows(card)
    assert ["Face detector", "WIDER FACE 159,424", "as published", ""] in table
    assert ["Landmark refiner", "CelebA 37,001", "3,400", "136"] in table
    assert ["Age estimator", "FairFace 21,003", "3,200", "128"] in table
    assert ["FaceNet", "CelebA 37,001", "3,300", "132"] in table
    for threshold in bundle.manifest.readers.facenet.thresholds:
        assert [f"{threshold.false_accept_rate:g}", f"{threshold.similarity:.3f}"] in table


def test_licences_of_the_networks_that_see_faces(card: str, bundle: Bundle) -> None:
    assert "Age estimator: The weights are under CC BY 4.0." in card
    assert "Face detector: The weights are published under these terms: MIT." in card
    assert "FaceNet: The weights are for non-commercial research, as is their training data (CelebA)." in card
    manifest = bundle.manifest.model_copy(deep=True)
    readers = manifest.readers
    for entry in (readers.detector, readers.landmark_refiner, readers.age_estimator, readers.facenet):
        object.__setattr__(entry.provenance, "licence", "The weights are anybody's.")
    methods = [m.model_copy(update={"provenance": m.provenance.model_copy(deep=True)}) for m in manifest.methods]
    for method in methods:
        object.__setattr__(method.provenance, "licence", "Of no matter here.")
    told = render_card(manifest.model_copy(update={"methods": tuple(methods)}), differences_of(manifest), ())
    assert told.partition("## Licences")[0].count("The weights are anybody's.") == 1


def test_which_parts_may_be_used_commercially(card: str) -> None:
    table = rows(card.partition("## Licences\n")[2].partition("\n## ")[0])
    licences = {row[0]: row[1:] for row in table}
    assert licences["age estimator"] == ["FairFace (CC BY 4.0)", "The weights are under CC BY 4.0.", "free"]
    assert licences["FaceNet"][0] == "CelebA (non-commercial research)"
    assert licences["FaceNet"][-1] == "not free"
    assert "MediaPipe face mesh (Apache-2.0)" in licences["landmark refiner"][0]
    by_method = {row[0]: row[1:] for row in table if len(row) == 3}
    assert by_method["cyclegan"][0] == "not free"  # by the face readers alone
    assert "FaceNet: CelebA (non-commercial research)" in by_method["cyclegan"][1].split("; ")
    assert "cyclegan: " not in by_method["cyclegan"][1]
    assert "age_translator: UTKFace (non-commercial research)" in by_method["age_translator"][1].split("; ")


def test_how_alike_photographs_are_by_years(bundle: Bundle) -> None:
    manifest = bundle.manifest
    facenet = manifest.readers.facenet.model_copy(update={"similarity_by_years": DLIB_SIMILARITY_BY_YEARS})
    readers = manifest.readers.model_copy(update={"facenet": facenet})
    told = render_card(manifest.model_copy(update={"readers": readers}), differences_of(manifest), ())
    assert ["years", "2", "7", "12", "17", "22", "27", "32", "37"] in rows(told)
    assert ["similarity", "0.66", "0.63", "0.60", "0.57", "0.55", "0.50", "0.47", "0.42"] in rows(told)
    assert DLIB_SIMILARITY_BY_YEARS.source in told


def test_graphs_with_sizes_and_differences(card: str, bundle: Bundle) -> None:
    differences = differences_of(bundle.manifest)
    table = {row[0].strip("`"): row[1:] for row in rows(card)}
    for graph in bundle.manifest.graphs.values():
        for file in graph.files:
            precision, size, difference = table[file.path]
            assert (precision, size) == (file.precision, f"{file.bytes / 1e6:.1f} MB")
            assert float(difference) == pytest.approx(differences[file.path], rel=0.5)


def test_judged_groups_if_there_are_any(card: str, bundle: Bundle) -> None:
    table = rows(section(card, "age_cgan"))
    assert ["generated", "10.2", "20.2", "30.2", "40.2", "50.2", "60.2"] in table
    assert ["real", *["33.3"] * 6] in table
    assert "1,500 generated faces" in section(card, "age_cgan")
    without = section(bare(bundle.manifest), "age_cgan")
    assert "generated faces" not in without
    assert "| age group" not in without


def test_its_pictures_are_beside_it(card: str, bundle: Bundle) -> None:
    pictures = re.findall(r"!\[[^]]*\]\(([^)]*)\)", card)
    assert pictures == ["curves_age_translator.png", "curves_age_cgan.png", "samples.jpg", "curves_cyclegan.png"]
    assert all((bundle.folder / name).is_file() for name in pictures)
    without = bare(bundle.manifest, {"curves_cyclegan.png"})
    assert re.findall(r"\(([^)]*\.(?:png|jpg))\)", without) == ["curves_cyclegan.png"]
    assert without.count("(No learning curves were kept.)") == 2


def test_it_is_markdown_as_meant(card: str) -> None:
    assert card.startswith("# small 3.2.1\n")
    headings = re.findall(r"^## (.*)$", card, re.MULTILINE)
    methods = [f"Method `{name}`" for name in ("age_translator", "age_cgan", "cyclegan")]
    assert headings == ["Use", *methods, "The networks that see faces", "Licences", "Graphs", "Limits"]
    for table in re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
        assert re.fullmatch(r"\|(---\|)+", table.splitlines()[1])
    assert re.search(r"\n\n\n", card) is None
    assert "{" not in card
    assert "None" not in card
