"""Where the networks that read faces come from, whether that is free, and which FaceNet has a curve of similarities."""

from __future__ import annotations

from typing import Any

import pytest

from dorian_bundle.entries import Provenance
from dorian_export.face_readers import describe_reader, facenet_curve
from dorian_export.provenance import complete_earlier, describe_provenance
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape
from dorian_training.networks.inception_resnet import InceptionResNetShape, InceptionResNetV1


def test_networks_of_others_behind_a_reader() -> None:
    origin: dict[str, Any] = {"data": {"fairface": 9}, "earlier": [], "stage": "all", "steps": 1, "seed": 0}

    def networks(name: str, layout: str | None = None) -> list[str]:
        metadata = origin | {"shape": {"layout": layout} if layout else {}}
        return [network.name for network in describe_reader(name, metadata, {}).networks]

    assert networks("landmark_refiner") == ["MediaPipe face mesh"]
    assert networks("age_estimator", "dlib_age_v1") == ["dlib face recognition ResNet"]
    assert networks("age_estimator") == networks("facenet", "dlib_resnet_v1") == []


@pytest.mark.parametrize(
    ("licence", "whitened_on", "is_free"),
    [("CC0-1.0", "fairface", True), ("CC0-1.0", "celeba", False), ("MIT, for research", "fairface", False)],
)
def test_published_weights_are_as_free_as_their_licence_and_whitening(
    licence: str, whitened_on: str, is_free: bool
) -> None:
    metadata: dict[str, Any] = {
        "data": {"VGGFace2": 9, whitened_on: 8},
        "earlier": [],
        "stage": "published",
        "steps": 0,
        "seed": 0,
    }
    metadata |= {"licence": licence, "settings": {"whitening": {"faces": {whitened_on: 8}}}, "shape": {}}
    assert describe_provenance(metadata, {}).commercial_use == is_free


@pytest.mark.parametrize("whitening", [True, False])
def test_the_curve_is_of_the_whitened_network_alone(whitening: bool) -> None:
    metadata: dict[str, Any] = {"settings": {"whitening": {}} if whitening else {}}
    assert (facenet_curve(DlibResNet(DlibResNetShape()), metadata) is not None) == whitening
    assert facenet_curve(InceptionResNetV1(InceptionResNetShape(repeats=(1, 1, 1), embedding=16)), metadata) is None


def test_what_weights_stem_from_counts_as_their_own_data_does() -> None:
    def describe(*earlier: dict[str, Any], **own: Any) -> Provenance:
        stages = [{"stage": "first", "steps": 3} | stage for stage in earlier]
        metadata = {"data": {"fairface": 9}, "earlier": stages, "stage": "last", "steps": 1, "seed": 0, "settings": {}}
        return describe_provenance(metadata | own, {})

    free = describe({"data": {"fairface": 5, "portraits": 4}})
    assert free.commercial_use
    assert [(item.name, item.faces) for item in free.data] == [("FairFace", 9), ("Portraits", 4)]
    research = describe({"data": {"fairface": 9}}, {"data": {"utkface": 7}})
    assert not research.commercial_use
    assert "UTKFace" in research.licence
    assert not describe({"data": {"own": 7}}).commercial_use
    for taught in (
        describe(taught_by=[{"stage": "style", "steps": 2, "data": {"utkface": 7}}]),
        describe({"data": {"fairface": 9}, "taught_by": [{"data": {"utkface": 7}}]}),
    ):
        assert not taught.commercial_use
        assert sum(taught.steps.values()) == (1 if len(taught.steps) == 1 else 4)  # a teacher's steps are its own
    assert describe(taught_by=[{"stage": "style", "steps": 2, "data": {"portraits": 7}}]).commercial_use
    forgotten = describe({})
    assert not forgotten.commercial_use
    assert [source.licence for source in forgotten.networks] == ["its data is not recorded"]


@pytest.mark.parametrize(
    ("stage", "is_free", "name"),
    [
        ({"data": {"dlib": 9}, "licence": "CC0-1.0"}, True, "dlib face recognition ResNet"),
        ({"data": {"dlib": 9}, "licence": "for research"}, False, "dlib face recognition ResNet"),
        ({"data": {"dlib": 9, "utkface": 3}, "licence": "CC0-1.0"}, False, "dlib face recognition ResNet"),
        ({"licence": "MIT"}, True, "published weights"),
    ],
)
def test_published_weights_behind_a_checkpoint_go_by_their_licence(
    stage: dict[str, Any], is_free: bool, name: str
) -> None:
    earlier = [{"stage": "published", "steps": 0} | stage]
    metadata = {"data": {"fairface": 9}, "earlier": earlier, "stage": "all", "steps": 1, "seed": 0, "settings": {}}
    provenance = describe_provenance(metadata, {})
    assert provenance.commercial_use == is_free
    assert [source.name for source in provenance.networks] == [name]


def test_what_an_old_run_does_not_say_is_taken_from_the_runs_before_it() -> None:
    runs = [{"stage": "a", "steps": 3, "data": {"fairface": 9}, "seed": 0}, {"stage": "b", "steps": 4, "data": {}}]
    stages = [
        {"stage": "a", "steps": 3},
        {"stage": "b", "steps": 4, "data": {"portraits": 2}},
        {"stage": "a", "steps": 5},
    ]
    told = complete_earlier({"earlier": stages, "stage": "b"}, runs)
    assert told["earlier"] == [{"stage": "a", "steps": 3, "data": {"fairface": 9}}, *stages[1:]]
