"""The model card: what its reader has to know is in it."""

from __future__ import annotations

import re

import pytest

from dorian_bundle import Bundle
from dorian_bundle.manifest import Manifest
from dorian_export.card import write_card

COUNTS = {"0-18": 9_001, "19-29": 11_002, "30-39": 8_003, "40-49": 4_004, "50-59": 3_005, "60+": 2_153}


def rows(card: str) -> list[list[str]]:
    """Cells of every table row."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in card.splitlines() if line.startswith("|")]


def differences_of(manifest: Manifest) -> dict[str, float]:
    """How far each graph's file is from torch."""
    readers = manifest.readers
    parts = (
        manifest.methods[0],
        readers.detector,
        readers.landmark_refiner,
        readers.age_estimator,
        readers.facenet,
    )
    return {path: off for part in parts for path, off in part.provenance.metrics["onnx_difference"].items()}


def without_measurements(manifest: Manifest) -> Manifest:
    (method,) = manifest.methods
    origin = method.provenance.model_copy(update={"metrics": {}})
    return manifest.model_copy(update={"methods": (method.model_copy(update={"provenance": origin}),)})


@pytest.fixture(scope="module")
def card(bundle: Bundle) -> str:
    return (bundle.folder / "README.md").read_text(encoding="utf-8")


def test_data_and_licences(card: str) -> None:
    assert ["UTKFace", "17,045", "non-commercial research"] in rows(card)
    assert ["FairFace", "20,123", "CC BY 4.0"] in rows(card)
    assert "The weights are for non-commercial research, as is their training data (UTKFace)." in card


def test_faces_by_age_group(card: str) -> None:
    table = rows(card)
    assert all([label, f"{count:,}"] in table for label, count in COUNTS.items())


def test_training(card: str) -> None:
    assert "Steps: adversarial 12,000, latent 3,400;" in card
    assert "batch 48, seed 11" in card
    assert "64 px crops, latents of 16" in card


def test_the_networks_that_see_faces(card: str, bundle: Bundle) -> None:
    table = rows(card)
    assert ["Face detector", "CelebA 37,001, CelebA 1,302", "3,100", "124"] in table
    assert ["Landmark refiner", "CelebA 37,001", "3,400", "136"] in table
    assert ["Age estimator", "FairFace 21,003", "3,200", "128"] in table
    assert ["FaceNet", "CelebA 37,001", "3,300", "132"] in table
    for threshold in bundle.manifest.readers.facenet.thresholds:
        assert [f"{threshold.false_accept_rate:g}", f"{threshold.similarity:.3f}"] in table


def test_licences_of_the_networks_that_see_faces(card: str, bundle: Bundle) -> None:
    assert "Age estimator: The weights are under CC BY 4.0." in card
    assert "FaceNet: The weights are for non-commercial research, as is their training data (CelebA)." in card
    manifest = bundle.manifest.model_copy(deep=True)
    readers = manifest.readers
    for entry in (readers.detector, readers.landmark_refiner, readers.age_estimator, readers.facenet):
        object.__setattr__(entry.provenance, "licence", "The weights are anybody's.")
    told = write_card(manifest, COUNTS, differences_of(manifest), with_curves=True)
    assert told.count("The weights are anybody's.") == 1


def test_graphs_with_sizes_and_differences(card: str, bundle: Bundle) -> None:
    differences = differences_of(bundle.manifest)
    table = {row[0].strip("`"): row[1:] for row in rows(card)}
    for graph in bundle.manifest.graphs.values():
        for file in graph.files:
            precision, size, difference = table[file.path]
            assert (precision, size) == (file.precision, f"{file.bytes / 1e6:.1f} MB")
            assert float(difference) == pytest.approx(differences[file.path], rel=0.5)


def test_measurements_if_there_are_any(card: str, bundle: Bundle) -> None:
    assert ["generated", "10.2", "20.2", "30.2", "40.2", "50.2", "60.2"] in rows(card)
    assert ["real", *["33.3"] * 6] in rows(card)
    assert "1,500 generated faces" in card
    differences = differences_of(bundle.manifest)
    bare = write_card(without_measurements(bundle.manifest), COUNTS, differences, with_curves=True)
    assert "## Measured" not in bare
    assert "generated |" not in bare


def test_curves_if_there_are_any(card: str, bundle: Bundle) -> None:
    assert "![Learning curves](curves.png)" in card
    differences = differences_of(bundle.manifest)
    bare = write_card(bundle.manifest, COUNTS, differences, with_curves=False)
    assert "curves.png" not in bare
    assert "No learning curves were kept" in bare


def test_its_pictures_are_beside_it(card: str, bundle: Bundle) -> None:
    pictures = re.findall(r"!\[[^]]*\]\(([^)]*)\)", card)
    assert pictures == ["samples.jpg", "curves.png"]
    assert all((bundle.folder / name).is_file() for name in pictures)


def test_it_is_markdown_as_meant(card: str) -> None:
    assert card.startswith("# small 3.2.1\n")
    headings = re.findall(r"^## (.*)$", card, re.MULTILINE)
    assert headings == [
        "Use",
        "Data",
        "Licence",
        "Training",
        "Measured",
        "The networks that see faces",
        "Graphs",
        "Limits",
    ]
    widths = [len(row) for row in rows(card)]
    assert set(widths) == {2, 3, 4, 7}
    assert "{" not in card
    assert "None" not in card
