"""Where the networks that read faces come from, whether that is free, and which FaceNet has a curve of similarities."""

from __future__ import annotations

from typing import Any

import pytest

from dorian_export.face_readers import describe_reader, facenet_curve
from dorian_export.provenance import describe_provenance
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
