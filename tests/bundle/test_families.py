"""Signatures: those of the networks that read faces, and those that follow from a family's sizes."""

from __future__ import annotations

from dorian_bundle.face_readers import (
    DETECTOR_STRIDES,
    age_estimator_signature,
    detector_signature,
    facenet_signature,
    landmark_refiner_signature,
)
from dorian_bundle.families.age_cgan import age_cgan_signatures, latent_gradient_signature
from dorian_bundle.families.age_translator import age_translator_signature
from dorian_bundle.families.cyclegan import cyclegan_signature


def test_age_cgan() -> None:
    signatures = age_cgan_signatures(crop_size=48, latent_size=7, groups=3)
    assert {role: str(signature) for role, signature in signatures.items()} == {
        "encoder": "(image float32[batch, 3, 48, 48]) -> (latent float32[batch, 7])",
        "generator": "(latent float32[batch, 7], condition float32[batch, 3]) -> (image float32[batch, 3, 48, 48])",
    }


def test_the_gradient_of_a_latent() -> None:
    assert str(latent_gradient_signature(crop_size=48, latent_size=7, groups=3, embedding_size=96)) == (
        "(latent float32[batch, 7], condition float32[batch, 3], image float32[batch, 3, 48, 48],"
        " embedding float32[batch, 96], weights float32[batch, 3])"
        " -> (loss float32[batch], gradient float32[batch, 7], terms float32[batch, 3])"
    )


def test_translators_take_and_give_crops() -> None:
    assert str(age_translator_signature(48)) == (
        "(image float32[batch, 3, 48, 48], source_age float32[batch], target_age float32[batch])"
        " -> (delta float32[batch, 3, 48, 48])"
    )
    assert str(cyclegan_signature(48)) == "(image float32[batch, 3, 48, 48]) -> (translated float32[batch, 3, 48, 48])"


def test_a_detector_tells_four_things_of_the_cells_of_each_stride() -> None:
    assert str(detector_signature()) == (
        "(image float32[batch, 3, height, width]) ->"
        " (cls_8 float32[batch, cells_8, 1], cls_16 float32[batch, cells_16, 1], cls_32 float32[batch, cells_32, 1],"
        " obj_8 float32[batch, cells_8, 1], obj_16 float32[batch, cells_16, 1], obj_32 float32[batch, cells_32, 1],"
        " bbox_8 float32[batch, cells_8, 4], bbox_16 float32[batch, cells_16, 4], bbox_32 float32[batch, cells_32, 4],"
        " kps_8 float32[batch, cells_8, 10], kps_16 float32[batch, cells_16, 10], kps_32 float32[batch, cells_32, 10])"
    )
    assert DETECTOR_STRIDES == (8, 16, 32)


def test_readers_of_crops() -> None:
    image = "(image float32[batch, 3, 48, 48])"
    refined = "(landmarks float32[batch, 73, 2], visibility float32[batch])"
    assert str(landmark_refiner_signature(48)) == f"{image} -> {refined}"
    assert str(age_estimator_signature(48)) == f"{image} -> (age float32[batch], spread float32[batch])"
    assert str(facenet_signature(48, 96)) == "(image float32[batch, 3, 48, 48]) -> (embedding float32[batch, 96])"
